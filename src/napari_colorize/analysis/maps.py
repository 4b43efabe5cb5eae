"""Maps of a picture, as pictures: where its colours are a guess, and where it got none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_colorize.analysis.colormaps import LARGEST_ERROR, VIRIDIS, colored

MapKind = Literal["disagreement", "error", "uncolored"]

UNCOLORED = (255, 0, 255)  # no photograph has it
UNCOLORED_CHROMA = 0.5  # of the gray picture under marked pixels


@dataclass(frozen=True, eq=False)
class DrawnMap:
    """A map and what is to be said of it: `pixels` uint8 (Y, X, 3)."""

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]
    provenance: dict[str, object]


def draw_map(
    kind: MapKind,
    colorizer: Any,
    image: NDArray[Any],
    *,
    rgb: bool,
    beside: dict[str, Any],
    settings: dict[str, Any],
) -> DrawnMap:
    """Ask a model about one image and draw the answer.

    Parameters
    ----------
    kind : {"disagreement", "error", "uncolored"}
        How much colours change when the model is asked otherwise (`insight.disagreement`), how far
        off it expects them to be (`insight.confidence`), both from dark at 0 to bright at a
        CIEDE2000 of 25; or the picture with magenta where its CIELAB chroma is below 2.
    colorizer : Colorizer
        The model.
    image, rgb, settings
        As for `Colorizer.__call__`.
    beside : dict
        Guides and second model, as keywords.
    """
    result = colorizer(image, rgb=rgb, **beside, **settings)
    if kind == "uncolored":
        return _uncolored(result)
    if kind == "error":
        values, said = colorizer.expected_error(result), "Expected error"
    else:
        from napari_colorize.analysis.disagreement import disagreement

        second = beside.get("blend_with")
        others = () if second is None else (second,)
        values = disagreement(colorizer, image, others=others, rgb=rgb, **settings).map
        said = "Disagreement"
    low, middle, high = np.percentile(values, (5, 50, 95))
    note = f"{said}, CIEDE2000: half below {middle:.1f}, 5 to 95 % from {low:.1f} to {high:.1f}."
    pixels = colored(values / LARGEST_ERROR, VIRIDIS)
    return DrawnMap(pixels, (*result.notes, note), result.provenance)


def _uncolored(result: Any) -> DrawnMap:
    pale = result.uncolored()
    gray = np.rint(np.nan_to_num(result.gray) * 255).astype(np.uint8)
    pixels = np.repeat(gray[..., None], 3, axis=-1)
    marked = pixels[pale] * (1 - UNCOLORED_CHROMA) + np.array(UNCOLORED) * UNCOLORED_CHROMA
    pixels[pale] = np.rint(marked).astype(np.uint8)
    note = f"{pale.mean():.1%} of the picture has next to no colour."
    return DrawnMap(pixels, (*result.notes, note), result.provenance)
