"""Y'CbCr code values of videos: conversion to gray, and from colors back to code values.

A video stores luma and two chroma planes (Y', Cb, Cr) with one of several matrices, in limited or
full range. This project preserves Rec. 601 luminance. With the matrix of Rec. 601 it equals Y';
with any other matrix, chroma contributes a small part of it (the "leak"). Colors are therefore
written in two steps: first chroma, then the Y' that gives the original luminance together with that
chroma, as a player upsamples it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray, Float32Array

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # ITU-R BT.601, as `color.yuv_from_rgb`
BT709, BT470BG, SMPTE170M = 1, 5, 6  # codes of ITU-T H.273
# ITU-T H.273, table 4: weights of red and of blue in Y', by the code of the matrix.
MATRICES = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    BT470BG: (RED, BLUE),
    SMPTE170M: (RED, BLUE),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
PQ, HLG = 16, 18  # codes of the HDR transfer curves
PAL_HEIGHT = 576
HD_WIDTH = 1024  # untagged videos that are wider than this, or higher than PAL, are read as BT.709
LIMITED, FULL = 1, 2  # FFmpeg's codes of color ranges
NEUTRAL = 2  # code values (of 256) by which lossy formats change the chroma of gray images


@dataclass(frozen=True)
class YCbCrFormat:
    """Relation between code values and colors."""

    depth: int  # bits of a code value
    # Whether black is 0 and white the largest value; otherwise they are 16 and 235 (8 bits)
    full: bool
    # Codes of ITU-T H.273
    matrix: int
    primaries: int
    transfer: int

    @property
    def top(self) -> int:
        """Largest code value."""
        return int(2**self.depth - 1)

    @property
    def black(self) -> int:
        """Code value of black."""
        return 0 if self.full else 16 << (self.depth - 8)

    @property
    def span(self) -> int:
        """Difference of the code values of white and black."""
        return self.top if self.full else 219 << (self.depth - 8)

    @property
    def neutral(self) -> int:
        """Code value of zero chroma."""
        return int(2 ** (self.depth - 1))

    @property
    def chroma_span(self) -> int:
        """Difference of the largest and smallest code value of chroma."""
        return self.top if self.full else 224 << (self.depth - 8)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of gray images: uint8 for 8 bits, uint16 for more."""
        return np.dtype(np.uint8 if self.depth <= 8 else np.uint16)

    @property
    def leak(self) -> tuple[float, float]:
        """Rec. 601 luminance of Cb = 1 and of Cr = 1; zero with the matrix of Rec. 601."""
        red, blue = MATRICES[self.matrix]
        green = 1 - red - blue
        cb = 2 * (1 - blue) * (BLUE - GREEN * blue / green)
        cr = 2 * (1 - red) * (RED - GREEN * red / green)
        return (0.0, 0.0) if self.matrix in (BT470BG, SMPTE170M) else (cb, cr)

    def with_depth(self, depth: int) -> YCbCrFormat:
        """The same format with another number of bits."""
        return YCbCrFormat(depth, self.full, self.matrix, self.primaries, self.transfer)


def standard_format(height: int, width: int, depth: int = 8) -> YCbCrFormat:
    """Default for untagged videos of this size: BT.709 for HD, otherwise BT.601."""
    if width > HD_WIDTH or height > PAL_HEIGHT:
        return YCbCrFormat(depth, False, BT709, BT709, BT709)
    primaries = BT470BG if height == PAL_HEIGHT else SMPTE170M
    return YCbCrFormat(depth, False, primaries, primaries, SMPTE170M)


def luminance(luma: AnyArray, cb: AnyArray, cr: AnyArray, ycbcr: YCbCrFormat) -> AnyArray:
    """Rec. 601 luminance in the code values of luma, shape (Y, X).

    `cb` and `cr` are code values at full or half size. `luma` itself is returned if chroma does not
    contribute.
    """
    if not any(ycbcr.leak):
        return luma
    leak = _leak(cb, cr, ycbcr)
    added = luma + _upsample(leak * np.float32(ycbcr.span), (luma.shape[0], luma.shape[1]))
    return _to_code_values(added, ycbcr)


def has_color(cb: AnyArray, cr: AnyArray, ycbcr: YCbCrFormat) -> bool:
    """Whether chroma deviates from gray by more than the error of lossy formats."""
    slack = NEUTRAL << (ycbcr.depth - 8)
    return any(
        int(plane.max()) - ycbcr.neutral > slack or ycbcr.neutral - int(plane.min()) > slack
        for plane in (cb, cr)
    )


def to_gray(luma: AnyArray, ycbcr: YCbCrFormat) -> AnyArray:
    """Luminance code values as gray over the full range of its dtype; `to_codes` inverts it."""
    gray: AnyArray = _gray_table(ycbcr)[luma]
    return gray


def to_codes(gray: AnyArray, ycbcr: YCbCrFormat) -> AnyArray:
    """Gray over the full range of uint8 or uint16 as code values of luma."""
    codes: AnyArray = _code_table(ycbcr, gray.dtype)[gray]
    return codes


