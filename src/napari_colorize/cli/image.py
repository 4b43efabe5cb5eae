"""`napari-colorize image`: colorize picture files."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_colorize.cli import options
from napari_colorize.cli.setting_options import with_setting_options
from napari_colorize.settings import ColorizeSettings

if TYPE_CHECKING:
    from napari_colorize.batch.runner import BatchRunner, Event
    from napari_colorize.model_spec import ModelSpec
    from napari_colorize.refine.guides import Guides


@with_setting_options
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
    model: options.Model = "embedded",
    settings: ColorizeSettings,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="8,16,24,32",
            help="Write contact sheets instead, NAME-sweep.png: the picture at these render "
            "factors, side by side.",
        ),
    ] = None,
    map: Annotated[
        Literal["disagreement", "error", "uncolored"] | None,
        typer.Option(
            help="Write a map instead, NAME-disagreement.png and so on: how much colours change "
            "when the model is asked otherwise, how far off it expects them to be, or where the "
            "picture got no colour.",
        ),
    ] = None,
    hints: options.Hints = None,
    mask: options.Mask = None,
    reference: options.Reference = None,
    blend_with: options.BlendWith = None,
    time_axis: Annotated[
        int | None,
        typer.Option(
            metavar="AXIS",
            help="Axis of a stack along which --temporal-smoothing acts. Default: the first.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make results again that are there already.")
    ] = False,
    device: options.Device = "auto",
    precision: options.PrecisionChoice = "auto",
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Let the workers of this dask scheduler do it, tcp://machine:8786: they must find "
            "all files under the same paths. local starts workers on this machine, local:4 four of "
            "them. What is done or failed is noted in the output folder, in "
            "napari-colorize-manifest.jsonl.",
        ),
    ] = None,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry/--no-retry", help="With --dask: try again what failed in an earlier run."
        ),
    ] = True,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but paths of results and errors.")
    ] = False,
) -> None:
    """Colorize pictures: files, folders and globs.

    A result that is there already is kept and its picture skipped, so an interrupted command is
    continued by repeating it; only if the one INPUT is a file, its result is not skipped but
    refused. Results of earlier runs (NAME-colorized) and hidden files are left out of folders.
    With --dask the same holds for a command that was killed.

    Written paths go to stdout, all else to stderr. Exit code: 0 all went well, 1 some or all
    failed (the others are done), 2 the command makes no sense, 130 interrupted.
    """
    factors = _factors(sweep, settings)
    if factors and map is not None:
        raise typer.BadParameter("--sweep and --map exclude each other.")
    how: dict[str, Any] = {
        "settings": settings,
        "sweep": factors,
        "overwrite": overwrite,
        "map": map,
    }

    from napari_colorize.batch.guide_files import read_guides
    from napari_colorize.batch.naming import COLORIZED, SWEEP, plan_batch
    from napari_colorize.cli.console import BatchConsole

    ending = SWEEP if factors else COLORIZED if map is None else f"-{map}"
    todo = plan_batch(inputs, out, ending=ending, overwrite=overwrite)
    options.check_models(model, blend_with)
    guides = read_guides(hints, mask, reference)

    def here() -> Generator[Event, None, None]:
        from napari_colorize.batch.runner import BatchRunner
        from napari_colorize.batch.task import Extras

        colorizer, second = options.load_models(
            model, blend_with, device=device, precision=precision, progress=not quiet
        )
        colorizer.resolve_settings(
            asdict(settings)
        )  # what this network lacks is told once, not per file
        extras = Extras(guides, second, time_axis)
        return BatchRunner(colorizer=colorizer, extras=extras, **how).run(todo.jobs)

    def on_cluster(address: str) -> Generator[Event, None, None]:
        from napari_colorize.batch.dask_cluster import ClusterBatch, manifest_folder
        from napari_colorize.model_spec import ModelSpec

        names = [name for name in (model, blend_with) if name is not None]
        models = [ModelSpec.from_model(name, device=device, precision=precision) for name in names]
        models[0].resolve_settings(asdict(settings))  # as above
        cluster = ClusterBatch(
            address=address,
            make=partial(make_worker_batch, models, guides, time_axis, **how),
            manifest=manifest_folder(inputs, out),
            retry=retry,
        )
        return cluster.run(todo.jobs, todo.kept)

    with BatchConsole(todo, quiet=quiet) as console:
        if dask is not None or todo.jobs:
            with closing(here() if dask is None else on_cluster(dask)) as events:
                for event in events:
                    console.show(event)
    if console.failed:
        raise typer.Exit(1)


def make_worker_batch(
    models: Sequence[ModelSpec], guides: Guides | None, time_axis: int | None, **how: Any
) -> BatchRunner:
    """What `--dask` lets each worker do; it travels there by its name, the models by theirs."""
    from napari_colorize.batch.runner import BatchRunner
    from napari_colorize.batch.task import Extras

    first, second = (*models, None)[:2]
    extras = Extras(guides, None if second is None else second.load(), time_axis)
    assert first is not None
    return BatchRunner(colorizer=first.load(), extras=extras, **how)


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
