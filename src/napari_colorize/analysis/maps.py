"""Analysis maps of a colorized image: values, their colors, and one sentence about them.

The napari overlays, the Jupyter tools and `napari-colorize image --map` display the same maps:

- `attention_map`: self-attention weights of one pixel;
- `expected_error_map`: the CIEDE2000 error that the model expects;
- `disagreement_map`: CIEDE2000 differences between several predictions;
- `uncolored_map`: pixels with almost no chroma.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_colorize.analysis.colormaps import (
    INFERNO,
    LARGEST_ERROR,
    VIRIDIS,
    Colormap,
    apply_colormap,
)

if TYPE_CHECKING:
    from napari_colorize.analysis.attention import AttentionMap
    from napari_colorize.analysis.disagreement import Disagreement
    from napari_colorize.array_types import AnyArray, Float32Array, UInt8Array
    from napari_colorize.result import Colorized

MapKind = Literal["disagreement", "error", "uncolored"]

ATTENTION_GAMMA = 0.5  # a few weights are large; the many small ones have to be visible too
UNCOLORED_COLOR = (255, 0, 255)  # magenta, which photographs do not contain
UNCOLORED_OPACITY = 0.5  # of the marked pixels over the gray image
STATISTICS_SIDE = 512  # pixels of a side that are enough for the quantiles of a map


@dataclass(frozen=True, eq=False)
class AnalysisMap:
    """Values of a map, how to display them, and a sentence about them."""

    values: AnyArray = field(repr=False)  # float32 or bool, shape (Y, X); bool marks pixels
    sentence: str  # what the map shows, for status lines
    high: float = 1.0  # value at the upper end of the colormap; 0 is at the lower end
    colormap: Colormap = VIRIDIS  # colormap of a float map
    gamma: float = 1.0  # exponent applied to `values / high` before the colormap

    def rgba(self, max_side: int | None = None) -> UInt8Array:
        """The map in color, uint8 (Y, X, 4): opaque, or `UNCOLORED_COLOR` at marked pixels only.

        It is subsampled so that no side is longer than `max_side`; full size by default.
        """
        step = subsampling(self.values.shape, max_side)
        values = self.values[::step, ::step]
        rgba = np.zeros((*values.shape, 4), np.uint8)
        if values.dtype == np.bool_:
            rgba[values] = (*UNCOLORED_COLOR, 255)
        else:
            rgba[..., :3] = apply_colormap((values / self.high) ** self.gamma, self.colormap)
            rgba[..., 3] = 255
        return rgba


@dataclass(frozen=True, eq=False)
class DrawnMap:
    """A map as an image file: RGB `pixels` (uint8, (Y, X, 3)), notes and provenance."""

    pixels: UInt8Array = field(repr=False)
    notes: tuple[str, ...]
    provenance: dict[str, object]


def subsampling(shape: tuple[int, ...], max_side: int | None) -> int:
    """Step by which an array is subsampled so that no side is longer than `max_side`."""
    return 1 if max_side is None else -(-max(shape[:2]) // max_side)


def attention_map(attention: AttentionMap) -> AnalysisMap:
    """Self-attention weights of one pixel, at the size of the attention layer."""
    weights = attention.weights
    sentence = attention_sentence(attention.point, weights)
    return AnalysisMap(weights, sentence, float(weights.max()), INFERNO, ATTENTION_GAMMA)


def attention_sentence(point: tuple[int, int], weights: Float32Array) -> str:
    """The smallest share of the image that has half of the attention of a row and column."""
    percent = 100 * half_attention_share(weights)
    share = f"{percent:.0f} %" if percent >= 1 else "less than 1 %"
    return f"Row {point[0]}, column {point[1]}: half of the attention is on {share} of the image."


def half_attention_share(weights: Float32Array) -> float:
    """The smallest share of pixels whose weights sum to one half; all weights sum to 1."""
    descending = np.sort(weights, axis=None)[::-1]
    count = int(np.searchsorted(np.cumsum(descending, dtype=np.float64), 0.5)) + 1
    return min(count, descending.size) / descending.size


def expected_error_map(errors: Float32Array) -> AnalysisMap:
    """Errors that the model expects of its colors, in CIEDE2000, shape (Y, X)."""
    sentence = f"Expected error in CIEDE2000: {_quantiles(errors)}."
    return AnalysisMap(errors, sentence, LARGEST_ERROR)


def disagreement_map(disagreement: Disagreement) -> AnalysisMap:
    """Differences between several predictions, in CIEDE2000."""
    sentence = (
        f"Disagreement of {len(disagreement.variants)} predictions in CIEDE2000: "
        f"{_quantiles(disagreement.map)}."
    )
    return AnalysisMap(disagreement.map, sentence, LARGEST_ERROR)


def uncolored_map(result: Colorized, max_side: int | None = None) -> AnalysisMap:
    """Pixels with almost no chroma: a CIELAB chroma below 2, which is hardly visible.

    With `max_side` the result is subsampled so that no side is longer: the conversion to CIELAB of
    1 megapixel takes about 0.1 s.
    """
    mask = result.uncolored(step=subsampling(result.pixels.shape, max_side))
    share = float(mask.mean())
    percent = "Less than 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"
    return AnalysisMap(mask, f"{percent} of the image is uncolored (CIELAB chroma below 2).")


def draw_map(
    kind: MapKind,
    colorizer: Any,
    image: AnyArray,
    *,
    rgb: bool,
    extras: dict[str, Any],
    settings: dict[str, Any],
) -> DrawnMap:
    """Colorize one image and draw a map of the result.

    Disagreement and expected error are drawn in viridis from 0 to a CIEDE2000 of 25. Uncolored
    pixels are marked in magenta on the gray image. `image`, `rgb` and `settings` are as in
    `Colorizer.__call__`; `extras` are its guides and second model as keyword arguments.
    """
    result = colorizer(image, rgb=rgb, **extras, **settings)
    if kind == "uncolored":
        analysis_map = uncolored_map(result)
        pixels = _marked_gray(result, analysis_map.values)
    else:
        if kind == "error":
            analysis_map = expected_error_map(colorizer.expected_error(result))
        else:
            from napari_colorize.analysis.disagreement import disagreement

            second = extras.get("blend_with")
            others = () if second is None else (second,)
            used = {**settings, "contrast_limits": result.settings.contrast_limits}
            analysis_map = disagreement_map(
                disagreement(colorizer, image, others=others, rgb=rgb, **used)
            )
        pixels = analysis_map.rgba()[..., :3]
    return DrawnMap(pixels, (*result.notes, analysis_map.sentence), result.provenance)


def _quantiles(values: Float32Array) -> str:
    step = subsampling(values.shape, STATISTICS_SIDE)
    median, most = np.quantile(values[::step, ::step], (0.5, 0.9))
    return f"half of the image is below {median:.0f}, a tenth above {most:.0f}"


def _marked_gray(result: Colorized, mask: AnyArray) -> UInt8Array:
    """The gray image with marked pixels in `UNCOLORED_COLOR`."""
    from napari_colorize.imaging.color import to_uint8  # torch

    gray = np.nan_to_num(result.gray)[..., None]
    color = np.array(UNCOLORED_COLOR, np.float32) / 255
    marked = gray * (1 - UNCOLORED_OPACITY) + color * UNCOLORED_OPACITY
    return to_uint8(np.where(mask[..., None], marked, gray))
