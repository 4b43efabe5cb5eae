"""Tables of an evaluation: labels and cells, for text and HTML."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_colorize_training.data import checks

if TYPE_CHECKING:
    from napari_colorize_training.evaluation.records import Column, Evaluation

Table = list[tuple[str, list[str]]]  # rows: a label and its cells


@dataclass(frozen=True)
class TableRow:
    """A row of the table of figures."""

    label: str  # name, unit and definition
    # Function from a column and the evaluation to a value; NaN or None if not measured
    of: Callable[[Column, Evaluation], float | None]
    digits: int = 2  # digits after the decimal point
    # Function from the evaluation to the value of the true images
    truth: Callable[[Evaluation], float | None] | None = None
    missing: str = ""  # how to measure it, for rows without values
    share: bool = False  # format as a percentage

    def cells(self, evaluation: Evaluation) -> list[str]:
        """Return the cells of gray, every model and the truth; "" for missing values."""
        values = [self.of(column, evaluation) for column in evaluation.columns]
        values.append(self.truth(evaluation) if self.truth else None)
        return [self._cell(value) for value in values]

    def _cell(self, value: float | None) -> str:
        if value is None or math.isnan(value):
            return ""
        return f"{value:.0%}" if self.share else f"{value:.{self.digits}f}"


def _mean_of(figure: str) -> Callable[[Column, Evaluation], float]:
    return lambda column, _: column.mean(figure)


def _truth_mean_of(figure: str) -> Callable[[Evaluation], float]:
    return lambda evaluation: evaluation.truth_mean(figure)


def _colorfulness_difference(column: Column, evaluation: Evaluation) -> float:
    return column.mean("colorfulness") - evaluation.truth_mean("colorfulness")


def share_of_gray(name: str) -> Callable[[Column, Evaluation], float | None]:
    """Return a function from a column to its value of a field as a share of gray's."""

    def share(column: Column, evaluation: Evaluation) -> float | None:
        own, gray = getattr(column, name), getattr(evaluation.gray, name)
        return own / gray if own is not None and gray else None

    return share


def share_of_truth(figure: str) -> Callable[[Column, Evaluation], float]:
    """Return a function from a column to its mean of a figure as a share of the truth's."""

    def share(column: Column, evaluation: Evaluation) -> float:
        truth = evaluation.truth_mean(figure)
        return column.mean(figure) / truth if truth else math.nan

    return share


def _better(column: Column, evaluation: Evaluation) -> float | None:
    return None if column is evaluation.gray else column.better


def _rank_correlation(column: Column, _: Evaluation) -> float | None:
    return column.calibration.rank_correlation if column.calibration else None


TABLE_ROWS = (
    TableRow("PSNR, dB (higher is better)", _mean_of("psnr")),
    TableRow("SSIM (higher)", _mean_of("ssim"), digits=4),
    TableRow("CIEDE2000 (lower)", _mean_of("ciede2000")),
    TableRow("better than gray in CIEDE2000", _better, share=True),
    TableRow(
        "colorfulness, Hasler and Suesstrunk",
        _mean_of("colorfulness"),
        truth=_truth_mean_of("colorfulness"),
    ),
    TableRow("  share of the truth's", share_of_truth("colorfulness")),
    TableRow("  minus the truth's", _colorfulness_difference),
    TableRow(
        "colorfulness, DDColor's variant (cf_abs)",
        _mean_of("colorfulness_abs"),
        truth=_truth_mean_of("colorfulness_abs"),
    ),
    TableRow(
        "uncolored share (chroma below 2)",
        _mean_of("uncolored"),
        truth=_truth_mean_of("uncolored"),
        share=True,
    ),
    TableRow(
        "patchiness: chroma gradient in smooth areas, 1/100",
        _mean_of("patchiness"),
        truth=_truth_mean_of("patchiness"),
    ),
    TableRow("  share of the truth's", share_of_truth("patchiness")),
    TableRow(
        "Frechet distance, backbone (lower)",
        lambda column, _: column.frechet,
        missing="give --backbone FILE",
    ),
    TableRow("  share of gray's", share_of_gray("frechet")),
    TableRow("  whole images, share of gray's", share_of_gray("frechet_whole")),
    TableRow("  quadrants, share of gray's", share_of_gray("frechet_quadrants")),
    TableRow("LPIPS (lower)", _mean_of("lpips"), digits=4, missing="give --lpips FILE"),
    TableRow("FID, Inception (lower)", lambda column, _: column.fid, missing="give --fid FILE"),
    TableRow(
        "CDC (lower is more consistent)",
        lambda column, _: column.cdc,
        digits=5,
        truth=lambda evaluation: evaluation.truth_cdc,
        missing="give --stack for the frames of a video",
    ),
    TableRow(
        "warping error (lower is more consistent)",
        lambda column, _: column.warping_error,
        digits=5,
        truth=lambda evaluation: evaluation.truth_warping_error,
    ),
    TableRow(
        "rank correlation of expected and measured error",
        _rank_correlation,
        missing="leave out --no-calibration",
    ),
)


def figure_table(evaluation: Evaluation) -> Table:
    """Return the table of figures; rows that were not measured have one cell with the reason."""
    rows = [("", [*(column.name for column in evaluation.columns), "truth"])]
    for row in TABLE_ROWS:
        cells = row.cells(evaluation)
        if any(cells):
            rows.append((row.label, cells))
        elif row.missing:
            rows.append((row.label, [f"not measured: {row.missing}"]))
    return rows


def group_table(evaluation: Evaluation) -> Table:
    """Return CIEDE2000 and PSNR of every group of images."""
    heads = ["images"]
    heads += [f"{column.name} {unit}" for column in evaluation.columns for unit in ("dB", "dE")]
    rows = [("group", heads)]
    for group, indices in evaluation.group_members().items():
        cells = [str(len(indices))]
        for column in evaluation.columns:
            cells += [f"{column.mean(name, indices):.2f}" for name in ("psnr", "ciede2000")]
        rows.append((group or "(none)", cells))
    return rows


def curve_table(column: Column) -> Table:
    """Return the figures of a model over saturation."""
    points = column.curve
    if not points:
        return []
    return [
        (f"{column.name} at saturation", [f"{point.saturation:g}" for point in points]),
        ("  PSNR, dB", [f"{point.psnr:.2f}" for point in points]),
        ("  CIEDE2000", [f"{point.ciede2000:.2f}" for point in points]),
        ("  colorfulness, share of truth", [f"{point.colorfulness:.2f}" for point in points]),
    ]


def calibration_table(column: Column) -> Table:
    """Return expected and measured errors of a model."""
    found = column.calibration
    if found is None:
        return []
    return [
        (f"{column.name}, areas by expected error", [""] * len(found.expected)),
        (f"  {column.uncertainty}", [f"{value:.2f}" for value in found.expected]),
        ("  measured CIEDE2000", [f"{value:.2f}" for value in found.measured]),
    ]


def summary(evaluation: Evaluation) -> str:
    """Return one sentence on the images and the settings."""
    config = evaluation.config
    count = len(evaluation.images)
    text = f"{count} image{'s' * (count != 1)} of {evaluation.data}"
    text += f", {evaluation.split}" * bool(evaluation.split)
    text += checks.summary(evaluation.left_out, named=checks.NAMED)
    if config.degrade:
        text += (
            f"; models get gray degraded as {config.degrade} (seed {config.seed}), and their "
            "colors are measured on the clean gray"
        )
    return text + "."
