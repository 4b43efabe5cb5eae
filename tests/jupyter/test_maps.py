from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2yuv

from napari_colorize.jupyter.maps import (
    BINS,
    INFERNO,
    as_png,
    attention_map,
    chroma_histogram,
    colored,
    error_map,
    thumbnail,
)


def test_a_ramp_goes_from_its_first_to_its_last_colour():
    values = np.array([[-1, 0, 0.25, 1, 2, np.nan]], np.float32)

    colors = colored(values, INFERNO)

    np.testing.assert_array_equal(
        colors[0, :, :3], [INFERNO[0], INFERNO[0], INFERNO[1], INFERNO[4], INFERNO[4], INFERNO[0]]
    )
    assert (colors[..., 3] == 255).all()


def test_attention_is_brightest_where_it_looks():
    weights = np.zeros((4, 5), np.float32)
    weights[1, 2], weights[3, 3] = 0.9, 0.1

    light = attention_map(weights)[..., :3].sum(-1)

    assert light.argmax() == 1 * 5 + 2
    assert light[3, 3] > light[0, 0]


def test_a_map_of_errors_is_no_larger_than_a_screen():
    assert error_map(np.zeros((3000, 10), np.float32)).shape == (500, 2, 4)


def test_the_histogram_shows_colours_where_they_are(tiny_colorizer, ramp):
    result = tiny_colorizer(ramp)

    shown = chroma_histogram(result)

    assert shown.shape == (BINS, BINS, 3)
    spots = shown.astype(int).max(-1) > 80
    yuv = rgb2yuv(shown / 255)[spots]
    rows, columns = np.nonzero(spots)
    assert np.corrcoef(columns, yuv[:, 1])[0, 1] > 0.9  # U to the right
    assert np.corrcoef(-rows, yuv[:, 2])[0, 1] > 0.9  # V upward


@pytest.mark.parametrize("saturation", [0, 4])
def test_the_histogram_grows_with_saturation(tiny_colorizer, ramp, saturation):
    one = chroma_histogram(tiny_colorizer(ramp))

    other = chroma_histogram(tiny_colorizer(ramp, saturation=saturation))

    def spread(shown: np.ndarray) -> float:
        rows, columns = np.nonzero(shown.astype(int).max(-1) > 80)
        return float(np.hypot(rows - BINS / 2, columns - BINS / 2).max())

    assert (spread(other) > spread(one)) is (saturation > 1)


def test_a_thumbnail_fits_and_can_be_sent(tiny_colorizer, ramp):
    small = thumbnail(tiny_colorizer(ramp), 16)

    assert small.shape == (12, 16, 3)
    np.testing.assert_array_equal(Image.open(io.BytesIO(as_png(small))), small)
