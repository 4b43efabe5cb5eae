"""`napari-colorize image`: colorize image files."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_colorize.cli.dataclass_options import with_option_groups
from napari_colorize.cli.shared_options import (
    GuideOptions,
    MaxMemory,
    ModelOptions,
    Overwrite,
    Quiet,
    Verbose,
    refuse_without_effect,
)
from napari_colorize.settings import ColorizeSettings

if TYPE_CHECKING:
    from pathlib import Path

    from napari_colorize.batch.naming import BatchPlan
    from napari_colorize.batch.runner import BatchRunner, Event
    from napari_colorize.model_spec import ModelSpec
    from napari_colorize.refine.guides import Guides


@with_option_groups
def image(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT", help="Image files, folders (with their sub-folders) or globs."
        ),
    ],
    *,
    context: typer.Context,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|FOLDER",
            help="Output file for a single image, otherwise a folder with the sub-folders of the "
            "input. Default: NAME-colorized next to each image.",
            rich_help_panel="Result",
        ),
    ] = None,
    models: ModelOptions,
    settings: ColorizeSettings,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="8,16,24,32",
            help="Write contact sheets NAME-sweep.png instead: the image at these render factors.",
            rich_help_panel="Result",
        ),
    ] = None,
    map: Annotated[
        Literal["disagreement", "error", "uncolored"] | None,
        typer.Option(
            metavar="KIND",
            help="Write a map NAME-KIND.png instead. disagreement: variation of the prediction "
            "under flips and other render factors. error: expected CIEDE2000 error. uncolored: "
            "pixels with almost no chroma.",
            rich_help_panel="Result",
        ),
    ] = None,
    guides: GuideOptions,
    time_axis: Annotated[
        int | None,
        typer.Option(
            metavar="AXIS",
            help="Axis of a stack along which --temporal-smoothing acts. Default: "
            "axis T of the file, else the first.",
            rich_help_panel="Color",
        ),
    ] = None,
    overwrite: Overwrite = False,
    max_memory: MaxMemory = None,  # set by its callback
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run on this dask scheduler, such as tcp://machine:8786, whose workers need the "
            "files at the same paths; or local, local:4.",
            rich_help_panel="Speed",
        ),
    ] = None,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry/--no-retry",
            help="With --dask: retry images that failed before.",
            rich_help_panel="Speed",
        ),
    ] = True,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Colorize images: files, folders and globs.

    Existing results are kept: a repeated command resumes an interrupted one. For a single file an
    existing result is an error instead. Results of earlier runs (NAME-colorized) and hidden files
    are ignored. Paths of results are printed to stdout, everything else to stderr. Exit code: 0
    success, 1 images failed (the others are done), 2 usage error, 130 interrupted. Brackets
    contain defaults.
    """
    refuse_without_effect(context)
    factors = _render_factors(sweep, settings)
    if factors and map is not None:
        raise typer.BadParameter("--sweep and --map exclude each other.")
    if settings.temporal_smoothing and (factors or map is not None):
        raise typer.BadParameter(
            "--temporal-smoothing has no effect on contact sheets and maps, which show one plane."
        )

    from napari_colorize.batch.earlier_results import planned_record
    from napari_colorize.batch.naming import plan_batch
    from napari_colorize.cli.console import BatchConsole
    from napari_colorize.io.file_names import COLORIZED, SWEEP

    ending = SWEEP if factors else COLORIZED if map is None else f"-{map}"
    plan = plan_batch(
        inputs,
        out,
        ending=ending,
        overwrite=overwrite,
        planned=lambda: planned_record(models.specs(), settings, guides.read(), factors),
    )
    models.check()
    if settings.temporal_smoothing:
        _refuse_single_image(plan)
    task = {"settings": settings, "sweep": factors, "overwrite": overwrite, "map": map}
    run = _Run(plan, models, guides.read(), time_axis, task)
    with BatchConsole(plan, quiet=quiet, verbose=verbose) as console:
        if verbose:
            console.show_request(models, settings)
        if dask is None:
            events = run.locally(progress=not quiet)
        else:
            from napari_colorize.batch.dask_cluster import manifest_folder

            events = run.on_cluster(dask, manifest_folder(inputs, out), retry=retry)
        console.show_all(events)
    if console.failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Run:
    """A planned batch with its models and guides; `task` has the other fields of `BatchRunner`."""

    plan: BatchPlan
    models: ModelOptions
    guides: Guides | None
    time_axis: int | None
    task: dict[str, Any]

    def locally(self, *, progress: bool) -> Generator[Event, None, None]:
        """Run in this process; `progress` shows downloads of models."""
        if not self.plan.jobs:
            return  # no model needs to be loaded
        from napari_colorize.batch.runner import BatchRunner
        from napari_colorize.batch.task import Extras

        colorizer, second = self.models.load(progress=progress)
        # Reports unsupported settings once, instead of once for every file.
        colorizer.resolve_settings(asdict(self.task["settings"]))
        extras = Extras(self.guides, second, self.time_axis)
        yield from BatchRunner(colorizer=colorizer, extras=extras, **self.task).run(self.plan.jobs)

    def on_cluster(
        self, address: str, manifest: Path, *, retry: bool
    ) -> Generator[Event, None, None]:
        """Run on the workers of a dask scheduler."""
        from napari_colorize.batch.dask_cluster import ClusterBatch

        specs = self.models.specs()
        specs[0].resolve_settings(asdict(self.task["settings"]))  # reports as in `locally`
        make = partial(make_worker_batch, specs, self.guides, self.time_axis, **self.task)
        cluster = ClusterBatch(address=address, make=make, manifest=manifest, retry=retry)
        # Without jobs too: the manifest records existing results.
        return cluster.run(self.plan.jobs, self.plan.kept)


def _refuse_single_image(plan: BatchPlan) -> None:
    """Raise `typer.BadParameter` if the only image to colorize is not a stack."""
    from napari_colorize.errors import ImageError
    from napari_colorize.io.images import read_image

    if len(plan.jobs) != 1:
        return
    try:
        is_stack = read_image(plan.jobs[0].source).is_stack
    except ImageError:
        return  # reported by the run
    if not is_stack:
        raise typer.BadParameter(
            f"--temporal-smoothing has no effect on a single image, and {plan.jobs[0].source} is "
            "no stack. Folders of frames are colorized by `napari-colorize video`."
        )


def make_worker_batch(
    models: Sequence[ModelSpec], guides: Guides | None, time_axis: int | None, **task: Any
) -> BatchRunner:
    """Make the runner of a cluster worker; pickled by name, so that workers load the models."""
    from napari_colorize.batch.runner import BatchRunner
    from napari_colorize.batch.task import Extras

    first, *others = (spec.load() for spec in models)
    extras = Extras(guides, others[0] if others else None, time_axis)
    return BatchRunner(colorizer=first, extras=extras, **task)


def _render_factors(sweep: str | None, settings: ColorizeSettings) -> tuple[int, ...]:
    """The render factors of `--sweep 8,16,24,32`, validated like `--render-factor`."""
    if sweep is None:
        return ()
    if settings.render_factor is not None:
        raise typer.BadParameter("--sweep and --render-factor exclude each other.")
    try:
        factors = tuple(dict.fromkeys(int(part) for part in sweep.split(",")))
        for factor in factors:
            replace(settings, render_factor=factor)
    except ValueError:  # SettingsError is one
        raise typer.BadParameter(
            f"--sweep must be render factors from 1 to 100 such as 8,16,24,32, got {sweep!r}."
        ) from None
    return factors
