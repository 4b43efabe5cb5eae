"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.model_spec import ModelSpec
    from napari_colorize.refine.guides import Guides


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which models run, where and in which precision."""

    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="A name listed by `models`, or a .safetensors or .pth file."
        ),
    ] = "embedded"
    blend_with: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Second model, blended with the first by --blend and --blend-by."
        ),
    ] = None
    device: Annotated[
        str, typer.Option(help="auto uses a GPU if there is one; or cpu, cuda, cuda:1, mps, xpu.")
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="auto uses bfloat16 if the hardware supports it; float32 is exact."),
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
            help="Image with an alpha channel, same size as the input. Pixels with alpha of at "
            "least 0.5 set the color there; it spreads to similar neighboring pixels. Only hue and "
            "saturation are used; luminance is kept.",
        ),
    ] = None
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Image of the same size as the input. Pixels darker than middle gray are not "
            "colorized.",
        ),
    ] = None
    reference: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Color image whose palette is transferred."),
    ] = None

    def read(self) -> Guides | None:
        """Read the files; None if there are none.

        Raises `ImageError` if a file cannot be read or has no effect as a guide.
        """
        from napari_colorize.batch.guide_files import read_guides

        return read_guides(self.hints, self.mask, self.reference)


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only result paths and errors.")]
