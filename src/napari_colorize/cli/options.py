"""Options that several commands have, each written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.runtime.devices import Precision

Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A name that `models` lists, or a .safetensors or .pth file."
    ),
]
Hints = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A picture with transparency, of the picture's size: what is painted on it (at "
        "least half opaque) are colours of these places, which spread to what belongs to them. "
        "Hue and strength count, brightness stays the picture's.",
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A picture of the picture's size: where it is darker than middle gray, nothing is "
        "colorized.",
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="A picture in colour whose palette is taken over."),
]
BlendWith = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL", help="A second model, blended with the first: --blend, --blend-by."
    ),
]
Device = Annotated[
    str,
    typer.Option(help="auto takes a GPU if there is one; else cpu, cuda, cuda:1, mps, xpu."),
]
PrecisionChoice = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option(help="auto takes bfloat16 where the hardware has it; float32 is exact."),
]


def check_models(*names: str | None) -> None:
    """Refuse a name that does not exist before anything else is done.

    Raises
    ------
    UnknownModelError
        With the names that exist.
    """
    from napari_colorize import zoo

    for name in names:
        if name is not None:
            zoo.resolve(name)


def load_models(
    model: str, blend_with: str | None, *, device: str, precision: Precision, progress: bool
) -> tuple[Colorizer, Colorizer | None]:
    """The model and the one that is blended with it; this brings torch."""
    from napari_colorize.colorizer import Colorizer

    def load(name: str) -> Colorizer:
        return Colorizer.from_pretrained(
            name, device=device, precision=precision, progress=progress
        )

    return load(model), None if blend_with is None else load(blend_with)
