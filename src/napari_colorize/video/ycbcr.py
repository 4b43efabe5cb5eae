"""What a film's numbers mean: code values to gray, and colours to code values.

A film stores luma and two chroma planes (Y', Cb, Cr) by one of several matrices, in limited or
full range. Luminance here is Rec. 601's, in which this project keeps pictures unchanged. By the
matrix of Rec. 601 it is Y' itself; by any other, chroma carries a little of it (its "leak"). So
colours are written in two steps: chroma first, and then the Y' that together with that chroma, as
a player will enlarge it, has the luminance that the film had.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[Any]  # unsigned integers as a film stores them

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # ITU-R BT.601, as `color.yuv_from_rgb`
BT709, BT470BG, SMPTE170M = 1, 5, 6  # codes of ITU-T H.273
# ITU-T H.273, table 4: shares of red and of blue in Y', by the code of the matrix.
MATRICES = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    BT470BG: (RED, BLUE),
    SMPTE170M: (RED, BLUE),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
PQ, HLG = 16, 18  # codes of the transfer curves of HDR
PAL_HEIGHT = 576
HD_WIDTH = 1024  # from here on, or above PAL's height, untagged films are taken for BT.709
LIMITED, FULL = 1, 2  # as FFmpeg numbers ranges
NEUTRAL = 2  # code values, of 256, by which lossy formats move the chroma of gray pictures


@dataclass(frozen=True)
class YCbCrFormat:
    """How code values and colours belong together.

    Parameters
    ----------
    depth : int
        Bits of a code value.
    full : bool
        Black is 0 and white the largest value; else 16 and 235, of 256.
    matrix, primaries, transfer : int
        Codes of ITU-T H.273.
    """

    depth: int
    full: bool
    matrix: int
    primaries: int
    transfer: int

    @property
    def top(self) -> int:
        """The largest code value."""
        return int(2**self.depth - 1)

    @property
    def black(self) -> int:
        """Code value of black."""
        return 0 if self.full else 16 << (self.depth - 8)

    @property
    def span(self) -> int:
        """From black to white."""
        return self.top if self.full else 219 << (self.depth - 8)

    @property
    def neutral(self) -> int:
        """Code value of chroma that has no colour."""
        return int(2 ** (self.depth - 1))

    @property
    def chroma_span(self) -> int:
        """From the most negative chroma to the most positive."""
        return self.top if self.full else 224 << (self.depth - 8)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of gray that spans its type: 8 bits stay 8, more become 16."""
        return np.dtype(np.uint8 if self.depth <= 8 else np.uint16)

    @property
    def leak(self) -> tuple[float, float]:
        """What Cb and Cr of 1 add to Rec. 601 luminance; nothing by the matrix of Rec. 601."""
        red, blue = MATRICES[self.matrix]
        green = 1 - red - blue
        cb = 2 * (1 - blue) * (BLUE - GREEN * blue / green)
        cr = 2 * (1 - red) * (RED - GREEN * red / green)
        return (0.0, 0.0) if self.matrix in (BT470BG, SMPTE170M) else (cb, cr)

    def with_depth(self, depth: int) -> YCbCrFormat:
        """The same colours in code values of another depth."""
        return YCbCrFormat(depth, self.full, self.matrix, self.primaries, self.transfer)


def standard_format(height: int, width: int, depth: int = 8) -> YCbCrFormat:
    """What is usual for a film of this size that does not say: BT.709 for HD, else BT.601."""
    if width > HD_WIDTH or height > PAL_HEIGHT:
        return YCbCrFormat(depth, False, BT709, BT709, BT709)
    primaries = BT470BG if height == PAL_HEIGHT else SMPTE170M
    return YCbCrFormat(depth, False, primaries, primaries, SMPTE170M)


def luminance(luma: Codes, cb: Codes, cr: Codes, tones: YCbCrFormat) -> Codes:
    """Rec. 601 luminance in the code values of luma.

    Parameters
    ----------
    luma : array, shape (Y, X)
        Code values of Y'.
    cb, cr : array, shape (y, x)
        Of chroma, at full size or half of it.
    tones : Tones
        How they are meant.

    Returns
    -------
    array, shape (Y, X)
        `luma` itself where chroma adds nothing.
    """
    if not any(tones.leak):
        return luma
    leak = _leak(cb, cr, tones)
    added = luma + _enlarged(leak * np.float32(tones.span), (luma.shape[0], luma.shape[1]))
    return _rounded(added, tones)


