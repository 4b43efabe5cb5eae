"""All that happens to chrominance between network and picture, in order: `refine`.

Blend two models, take over a palette, damp hues, follow edges, obey hints. Each step is a function
of its own in a file beside this one; a step that nothing is asked of is left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from napari_colorize.errors import SettingsError
from napari_colorize.imaging.resample import resize_map
from napari_colorize.refine import blend, damping, edges, hints, palette_transfer, propagation
from napari_colorize.refine.chroma_field import ChromaField, ChromaLayers, FixedPixels
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints
from napari_colorize.settings import ColorizeSettings


class Prediction(Protocol):
    """What `refine` needs of a `Chroma`."""

    @property
    def uv(self) -> Tensor:
        """U and V `(h, w, 2)` of this picture by itself."""

    @property
    def smoothed_uv(self) -> Tensor | None:
        """The same held steady along time."""

    @property
    def errors(self) -> Tensor | None:
        """CIEDE2000 that the model expects of them, `(h, w)`."""


@torch.inference_mode()
def refine(
    gray: Tensor,
    chroma: Prediction,
    other: Prediction | None,
    settings: ColorizeSettings,
    guides: Guides,
) -> ChromaLayers:
    """Make a tint of what one network, or two, said about a picture.

    Parameters
    ----------
    gray : Tensor, shape (Y, X)
        The picture's luminance at full size; NaN counts as black.
    chroma, other : Chroma
        The first model's answer, and the second one's if there is one.
    settings : ColorizeSettings
        Those of `settings.REFINING`.
    guides : Guides
        Of the picture's size.

    Raises
    ------
    SettingsError
        If the models shall be blended by a confidence that they were not asked for.
    """
    device = chroma.uv.device
    uv = _blended(gray, chroma, other, settings)
    size = uv.shape[0], uv.shape[1]
    if guides.reference is not None and settings.reference_strength > 0:
        uv = palette_transfer.transfer_palette(
            resize_map(gray, size).nan_to_num(nan=0.0).to(device),
            uv,
            guides.reference,
            strength=settings.reference_strength,
            method=settings.reference_method,
            regions=guides.regions,
        )
    if settings.hue_damping > 0:
        uv = damping.damp_hues(uv, settings.hue_from, settings.hue_to, settings.hue_damping)
    colors = _field(gray, uv, settings)
    tint = ChromaLayers(colors)
    if guides.hints is not None and guides.hints.mask.any():
        tint = _hinted(gray, colors, guides.hints)
    return replace(tint, shadows=settings.shadows, mask=guides.mask)


def _blended(
    gray: Tensor, chroma: Prediction, other: Prediction | None, settings: ColorizeSettings
) -> Tensor:
    uv = _shown(chroma, settings)
    if other is None:
        return uv
    errors = None
    if settings.blend_by == "confidence":
        if chroma.errors is None or other.errors is None:
            raise SettingsError(
                'The models were not asked how sure they are: call the Colorizer with blend_by="'
                'confidence".'
            )
        errors = chroma.errors, other.errors
    return blend.blend(
        uv,
        _shown(other, settings).to(uv.device),
        settings.blend,
        by=settings.blend_by,
        gray=resize_map(gray, (uv.shape[0], uv.shape[1])).nan_to_num(nan=0.0).to(uv.device),
        errors=errors,
    )


def _shown(chroma: Prediction, settings: ColorizeSettings) -> Tensor:
    return (
        chroma.uv
        if chroma.smoothed_uv is None or not settings.temporal_smoothing
        else chroma.smoothed_uv
    )


def _field(gray: Tensor, uv: Tensor, settings: ColorizeSettings) -> ChromaField:
    """The colours as they follow edges, or simply enlarged."""
    if not settings.edges:
        return ChromaField(uv)
    slope, offset = edges.follow_edges(gray.to(uv.device), uv)
    return ChromaField(offset, slope)


def _hinted(gray: Tensor, colors: ChromaField, given: Hints) -> ChromaLayers:
    """Predicted colours give way where hints belong, and hints take their place.

    With c what `spread` makes of 1 and H what it makes of the hints' colours, the picture has
    `saturation * (1 - c) * prediction + H`: exact at the hints, whatever the saturation. Both are
    enlarged without a slope of their own, so that nothing changes where c is 0.
    """
    device, full = colors.offset.device, (gray.shape[0], gray.shape[1])
    size = propagation.work_size(full)
    mask, meant = (part.to(device) for part in hints.shrink(given, size))
    values = torch.cat([torch.ones_like(meant[..., :1]), meant], dim=-1)
    small = resize_map(gray, size).nan_to_num(nan=0.0).to(device)
    spread = propagation.propagate(small, mask, values)
    cover = spread[..., :1]
    slope = None if colors.slope is None else -cover * resize_map(colors.slope, size)
    rows, columns, uv = (part.to(device) for part in hints.strokes(given))
    return ChromaLayers(
        colors,
        correction=ChromaField(-cover * resize_map(colors.offset, size), slope),
        hinted=ChromaField(spread[..., 1:].contiguous()),
        strokes=FixedPixels(rows, columns, uv, full),
    )
