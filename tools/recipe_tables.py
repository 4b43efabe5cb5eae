"""The tables of docs/recipes.md: what every recipe is, and what its real run came to.

    python tools/recipe_tables.py

Reads the recipes of the package and the logs in docs/runs; prints Markdown.
"""

from __future__ import annotations

import csv
from pathlib import Path

from napari_colorize_training.recipe import Recipe, Stage, read_recipe, recipe_names

from napari_colorize.networks import ARCHITECTURES

LOGS = Path(__file__).parents[1] / "docs" / "runs"
LOSSES = ("G_L1", "G_L2", "G_classes")
TRAINED = {"generator": "", "critic": "critic ", "gan": "GAN "}


def main() -> None:
    """Print both tables."""
    recipes = [read_recipe(name) for name in recipe_names()]
    print("| recipe | network (parameters) | loss | critic | stages: px x batch (epochs) |")
    print("|---|---|---|---|---|")
    for recipe in recipes:
        print(what_it_is(recipe))
    print(
        "\n| recipe | steps | loss, first to last | U, V error (gray) | CIEDE2000 (gray) |", end=""
    )
    print(" colourfulness | pictures per second | waiting for data |")
    print("|---|---|---|---|---|---|---|---|")
    for recipe in recipes:
        log = LOGS / f"{recipe.name}.csv"
        if log.is_file() and recipe.name != "embedded":  # it has a page of its own
            print(what_came_of_it(recipe, log))


def what_it_is(recipe: Recipe) -> str:
    """A line of the first table."""
    architecture = ARCHITECTURES[recipe.network.architecture]
    network = architecture.create(**recipe.network.options)
    millions = sum(item.numel() for item in network.parameters()) / 1e6
    critic = recipe.critic
    opponent = "none" if critic is None else f"{critic.name}, {critic.loss}"
    stages = "; ".join(stage_in_words(stage) for stage in recipe.stages)
    cycles = f", {recipe.cycles} cycles of those with *" if recipe.cycles > 1 else ""
    return (
        f"| `{recipe.name}` | {architecture.name} ({millions:.1f} M) | {loss_in_words(recipe)} | "
        f"{opponent} | {stages}{cycles} |"
    )


def stage_in_words(stage: Stage) -> str:
    """Such as "GAN 192 x 9 (0.03)*"."""
    length = f"{stage.steps} steps" if stage.steps else f"{stage.epochs:g}"
    star = "*" if stage.cycled else ""
    return f"{TRAINED[stage.train]}{stage.side} x {stage.batch} ({length}){star}"


def loss_in_words(recipe: Recipe) -> str:
    """The content loss."""
    plan = recipe.loss
    words = [plan.pixel if plan.weight == 1 else f"{plan.weight:g} x {plan.pixel}"]
    if plan.features:
        weights = ", ".join(f"{weight:g}" for weight in plan.features)
        words.append(f"features {weights} ({plan.feature_network})")
    if plan.noise:
        words.append(f"noise {plan.noise:g}")
    return " + ".join(words)


def what_came_of_it(recipe: Recipe, log: Path) -> str:
    """A line of the second table: the first and the last interval of the log, and validation."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    taught = [row for row in rows if any(row[name] for name in LOSSES)]
    name = next(name for name in LOSSES if taught[0][name])
    last = [row for row in rows if row["validation_ciede2000"]][-1]
    uv, uv_gray = float(last["validation_uv"]), float(last["validation_uv_gray"])
    error, error_gray = (
        float(last["validation_ciede2000"]),
        float(last["validation_ciede2000_gray"]),
    )
    speed = sum(float(row["pictures_per_second"]) for row in rows) / len(rows)
    waiting = sum(float(row["waiting"]) for row in rows) / len(rows)
    return (
        f"| `{recipe.name}` | {rows[-1]['step']} | {name} {float(taught[0][name]):.3g} to "
        f"{float(taught[-1][name]):.3g} | {uv:.4f} ({uv_gray:.4f}) | {error:.2f} "
        f"({error_gray:.2f}) | {float(last['validation_colorfulness']):.2f} | {speed:.1f} | "
        f"{waiting:.1%} |"
    )


if __name__ == "__main__":
    main()
