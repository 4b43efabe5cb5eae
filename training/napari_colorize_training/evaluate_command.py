"""`napari-colorize-train evaluate`: its options, in front of `evaluate` and `report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer

Models = Annotated[
    list[str] | None,
    typer.Argument(metavar="[MODEL]...", help="Names or files. Default: embedded."),
]
Data = Annotated[
    Path | None,
    typer.Argument(metavar="DATA", help="Pictures in colour: a folder, tar shards, a CSV, frames."),
]


def evaluate(
    models: Models = None,
    data: Data = None,
    render_factor: Annotated[int | None, typer.Option(help="Default: as recommended.")] = None,
    saturation: Annotated[float | None, typer.Option(help="Default: as recommended.")] = None,
    saturations: Annotated[
        str, typer.Option(help="Points of the curve over saturation; '' for none.")
    ] = "0.5,1,1.5,2",
    degrade: Annotated[
        str | None, typer.Option(help="Show the models worn pictures: old-photograph.")
    ] = None,
    validation: Annotated[
        bool, typer.Option("--validation", help="Only the pictures that training holds back.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="No more than so many pictures.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Figures by group too: folder, prefix:SEP, a column.")
    ] = None,
    stack: Annotated[
        bool,
        typer.Option("--stack", help="The pictures are frames: measure temporal_smoothing too."),
    ] = False,
    calibration: Annotated[
        bool, typer.Option(help="Ask the models how unsure they are; takes about twice as long.")
    ] = True,
    backbone: Annotated[
        Path | None, typer.Option(help="Weights of mobilenetv2_100, for a Frechet distance.")
    ] = None,
    lpips: Annotated[
        Path | None,
        typer.Option(help="torchvision's AlexNet, VGG-16 or SqueezeNet 1.1, for LPIPS."),
    ] = None,
    fid: Annotated[
        Path | None, typer.Option(help="torch-fidelity's Inception weights, for FID.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every figure to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with pictures.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Measure models side by side on pictures whose colours are known, against gray."""
    from tqdm import tqdm

    from napari_colorize_training.evaluation.evaluate import evaluate as measure
    from napari_colorize_training.evaluation.records import EvaluationConfig
    from napari_colorize_training.evaluation.report import (
        refuse_unwritable,
        to_text,
        write_html,
        write_json,
    )

    if data is None:
        raise ValueError("Say what to measure on: napari-colorize-train evaluate MODEL... DATA")
    exam = EvaluationConfig(
        render_factor=render_factor,
        saturation=saturation,
        saturations=numbers_in(saturations),
        degrade=degrade,
        validation=validation,
        limit=limit,
        group=group,
        stack=stack,
        calibration=calibration,
        backbone=backbone,
        lpips=lpips,
        fid=fid,
    )
    refuse_unwritable(json, html)
    loaded = load_models(models or ["embedded"], device)
    with tqdm(desc="evaluate", unit="picture") as bar:  # on stderr

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        evaluation = measure(loaded, data, exam, progress=progress)
    for path, write in ((json, write_json), (html, write_html)):
        if path is not None:
            write(evaluation, path)
    typer.echo(to_text(evaluation))


def load_models(models: Sequence[str], device: str = "auto") -> dict[str, Colorizer]:
    """Models by short names; by what was given where two would have the same."""
    from napari_colorize.colorizer import Colorizer

    models = list(dict.fromkeys(models))
    loaded = [Colorizer.from_pretrained(model, device=device) for model in models]
    names = [colorizer.checkpoint.name for colorizer in loaded]
    return {
        name if names.count(name) == 1 else given: colorizer
        for given, name, colorizer in zip(models, names, loaded, strict=True)
    }


def numbers_in(text: str) -> tuple[float, ...]:
    """Numbers between commas.

    Raises
    ------
    ValueError
        If there is something else.
    """
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(f"Give numbers between commas, such as 0.5,1,2; got {text!r}.") from None
