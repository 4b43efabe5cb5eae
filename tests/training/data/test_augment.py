from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from napari_colorize_training.data.augment import (
    NONE,
    PHOTOGRAPHS,
    PRESETS,
    STAINS,
    Augmentation,
    augment,
    transforms,
)
from skimage import data
from skimage.color import rgb2hed
from skimage.transform import ProjectiveTransform, warp


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def rgb() -> torch.Tensor:
    crops = [data.astronaut()[y : y + 64, x : x + 64] for y in (0, 200) for x in (50, 200, 300)]
    return torch.from_numpy(np.stack(crops)).movedim(-1, 1).float() / 255


def is_one_of(image, others) -> bool:
    return any(torch.allclose(image, other, atol=1e-5) for other in others)


@pytest.mark.parametrize("augmentation", [PHOTOGRAPHS, STAINS], ids=["photographs", "stains"])
def test_augmentation_is_reproducible(rgb, augmentation):
    changed, gray = augment(rgb, None, augmentation, seeded())

    assert gray is None
    assert changed.shape == rgb.shape
    assert float(changed.min()) >= 0 and float(changed.max()) <= 1
    assert torch.equal(changed, augment(rgb, None, augmentation, seeded())[0])
    assert not torch.equal(changed, augment(rgb, None, augmentation, seeded(1))[0])


@pytest.mark.parametrize("augmentation", [PHOTOGRAPHS, STAINS], ids=["photographs", "stains"])
def test_augmentation_does_not_depend_on_the_batch(rgb, augmentation):
    whole, _ = augment(rgb, None, augmentation, [seeded(number) for number in range(6)])

    last, _ = augment(rgb[4:], None, augmentation, [seeded(4), seeded(5)])

    torch.testing.assert_close(last, whole[4:], atol=1e-5, rtol=0)


def test_the_default_changes_nothing(rgb):
    assert Augmentation() == NONE and PRESETS["stains"] is STAINS
    assert torch.equal(augment(rgb, None, NONE, seeded())[0], rgb)


def test_gray_and_colors_move_together(rgb):
    gray = rgb[:, 1:2]

    changed, moved = augment(rgb, gray, PHOTOGRAPHS, seeded())

    torch.testing.assert_close(moved, changed[:, 1:2])


def test_turns_are_the_eight_symmetries_of_a_square(rgb):
    one = rgb[:1].expand(64, -1, -1, -1)
    eight = [
        torch.rot90(side, quarters, (1, 2))
        for side in (rgb[0], rgb[0].flip(-1))
        for quarters in range(4)
    ]

    turned, _ = augment(one, None, Augmentation(turns=True), seeded())

    assert all(is_one_of(image, eight) for image in turned)
    assert all(is_one_of(wanted, turned) for wanted in eight)


def test_half_of_the_images_are_flipped(rgb):
    one = rgb[:1].expand(200, -1, -1, -1)

    mirrored, _ = augment(one, None, Augmentation(mirror=0.5), seeded())

    count = sum(torch.allclose(image, rgb[0].flip(-1), atol=1e-5) for image in mirrored)
    assert count == pytest.approx(100, abs=25)
    assert all(is_one_of(image, [rgb[0], rgb[0].flip(-1)]) for image in mirrored)


def test_geometry_agrees_with_scikit_images_projective_warp(rgb):
    augmentation = Augmentation(rotate=10, zoom=1.2, warp=0.25, probability=1.0)
    images = rgb[:, :, :, :48]  # higher than wide
    moved, _ = augment(images, None, augmentation, seeded())

    views = transforms(images, augmentation, seeded())

    height, width = images.shape[-2:]
    to_unit = np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]])
    for image, view, result in zip(images, views.double().numpy(), moved, strict=True):
        inverse_map = ProjectiveTransform(np.linalg.inv(to_unit) @ view @ to_unit)
        expected = warp(image[0].numpy().astype(float), inverse_map, order=1, cval=np.nan)
        inside = np.isfinite(expected)
        assert inside.mean() > 0.5
        np.testing.assert_allclose(result[0].numpy()[inside], expected[inside], atol=1e-4)


def test_angles_are_degrees_for_every_aspect_ratio():
    augmentation = Augmentation(rotate=10, probability=1.0)

    [view] = transforms(torch.zeros(1, 3, 40, 80), augmentation, seeded())

    moved = view[:2, :2] * torch.tensor([80.0, 40.0])[:, None] / torch.tensor([80.0, 40.0])
    torch.testing.assert_close(moved @ moved.T, torch.eye(2))
    assert abs(math.degrees(math.asin(float(moved[1, 0])))) <= 10


def test_zooming_leaves_no_border_empty():
    views = transforms(torch.zeros(300, 3, 8, 8), Augmentation(zoom=1.5, probability=1.0), seeded())
    corners = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)])

    mapped = corners @ views.transpose(1, 2)

    assert float(mapped.abs().max()) <= 1 + 1e-6
    assert float(views[:, 0, 0].min()) == pytest.approx(1 / 1.5, abs=0.01)


def test_warping_moves_corners_by_at_most_a_quarter():
    views = transforms(
        torch.zeros(300, 3, 8, 8), Augmentation(warp=0.25, probability=1.0), seeded()
    )
    right = torch.tensor([1.0, 0.0, 1.0])

    mapped = right @ views.transpose(1, 2)
    x = mapped[:, 0] / mapped[:, 2]

    assert float(x.max()) <= 1.25 and float(x.min()) >= 1 / 1.25


def test_lighting_is_monotone_and_has_fastais_strength():
    gray = torch.full((2000, 3, 2, 2), 0.5)

    lit, _ = augment(gray, None, Augmentation(lighting=0.5, probability=1.0), seeded())

    values = lit[:, 0, 0, 0]
    # Brightness alone moves middle gray to between 0.25 and 0.75; contrast doubles the logit.
    assert float(values.max()) == pytest.approx(1 / (1 + 3**-2), abs=0.02)
    assert float(values.min()) == pytest.approx(1 / (1 + 3**2), abs=0.02)
    assert float(values.mean()) == pytest.approx(0.5, abs=0.02)


def test_stain_densities_change_within_the_limit():
    tissue = (
        torch.from_numpy(data.immunohistochemistry()[:64, :64]).movedim(-1, 0)[None].float() / 255
    )
    many = tissue.expand(50, -1, -1, -1)

    stained, _ = augment(many, None, Augmentation(stain=0.05), seeded())

    before = rgb2hed(tissue[0].movedim(0, -1).numpy().astype(float)) * -math.log(1e-6)
    for image in stained[:5]:
        after = rgb2hed(image.movedim(0, -1).numpy().astype(float)) * -math.log(1e-6)
        assert np.median(np.abs(after - before)) <= 0.05 * (1 + np.abs(before).max())
    spread = stained.mean(dim=(2, 3)).std(dim=0)
    assert bool((spread > 0.003).all())


def test_gray_images_of_the_source_are_not_stained(rgb):
    gray = rgb[:, :1]

    _, after = augment(rgb, gray, Augmentation(stain=0.1), seeded())

    assert torch.equal(after, gray)
