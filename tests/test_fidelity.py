"""The 8-bit steps compared with images made by DeOldify and the IPOL program."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from reference import load_arrays, reference_network
from torch import Tensor, nn

from napari_colorize import fidelity
from napari_colorize.fidelity import Network
from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD
from napari_colorize.networks.fuse import fuse

STEPS = ("square_input", "square_output", "raw")
PICTURES = ("astronaut", "chelsea", "rocket")
# One input of each kind for both networks; all others are slow.
QUICK = {
    "deep": [("chelsea", "original", 10), ("rocket", "small", 10), ("chelsea", "gray", 10)],
    "wide": [("astronaut", "small", 10), ("chelsea", "gray", 10)],
}
SLOW = {
    "deep": [
        ("astronaut", "original", 21),
        ("astronaut", "small", 10),
        ("astronaut", "small", 21),
        ("astronaut", "small", 35),
        ("chelsea", "original", 21),
        ("chelsea", "original", 35),
        ("chelsea", "small", 10),
        ("chelsea", "small", 21),
        ("chelsea", "small", 35),
        ("chelsea", "gray", 21),
        ("rocket", "original", 35),
        ("rocket", "small", 21),
        ("rocket", "small", 35),
    ],
    "wide": [
        ("astronaut", "small", 21),
        ("chelsea", "original", 21),
        ("chelsea", "small", 10),
        ("chelsea", "small", 21),
        ("rocket", "small", 10),
    ],
}


def fused(name: str) -> nn.Module:
    return fuse(reference_network(name)[0]).to(memory_format=torch.channels_last)


@pytest.fixture(scope="module", params=["deep", "wide"])
def deoldify(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    return request.param, fused(request.param)


@pytest.fixture(scope="module")
def ipol() -> Network:
    network, answers = fused("ipol"), {}

    def ask_once(x: Tensor, self_attention: bool) -> Tensor:
        question = x.numpy().tobytes(), self_attention
        if question not in answers:
            answers[question] = network(x, self_attention)
        return answers[question]

    return ask_once


@pytest.fixture(scope="module", autouse=True)
def free_memory() -> Iterator[None]:
    yield
    gc.collect()


def orange_network(x: Tensor, self_attention: bool) -> Tensor:
    """Network that returns orange for every input; darker with self-attention."""
    shade = 0.5 if self_attention else 1.0
    rgb = torch.tensor([1.0, 0.5, 0.1]).view(1, 3, 1, 1) * shade
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((rgb - mean) / std).expand_as(x)


def assert_same_image(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Differences of at most 2 levels in 0.05 % of the values, from the order of sums."""
    difference = np.abs(ours.astype(int) - theirs)
    assert ours.dtype == np.uint8
    assert ours.shape == theirs.shape
    assert difference.max() <= 2
    assert (difference > 0).mean() <= 5e-4


def check_deoldify(name: str, network: nn.Module, cases: list[tuple[str, str, int]]) -> None:
    for picture, kind, render_factor in cases:
        stored = load_arrays(f"deoldify/pipeline_{picture}.npz")
        image, _ = fidelity.to_8bit_rgb(stored[f"input_{kind}"], (0, 255))
        ours = fidelity.deoldify(image, network, render_factor)
        assert_same_image(ours, stored[f"output_{name}_{kind}_rf{render_factor}"])


def test_images_equal_those_of_deoldify(deoldify) -> None:
    name, network = deoldify
    check_deoldify(name, network, QUICK[name])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_other_images_equal_those_of_deoldify(deoldify) -> None:
    name, network = deoldify
    check_deoldify(name, network, SLOW[name])


def test_every_step_equals_that_of_deoldify(deoldify) -> None:
    name, network = deoldify
    stored = load_arrays("deoldify/pipeline_astronaut.npz")
    image, step = stored["input_small"], {key: stored[f"{key}_{name}_small_rf10"] for key in STEPS}

    square = fidelity.to_luma(fidelity.resize(image, (160, 160)))
    predicted = fidelity.predict_rgb(square, network, True)

    np.testing.assert_array_equal(square, step["square_input"])
    assert_same_image(predicted, step["square_output"])


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("name", ["deep", "wide"])
def test_steps_without_a_network_equal_those_of_deoldify_bit_for_bit(picture, name) -> None:
    stored = load_arrays(f"deoldify/pipeline_{picture}.npz")
    image = stored["input_small"]
    square, predicted, raw = (stored[f"{step}_{name}_small_rf10"] for step in STEPS)

    np.testing.assert_array_equal(fidelity.to_luma(fidelity.resize(image, square.shape)), square)
    np.testing.assert_array_equal(fidelity.resize(predicted, raw.shape[:2]), raw)
    np.testing.assert_array_equal(fidelity.merge(image, raw), stored[f"output_{name}_small_rf10"])


@pytest.mark.parametrize("saturation", [0.5, 1.0, 2.0])
def test_images_equal_those_of_the_ipol_program(ipol, saturation) -> None:
    stored = load_arrays("ipol/uv.npz")

    ours = fidelity.ipol(stored["picture_input"], ipol, 12, saturation=saturation)

    assert_same_image(ours, stored[f"picture_output_rf12_saturation{saturation}"])


def test_images_without_post_processing_equal_those_of_the_ipol_program(ipol) -> None:
    stored = load_arrays("ipol/uv.npz")

    ours = fidelity.ipol(stored["picture_input"], ipol, 12, saturation=1.0, post_process=False)

    assert_same_image(ours, stored["picture_output_rf12_saturation1.0_without_post_process"])


