"""`napari-colorize-train`: run a recipe, or measure what came out of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from napari_colorize.errors import ColorizeError


class OneSentence(TyperGroup):
    """Commands that end in one sentence where they cannot go on."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; turn what the user can mend into a line and an exit code."""
        try:
            return super().invoke(ctx)
        except (ColorizeError, FileNotFoundError, ValueError) as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=OneSentence, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def training() -> None:
    """Train the networks of napari-colorize."""


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a TOML file.")],
    data: Annotated[Path, typer.Argument(help="A folder of photographs or tar shards.")],
    run: Annotated[Path, typer.Option(help="Where the run's state, log and model go.")] = Path(
        "runs/latest"
    ),
    cache: Annotated[Path, typer.Option(help="Where decoded photographs are kept.")] = Path(
        "runs/cache"
    ),
    encoder: Annotated[Path | None, typer.Option(help="Pretrained encoder weights.")] = None,
) -> None:
    """Run a recipe on photographs; called again, it goes on where it was stopped."""
    from napari_colorize_training.data import build_cache
    from napari_colorize_training.engine import Trainer
    from napari_colorize_training.recipe import read_recipe

    chosen = read_recipe(recipe)
    build_cache(data, cache)
    typer.echo(Trainer(chosen, cache, run, encoder).train())


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="Colour photographs: a folder or tar shards.")],
    model: Annotated[
        list[str] | None, typer.Option(help="A model's name or file; may be repeated.")
    ] = None,
    render_factor: Annotated[int | None, typer.Option(help="Default: as recommended.")] = None,
    saturation: Annotated[float | None, typer.Option(help="Default: as recommended.")] = None,
    validation: Annotated[
        bool, typer.Option("--validation", help="Only the pictures that training holds back.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Stop after so many pictures.")] = None,
) -> None:
    """Measure models on photographs whose colours are known, against gray."""
    from itertools import islice

    from napari_colorize.colorizer import Colorizer
    from napari_colorize_training.evaluate import evaluate as measure
    from napari_colorize_training.evaluate import read_pictures

    for name in model or ["embedded"]:
        score = measure(
            Colorizer.from_pretrained(name),
            islice(read_pictures(data, validation=validation), limit),
            render_factor=render_factor,
            saturation=saturation,
        )
        typer.echo(
            f"{name}: {score.pictures} pictures, PSNR {score.psnr:.2f} dB (gray "
            f"{score.psnr_gray:.2f}), CIEDE2000 {score.ciede2000:.2f} (gray "
            f"{score.ciede2000_gray:.2f}), colourfulness {score.colorfulness:.2f} of the truth, "
            f"better than gray on {score.better:.0%}"
        )


def main() -> None:
    """Entry point of `napari-colorize-train`."""
    app()


if __name__ == "__main__":
    main()
