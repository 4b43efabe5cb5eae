"""`napari-colorize video`: colorize films, folders of frames and image stacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_colorize.cli import options
from napari_colorize.cli.setting_options import with_setting_options
from napari_colorize.settings import ColorizeSettings

if TYPE_CHECKING:
    pass

TEMPORAL_SMOOTHING = (
    0.85  # of films, unless something else is chosen; see docs/how-to/stacks-and-video.md
)


def with_defaults(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give some knobs of a command (of `with_knobs`) other defaults than elsewhere."""

    def changed(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        options = [
            each.replace(default=defaults.get(name, each.default))
            for name, each in signature.parameters.items()
        ]
        command.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
        return command

    return changed


@with_defaults(temporal_smoothing=TEMPORAL_SMOOTHING)
@with_setting_options
def video(
    given: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="A film, a folder of numbered pictures, a TIFF stack, or a zarr or OME-Zarr.",
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="Its suffix tells what is written: .mp4, .mov, .mkv or .webm a film; .tif, "
            ".ome.tif, .zarr or .ome.zarr a stack; none a folder of pictures.",
        ),
    ],
    *,
    model: options.Model = "embedded",
    settings: ColorizeSettings,
    hints: options.Hints = None,
    mask: options.Mask = None,
    reference: options.Reference = None,
    blend_with: options.BlendWith = None,
    codec: Annotated[
        str | None,
        typer.Option(
            help="Encoder of a film, by FFmpeg's name. Default: libx264, libx265 for more than 8 "
            "bits; libvpx-vp9 or libsvtav1 in .webm."
        ),
    ] = None,
    quality: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=63,
            help="Of a film, on the encoder's own scale (crf): 0 is best and largest, about 17 "
            "looks like the source in libx264. Default: what is next to lossless.",
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="25|24000/1001",
            help="Pictures a second of a film that is made of pictures. Default: 25.",
        ),
    ] = None,
    start: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Where in a film to begin.")
    ] = None,
    end: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Where in a film to end.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a result that is there already.")
    ] = False,
    device: options.Device = "auto",
    precision: options.PrecisionChoice = "auto",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but the result's path and errors.")
    ] = False,
) -> None:
    """Colorize a film, a folder of frames or an image stack, steadily along time.

    Of a film, sound, subtitles, chapters and texts are copied, times and rotation kept; what OUT
    cannot hold is named. Work in progress lies in OUT.part: an interrupted command goes on when
    it is repeated, and OUT appears when it is whole.

    The path of the result goes to stdout, all else to stderr. Exit code: 0 all went well, 1 it
    failed, 2 the command makes no sense, 130 interrupted.
    """
    from napari_colorize.batch.guide_files import identity_of, read_guides
    from napari_colorize.batch.task import Extras
    from napari_colorize.cli.progress import SequenceConsole
    from napari_colorize.video.plan import ExportOptions, plan_video

    wishes = ExportOptions(
        encoder=codec,
        quality=quality,
        rate=_rate(rate),
        start=start,
        end=end,
        overwrite=overwrite,
    )
    todo = plan_video(given, out, wishes)
    options.check_models(model, blend_with)
    guides = read_guides(hints, mask, reference)
    with SequenceConsole(todo.source.info.total, quiet=quiet) as reel:
        colorizer, second = options.load_models(
            model, blend_with, device=device, precision=precision, progress=not quiet
        )
        chosen = colorizer.resolve_settings(asdict(settings))
        identity = {**colorizer.identity, "guides": identity_of(hints, mask, reference)}
        if second is not None:
            identity["blend_with"] = second.identity
        extras = Extras(guides, second).of_image()
        work = todo.work(colorizer, chosen, identity, **extras)
        reel.begin(work)
        with closing(work):
            for done in work:
                reel.show(done)
        reel.end(work, todo.target)


def _rate(given: str | None) -> Fraction | None:
    if given is None:
        return None
    try:
        return Fraction(given)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(
            f"--rate wants a number such as 25 or 24000/1001, got {given!r}."
        ) from None
