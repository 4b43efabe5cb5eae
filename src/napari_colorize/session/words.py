"""Words and choices that front ends share: of knobs, of maps, of models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_colorize.zoo import CATALOGUE, is_local

FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # of the present render factor
LARGEST = 100  # render factor
SAMPLES = 512  # of each side that are enough to tell the middle of a map


def factors_around(render_factor: int) -> list[int]:
    """Render factors to compare with this one, ascending, each once."""
    return sorted({min(LARGEST, max(1, round(render_factor * factor))) for factor in FACTORS})


def setting_in_words(name: str) -> str:
    """A setting's name as a label."""
    return {"self_attention": "self-attention"}.get(name, name.replace("_", " "))


def attention_in_words(point: tuple[int, int], weights: NDArray[np.float32]) -> str:
    """What there is to read in the map of a row and column."""
    percent = 100 * share_that_says_half(weights)
    much = f"{percent:.0f} %" if percent >= 1 else "less than 1 %"
    return f"Row {point[0]}, column {point[1]} hears half of it from {much} of the picture."


def share_that_says_half(weights: NDArray[np.float32]) -> float:
    """The smallest share of a picture from which half of what is heard comes; weights sum to 1."""
    ordered = np.sort(weights, axis=None)[::-1]
    enough = int(np.searchsorted(np.cumsum(ordered, dtype=np.float64), 0.5)) + 1
    return min(enough, ordered.size) / ordered.size


def errors_in_words(errors: NDArray[np.float32]) -> str:
    """The middle of the errors, in a sentence."""
    return (
        f"Half of the picture is expected to be within {np.median(_some(errors)):.0f} of the truth."
    )


def disagreement_in_words(differences: NDArray[np.float32], answers: int) -> str:
    """How far answers lie apart, in a sentence."""
    half, most = np.quantile(_some(differences), (0.5, 0.9))
    return (
        f"{answers} answers: half of the picture differs by less than {half:.0f}, a tenth by more "
        f"than {most:.0f}."
    )


def pale_in_words(share: float) -> str:
    """How much of a picture is gray to an eye."""
    percent = "Less than 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"
    return f"{percent} of the picture got next to no colour (CIELAB chroma below 2)."


def _some(values: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = values.shape
    return values[:: -(-height // SAMPLES), :: -(-width // SAMPLES)]


def cost_in_words(model: str) -> str:
    """What a model of the catalogue costs to have, to stand behind its name; "" for ours."""
    checkpoint = CATALOGUE[model]
    if not checkpoint.urls:
        return ""
    return " (here)" if is_local(checkpoint) else f" ({checkpoint.size / 1e6:.0f} MB to fetch)"
