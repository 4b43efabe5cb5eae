"""`napari-colorize models`: what the zoo has, and fetching it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

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

app = typer.Typer(rich_markup_mode=None, add_completion=False)

COLUMNS = "{:<18} {:>7}  {:<4}  {:>13}  {}"


@app.callback(invoke_without_command=True)
def list_models(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the models, or fetch them.

    The list has their size, whether they are here, the recommended render factor, licence, origin;
    models that you have fine-tuned in napari come last.
    """
    if ctx.invoked_subcommand is not None:
        return
    known = [*CATALOGUE.values(), *_own()]
    if as_json:
        typer.echo(json.dumps([as_record(each) for each in known], indent=2))
        return
    typer.echo(COLUMNS.format("NAME", "SIZE", "HERE", "RENDER FACTOR", "ABOUT"))
    for checkpoint in known:
        for line in as_rows(checkpoint):
            typer.echo(line)


@app.command(name="fetch")
def fetch_models(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="As `models` lists them.")],
) -> None:
    """Download models, so that they are here when they are wanted; prints where they are."""
    wanted = [_named(name) for name in names]
    failed = False
    for checkpoint in wanted:
        try:
            typer.echo(fetch(checkpoint, progress=True))
        except ColorizeError as error:
            typer.echo(f"Error: {error}", err=True)
            failed = True
    if failed:
        raise typer.Exit(1)


def as_record(checkpoint: Checkpoint) -> dict[str, object]:
    """A checkpoint as JSON has it."""
    return {
        **asdict(checkpoint),
        "size": size_of(checkpoint),
        "cached": is_local(checkpoint),
        "path": str(local_path(checkpoint)),
    }


def as_rows(checkpoint: Checkpoint) -> list[str]:
    """A checkpoint as lines of a table."""
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
    """Bytes of its file; the catalogue does not know those of one that comes with the package."""
    path = local_path(checkpoint)
    return checkpoint.size or (path.stat().st_size if path.is_file() else 0)


def _own() -> list[Checkpoint]:
    """The user's own models; one that is damaged is told of and left out."""
    found = []
    for path in user_models():
        try:
            found.append(user_checkpoint(path))
        except CheckpointError as error:
            typer.echo(f"Left out: {error}", err=True)
    return found


def _named(name: str) -> Checkpoint:
    found = resolve(name)
    if isinstance(found, Path):
        raise UnknownModelError(
            f"{name} is a file, not a model to fetch. Choose among: {', '.join(CATALOGUE)}."
        )
    return found