def has_color(cb: Codes, cr: Codes, tones: YCbCrFormat) -> bool:
    """Whether chroma says more than what lossy formats make of gray."""
    slack = NEUTRAL << (tones.depth - 8)
    return any(
        int(plane.max()) - tones.neutral > slack or tones.neutral - int(plane.min()) > slack
        for plane in (cb, cr)
    )


def to_gray(luma: Codes, tones: YCbCrFormat) -> Codes:
    """Code values of luminance as gray that spans uint8 or uint16; back by `to_codes`, exactly."""
    gray: Codes = _gray_table(tones)[luma]
    return gray


def to_codes(gray: Codes, tones: YCbCrFormat) -> Codes:
    """Gray that spans uint8 or uint16 as code values of luma."""
    codes: Codes = _code_table(tones, gray.dtype)[gray]
    return codes


def gray_of(rgb: Codes) -> Codes:
    """Rec. 601 luminance of RGB `(Y, X, 3)`, of its dtype."""
    weights = np.array([RED, GREEN, BLUE], np.float32)
    return np.rint(rgb[..., :3] @ weights).astype(rgb.dtype)


def to_planes(
    rgb: Codes, luma: Codes, tones: YCbCrFormat, *, halved: tuple[bool, bool]
) -> tuple[Codes, Codes, Codes]:
    """Colours as a film stores them, of exactly the luminance wanted.

    Parameters
    ----------
    rgb : array, shape (Y, X, 3)
        uint8 or uint16 from black to white.
    luma : array, shape (Y, X)
        Rec. 601 luminance wanted, in code values.
    tones : Tones
        Of the result.
    halved : (bool, bool)
        Whether chroma has half the rows, half the columns. Samples lie as H.264 and H.265 have
        them if nothing is said: on even columns, between rows.

    Returns
    -------
    Y', Cb, Cr : arrays of code values
        uint8 for a depth of 8, else uint16.
    """
    white = np.float32(np.iinfo(rgb.dtype).max)
    small = _shrunk(rgb, halved)
    chroma = small @ (_to_chroma(tones.matrix) * np.float32(tones.chroma_span / white))
    cb, cr = (_rounded(chroma[..., place] + np.float32(tones.neutral), tones) for place in range(2))
    if any(tones.leak):
        leak = _leak(cb, cr, tones) * np.float32(tones.span)
        luma = _rounded(luma - _enlarged(leak, (luma.shape[0], luma.shape[1])), tones)
    return luma, cb, cr


@cache
def _gray_table(tones: YCbCrFormat) -> Codes:
    codes = np.arange(tones.top + 1, dtype=np.float64)
    unit = ((codes - tones.black) / tones.span).clip(0, 1)
    return np.rint(unit * np.iinfo(tones.dtype).max).astype(tones.dtype)


@cache
def _code_table(tones: YCbCrFormat, dtype: np.dtype[Any]) -> Codes:
    white = np.iinfo(dtype).max
    gray = np.arange(white + 1, dtype=np.float64) / white
    return _rounded(tones.black + gray * tones.span, tones)


@cache
def _to_chroma(matrix: int) -> NDArray[np.float32]:
    """(3, 2): what red, green and blue are in Cb and Cr."""
    red, blue = MATRICES[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    return np.stack([cb, cr], axis=-1).astype(np.float32)


def _leak(cb: Codes, cr: Codes, tones: YCbCrFormat) -> NDArray[np.float32]:
    """What chroma adds to luminance, where white is 1."""
    by_cb, by_cr = (np.float32(part / tones.chroma_span) for part in tones.leak)
    zero = np.float32((by_cb + by_cr) * tones.neutral)
    return (cb * by_cb + cr * by_cr - zero).astype(np.float32, copy=False)


def _shrunk(rgb: Codes, halved: tuple[bool, bool]) -> NDArray[np.float32]:
    """Means of two rows, and of a column and its neighbours."""
    small: Codes = rgb[..., :3]
    if halved[0]:
        small = small[0::2] + small[1::2].astype(np.uint32 if rgb.itemsize > 1 else np.uint16)
    values: NDArray[np.float32] = small.astype(np.float32)
    if halved[1]:
        before = np.concatenate([values[:, :1], values[:, 1:-2:2]], axis=1)
        values = (2 * values[:, 0::2] + before + values[:, 1::2]) / np.float32(4)
    return values / np.float32(2) if halved[0] else values


def _enlarged(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Chroma at the size of luma, bilinear: samples on even columns, between rows."""
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


def _rounded(values: NDArray[Any], tones: YCbCrFormat) -> Codes:
    return np.rint(values).clip(0, tones.top).astype(np.uint8 if tones.depth == 8 else np.uint16)
