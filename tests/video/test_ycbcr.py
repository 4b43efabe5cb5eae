from __future__ import annotations

import numpy as np
import pytest

from napari_colorize.video.ycbcr import (
    BLUE,
    BT709,
    GREEN,
    RED,
    SMPTE170M,
    YCbCrFormat,
    has_color,
    luminance,
    rec601_luminance,
    standard_format,
    to_codes,
    to_gray,
    to_planes,
)

MATRICES = [1, 4, 5, 6, 7, 9]


def format_of_video(matrix: int = BT709, depth: int = 8, full: bool = False) -> YCbCrFormat:
    return YCbCrFormat(depth, full, matrix, matrix, matrix)


def colors(height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    """Smooth but vivid RGB."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((x + shift) / 5) * np.cos((y - shift) / 7) for shift in (0, 4, 9)]
    unit = np.stack([0.5 + 0.45 * wave for wave in waves], axis=-1)
    return np.rint(unit * np.iinfo(dtype).max).astype(dtype)


def test_luminance_weights_equal_those_of_imaging() -> None:
    from napari_colorize.imaging.color import yuv_from_rgb

    np.testing.assert_allclose([RED, GREEN, BLUE], yuv_from_rgb()[0], atol=1e-9)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_gray_to_code_values_is_exactly_invertible(depth: int, full: bool) -> None:
    ycbcr = format_of_video(depth=depth, full=full)
    codes = np.arange(ycbcr.black, ycbcr.black + ycbcr.span + 1)
    np.testing.assert_array_equal(to_codes(to_gray(codes, ycbcr), ycbcr), codes)
    assert to_gray(codes, ycbcr)[[0, -1]].tolist() == [0, np.iinfo(ycbcr.dtype).max]


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("halved", [(True, True), (False, True), (False, False)])
def test_planes_have_the_given_luminance(
    matrix: int, depth: int, halved: tuple[bool, bool]
) -> None:
    ycbcr = format_of_video(matrix, depth)
    expected = np.random.default_rng(0).integers(ycbcr.top // 4, ycbcr.top // 2, (48, 64))
    planes = to_planes(colors(48, 64, ycbcr.dtype.type), expected, ycbcr, halved=halved)
    np.testing.assert_allclose(luminance(*planes, ycbcr).astype(int), expected, atol=1)


@pytest.mark.parametrize(("matrix", "space"), [(1, 1), (6, 5), (9, 9)])
def test_ffmpeg_decodes_the_same_colors(matrix: int, space: int) -> None:
    av = pytest.importorskip("av")
    ycbcr = format_of_video(matrix)
    rgb = colors(48, 64)
    luma = to_codes(rec601_luminance(rgb), ycbcr)

    frame = av.VideoFrame(64, 48, "yuv444p")
    planes = to_planes(rgb, luma, ycbcr, halved=(False, False))
    for plane, values in zip(frame.planes, planes, strict=True):
        np.ndarray((48, 64), np.uint8, plane, 0, (plane.line_size, 1))[:] = values
    seen = frame.to_ndarray(
        format="rgb24", src_colorspace=space, src_color_range=1, dst_color_range=2
    )

    assert np.abs(seen.astype(int) - rgb).max() <= 4
    assert np.abs(seen.astype(int) - rgb).mean() < 1


@pytest.mark.parametrize("axis", [0, 1])
def test_chroma_samples_lie_between_rows_and_on_even_columns(axis: int) -> None:
    ycbcr = format_of_video(depth=12)
    samples = np.arange(16)
    ramp = ycbcr.neutral + 80 * (samples - 8)
    at = np.interp(np.arange(32), 2 * samples + (0.5 if axis == 0 else 0), ramp)
    by_cb = ycbcr.leak[0] * ycbcr.span / ycbcr.chroma_span
    cb = np.broadcast_to(ramp[:, None] if axis == 0 else ramp, (16, 16)).astype(np.uint16)

    found = luminance(
        np.full((32, 32), 2000, np.uint16), cb, np.full_like(cb, ycbcr.neutral), ycbcr
    )

    line = found[:, 0] if axis == 0 else found[0]
    np.testing.assert_allclose(line, 2000 + by_cb * (at - ycbcr.neutral), atol=0.51)


def test_chroma_of_gray_is_neutral() -> None:
    ycbcr = format_of_video()
    gray = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=-1)
    _, cb, cr = to_planes(gray, gray[..., 0], ycbcr, halved=(True, True))
    assert not has_color(cb, cr, ycbcr)
    assert has_color(cb + np.uint8(9), cr, ycbcr)


@pytest.mark.parametrize(("depth", "slack"), [(8, 2), (10, 8), (12, 32)])
def test_deviations_by_lossy_compression_are_no_colors(depth: int, slack: int) -> None:
    ycbcr = format_of_video(depth=depth)
    neutral = np.full((2, 2), 2 ** (depth - 1), np.uint16)

    assert not has_color(neutral + slack, neutral - slack, ycbcr)
    assert has_color(neutral + slack + 1, neutral, ycbcr)
    assert has_color(neutral, neutral - slack - 1, ycbcr)


@pytest.mark.parametrize(
    ("height", "width", "matrix"),
    [(480, 640, SMPTE170M), (576, 720, 5), (576, 1024, 5), (720, 1280, BT709), (1080, 1440, BT709)],
)
def test_untagged_videos_get_default_tags(height: int, width: int, matrix: int) -> None:
    ycbcr = standard_format(height, width)
    assert (ycbcr.matrix, ycbcr.full) == (matrix, False)
