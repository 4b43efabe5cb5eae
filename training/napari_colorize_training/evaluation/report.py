"""What was measured, to read: a table, JSON, one HTML file; and sheets of pictures.

The HTML file holds its pictures and charts itself and loads nothing.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_colorize import __version__
from napari_colorize.batch.contact_sheet import contact_sheet
from napari_colorize.finetune.line_chart import Chart, named_lines, render_svg
from napari_colorize.provenance import STATEMENT
from napari_colorize.runtime.atomic import new_file, refuse_existing, write_errors

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize_training.evaluation.records import Column, Evaluation, Example

Pixels = NDArray[np.uint8]
Lines = list[tuple[str, list[str]]]  # of a table: a label and cells

CELL = 256  # px, longer side of a picture on a sheet
SHEET_LABELS = ("gray", "prediction", "truth")
JPEG_QUALITY = 88


def preview_sheet(rows: Sequence[tuple[Pixels, Pixels, Pixels]]) -> Image.Image:
    """Gray, prediction and truth of some pictures, one picture a row.

    Parameters
    ----------
    rows : sequence of (gray, predicted, truth)
        uint8, `(Y, X)` and twice `(Y, X, 3)`.
    """
    labels = [SHEET_LABELS if not number else ("", "", "") for number in range(len(rows))]
    pictures = [picture for row in rows for picture in row]
    return Image.fromarray(
        contact_sheet(pictures, [label for row in labels for label in row], columns=3, cell=CELL)
    )


def sample_sheet(colorizer: Colorizer, pictures: Iterable[Pixels]) -> Image.Image:
    """A model's colours beside the true ones: a `preview_sheet` of uint8 pictures `(Y, X, 3)`."""
    from napari_colorize_training.evaluation.metrics import to_gray

    rows = []
    for truth in pictures:
        gray = to_gray(truth)
        rows.append((gray, colorizer(gray).pixels, truth))
    return preview_sheet(rows)


@dataclass(frozen=True)
class Measure:
    """A line of the table: what it is, what it is of a column, and which way is better.

    Parameters
    ----------
    label : str
        In words, with the definition where several exist.
    of : callable
        A column's value and the whole evaluation's; NaN or None if it was not measured.
    digits : int
        After the point.
    truth : callable, optional
        The same of the true pictures.
    missing : str
        What to do for it to be measured.
    share : bool
        Shown in percent.
    """

    label: str
    of: Callable[[Column, Evaluation], float | None]
    digits: int = 2
    truth: Callable[[Evaluation], float | None] | None = None
    missing: str = ""
    share: bool = False

    def cells(self, evaluation: Evaluation) -> list[str]:
        """Of gray, every model and the truth; empty where there is nothing to say."""
        values = [self.of(column, evaluation) for column in evaluation.columns]
        values.append(self.truth(evaluation) if self.truth else None)
        return [self._cell(value) for value in values]

    def _cell(self, value: float | None) -> str:
        if value is None or math.isnan(value):
            return ""
        return f"{value:.0%}" if self.share else f"{value:.{self.digits}f}"


def _mean_of(figure: str) -> Callable[[Column, Evaluation], float]:
    return lambda column, _: column.mean(figure)


def _true_mean_of(figure: str) -> Callable[[Evaluation], float]:
    return lambda evaluation: evaluation.truth_mean(figure)


def _colorful_share(column: Column, evaluation: Evaluation) -> float:
    truth = evaluation.truth_mean("colorfulness")
    return column.mean("colorfulness") / truth if truth else math.nan


def _colorful_difference(column: Column, evaluation: Evaluation) -> float:
    return column.mean("colorfulness") - evaluation.truth_mean("colorfulness")


def _of_grays(name: str) -> Callable[[Column, Evaluation], float | None]:
    def share(column: Column, evaluation: Evaluation) -> float | None:
        own, gray = getattr(column, name), getattr(evaluation.gray, name)
        return own / gray if own is not None and gray else None

    return share


def _better(column: Column, evaluation: Evaluation) -> float | None:
    return None if column is evaluation.gray else column.better


def _rank(column: Column, _: Evaluation) -> float | None:
    return column.calibration.rank_correlation if column.calibration else None


