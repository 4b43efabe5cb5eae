"""A model card: what a model was made from and what it can do, beside its file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from napari_colorize.atomic import new_file
from napari_colorize.provenance import STATEMENT
from napari_colorize_training.data import Report
from napari_colorize_training.evaluate import Score
from napari_colorize_training.recipe import Recipe

ROWS = (
    ("PSNR, dB", "psnr", "psnr_gray", 2),
    ("CIEDE2000", "ciede2000", "ciede2000_gray", 2),
    ("colourfulness, share of the truth's", "colorfulness", None, 2),
    ("pictures better than gray", "better", None, 2),
)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card tells.

    Parameters
    ----------
    recipe : Recipe
        All values.
    base : str
        Name or file of what it began as.
    report : Report
        On the data.
    trained_on, held_back : int
        Pictures.
    before, after : Score
        Of base and model on the pictures held back.
    """

    recipe: Recipe
    base: str
    report: Report
    trained_on: int
    held_back: int
    before: Score
    after: Score


def write_card(model: Path, card: Card, sheet: Image.Image) -> Path:
    """Write `model.md` and `model.png` beside `model.safetensors`; returns the card's path."""
    picture, path = model.with_suffix(".png"), model.with_suffix(".md")
    with new_file(picture, overwrite=True) as part:
        sheet.save(part, format="PNG")
    with new_file(path, overwrite=True) as part:
        part.write_text(_text(model, picture, card), encoding="utf-8")
    return path


def _text(model: Path, picture: Path, card: Card) -> str:
    recipe = json.dumps(card.recipe.as_table(), indent=2)
    return f"""# {model.stem}

{card.recipe.title}. {STATEMENT}

- Base: {card.base}
- Trained on {card.trained_on} pictures, measured on {card.held_back} others that were held back.
- Data: {card.report.sentence()}
- Licence of the base: {card.recipe.license}

{_table(card)}

Gray, prediction and truth of pictures held back:

![samples]({picture.name})

## Recipe

```json
{recipe}
```
"""


def _table(card: Card) -> str:
    lines = ["| on the pictures held back | gray | base | this model |", "|---|---|---|---|"]
    for title, name, gray, digits in ROWS:
        first = f"{getattr(card.after, gray):.{digits}f}" if gray else ""
        before, after = (getattr(score, name) for score in (card.before, card.after))
        lines.append(f"| {title} | {first} | {before:.{digits}f} | {after:.{digits}f} |")
    return "\n".join(lines)
