"""Words and choices that front ends share: of knobs, of maps, of models."""

from __future__ import annotations

from napari_colorize.zoo import CATALOGUE, is_local

FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # of the present render factor
LARGEST = 100  # render factor


def factors_around(render_factor: int) -> list[int]:
    """Render factors to compare with this one, ascending, each once."""
    return sorted({min(LARGEST, max(1, round(render_factor * factor))) for factor in FACTORS})


def setting_in_words(name: str) -> str:
    """A setting's name as a label."""
    return {"self_attention": "self-attention"}.get(name, name.replace("_", " "))


def cost_in_words(model: str) -> str:
    """What a model of the catalogue costs to have, to stand behind its name; "" for ours."""
    checkpoint = CATALOGUE[model]
    if not checkpoint.urls:
        return ""
    return " (here)" if is_local(checkpoint) else f" ({checkpoint.size / 1e6:.0f} MB to fetch)"
