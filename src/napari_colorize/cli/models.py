"""`napari-colorize models`: list the models, download and export them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from napari_colorize.cli.program import Command, printable
from napari_colorize.errors import CheckpointError, ColorizeError, UnknownModelError
from napari_colorize.zoo import (
    CATALOGUE,
    Checkpoint,
    fetch,
    is_local,
    local_path,
    resolve,
    user_checkpoint,
    user_models,
)

app = typer.Typer(rich_markup_mode=None)

COLUMNS = "{:<18} {:>7}  {:<10}  {:>13}  {}"


@app.callback(invoke_without_command=True)
def list_models(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with all fields.")] = False,
) -> None:
    """List the models and show which are downloaded.

    The list has size, recommended render factor, license and origin. Models in your
    models folder are listed last.
    """
    if ctx.invoked_subcommand is None:
        _print_models(as_json=as_json)
    elif as_json:
        raise typer.BadParameter(f"--json has no effect on {ctx.invoked_subcommand}.")


@app.command(name="list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with all fields.")] = False,
) -> None:
    """List the models, like `models` alone."""
    _print_models(as_json=as_json)


def _print_models(*, as_json: bool) -> None:
    known = [*CATALOGUE.values(), *_own_checkpoints()]
    if as_json:
        typer.echo(json.dumps([as_record(each) for each in known], indent=2))
        return
    typer.echo(COLUMNS.format("NAME", "SIZE", "DOWNLOADED", "RENDER FACTOR", "DESCRIPTION"))
    for checkpoint in known:
        for line in as_rows(checkpoint):
            typer.echo(printable(line))  # also titles in the metadata of files


@app.command(name="fetch", cls=Command)
def fetch_models(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Names listed by `napari-colorize models`."),
    ],
) -> None:
    """Download models for later use; prints the paths of the files."""
    checkpoints = [_catalogue_entry(name) for name in names]
    failed = False
    for checkpoint in checkpoints:
        try:
            typer.echo(fetch(checkpoint, progress=True))
        except ColorizeError as error:
            typer.echo(f"Error: {printable(error)}", err=True)
            failed = True
    if failed:
        raise typer.Exit(1)


@app.command(name="export", cls=Command)
def export_model(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A name listed by `napari-colorize models`, or a weights file.",
        ),
    ],
    onnx: Annotated[Path, typer.Option(metavar="FILE", help="The ONNX file to write.")],
    render_factor: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            metavar="N",
            help="The input has 16 x N pixels a side, N from 1 to 100. Default: as recommended.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
) -> None:
    """Export a model for other programs; prints the path of the file.

    The input of the ONNX model is gray of one size, its output U and V.
    """
    from napari_colorize.onnx_export import export_onnx

    export_onnx(name, onnx, render_factor=render_factor, overwrite=overwrite, progress=True)
    typer.echo(onnx)


def as_record(checkpoint: Checkpoint) -> dict[str, object]:
    """The fields of a checkpoint for JSON, with the size and path of its file."""
    return {
        **asdict(checkpoint),
        "size": size_of(checkpoint),
        "cached": is_local(checkpoint),
        "path": str(local_path(checkpoint)),
    }


def as_rows(checkpoint: Checkpoint) -> list[str]:
    """A checkpoint as two lines of the table."""
    first = (
        checkpoint.name,
        f"{size_of(checkpoint) / 1e6:.0f} MB",
        "yes" if is_local(checkpoint) else "no",
        checkpoint.render_factor,
        checkpoint.title,
    )
    more = f"{checkpoint.license}; {checkpoint.origin}"
    return [COLUMNS.format(*first), COLUMNS.format("", "", "", "", more)]


def size_of(checkpoint: Checkpoint) -> int:
    """Size of the file in bytes; the catalogue has none for the model inside the package."""
    path = local_path(checkpoint)
    return checkpoint.size or (path.stat().st_size if path.is_file() else 0)


def _own_checkpoints() -> list[Checkpoint]:
    """The user's own models; damaged ones are reported and skipped."""
    found = []
    for path in user_models():
        try:
            found.append(user_checkpoint(path))
        except CheckpointError as error:
            typer.echo(f"Skipped: {printable(error)}", err=True)
    return found


def _catalogue_entry(name: str) -> Checkpoint:
    found = resolve(name)
    if isinstance(found, Path):
        raise UnknownModelError(
            f"{name} is a file, not a model of the catalogue. Available: {', '.join(CATALOGUE)}."
        )
    return found
