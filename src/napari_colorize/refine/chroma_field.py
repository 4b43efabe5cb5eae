"""Chrominance as a function of gray, evaluated at any size and for any window of an image.

`Chroma` is the prediction of a network, at the size of its output.
`ChromaField` is a pair of small maps: U and V of a pixel are `slope * gray + offset`, with both
maps enlarged bilinearly. Colors therefore change where the gray changes. `ChromaLayers` combines
the predicted field with hints, shadow damping and a mask. `ChromaWindow` evaluates the layers for a
window of the image in row blocks, so that no full-size chrominance is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_colorize.imaging.color import chroma_to_offset
from napari_colorize.imaging.resample import Window, nearest_indices, resize_axis
from napari_colorize.refine.damping import shadow_factor

MAX_WIDE_VALUES = 2**24  # values of a map that is enlarged along columns in one step: 64 MB


@dataclass(frozen=True, eq=False)
class Chroma:
    """Predicted chroma of one image, at the size of the network output."""

    uv: Tensor  # shape (h, w, 2): float32 U and V as `skimage.color.rgb2yuv` scales them
    model: str  # name of the checkpoint
    render_factor: int  # render factor used; smaller than requested if memory was exhausted
    self_attention: bool  # whether the self-attention layer was used
    # Shape (h, w, 2): `uv` after temporal smoothing, see `refine.temporal`; None for a single image
    smoothed_uv: Tensor | None = None
    temporal_smoothing: float = 0.0  # strength of the smoothing, 0 to 1; 0 for a single image
    # Shape (h, w): expected error of the colors in CIEDE2000, if it was computed
    errors: Tensor | None = None

    def to(self, device: torch.device | str) -> Chroma:
        """Copy the tensors to a device."""
        smoothed = None if self.smoothed_uv is None else self.smoothed_uv.to(device)
        errors = None if self.errors is None else self.errors.to(device)
        return replace(self, uv=self.uv.to(device), smoothed_uv=smoothed, errors=errors)

    def mean(self) -> float:
        """Mean length of (U, V): 0 is gray, vivid photographs have about 0.1."""
        return float(torch.linalg.vector_norm(self.uv, dim=-1).mean())


@dataclass(frozen=True, eq=False)
class ChromaField:
    """U and V of an image as `slope * gray + offset`."""

    offset: Tensor  # shape (h, w, 2): float32 U and V of black, at any size
    # Shape (h, w, 2): change of U and V per unit of gray, at the size of `offset`. None means 0.
    slope: Tensor | None = None

    def to(self, device: torch.device | str) -> ChromaField:
        """Return the field on another device."""
        return ChromaField(
            self.offset.to(device), None if self.slope is None else self.slope.to(device)
        )


@dataclass(frozen=True, eq=False)
class FixedPixels:
    """Pixels of the full image with a fixed color that saturation does not change."""

    # Shape (n,): int64 pixel indices, sorted by row
    rows: Tensor
    columns: Tensor
    uv: Tensor  # shape (n, 2): float32 U and V of these pixels
    size: tuple[int, int]  # height and width of the full image

    def to(self, device: torch.device | str) -> FixedPixels:
        """Return the pixels on another device."""
        rows, columns, uv = (part.to(device) for part in (self.rows, self.columns, self.uv))
        return FixedPixels(rows, columns, uv, self.size)


@dataclass(frozen=True, eq=False)
class ChromaLayers:
    """All chrominance that `pipeline.compose` adds to a plane."""

    colors: ChromaField  # predicted colors, multiplied by saturation
    # Added to `colors` before saturation: reduces the prediction where hints apply
    correction: ChromaField | None = None
    hinted: ChromaField | None = None  # hinted colors, added after saturation
    fixed_pixels: FixedPixels | None = None  # hinted pixels, which get exactly these colors
    # Luminance below which predicted colors are reduced, see `damping.shadow_factor`
    shadows: float = 0.0
    # Shape (Y, X): mask of the full image. Pixels outside it keep the input values.
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)

    @property
    def nbytes(self) -> int:
        """Memory of all maps in bytes."""
        fields = [self.colors, self.correction, self.hinted]
        maps = [part for one in fields if one is not None for part in (one.offset, one.slope)]
        if self.fixed_pixels is not None:
            maps += [self.fixed_pixels.rows, self.fixed_pixels.columns, self.fixed_pixels.uv]
        nbytes = sum(part.nbytes for part in maps if part is not None)
        return nbytes + (0 if self.mask is None else self.mask.nbytes)

    def to(self, device: torch.device | str) -> ChromaLayers:
        """Return the layers on another device. The mask stays a NumPy array."""
        correction, hinted, fixed = self.correction, self.hinted, self.fixed_pixels
        return replace(
            self,
            colors=self.colors.to(device),
            correction=None if correction is None else correction.to(device),
            hinted=None if hinted is None else hinted.to(device),
            fixed_pixels=None if fixed is None else fixed.to(device),
        )


def as_chroma_layers(colors: Tensor | ChromaLayers) -> ChromaLayers:
    """Return U and V `(h, w, 2)` as chroma layers without further refinement."""
    return colors if isinstance(colors, ChromaLayers) else ChromaLayers(ChromaField(colors))


class ChromaWindow:
    """Chroma layers for a window of an image, evaluated in row blocks on the device of the layers.

    `saturation` is a factor on predicted colors.
    """

    def __init__(self, layers: ChromaLayers, window: Window, saturation: float) -> None:
        self._layers, self._window, self._saturation = layers, window, saturation
        self._colors = _Maps(layers.colors, window)
        self._correction = None if layers.correction is None else _Maps(layers.correction, window)
        self._hinted = None if layers.hinted is None else _Maps(layers.hinted, window)
        self._fixed_pixels = (
            None if layers.fixed_pixels is None else _in_window(layers.fixed_pixels, window)
        )

    def offset(self, rows: slice, gray: Tensor) -> tuple[Tensor, float]:
        """Return the RGB offset of gray pixels, and the saturation that `color.add_offset` applies.

        `gray` is the luminance of some rows of the window, shape (rows, X). The offset has the
        shape (3, rows, X). The saturation is the one that is not applied to the offset yet: 1 if
        there are hints.
        """
        offset = self._colors.at(rows, gray)
        if self._correction is not None:
            offset = offset + self._correction.at(rows, gray)
        if self._layers.shadows > 0:
            offset = offset * shadow_factor(gray, self._layers.shadows)
        if self._hinted is None and self._fixed_pixels is None:
            return offset, self._saturation
        offset = offset * self._saturation
        if self._hinted is not None:
            offset = offset + self._hinted.at(rows, gray)
        if self._fixed_pixels is not None:
            _set_fixed(self._fixed_pixels, rows, offset)
        return offset, 1.0

    def outside(self, rows: slice) -> NDArray[np.bool_] | None:
        """Pixels outside the mask, shape (len(rows), X), or None without a mask."""
        mask, window = self._layers.mask, self._window
        if mask is None:
            return None
        rows_in_mask = nearest_indices(mask.shape[0], window.rows[rows], window.height).numpy()
        columns = nearest_indices(mask.shape[1], window.columns, window.width).numpy()
        inside: NDArray[np.bool_] = mask[np.ix_(rows_in_mask, columns)]
        return ~inside


class _Maps:
    """RGB offsets of a field for a window, enlarged row block by row block.

    Maps are enlarged along columns first, for all rows at once, unless this exceeds
    `MAX_WIDE_VALUES` values.
    """

    def __init__(self, chroma: ChromaField, window: Window) -> None:
        self._window = window
        self._columns_enlarged = 3 * len(chroma.offset) * len(window.columns) <= MAX_WIDE_VALUES
        self._offset = self._rgb_offset(chroma.offset)
        self._slope = None if chroma.slope is None else self._rgb_offset(chroma.slope)

    def _rgb_offset(self, values: Tensor) -> Tensor:
        offset = chroma_to_offset(values.movedim(-1, 0))
        return self._enlarge_columns(offset) if self._columns_enlarged else offset

    def _enlarge_columns(self, offset: Tensor) -> Tensor:
        columns, span = self._window.columns, self._window.width
        if columns != range(len(columns)) or span != (0, len(columns)):
            return resize_axis(offset, 2, columns, span)
        # torch's interpolation is faster, but only handles all columns.
        size = offset.shape[1], len(columns)
        return F.interpolate(offset[None], size, mode="bilinear", align_corners=False)[0]

    def at(self, rows: slice, gray: Tensor) -> Tensor:
        """RGB offset of some rows of the window, shape (3, rows, X)."""
        offset = self._rows(self._offset, rows)
        if self._slope is None:
            return offset
        # NaN stays in the luminance only; the chrominance there is that of black.
        return torch.addcmul(offset, self._rows(self._slope, rows), gray.nan_to_num(nan=0.0))

    def _rows(self, planes: Tensor, rows: slice) -> Tensor:
        enlarged_rows = resize_axis(planes, 1, self._window.rows[rows], self._window.height)
        return enlarged_rows if self._columns_enlarged else self._enlarge_columns(enlarged_rows)


def _in_window(fixed_pixels: FixedPixels, window: Window) -> tuple[Tensor, Tensor, Tensor]:
    """Return fixed pixels in window coordinates: rows, columns and RGB offsets `(3, n)`."""
    rows, row_inside = _position(
        fixed_pixels.rows, fixed_pixels.size[0], window.rows, window.height
    )
    columns, column_inside = _position(
        fixed_pixels.columns, fixed_pixels.size[1], window.columns, window.width
    )
    inside = row_inside & column_inside
    return rows[inside], columns[inside], chroma_to_offset(fixed_pixels.uv[inside].T)


def _position(
    positions: Tensor, length: int, pixels: range, span: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Return window indices of pixel positions along one axis, and a mask of valid ones."""
    scale = (span[1] - span[0]) / length
    # In float64, which MPS does not have.
    pixel = ((positions.cpu().double() + 0.5) * scale + span[0]).floor().long()
    pixel = pixel.to(positions.device)
    index = (pixel - pixels.start) // pixels.step
    inside = (index >= 0) & (index < len(pixels)) & ((pixel - pixels.start) % pixels.step == 0)
    return index, inside


def _set_fixed(fixed_pixels: tuple[Tensor, Tensor, Tensor], rows: slice, offset: Tensor) -> None:
    """Set the fixed pixels of some rows in an RGB offset, in place."""
    positions, columns, colors = fixed_pixels
    first, last = torch.searchsorted(positions, torch.tensor((rows.start, rows.stop)).to(positions))
    part = slice(int(first), int(last))
    offset[:, positions[part] - rows.start, columns[part]] = colors[:, part]
