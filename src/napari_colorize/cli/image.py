"""`napari-colorize image`: colorize picture files."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, replace
from typing import Annotated, Literal

import typer

from napari_colorize.cli.knobs import with_knobs
from napari_colorize.settings import ColorizeSettings


@with_knobs
def image(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT", help="Picture files, folders (with all that is in them), globs."
        ),
    ],
    *,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|FOLDER",
            help="Where results go: a file for a single picture, else a folder, which gets the "
            "sub-folders of the input. Default: next to each picture, as NAME-colorized.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="A name that `models` lists, or a .safetensors or .pth file."
        ),
    ] = "embedded",
    settings: ColorizeSettings,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="8,16,24,32",
            help="Write contact sheets instead, NAME-sweep.png: the picture at these render "
            "factors, side by side.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make results again that are there already.")
    ] = False,
    device: Annotated[
        str,
        typer.Option(help="auto takes a GPU if there is one; else cpu, cuda, cuda:1, mps, xpu."),
    ] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="auto takes bfloat16 where the hardware has it; float32 is exact."),
    ] = "auto",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but paths of results and errors.")
    ] = False,
) -> None:
    """Colorize pictures: files, folders and globs.

    A result that is there already is kept and its picture skipped, so an interrupted command is
    continued by repeating it; only if the one INPUT is a file, its result is not skipped but
    refused. Results of earlier runs (NAME-colorized) and hidden files are left out of folders.

    Written paths go to stdout, all else to stderr. Exit code: 0 all went well, 1 some or all
    failed (the others are done), 2 the command makes no sense, 130 interrupted.
    """
    factors = _factors(sweep, settings)

    from napari_colorize import zoo
    from napari_colorize.cli.console import Console
    from napari_colorize.media.batch import Batch
    from napari_colorize.media.jobs import plan

    todo = plan(inputs, out, sweep=bool(factors), overwrite=overwrite)
    zoo.resolve(model)  # a name that does not exist is told at once
    with Console(todo, quiet=quiet) as console:
        if todo.jobs:
            from napari_colorize.colorizer import Colorizer  # brings torch

            colorizer = Colorizer.from_pretrained(
                model, device=device, precision=precision, progress=not quiet
            )
            colorizer.choose(asdict(settings))  # what this network lacks is told once, not per file
            batch = Batch(
                colorizer=colorizer, settings=settings, sweep=factors, overwrite=overwrite
            )
            with closing(batch.run(todo.jobs)) as events:
                for event in events:
                    console.show(event)
    if console.failed:
        raise typer.Exit(1)


def _factors(sweep: str | None, settings: ColorizeSettings) -> tuple[int, ...]:
    """The render factors of `--sweep 8,16,24,32`, checked as `--render-factor` is."""
    if sweep is None:
        return ()
    if settings.render_factor is not None:
        raise typer.BadParameter("--sweep and --render-factor exclude each other.")
    try:
        factors = tuple(dict.fromkeys(int(part) for part in sweep.split(",")))
    except ValueError:
        raise typer.BadParameter(
            f"--sweep wants render factors such as 8,16,24,32, got {sweep!r}."
        ) from None
    for factor in factors:
        replace(settings, render_factor=factor)
    return factors
