from __future__ import annotations

import numpy as np
import pytest
import torch
from napari_colorize_training.data.cache import ImageCache, prepare
from napari_colorize_training.data.crops import Crops
from PIL import Image
from skimage.color import rgb2yuv


def images(count: int, dtype=np.uint8) -> np.ndarray:
    """Images of different red, with the column number in green."""
    stack = np.zeros((count, 48, 60, 3), dtype)
    stack[..., 0] = np.arange(count)[:, None, None]
    stack[..., 1] = np.arange(60)
    stack[..., 2] = np.random.default_rng(0).integers(0, 60, (count, 48, 60))
    return stack


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """The training split of a cache of 60 images."""
    cache = tmp_path_factory.mktemp("cache")
    prepare(images(60), cache, validation_share=0.1)
    return ImageCache(cache, validation=False)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """10-bit images with a gray image that is 0.25 and red."""
    cache = tmp_path_factory.mktemp("cache")
    color = images(12, np.uint16) * 16
    prepare({"color": color, "gray": [*(0.25 + color[..., 0].astype(np.float32) / 1000)]}, cache)
    return ImageCache(cache, validation=False)


def test_a_batch_depends_only_on_seed_and_step(photographs):
    first, second = (
        Crops(photographs, side=32, batch=6, crop_scale=(0.5, 1.0), seed=3, threads=threads)
        for threads in (1, 2)
    )
    for step in range(4):
        first.at(step)

    assert torch.equal(first.at(40).rgb, second.at(40).rgb)
    assert torch.equal(first.at(40).seeds, second.at(40).seeds)
    assert not torch.equal(first.at(40).rgb, first.at(41).rgb)


@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_several_processes_get_the_crops_of_one(photographs, ranks):
    options = {"side": 24, "batch": 7, "crop_scale": (0.5, 1.0), "seed": 1}
    whole = Crops(photographs, **options).at(20)

    parts = [Crops(photographs, **options, rank=rank, ranks=ranks).at(20) for rank in range(ranks)]

    assert torch.equal(torch.cat([part.rgb for part in parts]), whole.rgb)
    assert torch.equal(torch.cat([part.seeds for part in parts]), whole.seeds)


def test_more_processes_than_crops_are_refused(photographs):
    with pytest.raises(ValueError, match="3 processes cannot share a batch of 2"):
        Crops(photographs, side=24, batch=2, crop_scale=(1, 1), seed=0, ranks=3)


def test_every_image_is_used_once_in_an_epoch(photographs):
    crops = Crops(photographs, side=16, batch=1, crop_scale=(1.0, 1.0), seed=0)

    drawn = [int(crops.at(step).rgb[0, 0, 0, 0]) for step in range(len(photographs))]

    assert len(set(drawn)) == len(photographs)


def test_a_batch_is_full_even_if_images_are_few(pairs):
    batch = 3 * len(pairs) + 1
    crops = Crops(pairs, side=16, batch=batch, crop_scale=(1.0, 1.0), seed=0)

    assert len(crops.at(0)) == len(crops.at(1)) == batch
    assert len({float(crop[0].mean()) for crop in crops.at(1).rgb}) == len(pairs)


def test_half_of_the_crops_are_flipped_unless_disabled(photographs):
    def mirrored(**options) -> float:
        crops = Crops(photographs, side=48, batch=54, crop_scale=(1, 1), seed=0, **options)
        green = torch.cat([crops.at(step).rgb[:, 1, 0].int() for step in range(4)])
        return float((green[:, -1] < green[:, 0]).float().mean())

    assert mirrored() == pytest.approx(0.5, abs=0.12)
    assert mirrored(horizontal_flip=False) == 0


def test_crops_are_resized_as_in_pillow(photographs):
    crops = Crops(photographs, side=20, batch=1, crop_scale=(1, 1), seed=0, horizontal_flip=False)
    index = int(crops._indices(0)[0])

    crop = crops.at(0).rgb[0].movedim(0, -1).numpy().astype(int)

    wide = photographs[index].rgb
    candidates = [
        np.asarray(Image.fromarray(wide[:, left : left + 48]).resize((20, 20), Image.BILINEAR))
        for left in range(13)
    ]
    assert min(np.abs(candidate - crop).max() for candidate in candidates) <= 1


def test_eight_bit_crops_are_uint8_without_gray(photographs):
    batch = Crops(photographs, side=16, batch=3, crop_scale=(1, 1), seed=0).at(0)

    assert (batch.rgb.dtype, batch.rgb.shape, batch.gray) == (torch.uint8, (3, 3, 16, 16), None)
    torch.testing.assert_close(batch.floats(), batch.rgb / 255)


def test_deep_pairs_are_floats_scaled_by_their_limits(pairs):
    batch = Crops(pairs, side=48, batch=8, crop_scale=(1, 1), seed=0).at(0)

    assert (batch.rgb.dtype, batch.gray.dtype) == (torch.float32, torch.float32)
    assert batch.gray.shape == (8, 1, 48, 48)
    assert batch.rgb.min() == 0 and batch.rgb.max() == pytest.approx(59 * 16 / 1023)
    values = {round(float(crop.mean() - 0.25) * 1000 / 16, 2) for crop in batch.gray}
    assert values <= {float(number) for number in range(12)}
    assert torch.equal(batch.gray.amin((1, 2, 3)), batch.gray.amax((1, 2, 3)))


def test_a_missing_gray_image_is_the_luminance(tmp_path):
    color = images(4)
    Image.fromarray(color[0]).save(tmp_path / "0.png")
    Image.fromarray(color[0, ..., 2]).save(tmp_path / "0 gray.png")
    for number in range(1, 4):
        Image.fromarray(color[number]).save(tmp_path / f"{number}.png")
    rows = ["color,gray", "0.png,0 gray.png", "1.png,", "2.png,", "3.png,"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    prepare(tmp_path / "list.csv", tmp_path / "cache")
    training = ImageCache(tmp_path / "cache", validation=False)

    crops = Crops(training, side=48, batch=len(training), crop_scale=(1, 1), seed=0)
    batch = crops.at(0)

    for rgb, gray in zip(batch.rgb, batch.gray, strict=True):
        expected = rgb2yuv(rgb.movedim(0, -1).numpy())[..., 0]
        if int(rgb[0, 0, 0]):
            np.testing.assert_allclose(gray[0], expected, atol=1e-6)
        else:
            np.testing.assert_allclose(gray[0], rgb[2] / 255, atol=1e-6)


def test_each_crop_has_its_own_generator(photographs):
    batch = Crops(photographs, side=16, batch=5, crop_scale=(1, 1), seed=0).at(3)

    numbers = [float(torch.rand(1, generator=one)) for one in batch.generators()]

    assert len(set(numbers)) == 5
    assert numbers == [float(torch.rand(1, generator=one)) for one in batch.generators()]
