"""Tables of docs/reference/recipes.md and docs/dev/recipe-runs.md.

    python tools/recipe_tables.py

Reads the recipes of the package and the logs in docs/dev/runs; prints Markdown.
"""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from napari_colorize_training.recipe import Recipe, Stage, read_recipe, recipe_names

from napari_colorize.networks import ARCHITECTURES

LOGS = Path(__file__).parents[1] / "docs" / "dev" / "runs"
LOSSES = ("G_L1", "G_L2", "G_classes")
Row = dict[str, str]
PREFIXES = {"generator": "", "critic": "critic ", "gan": "GAN "}


def main() -> None:
    """Print both tables."""
    recipes = [read_recipe(name) for name in recipe_names()]
    print("| recipe | network (parameters) | loss | critic | stages: px x batch (epochs) |")
    print("|---|---|---|---|---|")
    for recipe in recipes:
        print(recipe_row(recipe))
    print(
        "\n| recipe | steps | loss, first to last | U, V error (gray) | CIEDE2000 (gray) |", end=""
    )
    print(" colorfulness | images per second | waiting |")
    print("|---|---|---|---|---|---|---|---|")
    for recipe in recipes:
        log = LOGS / f"{recipe.name}.csv"
        if log.is_file() and recipe.name != "embedded":  # it has its own page
            print(result_row(recipe, log))


def recipe_row(recipe: Recipe) -> str:
    """Return a row of the first table."""
    architecture = ARCHITECTURES[recipe.network.architecture]
    with torch.device("meta"):  # shapes suffice
        network = architecture.create(**recipe.network.options)
    millions = sum(item.numel() for item in network.parameters()) / 1e6
    critic = recipe.critic
    opponent = "none" if critic is None else f"{critic.name}, {critic.loss}"
    stages = "; ".join(describe_stage(stage) for stage in recipe.stages)
    cycles = f", {recipe.cycles} cycles of those with \\*" if recipe.cycles > 1 else ""
    return (
        f"| `{recipe.name}` | {architecture.name} ({millions:.1f} M) | {describe_loss(recipe)} | "
        f"{opponent} | {stages}{cycles} |"
    )


def describe_stage(stage: Stage) -> str:
    """Return a stage as text, such as "GAN 192 x 9 (0.03)*"."""
    length = f"{stage.steps} steps" if stage.steps else f"{stage.epochs:g}"
    star = "\\*" if stage.in_cycle else ""
    return f"{PREFIXES[stage.train]}{stage.side} x {stage.batch} ({length}){star}"


def describe_loss(recipe: Recipe) -> str:
    """Return the content loss as text."""
    config = recipe.loss
    words = [config.pixel if config.weight == 1 else f"{config.weight:g} x {config.pixel}"]
    if config.feature_weights:
        weights = ", ".join(f"{weight:g}" for weight in config.feature_weights)
        words.append(f"features {weights} ({config.feature_network})")
    if config.noise_weight:
        words.append(f"noise {config.noise_weight:g}")
    return " + ".join(words)


def result_row(recipe: Recipe, log: Path) -> str:
    """Return a row of the second table: first and last loss, and figures of the exported model."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    trained = [row for row in rows if any(row[name] for name in LOSSES)]
    name = next(name for name in LOSSES if trained[0][name])
    row, speed = exported_row(recipe, rows), mean_of(rows, "images_per_second")
    uv, uv_gray, error, error_gray, colorful = (
        float(row[f"validation_{figure}"])
        for figure in ("uv", "uv_gray", "ciede2000", "ciede2000_gray", "colorfulness")
    )
    return (
        f"| `{recipe.name}` | {rows[-1]['step']} ({training_minutes(rows):.0f} min) | {name} "
        f"{float(trained[0][name]):.3g} to {float(trained[-1][name]):.3g} | "
        f"{uv:.4f} ({uv_gray:.4f}) | {error:.2f} ({error_gray:.2f}) | {colorful:.2f} | {speed:.1f} "
        f"| {mean_of(rows, 'waiting'):.3%} |"
    )


def exported_row(recipe: Recipe, rows: list[Row]) -> Row:
    """Return the row of the exported weights: the last validated, or the best of the last stage."""
    validated = [row for row in rows if row["validation_measure"]]
    if not list(recipe.unrolled_stages())[-1].checkpoint_every:
        return validated[-1]
    last = [row for row in validated if row["stage"] == validated[-1]["stage"]]
    return min(last, key=lambda row: float(row["validation_measure"]))


def training_minutes(rows: list[Row]) -> float:
    """Return the duration of the steps without validation."""
    steps = [0, *(int(row["step"]) for row in rows)]
    return (
        sum(
            (now - before) * float(row["seconds"] or 0)
            for before, now, row in zip(steps, steps[1:], rows, strict=False)
        )
        / 60
    )


def mean_of(rows: list[Row], name: str) -> float:
    """Return the mean of a column over its values."""
    values = [float(row[name]) for row in rows if row[name]]
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
