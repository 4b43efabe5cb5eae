"""Tables of docs/reference/recipes.md and docs/dev/recipe-runs.md.

    python tools/recipe_tables.py

Reads the recipes of the package and the logs in docs/dev/runs; prints Markdown.
"""

from __future__ import annotations

import csv
from pathlib import Path

from napari_colorize_training.recipe import Recipe, Stage, read_recipe, recipe_names

from napari_colorize.networks import ARCHITECTURES

LOGS = Path(__file__).parents[1] / "docs" / "dev" / "runs"
LOSSES = ("G_L1", "G_L2", "G_classes")
Row = dict[str, str]
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
    print(" colorfulness | images per second | waiting |")
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
    """A line of the second table: first and last interval of the log, and what was kept."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    taught = [row for row in rows if any(row[name] for name in LOSSES)]
    name = next(name for name in LOSSES if taught[0][name])
    kept, speed = kept_of(recipe, rows), mean_of(rows, "pictures_per_second")
    uv, uv_gray, error, error_gray, colorful = (
        float(kept[f"validation_{figure}"])
        for figure in ("uv", "uv_gray", "ciede2000", "ciede2000_gray", "colorfulness")
    )
    return (
        f"| `{recipe.name}` | {rows[-1]['step']} ({minutes_of(rows):.0f} min) | {name} "
        f"{float(taught[0][name]):.3g} to {float(taught[-1][name]):.3g} | {uv:.4f} ({uv_gray:.4f}) "
        f"| {error:.2f} ({error_gray:.2f}) | {colorful:.2f} | {speed:.1f} "
        f"| {mean_of(rows, 'waiting'):.3%} |"
    )


def kept_of(recipe: Recipe, rows: list[Row]) -> Row:
    """The validation of what was written: the last one, or the best of a stage that chooses."""
    validated = [row for row in rows if row["validation_measure"]]
    if not list(recipe.schedule())[-1].keep_every:
        return validated[-1]
    last = [row for row in validated if row["stage"] == validated[-1]["stage"]]
    return min(last, key=lambda row: float(row["validation_measure"]))


def minutes_of(rows: list[Row]) -> float:
    """What the steps took; validation not counted."""
    steps = [0, *(int(row["step"]) for row in rows)]
    return (
        sum(
            (now - before) * float(row["seconds"] or 0)
            for before, now, row in zip(steps, steps[1:], rows, strict=False)
        )
        / 60
    )


def mean_of(rows: list[Row], name: str) -> float:
    """Of a column, where it has values."""
    values = [float(row[name]) for row in rows if row[name]]
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
