"""Images for the notebook widgets: chroma histogram and thumbnails."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2yuv

from napari_colorize.jupyter.thumbnails import HISTOGRAM_BINS, as_png, chroma_histogram, thumbnail


def test_the_cells_of_the_histogram_have_their_own_color(tiny_colorizer, ramp):
    result = tiny_colorizer(ramp)

    histogram = chroma_histogram(result)

    assert histogram.shape == (HISTOGRAM_BINS, HISTOGRAM_BINS, 3)
    cells = histogram.astype(int).max(-1) > 80
    yuv = rgb2yuv(histogram / 255)[cells]
    rows, columns = np.nonzero(cells)
    assert np.corrcoef(columns, yuv[:, 1])[0, 1] > 0.9  # U to the right
    assert np.corrcoef(-rows, yuv[:, 2])[0, 1] > 0.9  # V upward


@pytest.mark.parametrize("saturation", [0, 4])
def test_the_histogram_grows_with_saturation(tiny_colorizer, ramp, saturation):
    one = chroma_histogram(tiny_colorizer(ramp))

    other = chroma_histogram(tiny_colorizer(ramp, saturation=saturation))

    def extent(histogram: np.ndarray) -> float:
        rows, columns = np.nonzero(histogram.astype(int).max(-1) > 80)
        return float(np.hypot(rows - HISTOGRAM_BINS / 2, columns - HISTOGRAM_BINS / 2).max())

    assert (extent(other) > extent(one)) is (saturation > 1)


def test_a_thumbnail_keeps_the_aspect_ratio_and_survives_png(tiny_colorizer, ramp):
    small = thumbnail(tiny_colorizer(ramp), 16)

    assert small.shape == (12, 16, 3)
    np.testing.assert_array_equal(Image.open(io.BytesIO(as_png(small))), small)
