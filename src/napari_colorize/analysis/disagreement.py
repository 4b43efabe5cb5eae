"""Disagreement: how much the prediction varies between equivalent inputs and between models.

An image and its mirror image have the same colors, and the render factor should not change them
much. Where the predictions for these variants, or those of another model, differ, the color is
uncertain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from napari_colorize.analysis.expected_error import full_size_error
from napari_colorize.array_types import Float32Array
from napari_colorize.errors import SettingsError
from napari_colorize.imaging.color import add_offset, chroma_to_offset
from napari_colorize.imaging.planes import Plane
from napari_colorize.imaging.resample import resize_map
from napari_colorize.predictor import Predictor, announce
from napari_colorize.result import Colorized
from napari_colorize.settings import (
    ColorizeSettings,
    SettingsDict,
    setting_of,
    with_setting_parameters,
)

SCALES = (0.75, 4 / 3)  # default variants of the render factor: one smaller, one larger


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Differences between several predictions for one image.

    Parameters
    ----------
    map : ndarray, float32, shape (Y, X)
        CIEDE2000: 0 where all variants are equal; a difference of 1 is just visible.
    variants : tuple of str
        Descriptions of the predictions that were compared.
    expected_error : ndarray, float32, shape (Y, X), optional
        CIEDE2000 that the model expects, see `analysis.expected_error`; None for a network without
        color classes, whose expected error is itself a difference between variants.
    """

    map: Float32Array = field(repr=False)
    variants: tuple[str, ...]
    expected_error: Float32Array | None = field(repr=False)


@dataclass(frozen=True)
class _Variant:
    """One of the predictions that are compared: a model, settings, mirrored or not."""

    model: Predictor
    settings: ColorizeSettings
    mirrored: bool = False

    def __str__(self) -> str:
        text = f"{self.model.checkpoint.name}, render factor {self.settings.render_factor}"
        return f"{text}, mirrored" if self.mirrored else text

    def predict(self, plane: Plane) -> Tensor:
        """Predict U and V `(h, w, 2)`, scaled by the saturation of the settings."""
        if self.mirrored:
            plane = replace(plane, gray=plane.gray.flip(1))
        uv = self.model.predict_chroma(plane, self.settings).uv
        return self.saturate(uv.flip(1) if self.mirrored else uv)

    def saturate(self, uv: Tensor) -> Tensor:
        """Scale U and V by the saturation of the settings."""
        assert self.settings.saturation is not None
        return uv * self.settings.saturation


@with_setting_parameters()
def disagreement(
    model: Predictor,
    image: Any,
    *,
    others: Sequence[Predictor] = (),
    flips: bool = True,
    render_factors: Sequence[int] | None = None,
    rgb: bool | None = None,
    progress: Callable[[int, int], object] | None = None,
    **settings: Unpack[SettingsDict],
) -> Disagreement:
    """Measure how much a prediction depends on flips, render factor and model.

    U and V of all variants are resized to the render size and composed with the gray of that size;
    chroma outside the gamut is reduced. The unweighted mean of U and V is composed in the same way.
    The map is the mean over the variants of CIEDE2000 between a variant and that mean, resized to
    the image.

    Parameters
    ----------
    model : Predictor
        Model whose prediction is examined, for example a `Colorizer`.
    image, rgb, **settings
        As for `Colorizer.__call__`. Of the settings that only recompose an image, saturation alone
        has an effect.
    others : sequence of Predictor
        Models to compare with, each with its own recommended settings unless `settings` override
        them.
    flips : bool
        Include the mirror image for each model.
    render_factors : sequence of int, optional
        Further render factors of the model. Default: 3/4 and 4/3 of the one in use; none if this
        is empty.
    progress : callable, optional
        Called with the number of finished variants and their total; it may raise to stop.

    Raises
    ------
    SettingsError
        If there is nothing to compare, or with a fidelity, which keeps no chroma.
    ImageError, OutOfMemoryError
        As for `Colorizer.__call__`.
    """
    first = _Variant(model, model.resolve_settings(settings))
    if first.settings.fidelity != "exact":
        raise SettingsError(
            f'An image made with fidelity="{first.settings.fidelity}" keeps no chroma to compare: '
            "leave fidelity at exact."
        )
    rest = [*_other_variants(first, others, flips, render_factors, settings)]
    if not rest:
        raise SettingsError(
            "There is nothing to compare: allow flips, or give render_factors or other models."
        )
    report = progress or (lambda done, total: None)
    plane = model.to_plane(image, first.settings, rgb=rgb)
    announce(plane)
    chroma = model.predict_chroma(plane, first.settings)
    predictions = [first.saturate(chroma.uv)]
    for variant in rest:
        report(len(predictions), 1 + len(rest))
        predictions.append(variant.predict(plane))
    report(len(predictions), len(predictions))
    size = plane.gray.shape[0], plane.gray.shape[1]
    assert first.settings.render_factor is not None
    small_gray = resize_map(plane.gray, model.network_size(plane, first.settings.render_factor))
    spread = torch.from_numpy(_spread(small_gray, predictions))
    has_classes = hasattr(model.network, "logits")
    result = Colorized(plane, chroma, first.settings)
    return Disagreement(
        map=resize_map(spread, size).numpy(),
        variants=tuple(map(str, [first, *rest])),
        expected_error=full_size_error(model, result) if has_classes else None,
    )


def _other_variants(
    first: _Variant,
    others: Sequence[Predictor],
    flips: bool,
    render_factors: Sequence[int] | None,
    settings: SettingsDict,
) -> Iterator[_Variant]:
    """All variants but the first."""
    if flips:
        yield replace(first, mirrored=True)
    for render_factor in _render_factors(first.settings, render_factors):
        yield replace(first, settings=replace(first.settings, render_factor=render_factor))
    for other in others:
        known = {name: value for name, value in settings.items() if name not in other.unsupported}
        variant = _Variant(other, other.resolve_settings(known))
        yield variant
        if flips:
            yield replace(variant, mirrored=True)


def _render_factors(settings: ColorizeSettings, requested: Sequence[int] | None) -> list[int]:
    """Render factors other than that of the settings, each once."""
    used = settings.render_factor
    assert used is not None
    if requested is None:
        setting = setting_of("render_factor")
        assert setting.low is not None
        assert setting.high is not None
        requested = [round(min(max(used * scale, setting.low), setting.high)) for scale in SCALES]
    return [factor for factor in dict.fromkeys(requested) if factor != used]


@torch.inference_mode()
def _spread(gray: Tensor, predictions: Sequence[Tensor]) -> Float32Array:
    """Mean CIEDE2000 of the composed predictions to their composed mean, `(h, w)` as `gray`."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    gray = gray.nan_to_num(nan=0.0).cpu()
    size = gray.shape[0], gray.shape[1]

    def to_lab(uv: Tensor) -> Float32Array:
        rgb = add_offset(gray, chroma_to_offset(uv.movedim(-1, 0)), 1.0)
        lab: Float32Array = rgb2lab(rgb.clamp(0, 1).movedim(0, -1).numpy())
        return lab

    sized = [resize_map(uv.cpu(), size) for uv in predictions]
    common = to_lab(torch.stack(sized).mean(0))
    spread: Float32Array = np.mean(
        [deltaE_ciede2000(to_lab(uv), common) for uv in sized], axis=0, dtype=np.float32
    )
    return spread
