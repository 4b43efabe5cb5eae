from __future__ import annotations

import io
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from napari_colorize_training.data.degrade import (
    BLUE_SENSITIVE,
    NONE,
    OLD_PHOTOGRAPH,
    ORTHOCHROMATIC,
    PRESETS,
    TONE_AND_GRAIN,
    Degradation,
    _quantization,
    blur,
    degrade,
    jpeg,
    tone_and_grain,
)
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.color import rgb2yuv

EACH = {
    "spectrum": Degradation(spectrum=1),
    "blur": Degradation(blur=2),
    "contrast": Degradation(contrast=0.6),
    "tone": Degradation(tone=0.35),
    "fade": Degradation(fade=0.25),
    "grain": Degradation(grain=0.05),
    "film grain": Degradation(grain=0.05, grain_size=1),
    "uneven": Degradation(uneven=0.4),
    "scratches": Degradation(scratches=1),
    "dust": Degradation(dust=1),
    "small": Degradation(small=1),
    "jpeg": Degradation(jpeg=1),
    "all": OLD_PHOTOGRAPH,
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def photographs():
    """RGB and gray of eight crops, with one odd side."""
    crops = [
        data.astronaut()[y : y + 63, x : x + 80] for y in (0, 200) for x in (50, 200, 300, 400)
    ]
    rgb = torch.from_numpy(np.stack(crops)).movedim(-1, 1).float() / 255
    gray = torch.from_numpy(rgb2yuv(np.stack(crops))[..., 0]).float().unsqueeze(1)
    return rgb, gray


@pytest.mark.parametrize("degradation", EACH.values(), ids=EACH)
def test_degradation_is_reproducible_and_within_range(photographs, degradation):
    rgb, gray = photographs

    degraded = degrade(rgb, gray, degradation, seeded())

    assert degraded.shape == gray.shape and degraded.dtype == gray.dtype
    assert float(degraded.min()) >= 0 and float(degraded.max()) <= 1
    assert not torch.equal(degraded, gray)
    assert torch.equal(degraded, degrade(rgb, gray, degradation, seeded()))
    assert not torch.equal(degraded, degrade(rgb, gray, degradation, seeded(1)))


@pytest.mark.parametrize("degradation", EACH.values(), ids=EACH)
def test_degradation_does_not_depend_on_the_batch(photographs, degradation):
    rgb, gray = photographs
    whole = degrade(rgb, gray, degradation, [seeded(number) for number in range(8)])

    last = degrade(rgb[5:], gray[5:], degradation, [seeded(number) for number in range(5, 8)])

    torch.testing.assert_close(last, whole[5:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("degradation", EACH.values(), ids=EACH)
def test_single_pixels_and_odd_sides_are_supported(degradation):
    for height, width in [(1, 1), (7, 5), (9, 33)]:
        gray = torch.rand(2, 1, height, width, generator=seeded())
        degraded = degrade(gray.expand(-1, 3, -1, -1), gray, degradation, seeded())
        assert torch.isfinite(degraded).all()


def test_the_default_changes_nothing(photographs):
    assert Degradation() == NONE and PRESETS["old-photograph"] is OLD_PHOTOGRAPH
    assert torch.equal(degrade(*photographs, Degradation(), seeded()), photographs[1])


def test_old_photographs_have_every_kind_of_degradation(photographs):
    degraded = degrade(*photographs, OLD_PHOTOGRAPH, seeded())

    for field in fields(OLD_PHOTOGRAPH):
        if field.name not in ("scan", "quality"):
            assert getattr(OLD_PHOTOGRAPH, field.name) > 0
            less = replace(OLD_PHOTOGRAPH, **{field.name: 0})
            assert not torch.equal(degraded, degrade(*photographs, less, seeded()))


def test_tone_and_grain_is_the_preset_of_the_embedded_model(photographs):
    _, gray = photographs
    random = seeded(7)

    def draw(low, high):
        return low + (high - low) * torch.rand(8, 1, 1, 1, generator=random)

    toned = gray.clamp_min(1e-4) ** draw(-0.35, 0.35).exp()
    black, white = draw(-0.05, 0.25).clamp_min(0), 1 - draw(-0.05, 0.25).clamp_min(0)
    grain = draw(-0.05, 0.05).clamp_min(0) * torch.randn(gray.shape, generator=random)
    expected = (black + (white - black) * toned + grain).clamp(0, 1)

    torch.testing.assert_close(tone_and_grain(gray, seeded(7)), expected)
    assert Degradation(tone=0.35, fade=0.25, grain=0.05) == TONE_AND_GRAIN


def test_old_emulsions_are_insensitive_to_red():
    rgb = torch.zeros(200, 3, 8, 8)
    rgb[:, 0], rgb[:, :, :4] = 0.3, 0.5  # gray above, red below
    rgb[:, 1:, 4:] = 0
    gray = torch.tensor(rgb2yuv(rgb.movedim(1, -1).numpy())[..., 0]).float().unsqueeze(1)

    degraded = degrade(rgb, gray, Degradation(spectrum=1), seeded())

    assert ORTHOCHROMATIC[0] == BLUE_SENSITIVE[0] == 0
    is_black = degraded[:, 0, 7, 0] < 1e-6
    assert float(is_black.float().mean()) == pytest.approx(2 / 3, abs=0.1)


@pytest.mark.parametrize("sigma", [0.5, 1.3, 3.0])
def test_blur_agrees_with_scipy(photographs, sigma):
    _, gray = photographs
    sigmas = torch.tensor([0.0, sigma] * 4)

    blurred = blur(gray, sigmas, sigma)

    torch.testing.assert_close(blurred[::2], gray[::2], atol=1e-6, rtol=0)
    radius = max(1, int(np.ceil(3 * sigma)))
    expected = gaussian_filter(gray[1, 0].numpy(), sigma, mode="nearest", radius=radius)
    np.testing.assert_allclose(blurred[1, 0], expected, atol=1e-5)


@pytest.mark.parametrize("quality", [1, 25, 50, 75, 95, 100])
def test_jpeg_quantization_agrees_with_libjpeg(quality):
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)

    table = _quantization(torch.tensor([float(quality)])).flatten().tolist()

    assert table == Image.open(file).quantization[0]


@pytest.mark.parametrize("quality", [10, 25, 50, 75, 95])
def test_jpeg_agrees_with_a_jpeg_file(photographs, quality):
    pixels = (photographs[1] * 255).round()
    file = io.BytesIO()
    Image.fromarray(pixels[0, 0].byte().numpy()).save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file)).astype(float)

    saved = jpeg(pixels / 255, torch.full((8,), float(quality)))[0, 0].numpy() * 255

    # libjpeg computes in whole numbers, so a few coefficients end on another step.
    assert np.percentile(np.abs(saved - expected), 99) <= 2
    assert np.abs(saved - expected).mean() < 0.5
    assert np.abs(saved - pixels[0, 0].numpy()).mean() > np.abs(saved - expected).mean()


