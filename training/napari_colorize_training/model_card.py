"""Result of a fine-tuning, and the model card that is written beside the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from napari_colorize.provenance import SOFTWARE, STATEMENT, to_text
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize_training.data import Report
from napari_colorize_training.evaluation.quick_score import Score
from napari_colorize_training.recipe import Recipe
from napari_colorize_training.verdict import Outcome, describe

if TYPE_CHECKING:
    from napari_colorize.zoo import Checkpoint

ROWS = (
    ("color error (CIEDE2000)", "ciede2000", "ciede2000_gray"),
    ("PSNR, dB", "psnr", "psnr_gray"),
    ("colorfulness, share of the truth's", "colorfulness", None),
    ("share of images better than gray", "better_share", None),
)


@dataclass(frozen=True)
class FinetuneResult:
    """Model, scores and data of a fine-tuning."""

    path: Path  # path of the model
    outcome: Outcome
    # Scores of base and result on the validation images
    before: Score
    after: Score
    report: Report  # numbers of images, and problems
    kept_base: bool = False  # no checkpoint was better, so that the model is a copy of its base

    @property
    def improved(self) -> bool:
        """Whether the model is better than its base and than gray, on the validation images."""
        return self.outcome is Outcome.BETTER

    @property
    def sentence(self) -> str:
        """Summary for users."""
        return self.describe(str(self.path))

    def describe(self, name: str) -> str:
        """Return the summary with another name of the model."""
        return describe(self.outcome, name, self.before, self.after, kept_base=self.kept_base)


def write_card(
    result: FinetuneResult, recipe: Recipe, base: Checkpoint, sheet: Image.Image
) -> tuple[Path, Path]:
    """Write `model.md` and `model.png` beside `model.safetensors`; returns their paths."""
    image, path = result.path.with_suffix(".png"), result.path.with_suffix(".md")
    texts = PngInfo()  # so that the sheet in a folder of training images is left out
    texts.add_itxt("Comment", to_text({"software": SOFTWARE}))
    with new_file(image, overwrite=True) as part, write_errors(image):
        sheet.save(part, format="PNG", pnginfo=texts)
    with new_file(path, overwrite=True) as part, write_errors(path):
        part.write_text(_text(result, recipe, base, image.name), encoding="utf-8")
    return path, image


def _text(result: FinetuneResult, recipe: Recipe, base: Checkpoint, image: str) -> str:
    report = result.report
    caption = "Gray, base, this model and truth, with CIEDE2000"
    if recipe.data.degrade != "none":
        caption = f"Gray is degraded as `{recipe.data.degrade}`. {caption}"
    return f"""# {result.path.stem}

{recipe.title}. {STATEMENT}

{result.describe("This model")}

- Base: {base.name} ({base.architecture}), sha256 {base.sha256}
- License of the base: {recipe.license}
- Data: {report.sentence()}
- Trained on {_images(report.training)}, measured on {result.after.images} of
  {_images(report.validation)} for validation. These also selected the checkpoint, so that the
  scores are slightly optimistic; measure the model on other images with
  `napari-colorize-train evaluate`.

{_table(result)}

{caption}:

![samples]({image})
{_problems(report)}
## Recipe

```json
{json.dumps(recipe.to_dict(), indent=2)}
```
"""


def _images(count: int) -> str:
    """Return "1 image", "2 images"."""
    return f"{count} image{'s' * (count != 1)}"


def _table(result: FinetuneResult) -> str:
    lines = ["| on validation images | gray | base | this model |", "|---|---|---|---|"]
    for title, name, gray in ROWS:
        first = f"{getattr(result.after, gray):.2f}" if gray else ""
        before, after = (getattr(score, name) for score in (result.before, result.after))
        lines.append(f"| {title} | {first} | {before:.2f} | {after:.2f} |")
    return "\n".join(lines)


def _problems(report: Report) -> str:
    """Return a section with a line for each image that was left out or has a note, or ""."""
    if not report.problems:
        return ""
    lines = "\n".join(map(str, report.problems))
    return f"\n## Problems of the data\n\n```text\n{lines}\n```\n"
