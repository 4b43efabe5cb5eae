"""Apply all refinement steps to predicted chrominance, in order: `refine`.

The steps are: blend two models, transfer a palette, damp hues, follow edges, apply hints. Each step
is implemented in a module of this package. A step without settings or guides is skipped.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from napari_colorize.errors import SettingsError
from napari_colorize.imaging.resample import resize_map
from napari_colorize.refine import blend, damping, edges, palette_transfer, propagation
from napari_colorize.refine.chroma_field import Chroma, ChromaField, ChromaLayers, FixedPixels
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints, hinted_pixels, shrink_hints
from napari_colorize.settings import ColorizeSettings


@torch.inference_mode()
def refine(
    gray: Tensor,
    chroma: Chroma,
    other: Chroma | None,
    settings: ColorizeSettings,
    guides: Guides,
) -> ChromaLayers:
    """Refine the prediction of one model, or of two models, into chroma layers.

    `gray` is the luminance of the image at full size, (Y, X) in [0, 1]; NaN counts as black. Of the
    settings only those listed in `settings.REFINING` are used. The guides have the size of the
    image.

    Raises
    ------
    SettingsError
        If the models are blended by expected error and a prediction has none.
    """
    device = chroma.uv.device
    uv = _blend(gray, chroma, other, settings)
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
    field = _chroma_field(gray, uv, settings)
    layers = ChromaLayers(field)
    if guides.hints is not None and guides.hints.mask.any():
        layers = _add_hints(gray, field, guides.hints)
    return replace(layers, shadows=settings.shadows, mask=guides.mask)


def _blend(
    gray: Tensor, chroma: Chroma, other: Chroma | None, settings: ColorizeSettings
) -> Tensor:
    uv = _select_uv(chroma, settings)
    if other is None:
        return uv
    errors = None
    if settings.blend_by == "confidence":
        if chroma.errors is None or other.errors is None:
            raise SettingsError(
                "Blending by expected error needs the expected errors of both models: call the "
                'Colorizer with blend_by="confidence".'
            )
        errors = chroma.errors, other.errors
    return blend.blend(
        uv,
        _select_uv(other, settings).to(uv.device),
        settings.blend,
        by=settings.blend_by,
        gray=resize_map(gray, (uv.shape[0], uv.shape[1])).nan_to_num(nan=0.0).to(uv.device),
        errors=errors,
    )


def _select_uv(chroma: Chroma, settings: ColorizeSettings) -> Tensor:
    return (
        chroma.uv
        if chroma.smoothed_uv is None or not settings.temporal_smoothing
        else chroma.smoothed_uv
    )


def _chroma_field(gray: Tensor, uv: Tensor, settings: ColorizeSettings) -> ChromaField:
    """Return the chrominance as a field that follows edges, or that is enlarged bilinearly."""
    if not settings.edges:
        return ChromaField(uv)
    slope, offset = edges.follow_edges(gray.to(uv.device), uv)
    return ChromaField(offset, slope)


def _add_hints(gray: Tensor, field: ChromaField, hints: Hints) -> ChromaLayers:
    """Replace predicted colors by hinted colors where hints spread to.

    Let c be the result of `propagate` for the value 1, and H its result for the hinted colors. The
    image then has the chrominance `saturation * (1 - c) * prediction + H`. It equals the hinted
    color at hinted pixels for every saturation. Both c and H are enlarged bilinearly without a
    slope, so that pixels where c is 0 stay unchanged.
    """
    device, full = field.offset.device, (gray.shape[0], gray.shape[1])
    size = propagation.work_size(full)
    mask, hint_uv = (part.to(device) for part in shrink_hints(hints, size))
    values = torch.cat([torch.ones_like(hint_uv[..., :1]), hint_uv], dim=-1)
    small = resize_map(gray, size).nan_to_num(nan=0.0).to(device)
    spread = propagation.propagate(small, mask, values)
    cover = spread[..., :1]
    slope = None if field.slope is None else -cover * resize_map(field.slope, size)
    rows, columns, uv = (part.to(device) for part in hinted_pixels(hints))
    return ChromaLayers(
        field,
        correction=ChromaField(-cover * resize_map(field.offset, size), slope),
        hinted=ChromaField(spread[..., 1:].contiguous()),
        fixed_pixels=FixedPixels(rows, columns, uv, full),
    )
