"""Reports of an evaluation as text and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from napari_colorize import __version__
from napari_colorize.runtime.atomic import new_file, refuse_existing, write_errors
from napari_colorize_training.evaluation.tables import (
    Table,
    calibration_table,
    curve_table,
    figure_table,
    group_table,
    share_of_gray,
    share_of_truth,
    summary,
)

if TYPE_CHECKING:
    from napari_colorize_training.evaluation.records import Column, Evaluation


def to_text(evaluation: Evaluation) -> str:
    """Return the figures as aligned tables, for a terminal."""
    tables = [figure_table(evaluation)]
    if evaluation.config.group is not None:
        tables.append(group_table(evaluation))
    for model in evaluation.models:
        tables += [table for table in (curve_table(model), calibration_table(model)) if table]
    return "\n\n".join([summary(evaluation), *map(_aligned, tables)])


def _aligned(rows: Table) -> str:
    first = max(len(label) for label, _ in rows)
    # A single cell is a remark, which does not determine the width of a column.
    full = [cells for _, cells in rows if len(cells) > 1] or [cells for _, cells in rows]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    return "\n".join(
        f"{label:<{first}}  {_joined(cells, widths)}".rstrip() for label, cells in rows
    )


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    if len(cells) == 1:
        return cells[0]
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def refuse_unwritable(*paths: Path | None, overwrite: bool = True) -> None:
    """Raise an error for paths that cannot be written to, before a long computation.

    Raises
    ------
    OutputError
        If a path is a folder, its folder is not writable, or it exists and `overwrite` is False.
    """
    for path in paths:
        if path is not None:
            refuse_existing(path, overwrite=overwrite)
            with write_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with TemporaryFile(dir=path.parent):
                    pass


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Write all figures, also those of each image; NaN is written as null."""
    content = json.dumps(_json_value(to_dict(evaluation)), indent=1, allow_nan=False)
    with new_file(path, overwrite=True) as part, write_errors(path):
        part.write_text(content + "\n", encoding="utf-8")


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Return all figures as plain values: by column, by group, and by image."""
    return {
        "data": evaluation.data,
        "split": evaluation.split,
        "config": asdict(evaluation.config),
        "napari_colorize": __version__,
        "images": len(evaluation.images),
        "skipped": len(evaluation.left_out),
        "left_out": [asdict(problem) for problem in evaluation.left_out],
        "truth": {
            **{name: evaluation.truth_mean(name) for name in _fields(evaluation.truth[0])},
            "cdc": evaluation.truth_cdc,
            "warping_error": evaluation.truth_warping_error,
        },
        "columns": {column.name: _column_dict(column, evaluation) for column in evaluation.columns},
        "groups": {
            group: {
                "images": len(indices),
                **{
                    column.name: {
                        name: column.mean(name, indices) for name in _fields(column.images[0])
                    }
                    for column in evaluation.columns
                },
            }
            for group, indices in evaluation.group_members().items()
            if group
        },
        "each": [
            {
                "name": name,
                "group": evaluation.groups[index],
                "truth": asdict(evaluation.truth[index]),
                **{column.name: asdict(column.images[index]) for column in evaluation.columns},
            }
            for index, name in enumerate(evaluation.images)
        ],
    }


def _column_dict(column: Column, evaluation: Evaluation) -> dict[str, Any]:
    values = asdict(column)
    del values["name"], values["images"]
    means = {name: column.mean(name) for name in _fields(column.images[0])}
    return {
        **means,
        **{
            f"{name}_share": share_of_truth(name)(column, evaluation)
            for name in ("colorfulness", "patchiness")
        },
        "frechet_share": share_of_gray("frechet")(column, evaluation),
        **values,
    }


def _fields(record: Any) -> list[str]:
    return list(asdict(record))


def _json_value(value: Any) -> Any:
    """Return a value without NaN and paths, which JSON does not support."""
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
