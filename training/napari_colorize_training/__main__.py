"""The command `napari-colorize-train`: run recipes, fine-tune, evaluate and calibrate models."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_colorize.cli.program import Command, Program, Version, create_program, printable
from napari_colorize.errors import ColorizeError, SettingsError
from napari_colorize_training.evaluate_command import evaluate

if TYPE_CHECKING:
    from napari_colorize_training.loop.progress import ProgressReporter, RunControl

# torchrun interprets --run as one of its own options, also after the script.
RUN = ("--run", "--run-folder")
USER_ERRORS = (ColorizeError, OSError, ValueError)  # shown as one line without a traceback
DATA_HELP = "Color images: a folder, gray/ and color/ folders, a CSV, NumPy files, or tar shards."


class TrainingProgram(Program):
    """Command group that prints user errors, also those of files and values, as one line."""

    user_errors = USER_ERRORS


app = create_program("napari-colorize-train", TrainingProgram)


@app.callback()
def training(version: Version = False) -> None:
    """Train the networks of napari-colorize, and fine-tune models on your own images."""


@app.command(cls=Command)
def recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print all values as JSON.")] = False,
) -> None:
    """List the recipes with their titles."""
    from napari_colorize_training.recipe import read_recipe, recipe_names

    loaded = [read_recipe(name) for name in recipe_names()]
    if as_json:
        typer.echo(json.dumps([recipe.to_dict() for recipe in loaded], indent=2))
        return
    width = max(len(recipe.name) for recipe in loaded)
    for recipe in loaded:
        typer.echo(f"{recipe.name:{width}}  {recipe.title}")


@app.command(cls=Command)
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or a TOML file.")
    ],
    data: Annotated[Path, typer.Argument(metavar="DATA", help=DATA_HELP)],
    out: Annotated[
        Path | None, typer.Option(help="Path of the model. Default: in the run folder.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(*RUN, help="Folder for state, log and previews.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder for decoded images.")] = Path("runs/cache"),
    stream: Annotated[
        bool, typer.Option("--no-cache", help="Decode files and tar shards in every step.")
    ] = False,
    side: Annotated[
        int | None,
        typer.Option(
            min=32, help="Short side of decoded images, px. Default: as the largest stage needs."
        ),
    ] = None,
    validation_share: Annotated[
        float | None,
        typer.Option(help="Share of the images for validation. Default: the recipe's."),
    ] = None,
    from_stage: Annotated[
        int, typer.Option(min=1, help="First stage that is run; needs --base.")
    ] = 1,
    encoder: Annotated[
        str | None,
        typer.Option(help="File with encoder weights, or 'none' for random weights."),
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="File of the network for the feature loss.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Model to continue from, by name or file.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the whole run; stages keep their shares.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe: optimizer.lr=1e-4."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing --out.")
    ] = False,
    precision: Annotated[str, typer.Option(help="Precision: auto, float32 or bfloat16.")] = "auto",
    save_every: Annotated[float, typer.Option(min=0, help="Seconds between saved states.")] = 60.0,
    progress: Annotated[str, typer.Option(help="Progress reports: bar, json or none.")] = "bar",
) -> None:
    """Train with a recipe; the same command resumes a run."""
    from napari_colorize.runtime.atomic import refuse_existing
    from napari_colorize_training.loop.initialize import open_base
    from napari_colorize_training.loop.options import RunOptions
    from napari_colorize_training.models.export import copy_model, model_path
    from napari_colorize_training.recipe import parse_change, read_recipe
    from napari_colorize_training.run import run_recipe

    if out is not None:
        out = model_path(out)
        refuse_existing(out, overwrite=overwrite)
    with _progress_and_control(progress) as (reporter, control):
        values = dict(parse_change(change) for change in changes or [])
        if validation_share is not None:
            values["data.validation_share"] = validation_share
        selected = read_recipe(recipe, values)
        if from_stage > 1 and base is None:
            raise SettingsError(
                f"--from-stage {from_stage} continues from a model: name it with --base."
            )
        options = RunOptions(
            folder=run or Path("runs") / selected.name,
            cache=cache,
            encoder=Path(encoder) if encoder not in (None, "none") else None,
            untrained=encoder == "none",
            features=features,
            base=None if base is None else open_base(base),
            base_name=base or "",
            steps=steps,
            first_stage=from_stage - 1,
            precision=precision,
            save_every=save_every,
        )
        model = run_recipe(selected, data, options, reporter, control, side=side, cached=not stream)
        if model is None:
            raise _stopped_exit()
        if out is not None:
            model = copy_model(model, out)
    if progress != "json":
        typer.echo(model)


@app.command(name="finetune", cls=Command)
def finetune_command(
    data: Annotated[
        list[Path], typer.Argument(metavar="DATA", help=f"{DATA_HELP} Several are combined.")
    ],
    base: Annotated[str, typer.Option("--from", help="Base model, by name or file.")] = "embedded",
    out: Annotated[Path, typer.Option(help="Path of the model and its card.")] = Path(
        "finetuned.safetensors"
    ),
    group: Annotated[
        str | None,
        typer.Option(
            help="Images that stay together, in training or in validation: 'folder', "
            "'prefix:SEP' (file name up to SEP), a column of the CSV, or a regular expression with "
            "one part in parentheses, the name of the slide, bag or video."
        ),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(help="none, photographs or stains. Default: by number of images."),
    ] = None,
    degrade: Annotated[
        str | None,
        typer.Option(
            help="Degrade the gray: none, tone-and-grain, slightly-old, old-photograph or old-scan."
        ),
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Add a feature loss, with the network in this file.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Largest number of steps.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe: optimizer.lr=1e-4."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Keep state and log in this folder.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing model and its card.")
    ] = False,
    precision: Annotated[str, typer.Option(help="Precision: auto, float32 or bfloat16.")] = "auto",
    progress: Annotated[str, typer.Option(help="Progress reports: bar, json or none.")] = "bar",
    control_file: Annotated[
        Path | None,
        typer.Option(
            "--control", help="File whose content is a command: pause, resume, finish or stop."
        ),
    ] = None,
) -> None:
    """Fine-tune a model on your own images.

    It is measured before and after. The same command resumes a run that was stopped.
    """
    from napari_colorize_training.finetune import finetune
    from napari_colorize_training.recipe import parse_change

    with _progress_and_control(progress) as (reporter, control):
        if control_file is not None:
            control.follow(control_file)
        result = finetune(
            data if len(data) > 1 else data[0],
            base,
            out,
            group=group,
            augment=augment,
            degrade=degrade,
            features=features,
            steps=steps,
            changes=dict(parse_change(change) for change in changes or []),
            run=run,
            precision=precision,
            overwrite=overwrite,
            progress=reporter,
            control=control,
        )
        if result is None:
            raise _stopped_exit()
    if progress != "json":
        typer.echo(printable(result.sentence))


@app.command(cls=Command)
def calibrate(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="Model file; the calibration is written into it."),
    ],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Color images, as for train.")],
    all_images: Annotated[
        bool, typer.Option("--all", help="Use also images on which the model was trained.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Largest number of images.")] = None,
) -> None:
    """Calibrate the expected error of a model.

    It is compared with the error on color images, and the result is stored in the model's file.
    """
    from tqdm import tqdm

    from napari_colorize_training.data.checks import NAMED, summary
    from napari_colorize_training.evaluation.calibration import calibrate_model

    with tqdm(desc="calibrate", unit="image") as bar:  # on stderr

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = calibrate_model(
            model, data, validation=not all_images, limit=limit, progress=progress
        )
    images = f"{result.images} images" + f", {result.split}" * bool(result.split)
    left_out = summary(result.left_out, named=NAMED)
    names = " and ".join(name.replace("_", " ") for name in result.written)
    typer.echo(printable(f"Calibrated on {images}{left_out}. Written to {model}: {names}."))
    labels = ("uncalibrated error", "measured CIEDE2000")
    for label, values in zip(labels, result.curve, strict=True):
        typer.echo(f"{label}  " + " ".join(f"{value:5.1f}" for value in values[1:-1]))


@contextmanager
def _progress_and_control(progress: str) -> Iterator[tuple[ProgressReporter, RunControl]]:
    """Yield reporter and control of a run, which Ctrl-C and standard input can stop."""
    from napari_colorize_training.loop.progress import (
        JsonLines,
        NoProgress,
        ProgressBar,
        RunControl,
    )

    kinds = {"bar": ProgressBar, "json": JsonLines, "none": NoProgress}
    if progress not in kinds:
        raise SettingsError(f"--progress must be one of {', '.join(kinds)}, not {progress!r}.")
    control = RunControl()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, control.interrupt)
    if progress == "json":
        control.listen()
    reporter = kinds[progress]()
    try:
        yield reporter, control
    except USER_ERRORS as error:
        reporter.report("error", text=str(error))
        raise


def _stopped_exit() -> typer.Exit:
    """Print how to resume, and return the exit of a stopped run."""
    from napari_colorize_training.loop.progress import STOPPED

    typer.echo("Stopped. The same command resumes the run.", err=True)
    return typer.Exit(STOPPED)


app.command(cls=Command)(evaluate)


def main() -> None:
    """Entry point of `napari-colorize-train`."""
    app(prog_name="napari-colorize-train")


if __name__ == "__main__":
    main()