def rec601_luminance(rgb: AnyArray) -> AnyArray:
    """Rec. 601 luminance of RGB `(Y, X, 3)`, in the same dtype."""
    weights = np.array([RED, GREEN, BLUE], np.float32)
    return np.rint(rgb[..., :3] @ weights).astype(rgb.dtype)


def to_planes(
    rgb: AnyArray, luma: AnyArray, ycbcr: YCbCrFormat, *, halved: tuple[bool, bool]
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Colors as Y', Cb and Cr planes of code values, with exactly the given luminance.

    Parameters
    ----------
    rgb : array, shape (Y, X, 3)
        uint8 or uint16 from black to white.
    luma : array, shape (Y, X)
        Rec. 601 luminance of the result, in code values.
    ycbcr : YCbCrFormat
        Format of the result: uint8 for a depth of 8, otherwise uint16.
    halved : (bool, bool)
        Whether chroma has half the rows, half the columns. Sample positions are the default of
        H.264 and H.265: on even columns, between rows.
    """
    white = np.float32(np.iinfo(rgb.dtype).max)
    small = _subsample(rgb, halved)
    chroma = small @ (_to_chroma(ycbcr.matrix) * np.float32(ycbcr.chroma_span / white))
    cb, cr = (
        _to_code_values(chroma[..., position] + np.float32(ycbcr.neutral), ycbcr)
        for position in range(2)
    )
    if any(ycbcr.leak):
        leak = _leak(cb, cr, ycbcr) * np.float32(ycbcr.span)
        luma = _to_code_values(luma - _upsample(leak, (luma.shape[0], luma.shape[1])), ycbcr)
    return luma, cb, cr


@cache
def _gray_table(ycbcr: YCbCrFormat) -> AnyArray:
    codes = np.arange(ycbcr.top + 1, dtype=np.float64)
    unit = ((codes - ycbcr.black) / ycbcr.span).clip(0, 1)
    return np.rint(unit * np.iinfo(ycbcr.dtype).max).astype(ycbcr.dtype)


@cache
def _code_table(ycbcr: YCbCrFormat, dtype: np.dtype[Any]) -> AnyArray:
    white = np.iinfo(dtype).max
    gray = np.arange(white + 1, dtype=np.float64) / white
    return _to_code_values(ycbcr.black + gray * ycbcr.span, ycbcr)


@cache
def _to_chroma(matrix: int) -> Float32Array:
    """(3, 2): contributions of red, green and blue to Cb and Cr."""
    red, blue = MATRICES[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    return np.stack([cb, cr], axis=-1).astype(np.float32)


def _leak(cb: AnyArray, cr: AnyArray, ycbcr: YCbCrFormat) -> Float32Array:
    """Contribution of chroma to luminance, where white is 1."""
    by_cb, by_cr = (np.float32(part / ycbcr.chroma_span) for part in ycbcr.leak)
    zero = np.float32((by_cb + by_cr) * ycbcr.neutral)
    return (cb * by_cb + cr * by_cr - zero).astype(np.float32, copy=False)


def _subsample(rgb: AnyArray, halved: tuple[bool, bool]) -> Float32Array:
    """Chroma subsampling: means of two rows, and of a column with its neighbors."""
    small: AnyArray = rgb[..., :3]
    if halved[0]:
        small = small[0::2] + small[1::2].astype(np.uint32 if rgb.itemsize > 1 else np.uint16)
    values: Float32Array = small.astype(np.float32)
    if halved[1]:
        before = np.concatenate([values[:, :1], values[:, 1:-2:2]], axis=1)
        values = (2 * values[:, 0::2] + before + values[:, 1::2]) / np.float32(4)
    return values / np.float32(2) if halved[0] else values


def _upsample(plane: Float32Array, size: tuple[int, int]) -> Float32Array:
    """Chroma upsampled bilinearly to the size of luma: on even columns, between rows."""
    height, width = size
    if plane.shape[1] != width:
        after = np.concatenate([plane[:, 1:], plane[:, -1:]], axis=1)
        wide = np.empty((len(plane), 2 * plane.shape[1]), np.float32)
        wide[:, 0::2], wide[:, 1::2] = plane, (plane + after) / np.float32(2)
        plane = wide[:, :width]
    if plane.shape[0] != height:
        near = np.float32(0.75) * plane
        far = np.float32(0.25) * plane
        tall = np.empty((2 * len(plane), plane.shape[1]), np.float32)
        tall[0::2] = near + np.concatenate([far[:1], far[:-1]])
        tall[1::2] = near + np.concatenate([far[1:], far[-1:]])
        plane = tall[:height]
    return plane


def _to_code_values(values: AnyArray, ycbcr: YCbCrFormat) -> AnyArray:
    return np.rint(values).clip(0, ycbcr.top).astype(np.uint8 if ycbcr.depth == 8 else np.uint16)