MEASURES = (
    Measure("PSNR, dB (higher is better)", _mean_of("psnr")),
    Measure("SSIM (higher)", _mean_of("ssim"), digits=4),
    Measure("CIEDE2000 (lower)", _mean_of("ciede2000")),
    Measure("better than gray in CIEDE2000", _better, share=True),
    Measure(
        "colourfulness, Hasler and Suesstrunk",
        _mean_of("colorfulness"),
        truth=_true_mean_of("colorfulness"),
    ),
    Measure("  as a share of the truth's", _colorful_share),
    Measure("  minus the truth's", _colorful_difference),
    Measure(
        "colourfulness, DDColor's variant (cf_abs)",
        _mean_of("colorfulness_abs"),
        truth=_true_mean_of("colorfulness_abs"),
    ),
    Measure(
        "uncoloured share (chroma below 2)",
        _mean_of("uncolored"),
        truth=_true_mean_of("uncolored"),
        share=True,
    ),
    Measure(
        "Frechet distance, backbone (lower)",
        lambda column, _: column.frechet,
        missing="give --backbone FILE",
    ),
    Measure("  as a share of gray's", _of_grays("frechet")),
    Measure("  whole pictures, share of gray's", _of_grays("frechet_whole")),
    Measure("  quadrants, share of gray's", _of_grays("frechet_quadrants")),
    Measure("LPIPS (lower)", _mean_of("lpips"), digits=4, missing="give --lpips FILE"),
    Measure("FID, Inception (lower)", lambda column, _: column.fid, missing="give --fid FILE"),
    Measure(
        "CDC (lower is steadier)",
        lambda column, _: column.cdc,
        digits=5,
        truth=lambda evaluation: evaluation.truth_cdc,
        missing="give --stack for the frames of a film",
    ),
    Measure(
        "warping error (lower is steadier)",
        lambda column, _: column.warping_error,
        digits=5,
        truth=lambda evaluation: evaluation.truth_warping_error,
    ),
    Measure(
        "rank correlation, expected and true error",
        _rank,
        missing="leave out --no-calibration",
    ),
)


def lines_of(evaluation: Evaluation) -> Lines:
    """The table: a label and the cells of each line; one cell where a measure says why not."""
    lines = []
    for measure in MEASURES:
        cells = measure.cells(evaluation)
        if any(cells):
            lines.append((measure.label, cells))
        elif measure.missing:
            lines.append((measure.label, [f"not measured: {measure.missing}"]))
    return lines


def heads_of(evaluation: Evaluation) -> list[str]:
    """Names of the table's columns."""
    return [*(column.name for column in evaluation.columns), "truth"]


def to_text(evaluation: Evaluation) -> str:
    """The figures as aligned tables, for a terminal."""
    tables = [[("", heads_of(evaluation)), *lines_of(evaluation)]]
    if evaluation.config.group is not None:
        tables.append(_group_lines(evaluation))
    for model in evaluation.models:
        tables += [lines for lines in (_curve_lines(model), _calibration_lines(model)) if lines]
    return "\n\n".join([summary_of(evaluation), *map(_aligned, tables)])


def _curve_lines(column: Column) -> Lines:
    if not column.curve:
        return []
    points = column.curve
    return [
        (f"{column.name} at saturation", [f"{point.saturation:g}" for point in points]),
        ("  PSNR, dB", [f"{point.psnr:.2f}" for point in points]),
        ("  CIEDE2000", [f"{point.ciede2000:.2f}" for point in points]),
        ("  colourfulness, of the truth's", [f"{point.colorfulness:.2f}" for point in points]),
    ]


def _calibration_lines(column: Column) -> Lines:
    found = column.calibration
    if found is None:
        return []
    return [
        (f"{column.name}, areas from sure to unsure", [""] * len(found.expected)),
        (f"  {column.uncertainty}", [f"{value:.2f}" for value in found.expected]),
        ("  measured CIEDE2000", [f"{value:.2f}" for value in found.measured]),
    ]


def _aligned(lines: Lines) -> str:
    first = max(len(label) for label, _ in lines)
    # A lone cell is a remark, which may run on.
    full = [cells for _, cells in lines if len(cells) > 1] or [cells for _, cells in lines]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    return "\n".join(
        f"{label:<{first}}  {_side_by_side(cells, widths)}".rstrip() for label, cells in lines
    )


