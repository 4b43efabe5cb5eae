"""Tint: chrominance as it is laid over a plane, at any size and any part of it.

Small maps and the plane's own gray say all of it: U and V of a pixel are `slope * gray + offset`,
both maps enlarged bilinearly. So colours stop where the gray does, a picture of any size is
coloured strip by strip, and nothing of full size is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_colorize.imaging.color import chroma_to_offset
from napari_colorize.imaging.resample import Window, enlarged, nearest
from napari_colorize.refine.damping import shadow_factor

WIDE = 2**24  # values of a map that is enlarged along columns all at once: 64 MB


@dataclass(frozen=True, eq=False)
class ChromaField:
    """U and V of a picture: `slope * gray + offset`.

    Parameters
    ----------
    offset : Tensor, shape (h, w, 2)
        float32, of any size.
    slope : Tensor, shape (h, w, 2), optional
        What a gray brighter by 1 adds; of the offset's size. None: nothing.
    """

    offset: Tensor
    slope: Tensor | None = None

    def to(self, device: torch.device | str) -> ChromaField:
        """The same on a device."""
        return ChromaField(
            self.offset.to(device), None if self.slope is None else self.slope.to(device)
        )


@dataclass(frozen=True, eq=False)
class FixedPixels:
    """Pixels of the full picture whose colour is given, whatever the saturation.

    Parameters
    ----------
    rows, columns : Tensor, shape (n,)
        int64, where they are; rows ascending.
    uv : Tensor, shape (n, 2)
        Their chrominance.
    size : tuple of int
        Height and width of the full picture.
    """

    rows: Tensor
    columns: Tensor
    uv: Tensor
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class ChromaLayers:
    """What `pipeline.compose` lays over a plane.

    Parameters
    ----------
    colors : Field
        Predicted colours; saturation scales them.
    correction : Field, optional
        Added to these, scaled with them: what they give up to colours that a person gave.
    hinted : Field, optional
        Colours that a person gave, added as they are.
    strokes : Strokes, optional
        Where they were given: exactly these.
    shadows : float
        Luminance below which the predicted colours fade out, see `taming.shadow_factor`.
    mask : ndarray of bool, shape (Y, X), optional
        Of the full picture: outside, the image stays as it was.
    """

    colors: ChromaField
    correction: ChromaField | None = None
    hinted: ChromaField | None = None
    strokes: FixedPixels | None = None
    shadows: float = 0.0
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        fields = [self.colors, self.correction, self.hinted]
        maps = [part for one in fields if one is not None for part in (one.offset, one.slope)]
        if self.strokes is not None:
            maps += [self.strokes.rows, self.strokes.columns, self.strokes.uv]
        held = sum(part.nbytes for part in maps if part is not None)
        return held + (0 if self.mask is None else self.mask.nbytes)

    def to(self, device: torch.device | str) -> ChromaLayers:
        """The same on a device; the mask stays where it is."""
        strokes = self.strokes
        if strokes is not None:
            rows, columns, uv = strokes.rows, strokes.columns, strokes.uv
            strokes = FixedPixels(rows.to(device), columns.to(device), uv.to(device), strokes.size)
        correction = None if self.correction is None else self.correction.to(device)
        hinted = None if self.hinted is None else self.hinted.to(device)
        return replace(
            self,
            colors=self.colors.to(device),
            correction=correction,
            hinted=hinted,
            strokes=strokes,
        )


def as_tint(colors: Tensor | ChromaLayers) -> ChromaLayers:
    """Bare U and V `(h, w, 2)` as a tint that only enlarges them."""
    return colors if isinstance(colors, ChromaLayers) else ChromaLayers(ChromaField(colors))


class ChromaWindow:
    """A tint over a window of a picture, evaluated a few rows at a time.

    Parameters
    ----------
    tint : Tint
        On the device of the work.
    window : Window
        The part of the picture.
    saturation : float
        Factor on predicted colours.
    """

    def __init__(self, tint: ChromaLayers, window: Window, saturation: float) -> None:
        self._tint, self._window, self._saturation = tint, window, saturation
        self._colors = _Maps(tint.colors, window)
        self._correction = None if tint.correction is None else _Maps(tint.correction, window)
        self._hinted = None if tint.hinted is None else _Maps(tint.hinted, window)
        self._strokes = None if tint.strokes is None else _placed(tint.strokes, window)

    def offset(self, rows: slice, gray: Tensor) -> tuple[Tensor, float]:
        """What is added to R, G and B of gray pixels, and the saturation that is left to apply.

        Parameters
        ----------
        rows : slice
            Of the window.
        gray : Tensor, shape (len(rows), X)
            Of the window's pixels.

        Returns
        -------
        Tensor, shape (3, len(rows), X)
            For `color.add_offset`.
        float
            For it too.
        """
        around = self._colors.at(rows, gray)
        if self._correction is not None:
            around = around + self._correction.at(rows, gray)
        if self._tint.shadows > 0:
            around = around * shadow_factor(gray, self._tint.shadows)
        if self._hinted is None and self._strokes is None:
            return around, self._saturation
        around = around * self._saturation
        if self._hinted is not None:
            around = around + self._hinted.at(rows, gray)
        if self._strokes is not None:
            _lay(self._strokes, rows, around)
        return around, 1.0

    def outside(self, rows: slice) -> NDArray[np.bool_] | None:
        """Where the image stays as it was, `(len(rows), X)`; None if nowhere."""
        mask, window = self._tint.mask, self._window
        if mask is None:
            return None
        there = nearest(mask.shape[0], window.rows[rows], window.height).numpy()
        columns = nearest(mask.shape[1], window.columns, window.width).numpy()
        inside: NDArray[np.bool_] = mask[np.ix_(there, columns)]
        return ~inside


class _Maps:
    """A field's maps as offsets of R, G and B; rows come enlarged when they are asked for.

    Bilinear enlarging is done along columns first, for all rows at once, unless that took too much
    memory.
    """

    def __init__(self, given: ChromaField, window: Window) -> None:
        self._window = window
        self._is_wide = 3 * len(given.offset) * len(window.columns) <= WIDE
        self._offset = self._prepared(given.offset)
        self._slope = None if given.slope is None else self._prepared(given.slope)

    def _prepared(self, values: Tensor) -> Tensor:
        offset = chroma_to_offset(values.movedim(-1, 0))
        return self._widened(offset) if self._is_wide else offset

    def _widened(self, offset: Tensor) -> Tensor:
        columns, span = self._window.columns, self._window.width
        if columns != range(len(columns)) or span != (0, len(columns)):
            return enlarged(offset, 2, columns, span)
        # Of all columns torch's own way is the quicker one.
        size = offset.shape[1], len(columns)
        return F.interpolate(offset[None], size, mode="bilinear", align_corners=False)[0]

    def at(self, rows: slice, gray: Tensor) -> Tensor:
        """What the field adds to R, G and B of some rows, `(3, rows, X)`."""
        offset = self._rows(self._offset, rows)
        if self._slope is None:
            return offset
        # Where there is no gray there is no colour: NaN stays in the luminance alone.
        return torch.addcmul(offset, self._rows(self._slope, rows), gray.nan_to_num(nan=0.0))

    def _rows(self, planes: Tensor, rows: slice) -> Tensor:
        high = enlarged(planes, 1, self._window.rows[rows], self._window.height)
        return high if self._is_wide else self._widened(high)


def _placed(strokes: FixedPixels, window: Window) -> tuple[Tensor, Tensor, Tensor]:
    """Strokes in pixels of the window: rows, columns, and what they add to R, G and B `(3, n)`."""
    rows, here = _position(strokes.rows, strokes.size[0], window.rows, window.height)
    columns, there = _position(strokes.columns, strokes.size[1], window.columns, window.width)
    meant = here & there
    return rows[meant], columns[meant], chroma_to_offset(strokes.uv[meant].T)


def _position(
    places: Tensor, length: int, wanted: range, span: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    scale = (span[1] - span[0]) / length
    pixel = ((places.double() + 0.5) * scale + span[0]).floor().long()
    index = (pixel - wanted.start) // wanted.step
    meant = (index >= 0) & (index < len(wanted)) & ((pixel - wanted.start) % wanted.step == 0)
    return index, meant


def _lay(strokes: tuple[Tensor, Tensor, Tensor], rows: slice, around: Tensor) -> None:
    """Put the strokes of some rows in the place of other colours."""
    places, columns, offset = strokes
    first, last = torch.searchsorted(places, torch.tensor((rows.start, rows.stop)).to(places))
    part = slice(int(first), int(last))
    around[:, places[part] - rows.start, columns[part]] = offset[:, part]
