"""Where colour is a guess: how far variants of one question disagree, pixel by pixel.

A picture and its mirror image have the same colours; so it should be with what a model says of
them, and at a render factor somewhat smaller or larger, and with what another model says. Where
these answers differ, none of them knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_colorize.errors import SettingsError
from napari_colorize.imaging.color import add_offset, chroma_to_offset
from napari_colorize.imaging.resample import resize_map
from napari_colorize.pipeline import render_size
from napari_colorize.settings import ColorizeSettings, setting_of

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.result import Colorized

Floats = NDArray[np.float32]

SCALES = (0.75, 4 / 3)  # of the render factor, by default: as far down as up


@dataclass(frozen=True, eq=False)
class Disagreement:
    """How far several answers to one question lie apart.

    Parameters
    ----------
    map : ndarray, float32, shape (Y, X)
        CIEDE2000: 0 where all variants agree, 1 is just visible side by side.
    variants : tuple of str
        What was compared, in words.
    confidence : ndarray, float32, shape (Y, X), optional
        CIEDE2000 that the model itself expects to be off, see `insight.confidence`; None of a
        network without colour classes, which can only be asked for its mirror image's colours.
    """

    map: Floats = field(repr=False)
    variants: tuple[str, ...]
    confidence: Floats | None = field(repr=False)


@dataclass(frozen=True)
class _Variant:
    """One way to ask."""

    colorizer: Colorizer
    chosen: ColorizeSettings
    mirrored: bool = False

    def __str__(self) -> str:
        said = f"{self.colorizer.checkpoint.name}, render factor {self.chosen.render_factor}"
        return f"{said}, mirrored" if self.mirrored else said

    def ask(self, gray: Floats) -> Tensor:
        """U and V `(h, w, 2)`, as vivid as its settings say."""
        shown = np.ascontiguousarray(gray[:, ::-1]) if self.mirrored else gray
        uv = self.colorizer.predict(
            shown,
            rgb=False,
            contrast_limits=(0, 1),  # limits and gamma are in the gray already
            render_factor=self.chosen.render_factor,
            self_attention=self.chosen.self_attention,
        ).uv
        return self.as_vivid(uv.flip(1) if self.mirrored else uv)

    def as_vivid(self, uv: Tensor) -> Tensor:
        """Chrominance as vivid as the settings say."""
        assert self.chosen.saturation is not None
        return uv * self.chosen.saturation


def disagreement(
    colorizer: Colorizer,
    image: Any,
    *,
    others: Sequence[Colorizer] = (),
    flips: bool = True,
    render_factors: Sequence[int] | None = None,
    rgb: bool | None = None,
    progress: Callable[[int, int], object] | None = None,
    **settings: Any,
) -> Disagreement:
    """How far a model's answer depends on how it is asked, and on which model is asked.

    All variants' U and V are brought to the render size and made into pictures with the gray at
    that size (where a colour lies outside of RGB, chroma gives way). So is the mean of their U and
    V, each counting alike. The map is the mean over variants of CIEDE2000 between a variant's
    picture and that common one, enlarged to the picture.

    Parameters
    ----------
    colorizer : Colorizer
        The model in question.
    image, rgb
        As for `Colorizer.__call__`.
    others : sequence of Colorizer
        Models to compare with, each at its own recommended settings unless told otherwise.
    flips : bool
        Ask each model about the mirror image, too.
    render_factors : sequence of int, optional
        To ask the model in question at, besides the chosen one. Default: 3/4 and 4/3 of that one;
        none if this is empty.
    progress : callable, optional
        Told how many variants are done, of how many; it may raise to stop.
    **settings
        See `ColorizeSettings`. What only recomposes a picture, but for saturation, changes nothing.

    Raises
    ------
    SettingsError
        If there is nothing to compare, or with a fidelity, which keeps no chrominance.
    ImageError, OutOfMemoryError
        As for `Colorizer.__call__`.
    """
    first = _Variant(colorizer, colorizer.resolve_settings(settings))
    if first.chosen.fidelity != "exact":
        raise SettingsError(
            f'A picture of fidelity="{first.chosen.fidelity}" keeps no chrominance to compare: '
            "leave fidelity at exact."
        )
    rest = [*_rest(first, others, flips, render_factors, settings)]
    if not rest:
        raise SettingsError(
            "There is nothing to compare: allow flips, or give render_factors or other models."
        )
    result = colorizer(image, rgb=rgb, **settings)
    assert result.chroma is not None
    tell = progress or (lambda done, total: None)
    answers = [first.as_vivid(result.chroma.uv)]
    for variant in rest:
        tell(len(answers), 1 + len(rest))
        answers.append(variant.ask(result.gray))
    tell(len(answers), len(answers))
    size = result.plane.gray.shape[0], result.plane.gray.shape[1]
    spread = _spread(resize_map(result.plane.gray, _render_size(first, size)), answers)
    return Disagreement(
        map=resize_map(torch.from_numpy(spread), size).numpy(),
        variants=tuple(map(str, [first, *rest])),
        confidence=_confidence(colorizer, result),
    )


def _rest(
    first: _Variant,
    others: Sequence[Colorizer],
    flips: bool,
    render_factors: Sequence[int] | None,
    settings: dict[str, Any],
) -> Iterator[_Variant]:
    """What to ask besides the picture as it is."""
    if flips:
        yield replace(first, mirrored=True)
    for render_factor in _render_factors(first.chosen, render_factors):
        yield replace(first, chosen=replace(first.chosen, render_factor=render_factor))
    for other in others:
        known = {name: value for name, value in settings.items() if name not in other.unsupported}
        variant = _Variant(other, other.resolve_settings(known))
        yield variant
        if flips:
            yield replace(variant, mirrored=True)


def _render_factors(chosen: ColorizeSettings, wanted: Sequence[int] | None) -> list[int]:
    """Those besides the chosen one, each once."""
    usual = chosen.render_factor
    assert usual is not None
    if wanted is None:
        knob = setting_of("render_factor")
        assert knob.low is not None
        assert knob.high is not None
        wanted = [round(min(max(usual * scale, knob.low), knob.high)) for scale in SCALES]
    return [factor for factor in dict.fromkeys(wanted) if factor != usual]


def _render_size(variant: _Variant, size: tuple[int, int]) -> tuple[int, int]:
    """What the network sees of a picture of a size."""
    assert variant.chosen.render_factor is not None
    return render_size(
        *size,
        variant.chosen.render_factor,
        fit=variant.colorizer.checkpoint.fit,
        multiple=variant.colorizer.architecture.multiple,
    )


@torch.inference_mode()
def _spread(gray: Tensor, answers: Sequence[Tensor]) -> Floats:
    """Mean CIEDE2000 of pictures to the one of their mean U and V, `(h, w)` as `gray`."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    gray = gray.nan_to_num(nan=0.0).cpu()
    size = gray.shape[0], gray.shape[1]

    def to_lab(uv: Tensor) -> NDArray[np.float32]:
        rgb = add_offset(gray, chroma_to_offset(uv.movedim(-1, 0)), 1.0)
        lab: NDArray[np.float32] = rgb2lab(rgb.clamp(0, 1).movedim(0, -1).numpy())
        return lab

    sized = [resize_map(uv.cpu(), size) for uv in answers]
    common = to_lab(torch.stack(sized).mean(0))
    spread: Floats = np.mean(
        [deltaE_ciede2000(to_lab(uv), common) for uv in sized], axis=0, dtype=np.float32
    )
    return spread


def _confidence(colorizer: Colorizer, result: Colorized) -> Floats | None:
    if not hasattr(colorizer.network, "logits"):
        return None
    return colorizer.expected_error(result)