def _side_by_side(cells: Sequence[str], widths: Sequence[int]) -> str:
    if len(cells) == 1:
        return cells[0]
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _group_lines(evaluation: Evaluation) -> Lines:
    """CIEDE2000 and PSNR of every group of pictures."""
    heads = ["pictures"]
    heads += [f"{column.name} {unit}" for column in evaluation.columns for unit in ("dB", "dE")]
    lines = [("group", heads)]
    for group, places in evaluation.members().items():
        cells = [str(len(places))]
        for column in evaluation.columns:
            cells += [f"{column.mean(name, places):.2f}" for name in ("psnr", "ciede2000")]
        lines.append((group or "(none)", cells))
    return lines


def summary_of(evaluation: Evaluation) -> str:
    """In a sentence or two, what was measured on what."""
    exam = evaluation.config
    count = len(evaluation.pictures)
    said = f"{count} picture{'s' * (count != 1)} of {evaluation.data}"
    said += ", validation side" * exam.validation
    if evaluation.skipped:
        said += f"; {evaluation.skipped} left out (damaged, or without colours)"
    if exam.degrade:
        said += (
            f"; shown to the models as {exam.degrade.replace('-', ' ')}s (seed {exam.seed}), "
            "their colours measured on the clean gray"
        )
    return said + "."


def refuse_unwritable(*paths: Path | None) -> None:
    """Say that a report cannot be written before hours went into it.

    Raises
    ------
    OutputError
        If a path is a folder, or nothing can be written beside it.
    """
    for path in paths:
        if path is not None:
            refuse_existing(path, overwrite=True)
            with write_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with TemporaryFile(dir=path.parent):
                    pass


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Everything measured, picture by picture too; NaN is written as null."""
    content = json.dumps(_plain(to_dict(evaluation)), indent=1, allow_nan=False)
    with new_file(path, overwrite=True) as part:
        part.write_text(content + "\n", encoding="utf-8")


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Figures as plain values: means and sets by column, then every picture."""
    return {
        "data": evaluation.data,
        "exam": asdict(evaluation.config),
        "napari_colorize": __version__,
        "pictures": len(evaluation.pictures),
        "skipped": evaluation.skipped,
        "truth": {
            **{name: evaluation.truth_mean(name) for name in _fields(evaluation.truth[0])},
            "cdc": evaluation.truth_cdc,
            "warping_error": evaluation.truth_warping_error,
        },
        "columns": {column.name: _column_dict(column, evaluation) for column in evaluation.columns},
        "groups": {
            group: {
                "pictures": len(places),
                **{
                    column.name: {
                        name: column.mean(name, places) for name in _fields(column.pictures[0])
                    }
                    for column in evaluation.columns
                },
            }
            for group, places in evaluation.members().items()
            if group
        },
        "each": [
            {
                "name": name,
                "group": evaluation.groups[place],
                "truth": asdict(evaluation.truth[place]),
                **{column.name: asdict(column.pictures[place]) for column in evaluation.columns},
            }
            for place, name in enumerate(evaluation.pictures)
        ],
    }


def _column_dict(column: Column, evaluation: Evaluation) -> dict[str, Any]:
    values = asdict(column)
    del values["name"], values["pictures"]
    means = {name: column.mean(name) for name in _fields(column.pictures[0])}
    return {
        **means,
        "colorfulness_share": _colorful_share(column, evaluation),
        "frechet_share": _of_grays("frechet")(column, evaluation),
        **values,
    }


def _fields(record: Any) -> list[str]:
    return list(asdict(record))


def _plain(value: Any) -> Any:
    """The same for JSON, which knows neither NaN nor paths."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --paper: #fdfdfc; --faint: #6b6b70;
  --rule: #d9d9dc; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececee; --paper: #17181a; --faint: #a0a0a6; --rule: #3a3b3f; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
p.note { color: var(--faint); }
div.wide { overflow-x: auto; } div.charts { display: flex; flex-wrap: wrap; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid var(--rule);
  white-space: pre; }
th:first-child, td:first-child, td.why { text-align: left; } td.why { color: var(--faint); }
figure { margin: 1rem 0; } figcaption { color: var(--faint); font-size: .9rem; }
img, svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 12px; }
"""


def write_html(evaluation: Evaluation, path: Path) -> None:
    """The report as one file that needs no other."""
    content = to_html(evaluation)
    with new_file(path, overwrite=True) as part:
        part.write_text(content, encoding="utf-8")


