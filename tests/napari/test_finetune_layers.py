"""Color layers as training images: they are written as displayed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from napari_colorize.errors import ImageError
from napari_colorize.napari.finetune.training_data import (
    SIDE,
    add_correction,
    colors_of,
    corrections,
    write_images,
)


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "own"))


def layer_of(data, limits=(0, 255), gamma=1.0, *, multiscale=False) -> SimpleNamespace:
    """The attributes of a napari layer that are used."""
    return SimpleNamespace(
        name="slide: 1/2",
        data=data,
        rgb=True,
        multiscale=multiscale,
        contrast_limits=list(limits),
        gamma=gamma,
    )


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (33, 47, 4), dtype=np.uint8)


def test_uint8_is_written_unchanged_without_alpha(pixels, tmp_path):
    (path,) = write_images([colors_of(layer_of(pixels))], tmp_path)

    np.testing.assert_array_equal(read(path), pixels[..., :3])


@pytest.mark.parametrize(
    ("dtype", "high"), [("float16", 1), ("float32", 1), ("float64", 1), ("uint16", 65535)]
)
def test_other_dtypes_are_written_as_displayed(pixels, tmp_path, dtype, high):
    data = (pixels[..., :3] / 255 * high).astype(dtype)

    (path,) = write_images([colors_of(layer_of(data, (0, high)))], tmp_path)

    np.testing.assert_allclose(read(path), pixels[..., :3], atol=1)


def test_limits_and_gamma_are_applied(tmp_path):
    data = np.full((40, 40, 3), 100, np.uint8)

    (path,) = write_images([colors_of(layer_of(data, (0, 200), 2.0))], tmp_path)

    assert (read(path) == round(0.25 * 255)).all()


def test_every_plane_of_a_lazy_stack_is_written(tmp_path):
    da = pytest.importorskip("dask.array")
    planes = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1) + np.zeros((1, 1, 8, 8, 3), "u1")

    paths = write_images([colors_of(layer_of(da.from_array(planes)))], tmp_path)

    assert [int(read(path)[0, 0, 0]) for path in paths] == [0, 1, 2, 3, 4, 5]


def test_large_images_are_reduced_and_the_smallest_sufficient_level_is_used(tmp_path):
    large = np.zeros((4 * SIDE, 5 * SIDE, 3), np.uint8)
    levels = [large, large[::2, ::2], np.full((SIDE, SIDE, 3), 9, np.uint8), large[:8, :8]]

    single, multiscale = write_images(
        [colors_of(layer_of(large)), colors_of(layer_of(levels, multiscale=True))], tmp_path
    )

    assert SIDE <= min(read(single).shape[:2]) < 2 * SIDE
    assert read(multiscale).shape == (SIDE, SIDE, 3) and (read(multiscale) == 9).all()


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (None, "No layer is selected"),
        (SimpleNamespace(name="cells", rgb=False), "cells is not a color layer"),
        (SimpleNamespace(name="labels"), "labels is not a color layer"),
    ],
)
def test_other_layers_are_refused(layer, sentence):
    with pytest.raises(ImageError, match=sentence):
        colors_of(layer)


def test_corrections_get_distinct_names(pixels):
    stack = colors_of(layer_of(np.stack([pixels, pixels[::-1]])))

    first, second = (add_correction(stack, (index,)) for index in range(2))

    assert corrections() == [first, second]
    assert "slide- 1-2" in first.name
    np.testing.assert_array_equal(read(second), pixels[::-1, :, :3])
