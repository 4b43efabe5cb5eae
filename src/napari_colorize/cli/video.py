"""`napari-colorize video`: colorize videos, folders of frames and image stacks."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from napari_colorize.video.plan import ExportOptions


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """How a video is written, and which part of it."""

    codec: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel="Encoding",
            help="FFmpeg name of the encoder. Default: libx264 or libvpx-vp9 (.webm); above 8 bits "
            "libx265 or libsvtav1.",
        ),
    ] = None
    quality: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=63,
            metavar="0-63",
            rich_help_panel="Encoding",
            help="Constant rate factor (crf); 0 is best. Default: close to lossless.",
        ),
    ] = None
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="25|24000/1001",
            rich_help_panel="Encoding",
            help="Frames per second of a video made from images.  [25]",
        ),
    ] = None
    start: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Start time in the input video.", rich_help_panel="Encoding"
        ),
    ] = None
    end: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="End time in the input video.", rich_help_panel="Encoding"
        ),
    ] = None

    def export_options(self, *, overwrite: bool) -> ExportOptions:
        """Validate the options and convert them to `ExportOptions`."""
        from napari_colorize.video.plan import ExportOptions

        return ExportOptions(
            encoder=self.codec,
            quality=self.quality,
            rate=_frame_rate(self.rate),
            start=self.start,
            end=self.end,
            overwrite=overwrite,
        )


@with_option_groups
def video(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="A video, a folder of numbered images, a TIFF stack, a zarr or an OME-Zarr.",
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="The suffix determines the format: .mp4, .mov, .mkv, .webm for a video; .tif, "
            ".ome.tif, .zarr, .ome.zarr for a stack; no suffix for a folder of images.",
        ),
    ],
    *,
    context: typer.Context,
    models: ModelOptions,
    settings: ColorizeSettings,
    guides: GuideOptions,
    encoding: EncodingOptions,
    overwrite: Overwrite = False,
    max_memory: MaxMemory = None,  # set by its callback
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Colorize a video, a folder of frames or an image stack.

    For videos and folders of frames, --temporal-smoothing is 0.85 unless it is given. Audio,
    subtitles, chapters and metadata of a video are copied; what the output cannot hold is listed.
    Unfinished work is kept in OUT.part: a repeated command resumes an interrupted one.

    The path of the result is printed to stdout, everything else to stderr. Exit code: 0 success, 1
    failure, 2 usage error, 130 interrupted. Brackets contain defaults.
    """
    from napari_colorize.batch.earlier_results import planned_record
    from napari_colorize.batch.task import Extras
    from napari_colorize.cli.console import SequenceConsole
    from napari_colorize.video.plan import default_temporal_smoothing, plan_video

    refuse_without_effect(context)
    given = context.get_parameter_source("temporal_smoothing")
    if given is not None and given.name == "DEFAULT":
        smoothing = default_temporal_smoothing(Path(source))
        settings = replace(settings, temporal_smoothing=smoothing)
    plan = plan_video(
        source,
        out,
        encoding.export_options(overwrite=overwrite),
        planned=lambda: planned_record(models.specs(), settings, guides.read()),
    )
    models.check()
    guide_images = guides.read()
    with SequenceConsole(plan.source.info.total, quiet=quiet) as console:
        if verbose:
            console.show_request(models, settings)
        colorizer, second = models.load(progress=not quiet)
        extras = Extras(guide_images, second)
        job = plan.run(
            colorizer,
            colorizer.resolve_settings(asdict(settings)),
            extras.identity(colorizer),
            trained_rule=colorizer.checkpoint.contrast_limits,
            **extras.arguments,
        )
        console.begin(job)
        with closing(job):
            for done in job:
                console.show(done)
        console.end(job, plan.target)


def _frame_rate(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(
            f"--rate must be a number such as 25 or 24000/1001, got {text!r}."
        ) from None
