"""What came of a fine-tuning, and the card that tells it beside the model's file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from napari_colorize.provenance import STATEMENT
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize_training.data import Report
from napari_colorize_training.evaluation.evaluate import Score
from napari_colorize_training.recipe import Recipe

if TYPE_CHECKING:
    from napari_colorize.zoo import Checkpoint

ROWS = (
    ("CIEDE2000", "ciede2000", "ciede2000_gray"),
    ("PSNR, dB", "psnr", "psnr_gray"),
    ("colourfulness, share of the truth's", "colorfulness", None),
    ("share of pictures nearer to the truth than gray", "better", None),
)


@dataclass(frozen=True)
class FinetuneResult:
    """What came of it.

    Parameters
    ----------
    path : Path
        The model; every front end opens it.
    improved : bool
        Whether it is better than the base on the pictures held back.
    before, after : Score
        Of base and result, on those pictures.
    report : Report
        What was found in the data.
    sentence : str
        All of this in words.
    """

    path: Path
    improved: bool
    before: Score
    after: Score
    report: Report
    sentence: str


def write_card(
    result: FinetuneResult, recipe: Recipe, base: Checkpoint, sheet: Image.Image
) -> tuple[Path, Path]:
    """Write `model.md` and `model.png` beside `model.safetensors`; returns their paths."""
    picture, path = result.path.with_suffix(".png"), result.path.with_suffix(".md")
    with new_file(picture, overwrite=True) as part, write_errors(picture):
        sheet.save(part, format="PNG")
    with new_file(path, overwrite=True) as part, write_errors(path):
        part.write_text(_text(result, recipe, base, picture.name), encoding="utf-8")
    return path, picture


def _text(result: FinetuneResult, recipe: Recipe, base: Checkpoint, picture: str) -> str:
    report = result.report
    pictures = "Gray, base, this model and truth, with their CIEDE2000"
    if recipe.data.degrade != "none":
        pictures = f"Models saw gray degraded as `{recipe.data.degrade}`. {pictures}"
    return f"""# {result.path.stem}

{recipe.title}. {STATEMENT}

{result.sentence.replace(str(result.path), "This model", 1)}

- Base: {base.name} ({base.architecture}), sha256 {base.sha256}
- Licence of the base: {recipe.license}
- Data: {report.sentence()}
- Trained on {report.training} pictures, measured on {result.after.pictures} of the
  {report.validation} that were held back. These also chose among the checkpoints, which flatters
  the model a little; measure it on other pictures with `napari-colorize-train evaluate`.

{_table(result)}

{pictures}:

![samples]({picture})

## Recipe

```json
{json.dumps(recipe.as_table(), indent=2)}
```
"""


def _table(result: FinetuneResult) -> str:
    lines = ["| on the pictures held back | gray | base | this model |", "|---|---|---|---|"]
    for title, name, gray in ROWS:
        first = f"{getattr(result.after, gray):.2f}" if gray else ""
        before, after = (getattr(score, name) for score in (result.before, result.after))
        lines.append(f"| {title} | {first} | {before:.2f} | {after:.2f} |")
    return "\n".join(lines)
