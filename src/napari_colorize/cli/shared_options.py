"""Options that several commands share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_colorize.errors import SettingsError
from napari_colorize.settings import REFINING, ColorizeSettings

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.model_spec import ModelSpec
    from napari_colorize.refine.guides import Guides


def _model_names(incomplete: str) -> list[str]:
    """Names for the completion of a shell."""
    from napari_colorize.zoo import list_models

    return [name for name in list_models() if name.startswith(incomplete)]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which models run, where and in which precision."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|FILE",
            help="A name listed by `models`, or a weights file.",
            autocompletion=_model_names,
            rich_help_panel="Model",
        ),
    ] = "embedded"
    blend_with: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Second model, used by --blend and --blend-by.",
            autocompletion=_model_names,
            rich_help_panel="Model",
        ),
    ] = None
    device: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="auto uses a GPU if there is one; or cpu, cuda, cuda:1, mps, xpu.",
            rich_help_panel="Speed",
        ),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(
            metavar="TYPE",
            help="auto uses bfloat16 if hardware and model permit it (embedded: float32); or "
            "float32 (exact), bfloat16.",
            rich_help_panel="Speed",
        ),
    ] = "auto"

    @property
    def names(self) -> list[str]:
        """The first model and, if there is one, the second."""
        return [self.model, *([] if self.blend_with is None else [self.blend_with])]

    def check(self) -> None:
        """Raise `UnknownModelError`, with the names that exist, before anything is loaded."""
        from napari_colorize import zoo

        for name in self.names:
            zoo.resolve(name)

    def load(self, *, progress: bool) -> tuple[Colorizer, Colorizer | None]:
        """Load the first and the second model; `progress` shows downloads. Imports torch."""
        from napari_colorize.colorizer import Colorizer

        first, second = (
            None
            if name is None
            else Colorizer.from_pretrained(
                name, device=self.device, precision=self.precision, progress=progress
            )
            for name in (self.model, self.blend_with)
        )
        assert first is not None
        return first, second

    def specs(self) -> list[ModelSpec]:
        """Descriptions from which workers on other machines load the models."""
        from napari_colorize.model_spec import ModelSpec

        return [
            ModelSpec.from_model(name, device=self.device, precision=self.precision)
            for name in self.names
        ]


@dataclass(frozen=True, kw_only=True)
class GuideOptions:
    """Image files that guide the colors."""

    hints: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Image of the same size with alpha: hue and saturation of opaque pixels spread "
            "to neighbors.",
            rich_help_panel="Guides",
        ),
    ] = None
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Image of the same size as the input. Pixels darker than middle gray are not "
            "colorized.",
            rich_help_panel="Guides",
        ),
    ] = None
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Color image whose palette is transferred.",
            rich_help_panel="Guides",
        ),
    ] = None

    def read(self) -> Guides | None:
        """Read the files; None if there are none.

        Raises `ImageError` if a file cannot be read or has no effect as a guide.
        """
        from napari_colorize.batch.guide_files import read_guides

        return read_guides(self.hints, self.mask, self.reference)


def _set_max_memory(size: str | None) -> str | None:
    """Set the limit as an environment variable, which worker processes inherit."""
    if size is not None:
        from napari_colorize.runtime.memory import LIMIT_VARIABLE, parse_size  # imports torch

        try:
            parse_size(size)
        except SettingsError as error:
            raise typer.BadParameter(str(error)) from None
        os.environ[LIMIT_VARIABLE] = size
    return size


MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        callback=_set_max_memory,
        rich_help_panel="Speed",
        help="Memory limit such as 4GB: larger files are refused. Default: what is available.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace existing results.", rich_help_panel="Result"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only result paths and errors.")]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print model, settings, and the notes of every image."),
]

# Options, and the option without which they have no effect.
_NEEDED = {
    "blend": "blend_with",
    "blend_by": "blend_with",
    "reference_strength": "reference",
    "reference_method": "reference",
    "hue_from": "hue_damping",
    "hue_to": "hue_damping",
    "time_axis": "temporal_smoothing",
    "retry": "dask",
}


def given_options(context: typer.Context) -> set[str]:
    """Names of the parameters that are on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def refuse_without_effect(context: typer.Context) -> None:
    """Raise `typer.BadParameter` for an option that nothing in the command line makes effective."""
    given = given_options(context)
    if {"quiet", "verbose"} <= given:
        raise typer.BadParameter("--quiet and --verbose exclude each other.")
    for name in sorted(given & _NEEDED.keys()):
        needed = _NEEDED[name]
        if needed in context.params and not context.params[needed]:
            flag = "no-retry" if name == "retry" and not context.params[name] else name
            raise typer.BadParameter(
                f"--{flag.replace('_', '-')} has no effect without --{needed.replace('_', '-')}."
            )
    if context.params.get("fidelity", "exact") != "exact":
        defaults = vars(ColorizeSettings())
        changed = {name for name in REFINING if context.params[name] != defaults[name]}
        for name in sorted(given & changed):
            raise typer.BadParameter(
                f"--{name.replace('_', '-')} has no effect with --fidelity "
                f"{context.params['fidelity']}, which repeats the steps of another program."
            )
