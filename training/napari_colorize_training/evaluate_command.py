"""The command `napari-colorize-train evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_colorize.cli.program import printable
from napari_colorize.errors import OutputError, SettingsError

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer

MODEL_SUFFIXES = {".safetensors", ".pth", ".pt"}
Models = Annotated[
    list[str] | None,
    typer.Argument(metavar="MODEL", help="Names or files of models. Default: embedded."),
]
Data = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA", help="Color images: a folder, tar shards, a CSV, frames. [required]"
    ),
]


def evaluate(
    models: Models = None,
    data: Data = None,
    render_factor: Annotated[
        int | None, typer.Option(help="Render factor of all models. Default: as recommended.")
    ] = None,
    saturation: Annotated[
        float | None, typer.Option(help="Saturation of all models. Default: as recommended.")
    ] = None,
    saturations: Annotated[
        str, typer.Option(help="Saturations of the curves, separated by commas; '' for none.")
    ] = "0.5,1,1.5,2",
    degrade: Annotated[
        str | None,
        typer.Option(
            help="Degrade the gray: tone-and-grain, slightly-old, old-photograph or old-scan."
        ),
    ] = None,
    validation: Annotated[
        bool,
        typer.Option(
            "--validation",
            help="Use only images that all models held back in training, as recorded in their "
            "files; without a record, the default split.",
        ),
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Largest number of images.")] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Report groups, too: 'folder', 'prefix:SEP' (file name up to SEP), a column of "
            "the CSV, or a regular expression with one part in parentheses."
        ),
    ] = None,
    stack: Annotated[
        bool,
        typer.Option("--stack", help="The images are frames of a video: measure consistency."),
    ] = False,
    calibration: Annotated[
        bool, typer.Option(help="Measure expected errors, which doubles the time.")
    ] = True,
    backbone: Annotated[
        Path | None, typer.Option(help="File of mobilenetv2_100, for a Frechet distance.")
    ] = None,
    lpips: Annotated[
        Path | None,
        typer.Option(help="File of torchvision's AlexNet, VGG-16 or SqueezeNet 1.1, for LPIPS."),
    ] = None,
    fid: Annotated[
        Path | None, typer.Option(help="File of torch-fidelity's Inception, for FID.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing files of --json and --html.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report to this file.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")] = "auto",
) -> None:
    """Measure models on color images, in comparison with gray."""
    from tqdm import tqdm

    from napari_colorize_training.evaluation.evaluate import evaluate as measure
    from napari_colorize_training.evaluation.html_report import write_html
    from napari_colorize_training.evaluation.records import EvaluationConfig
    from napari_colorize_training.evaluation.text_report import (
        refuse_unwritable,
        to_text,
        write_json,
    )

    if data is None or _is_model(data):
        model = "" if data is None else f": {data} is a model"
        raise SettingsError(
            f"DATA is missing{model}. Usage: napari-colorize-train evaluate [MODEL]... DATA"
        )
    config = EvaluationConfig(
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
    refuse_unwritable(json, html, overwrite=overwrite)
    loaded = load_models(models or ["embedded"], device)
    with tqdm(desc="evaluate", unit="image") as bar:  # on stderr

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        evaluation = measure(loaded, data, config, progress=progress)
    # Before the files, which may fail. Names of models and files may have control characters.
    for line in to_text(evaluation).split("\n"):
        typer.echo(printable(line))
    failed = []
    for path, write in ((json, write_json), (html, write_html)):
        try:
            if path is not None:
                write(evaluation, path)
        except OutputError as error:
            failed.append(str(error))
    if failed:
        raise OutputError(" ".join(failed))


def _is_model(data: Path) -> bool:
    from napari_colorize.zoo import list_models

    is_name = not data.exists() and str(data) in list_models()
    return is_name or data.suffix.lower() in MODEL_SUFFIXES


def load_models(models: Sequence[str], device: str = "auto") -> dict[str, Colorizer]:
    """Load models, by their short names; by the given names if two short names are equal."""
    from napari_colorize.colorizer import Colorizer

    models = list(dict.fromkeys(models))
    loaded = [Colorizer.from_pretrained(model, device=device) for model in models]
    names = [colorizer.checkpoint.name for colorizer in loaded]
    return {
        name if names.count(name) == 1 else given: colorizer
        for given, name, colorizer in zip(models, names, loaded, strict=True)
    }


def numbers_in(text: str) -> tuple[float, ...]:
    """Return the numbers in a comma-separated list.

    Raises
    ------
    SettingsError
        If a part is not a number.
    """
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise SettingsError(
            f"Expected numbers separated by commas, such as 0.5,1,2; got {text!r}."
        ) from None