def all_colors() -> np.ndarray:
    levels = np.arange(256, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return grid.reshape(4096, 4096, 3)


def sha256_of(*planes: Tensor) -> str:
    pixels = torch.stack(planes).movedim(0, -1).to(torch.uint8).contiguous()
    return hashlib.sha256(pixels.numpy()).hexdigest()


def test_all_colors_are_converted_as_by_opencv() -> None:
    # Checksums of cv2.cvtColor(all_colors(), ...), opencv-python-headless 5.0.0.93.
    rgb_to_yuv = "76cde9879cd323160c1b4de70b413964dc29d45084f84c138e64056b6e926e08"
    yuv_to_rgb = "ac614a81a28a1f3b85c04fb212ae3f0aef9dd15ce54c555b45bdc9527887bfb5"
    colors = torch.from_numpy(all_colors()).movedim(-1, 0).int()

    assert sha256_of(fidelity.luma(colors), *fidelity.chroma(colors)) == rgb_to_yuv
    assert sha256_of(*fidelity.yuv_to_rgb(*colors)) == yuv_to_rgb


def test_conversions_are_rec_601_within_rounding() -> None:
    rgb = torch.randint(0, 256, (3, 1000), generator=torch.Generator().manual_seed(0)).int()
    red, green, blue = rgb.double()
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    u = (0.492 * (blue - y) + 128).clamp(0, 255)
    v = (0.877 * (red - y) + 128).clamp(0, 255)

    converted = torch.stack([fidelity.luma(rgb), *fidelity.chroma(rgb)])

    assert (converted - torch.stack([y, u, v])).abs().max() <= 1
    inside = (u > 0) & (u < 255) & (v > 0) & (v < 255)
    back = fidelity.yuv_to_rgb(*converted)
    assert (back - rgb)[:, inside].abs().max() <= 3


@pytest.mark.parametrize("colorize", [fidelity.deoldify, fidelity.ipol])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 7)])
def test_results_have_the_size_of_the_image(colorize, shape) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)

    result = colorize(image, orange_network, 1)

    assert result.shape == image.shape
    assert result.dtype == np.uint8


@pytest.mark.parametrize("colorize", [fidelity.deoldify, fidelity.ipol])
def test_settings_have_their_effect(colorize) -> None:
    image = np.full((20, 20, 3), 128, np.uint8)

    result = colorize(image, orange_network, 2, saturation=1.0)
    vivid = colorize(image, orange_network, 2, saturation=2.0)
    gray = colorize(image, orange_network, 2, saturation=0.0)
    local = colorize(image, orange_network, 2, saturation=1.0, self_attention=False)
    predicted = colorize(image, orange_network, 2, saturation=1.0, post_process=False)

    assert np.ptp(vivid, axis=-1).mean() > np.ptp(result, axis=-1).mean() > 0
    assert np.ptp(gray, axis=-1).max() == 0
    assert not np.array_equal(local, result)
    assert abs(int(predicted[0, 0, 0]) - 127) <= 1  # half of full red


def test_the_network_input_is_a_square_of_16_times_the_render_factor() -> None:
    inputs = []

    def network(x: Tensor, self_attention: bool) -> Tensor:
        inputs.append((tuple(x.shape), x.dtype, self_attention))
        return x

    fidelity.deoldify(np.zeros((30, 50, 3), np.uint8), network, 3, self_attention=False)

    assert inputs == [((1, 3, 48, 48), torch.float32, False)]


def test_8_bit_rgb_is_unchanged_and_alpha_dropped() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)

    pixels, note = fidelity.to_8bit_rgb(image, (0, 255))

    np.testing.assert_array_equal(pixels, image[..., :3])
    assert note is None


@pytest.mark.parametrize(
    ("image", "limits"),
    [
        (np.array([[0, 0x8150, 65535]], np.uint16), (0, 65535)),
        (np.array([[0.0, 0.504, 1.0]], np.float32), (0.0, 1.0)),
        (np.array([[-5.0, 0.06, 7.0]]), (-5.0, 5.0)),
        (np.array([[2**62, 2**62 + 504, 2**62 + 1000]]), (2**62, 2**62 + 1000)),
    ],
)
def test_deeper_images_are_converted_to_8_bit_with_a_note(image, limits) -> None:
    pixels, note = fidelity.to_8bit_rgb(image, limits)

    assert pixels.dtype == np.uint8
    assert pixels.shape == (1, 3, 3)
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 129, 255])
    assert note == fidelity.MADE_8_BIT


def test_limits_gamma_and_nan_are_applied() -> None:
    image = np.array([[np.nan, 10.0, 20.0, 30.0]], np.float32)

    pixels, _ = fidelity.to_8bit_rgb(image, (10, 30), gamma=2.0)

    np.testing.assert_array_equal(pixels[0, :, 1], [0, 0, 64, 255])


def test_bool_becomes_black_and_white_without_a_note() -> None:
    pixels, note = fidelity.to_8bit_rgb(np.array([[False, True]]), (0, 1))

    np.testing.assert_array_equal(pixels[0, :, 2], [0, 255])
    assert note is None


def test_luma_equals_that_of_pillow() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    red, green, blue = np.moveaxis(image.astype(np.int64), -1, 0)

    expected = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16

    np.testing.assert_array_equal(fidelity.to_luma(image), expected)