def to_html(evaluation: Evaluation) -> str:
    """The report: table, curves, calibration, samples, best and worst cases."""
    title = f"Colours measured on {evaluation.data}"
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(summary_of(evaluation))} Gray is the model that does nothing.</p>",
        _html_table([("", heads_of(evaluation)), *lines_of(evaluation)]),
        *_group_section(evaluation),
        *_curve_section(evaluation),
        *_calibration_section(evaluation),
        *_sheet_sections(evaluation),
        f'<p class="note">{html.escape(STATEMENT)}</p>',
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _html_table(lines: Lines) -> str:
    width = max(len(cells) for _, cells in lines)
    (corner, heads), *rest = lines
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in (corner, *heads))
    body = []
    for label, cells in rest:
        shown = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        if len(cells) < width:
            shown = f'<td class="why" colspan="{width}">{html.escape(cells[0])}</td>'
        body.append(f"<tr><td>{html.escape(label)}</td>{shown}</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>\n' + "\n".join(body) + "</table></div>"


def _group_section(evaluation: Evaluation) -> list[str]:
    if evaluation.config.group is None:
        return []
    return ["<h2>By group</h2>", _html_table(_group_lines(evaluation))]


def _curve_section(evaluation: Evaluation) -> list[str]:
    models = [column for column in evaluation.models if len(column.curve) > 1]
    if not models:
        return []
    charts = []
    for name, label in (("psnr", "PSNR, dB"), ("ciede2000", "CIEDE2000")):
        lines = {
            column.name: [(point.colorfulness, getattr(point, name)) for point in column.curve]
            for column in models
        }
        gray = (0.0, evaluation.gray.mean(name))
        chart = Chart(
            lines=named_lines(lines),
            x_label="colorfulness, fraction of that of the true colors",
            y_label=label,
            ring=gray,
        )
        charts.append(render_svg(chart))
    steps = ", ".join(f"{point.saturation:g}" for point in models[0].curve)
    return [
        "<h2>As saturation grows</h2>",
        f'<p class="note">Points at saturation {steps}, from left to right; the ring is gray. '
        "Models differ by their curves, not by one point.</p>",
        f'<div class="charts">{"".join(charts)}</div>',
    ]


def _calibration_section(evaluation: Evaluation) -> list[str]:
    models = [column for column in evaluation.models if column.calibration is not None]
    if not models:
        return []
    lines = {
        column.name: list(
            zip(column.calibration.expected, column.calibration.measured, strict=True)
        )
        for column in models
        if column.calibration is not None
    }
    largest = max(max(point) for line in lines.values() for point in line)
    chart = Chart(
        lines=named_lines(lines),
        x_label="expected CIEDE2000",
        y_label="measured CIEDE2000",
        reference=[(0.0, 0.0), (largest, largest)],
    )
    sources = html.escape("; ".join(f"{item.name}: {item.uncertainty}" for item in models))
    return [
        "<h2>Does it know what it does not know?</h2>",
        f'<p class="note">Areas of all pictures in ten parts, from sure to unsure ({sources}). '
        "On the dashed line a model is as wrong as it expects; a rising line at least tells "
        "easy from hard.</p>",
        render_svg(chart),
    ]


def _sheet_sections(evaluation: Evaluation) -> list[str]:
    names = [column.name for column in evaluation.models]
    sections = [
        "<h2>Samples</h2>",
        _sheet(evaluation.samples, names, "The first pictures; the number is CIEDE2000."),
    ]
    for name in names:
        best, worst = evaluation.best[name], evaluation.worst[name]
        sections += [
            f"<h2>Best and worst of {html.escape(name)}</h2>",
            _sheet(best, names, "Most gained over gray in CIEDE2000."),
            _sheet(worst, names, "Least gained, or most lost."),
        ]
    return sections


def example_sheet(examples: Sequence[Example], names: Sequence[str]) -> Image.Image:
    """Gray, every model's colours and the truth, one picture a row, with their CIEDE2000."""
    pictures, labels = [], []
    for example in examples:
        pictures += [example.gray, *example.predicted, example.truth]
        heads = zip(("gray", *names), example.errors, strict=True)
        labels += [*(f"{name}: {error:.1f}" for name, error in heads), Path(example.name).name]
    return Image.fromarray(contact_sheet(pictures, labels, columns=len(names) + 2, cell=CELL))


def _sheet(examples: Sequence[Example], names: Sequence[str], caption: str) -> str:
    if not examples:
        return ""
    buffer = io.BytesIO()
    example_sheet(examples, names).save(buffer, "JPEG", quality=JPEG_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    caption = html.escape(caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
