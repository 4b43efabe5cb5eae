"""Sheets of images: gray, predictions and truth side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from napari_colorize.array_types import UInt8Array
from napari_colorize.batch.contact_sheet import contact_sheet

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize_training.evaluation.records import Example

CELL = 256  # px, longer side of an image on a sheet
PREVIEW_LABELS = ("gray", "prediction", "truth")


def preview_sheet(rows: Sequence[tuple[UInt8Array, UInt8Array, UInt8Array]]) -> Image.Image:
    """Return a sheet with gray (Y, X), prediction and truth (Y, X, 3), uint8, one image per row."""
    labels = [PREVIEW_LABELS if not number else ("", "", "") for number in range(len(rows))]
    images = [image for row in rows for image in row]
    return Image.fromarray(
        contact_sheet(images, [label for row in labels for label in row], columns=3, cell=CELL)
    )


def sample_sheet(colorizer: Colorizer, images: Iterable[UInt8Array]) -> Image.Image:
    """Return a `preview_sheet` of a model's results on color images, uint8 `(Y, X, 3)`."""
    from napari_colorize_training.evaluation.metrics import to_gray

    rows = []
    for truth in images:
        gray = to_gray(truth)
        rows.append((gray, colorizer(gray).pixels, truth))
    return preview_sheet(rows)


def example_sheet(examples: Sequence[Example], names: Sequence[str]) -> Image.Image:
    """Return a sheet with gray, the result of each model and the truth, with CIEDE2000.

    The label of the truth has the name of the file.
    """
    images, labels = [], []
    for example in examples:
        images += [example.gray, *example.predicted, example.truth]
        errors = zip(("gray", *names), example.errors, strict=True)
        labels += [f"{name}: {error:.1f}" for name, error in errors]
        labels.append(f"truth, {Path(example.name).name}")
    return Image.fromarray(contact_sheet(images, labels, columns=len(names) + 2, cell=CELL))