def test_film_grain_is_coarse_and_weakest_in_black_and_white():
    gray = torch.tensor([0.02, 0.5, 0.98]).view(3, 1, 1, 1).expand(3, 1, 64, 64)
    degradation = Degradation(grain=0.1, grain_size=1.5)
    seeds = range(4, 9)  # each of which brings grain

    grain = [
        (degrade(gray, gray, degradation, [seeded(seed) for _ in range(3)]) - gray)[:, 0]
        for seed in seeds
    ]

    for dark, middle, light in grain:
        assert dark.std() < 0.6 * middle.std() and light.std() < 0.6 * middle.std()
    alike = [float((one[1, :, 1:] * one[1, :, :-1]).mean() / one[1].var()) for one in grain]
    assert max(alike) > 0.5 and min(alike) < 0.1


def test_half_of_the_images_have_no_grain_and_no_blur():
    gray = torch.rand(400, 1, 12, 12, generator=seeded())

    for degradation in (Degradation(grain=0.05), Degradation(blur=2.0)):
        degraded = degrade(gray.expand(-1, 3, -1, -1), gray, degradation, seeded(1))
        unchanged = (degraded - gray).abs().amax(dim=(1, 2, 3)) < 1e-3
        assert float(unchanged.float().mean()) == pytest.approx(0.5, abs=0.1)


def test_scratches_and_dust_cover_little_of_an_image():
    gray = torch.full((64, 1, 96, 96), 0.5)

    for degradation in (Degradation(scratches=1), Degradation(dust=1)):
        touched = (degrade(gray, gray, degradation, seeded()) - gray).abs() > 0.05
        share = touched.float().mean(dim=(1, 2, 3))
        assert 0.0005 < float(share.mean()) < 0.06
        assert float(share.max()) < 0.15
