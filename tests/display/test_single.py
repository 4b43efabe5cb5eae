"""Choice of the color arrays, single images, and gray images."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize import display
from napari_colorize.display import (
    DisplayRange,
    PyramidColors,
    Region,
    RegionColors,
    SingleColors,
    StackColors,
    colors_for,
)
from napari_colorize.display.gray import gray_image

PLAIN = {"rgb": False, "limits": (0, 255), "gamma": 1.0}
DTYPES = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", ">u2", ">f4"),
]


def values(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random values from 0 to 120, or 0 to 1 for bool and floats."""
    unit = np.random.default_rng(0).random(shape)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return unit > 0.5
    return (unit if dtype.kind == "f" else unit * 120).astype(dtype)


@pytest.mark.parametrize("gamma", [1.0, 0.4])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gray_equals_a_result_without_saturation(dtype, channels, gamma):
    image = values(dtype, (9, 14, *channels))
    low, high = (10.25, 100) if np.dtype(dtype).kind in "iu" else (0.125, 0.75)
    settings = {"contrast_limits": (low, high), "gamma": gamma, "saturation": 0}

    gray = gray_image(image, DisplayRange(bool(channels), (low, high), gamma))

    wanted = colorizer_of(TintNetwork())(image, rgb=bool(channels), **settings).pixels
    assert gray.dtype == wanted.dtype
    # Both round once; a value between two whole numbers may go either way.
    atol = 1 if gray.dtype.kind in "iu" else 1e-3 if gray.dtype.itemsize == 2 else 1e-6
    np.testing.assert_allclose(gray.astype(float), wanted.astype(float), rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64"])
def test_integers_within_the_limits_keep_their_values(dtype):
    image = values(dtype, (9, 14))

    gray = gray_image(image, DisplayRange(False, (0, 200)))

    np.testing.assert_array_equal(gray, np.repeat(image[..., None], 3, axis=2))


def test_nan_is_shown_as_nan():
    gray = gray_image(np.array([[0.25, np.nan]]), DisplayRange(False, (0, 1)))

    np.testing.assert_array_equal(gray, [[[0.25] * 3, [np.nan] * 3]])


def test_colors_for_chooses_by_shape_and_levels(monkeypatch):
    monkeypatch.setattr(display, "MAX_PIXELS", 1000)
    image, stack, large = (np.zeros(shape, "u1") for shape in ((9, 9), (2, 9, 9), (2, 40, 40)))
    region = Region(slice(0, 5), slice(0, 5), np.ones((5, 5), bool))

    assert isinstance(colors_for(image, **PLAIN), SingleColors)
    assert isinstance(colors_for(stack, **PLAIN), StackColors)
    assert isinstance(colors_for(stack, region=region, **PLAIN), RegionColors)
    assert isinstance(colors_for(large, **PLAIN), PyramidColors)
    assert isinstance(colors_for(stack, levels=[stack, stack[:, ::2, ::2]], **PLAIN), PyramidColors)


def test_a_single_image_shows_the_pixels_of_its_result(tiny_colorizer, ramp):
    plain = colors_for(ramp, rgb=False, limits=(0, 1), gamma=1.0)
    assert plain.data is None and plain.source is ramp and not plain.is_current(())
    result = tiny_colorizer(ramp)

    plain.put((), result)

    assert plain.data is result.pixels and plain.is_current(()) and plain.all_current()
    plain.mark_stale()
    assert plain.data is result.pixels and not plain.is_current(()) and not plain.all_current()


def reading(**changes):
    """Arguments of `colors_for`; the region is a new object each time, as for shapes layers."""
    region = Region(slice(0, 5), slice(0, 5), np.ones((5, 5), bool))
    return {"region": region} | PLAIN | changes


@pytest.mark.parametrize("shape", [(9, 9), (2, 9, 9)])
@pytest.mark.parametrize("kind", ["plain", "region", "levels"])
def test_colors_match_the_arguments_that_they_were_made_with(shape, kind):
    stack, other = np.zeros(shape, "u1"), np.zeros(shape, "u1")
    smaller = Region(slice(0, 5), slice(0, 5), np.eye(5, dtype=bool))
    given = reading(stack=stack)
    if kind != "region":
        given["region"] = None
    if kind == "levels":
        given["levels"] = [stack, stack[..., ::2, ::2]]
    made = colors_for(**given)

    assert made.matches(**given | ({"region": reading()["region"]} if kind == "region" else {}))
    for changes in (
        {"stack": other, "levels": [other, other]},
        {"levels": [stack, other]},
        {"limits": (0, 200)},
        {"gamma": 2.0},
        {"rgb": True},
        {"region": smaller},
    ):
        assert not made.matches(**given | changes)


@pytest.mark.parametrize(
    ("dtype", "limits"), [("uint16", (3, 900)), ("float32", (0, 1)), ("bool", (0, 255))]
)
def test_limits_are_the_values_of_black_and_white(dtype, limits):
    image = values(dtype, (12, 15))
    plain = colors_for(image, rgb=False, limits=(3, 900), gamma=1.0)

    plain.put((), colorizer_of(TintNetwork())(image, contrast_limits=(3, 900)))

    assert plain.limits == limits


def test_importing_display_does_not_import_torch():
    code = "import sys, napari_colorize.display; print('torch' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
