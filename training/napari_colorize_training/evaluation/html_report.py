"""HTML report of an evaluation: one file with embedded images and charts."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_colorize.errors import SettingsError
from napari_colorize.extras import install_command
from napari_colorize.finetune.line_chart import Chart, named_lines, render_svg
from napari_colorize.provenance import STATEMENT
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize_training.evaluation.sheets import example_sheet
from napari_colorize_training.evaluation.tables import figure_table, group_table, summary

if TYPE_CHECKING:
    from napari_colorize_training.evaluation.records import Evaluation, Example

TEMPLATE = Path(__file__).with_name("report.html.jinja")
JPEG_QUALITY = 88


def write_html(evaluation: Evaluation, path: Path) -> None:
    """Write the report as one self-contained file."""
    content = to_html(evaluation)
    with new_file(path, overwrite=True) as part, write_errors(path):
        part.write_text(content, encoding="utf-8")


def to_html(evaluation: Evaluation) -> str:
    """Return the report: tables, curves, calibration, samples, best and worst images.

    Raises
    ------
    SettingsError
        If Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise SettingsError(f"HTML reports need Jinja2: {install_command('training')}") from error
    names = [column.name for column in evaluation.models]

    def data_uri(examples: Sequence[Example]) -> str:
        buffer = io.BytesIO()
        example_sheet(examples, names).save(buffer, "JPEG", quality=JPEG_QUALITY)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    environment.filters["data_uri"] = data_uri
    calibrated = [column for column in evaluation.models if column.calibration is not None]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=f"Evaluation on {evaluation.data}",
        summary=summary(evaluation),
        evaluation=evaluation,
        names=names,
        figures=figure_table(evaluation),
        groups=None if evaluation.config.group is None else group_table(evaluation),
        curves=_curve_charts(evaluation),
        saturations=", ".join(f"{value:g}" for value in evaluation.config.saturations),
        calibration=_calibration_chart(evaluation),
        uncertainty="; ".join(f"{column.name}: {column.uncertainty}" for column in calibrated),
        statement=STATEMENT,
    )


def _curve_charts(evaluation: Evaluation) -> list[str]:
    """Return charts of PSNR and CIEDE2000 over colorfulness."""
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
            x_label="colorfulness, share of the truth's",
            y_label=label,
            ring=gray,
        )
        charts.append(render_svg(chart))
    return charts


def _calibration_chart(evaluation: Evaluation) -> str:
    """Return a chart of measured over expected errors, or "" without any."""
    lines = {
        column.name: list(
            zip(column.calibration.expected, column.calibration.measured, strict=True)
        )
        for column in evaluation.models
        if column.calibration is not None
    }
    if not lines:
        return ""
    largest = max(max(point) for line in lines.values() for point in line)
    chart = Chart(
        lines=named_lines(lines),
        x_label="expected CIEDE2000",
        y_label="measured CIEDE2000",
        reference=[(0.0, 0.0), (largest, largest)],
    )
    return render_svg(chart)
