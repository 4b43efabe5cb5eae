"""`napari-colorize-train`: run a recipe, fine-tune a model, or measure what came out of one."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from napari_colorize.errors import ColorizeError
from napari_colorize_training.evaluate_command import evaluate

if TYPE_CHECKING:
    from napari_colorize_training.loop.progress import ProgressReporter, RunControl

RUN = ("--run", "--run-folder")  # torchrun takes the short one, wherever it stands, for its own
MENDABLE = (ColorizeError, OSError, ValueError)  # by the user, whom their sentences tell how
DATA_HELP = (
    "Colour pictures: a folder, gray/ and color/ folders, a CSV, numpy files, or tar shards."
)


class OneSentence(TyperGroup):
    """Commands that end in one sentence where they cannot go on."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; turn what the user can mend into a line and an exit code."""
        try:
            return super().invoke(ctx)
        except MENDABLE as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=OneSentence, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def training() -> None:
    """Train the networks of napari-colorize."""


@app.command()
def recipes(
    as_json: Annotated[bool, typer.Option("--json", help="All values, as JSON.")] = False,
) -> None:
    """List the recipes by name, with what each of them is."""
    from napari_colorize_training.recipe import read_recipe, recipe_names

    known = [read_recipe(name) for name in recipe_names()]
    if as_json:
        typer.echo(json.dumps([recipe.as_table() for recipe in known], indent=2))
        return
    width = max(len(recipe.name) for recipe in known)
    for recipe in known:
        typer.echo(f"{recipe.name:{width}}  {recipe.title}")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a TOML file.")],
    data: Annotated[Path, typer.Argument(help=DATA_HELP)],
    out: Annotated[
        Path | None, typer.Option(help="Where the model goes; beside the run's state if not given.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(*RUN, help="Where the run's state, log and previews go.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Where decoded pictures are kept.")] = Path(
        "runs/cache"
    ),
    encoder: Annotated[
        str | None,
        typer.Option(help="Encoder weights from a local file, or 'none' to begin untrained."),
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="The feature loss's network from a local file.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="A model to go on from, by name or file.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of the whole run; stages keep their shares.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe: optimizer.lr=1e-4."),
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    save_every: Annotated[
        float, typer.Option(min=0, help="Seconds between states, from which a run can go on.")
    ] = 60.0,
    progress: Annotated[str, typer.Option(help="bar, json or none.")] = "bar",
) -> None:
    """Run a recipe on pictures; called again, it goes on where it was stopped."""
    from napari_colorize_training.loop.engine import RunOptions
    from napari_colorize_training.loop.initialize import open_base
    from napari_colorize_training.models.export import copy_model
    from napari_colorize_training.recipe import parse_change, read_recipe
    from napari_colorize_training.run import run_recipe

    with _front(progress) as (teller, control):
        chosen = read_recipe(recipe, dict(parse_change(change) for change in changes or []))
        options = RunOptions(
            folder=run or Path("runs") / chosen.name,
            cache=cache,
            encoder=Path(encoder) if encoder not in (None, "none") else None,
            untrained=encoder == "none",
            features=features,
            base=None if base is None else open_base(base),
            base_name=base or "",
            steps=steps,
            precision=precision,
            save_every=save_every,
        )
        model = run_recipe(chosen, data, options, teller, control)
        if model is None:
            raise _stopped()
        if out is not None:
            model = copy_model(model, out)
    if progress != "json":
        typer.echo(model)


@app.command(name="finetune")
def finetune_command(
    data: Annotated[list[Path], typer.Argument(help=f"{DATA_HELP} Several of these are one set.")],
    base: Annotated[
        str, typer.Option("--from", help="The model to begin with, by name or file.")
    ] = "embedded",
    out: Annotated[Path, typer.Option(help="Where the model goes, with its card.")] = Path(
        "finetuned.safetensors"
    ),
    group: Annotated[
        str | None,
        typer.Option(
            help="What is never divided between training and validation: 'folder', or a regular "
            "expression whose first group names the slide, bag or film."
        ),
    ] = None,
    augment: Annotated[
        str | None, typer.Option(help="none, photographs or stains; by default by their number.")
    ] = None,
    degrade: Annotated[
        str | None, typer.Option(help="Damage to the gray: none, tone-and-grain, old-photograph.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="A feature loss, with the network from a local file.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="At most.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe: optimizer.lr=1e-4."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Keep state and log in this folder.")] = None,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    progress: Annotated[str, typer.Option(help="bar, json or none.")] = "bar",
    orders: Annotated[
        Path | None,
        typer.Option(help="A file that is obeyed: pause, resume, finish or stop, at any time."),
    ] = None,
) -> None:
    """Make a model better on pictures of your own; ends by itself, tells before and after."""
    from napari_colorize_training.finetune import finetune
    from napari_colorize_training.recipe import parse_change

    with _front(progress) as (teller, control):
        if orders is not None:
            control.follow(orders)
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
            progress=teller,
            control=control,
        )
        if result is None:
            raise _stopped()
    if progress != "json":
        typer.echo(result.sentence)


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="A model file; what is measured goes into it.")],
    data: Annotated[Path, typer.Argument(help="Photographs in colour, as for train.")],
    every: Annotated[
        bool, typer.Option("--all", help="All of them, not only what training holds back.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="No more than so many pictures.")] = None,
) -> None:
    """Measure how far off a model's colours are where it is unsure, and let its file say so."""
    from tqdm import tqdm

    from napari_colorize_training.evaluation.calibration import calibrate_model

    with tqdm(desc="calibrate", unit="picture") as bar:  # on stderr

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        told, measured = calibrate_model(
            model, data, validation=not every, limit=limit, progress=progress
        )
    typer.echo("told     " + " ".join(f"{value:5.1f}" for value in told[1:-1]))
    typer.echo("measured " + " ".join(f"{value:5.1f}" for value in measured[1:-1]))


@contextmanager
def _front(progress: str) -> Iterator[tuple[ProgressReporter, RunControl]]:
    """Who is told, and how the run is stopped: Ctrl-C, or words on standard input."""
    from napari_colorize_training.loop.progress import (
        JsonLines,
        NoProgress,
        ProgressBar,
        RunControl,
    )

    kinds = {"bar": ProgressBar, "json": JsonLines, "none": NoProgress}
    if progress not in kinds:
        raise ValueError(f"--progress must be one of {', '.join(kinds)}, not {progress!r}.")
    control = RunControl()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, control.interrupt)
    if progress == "json":
        control.listen()
    teller = kinds[progress]()
    try:
        yield teller, control
    except MENDABLE as error:
        teller.tell("error", text=str(error))
        raise


def _stopped() -> typer.Exit:
    """What ends a command whose run was stopped."""
    from napari_colorize_training.loop.progress import STOPPED

    typer.echo("Stopped. The same command goes on from here.", err=True)
    return typer.Exit(STOPPED)


app.command()(evaluate)


def main() -> None:
    """Entry point of `napari-colorize-train`."""
    app()


if __name__ == "__main__":
    main()
