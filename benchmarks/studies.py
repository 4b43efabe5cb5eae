"""Training studies: each one trains or measures models and prints a table.

    python benchmarks/studies.py ablations --photos A --images B --encoder FILE --features FILE
    python benchmarks/studies.py noise --photos A --images B --base MODEL
    python benchmarks/studies.py source --photos A --encoder FILE --manifest CSV --source NAME
    python benchmarks/studies.py nogan --images B --before MODEL --after MODEL
    python benchmarks/studies.py contrast MODEL... --images B

Photos are used for training and images for measuring; both are folders or tar shards. Runs are
stored in `runs/studies` and resumed if they were interrupted. The results are in
docs/dev/recipe-runs.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from napari_colorize_training.data import files_in, prepare
from napari_colorize_training.evaluation.ground_truth import read_images
from napari_colorize_training.evaluation.metrics import (
    ColorConsistency,
    colorfulness,
    motion_between,
    to_gray,
    warping_error,
)
from napari_colorize_training.evaluation.quick_score import quick_score
from napari_colorize_training.loop.engine import Trainer
from napari_colorize_training.loop.options import RunOptions
from napari_colorize_training.loop.progress import ProgressBar
from napari_colorize_training.recipe import Recipe, read_recipe
from PIL import Image

from napari_colorize.array_types import UInt8Array
from napari_colorize.batch.contact_sheet import contact_sheet
from napari_colorize.colorizer import Colorizer
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo import load
from napari_colorize.zoo.weights import build

RUNS = Path("runs/studies")
SCORE_HEAD = (
    "| {} | PSNR, dB | CIEDE2000 | colorfulness | better than gray |\n|---|---|---|---|---|"
)
FRAMES, STEP = 12, 4  # frames of a pan, and pixels between them
SENSOR = 6.0  # standard deviation of the noise in each frame, in levels of 255
LAMBDAS = (0.0, 1.0, 10.0, 100.0)
SMALL_IPOL = {  # sizes that two cores can train; an average of weights, as the runs are short
    "optimizer.ema_decay": 0.995,
    **{f"stages.{n}.batch": batch for n, batch in enumerate((16, 16, 12, 8))},
    **{f"stages.{n}.side": side for n, side in enumerate((64, 64, 80, 96))},
    "export": {"render_factor": 6, "saturation": 1.0},  # the side of the last stage
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "complete": {},
    "L1 alone": {"loss.feature_weights": []},
    "one feature term": {"loss.feature_weights": [100]},
    "L2": {"loss.pixel": "l2", "loss.feature_norm": "l2"},
    "no spectral norm": {"network.options.spectral": False},
    "no attention": {"network.options.attention": 0},
    "two attention layers": {"network.options.attention": 2},
}
CONTRASTS = (0.8, 1.25)
PICTURES = ("astronaut", "chelsea", "coffee", "rocket")  # of scikit-image


def ablations(options: argparse.Namespace) -> None:
    """Train the IPOL recipe without one of its parts at a time, at equal steps."""
    print(SCORE_HEAD.format("recipe"))
    models: dict[str, Path] = {}
    for title in options.variants or ABLATIONS:
        changes = {"network.options.width": options.width, **SMALL_IPOL, **ABLATIONS[title]}
        recipe = read_recipe("ipol", changes)
        models[title] = trained(recipe, f"ablation-{title.replace(' ', '-')}", options)
        print_score(title, models[title], options.images, options.limit)
    write_sheet(RUNS / "ablations.jpg", models)


def write_sheet(path: Path, models: dict[str, Path]) -> None:
    """Write a sheet of photographs of scikit-image: gray, the result of each model, truth."""
    colorizers = [Colorizer.from_pretrained(model) for model in models.values()]
    images, labels = [], []
    for name in PICTURES:
        truth = getattr(skimage.data, name)()
        gray = to_gray(truth)
        images += [gray, *(colorizer(gray).pixels for colorizer in colorizers), truth]
        labels += ["gray", *models, name]
    sheet = contact_sheet(images, labels, columns=len(models) + 2, cell=160)
    Image.fromarray(sheet).save(path, quality=85)


def noise(options: argparse.Namespace) -> None:
    """Measure noise consistency (IPOL review, eq. 9) at several weights, on noisy pans."""
    print("| lambda_noise | CDC | warping error | colorfulness, share of the truth's |")
    print("|---|---|---|---|")
    clips = [list(pan) for pan in islice(pans(options.images), options.clips)]
    checkpoint, weights = load(options.base)
    for weight in options.lambdas:
        recipe = read_recipe(
            "deoldify-video",
            {
                "network.architecture": checkpoint.architecture,
                "loss.noise_weight": weight,
                "stages": [
                    {
                        "side": 80,
                        "batch": 8,
                        "steps": options.steps,
                        "lr": 1e-4,
                        "noise_consistency": True,
                    }
                ],
                "export": {"render_factor": 8},
            },
        )
        architecture = ARCHITECTURES[checkpoint.architecture]
        base = build(architecture, weights.state).requires_grad_(True), architecture
        model = trained(recipe, f"noise-{weight:g}", options, base=base)
        colorizer = Colorizer.from_pretrained(model)
        cdc, error, colorful = np.mean(
            [temporal_measures(colorizer, clip) for clip in clips], axis=0
        )
        print(f"| {weight:g} | {cdc:.5f} | {error:.5f} | {colorful:.2f} |")


def source(options: argparse.Namespace) -> None:
    """Compare a recipe trained with and without a source of images, on images of that source."""
    sources = sources_in(options.manifest)
    of_source = {name for name, image_source in sources.items() if image_source == options.source}
    named_shards = sorted(shards_of(options.photos))
    tested = {name for name, _ in named_shards if name in of_source}
    measured = set(sorted(tested)[: options.limit])
    lists = {
        f"with {options.source}": [pair for pair in named_shards if pair[0] not in measured],
        f"without {options.source}": [pair for pair in named_shards if pair[0] not in of_source],
    }
    for pairs in lists.values():  # names are hashes, so the first ones are a random choice
        del pairs[: max(0, len(pairs) - options.most)]
    print(SCORE_HEAD.format(f"trained; measured on {len(measured)} images of that source"))
    for title, pairs in lists.items():
        name = title.split()[0]
        listing = RUNS / f"{name}.csv"
        write_list(listing, pairs)
        changes = {"stages.0.side": 64, "stages.0.batch": 24, "stages.1.side": 80}
        recipe = read_recipe("embedded", changes)
        model = trained(recipe, f"source-{name}", options, data=listing)
        images = (
            image for key, image in named_images(options.photos) if Path(key).name in measured
        )
        print_score(title, model, images, options.limit)


def nogan(options: argparse.Namespace) -> None:
    """Compare a generator before and after NoGAN training, at equal colorfulness."""
    before, after = (Colorizer.from_pretrained(path) for path in (options.before, options.after))
    images = list(islice(read_images(options.images), options.limit))
    at = {"render_factor": options.render_factor}
    target = quick_score(after, images, saturation=1.0, **at).colorfulness
    low, high = 0.0, 4.0
    for _ in range(6):  # colorfulness grows with saturation
        middle = (low + high) / 2
        is_less = quick_score(before, images[:40], saturation=middle, **at).colorfulness < target
        low, high = (middle, high) if is_less else (low, middle)
    print(SCORE_HEAD.format("model"))
    print_score("before NoGAN, saturation 1", before, images, options.limit, saturation=1.0, **at)
    title = f"before NoGAN, saturation {high:.2f}"
    print_score(title, before, images, options.limit, saturation=high, **at)
    print_score("after NoGAN, saturation 1", after, images, options.limit, saturation=1.0, **at)


def contrast(options: argparse.Namespace) -> None:
    """Measure the change of U and V when the contrast of the gray is scaled about its mean."""
    print("| model | contrast | mean chroma, share of that at 1 | mean change, share of chroma |")
    print("|---|---|---|---|")
    images = [to_gray(image) for image in islice(read_images(options.images), options.limit)]
    for name in options.models:
        colorizer = Colorizer.from_pretrained(name)
        for factor in CONTRASTS:
            rows = [contrast_row(colorizer, gray, factor, options.render_factor) for gray in images]
            length, other, change = np.mean(rows, axis=0)
            title = Path(name).stem if Path(name).suffix else name
            print(f"| {title} | {factor} | {other / length:.2f} | {change / length:.2f} |")


def contrast_row(
    colorizer: Colorizer, gray: UInt8Array, factor: float, render_factor: int | None
) -> tuple[float, float, float]:
    """Mean chroma at contrast 1 and at another one, and the mean length of the difference."""
    mean = gray.mean()
    scaled = np.rint(mean + (gray - mean) * factor).clip(0, 255).astype(np.uint8)
    uv, other = (
        colorizer(image, render_factor=render_factor).chroma.uv for image in (gray, scaled)
    )
    lengths = (torch.linalg.vector_norm(part, dim=-1).mean() for part in (uv, other, other - uv))
    first, second, difference = (float(length) for length in lengths)
    return first, second, difference


def trained(
    recipe: Recipe, name: str, options: argparse.Namespace, *, base: Any = None, data: Any = None
) -> Path:
    """Return the model of a run, which is resumed if it was interrupted."""
    cache = RUNS / f"cache-{name}" if data is not None else Path("runs/cache")
    prepare(data or options.photos, cache)
    run = RunOptions(
        folder=RUNS / name,
        cache=cache,
        encoder=options.encoder if base is None else None,
        features=options.features,
        base=base,
        base_name="" if base is None else str(options.base),
        steps=options.steps,
    )
    model = Trainer(recipe, run, ProgressBar()).train()
    assert model is not None  # only None if the run is stopped
    return model


def print_score(title: str, model: Any, images: Any, limit: int | None, **settings: Any) -> None:
    """Print a row of the table."""
    colorizer = model if isinstance(model, Colorizer) else Colorizer.from_pretrained(model)
    truths: Iterable[UInt8Array] = read_images(images) if isinstance(images, Path) else images
    score = quick_score(colorizer, islice(truths, limit), **settings)
    print(
        f"| {title} | {score.psnr:.2f} ({score.psnr_gray:.2f}) | {score.ciede2000:.2f} "
        f"({score.ciede2000_gray:.2f}) | {score.colorfulness:.2f} | {score.better_share:.0%} |",
        flush=True,
    )


def pans(images: Path) -> Iterator[list[UInt8Array]]:
    """Yield noisy pans: a window that moves over each photograph."""
    random = np.random.default_rng(0)
    for image in read_images(images):
        width = image.shape[1] - FRAMES * STEP
        frames = [image[:, STEP * n : STEP * n + width].astype(np.float64) for n in range(FRAMES)]
        noisy = [frame + random.normal(0, SENSOR, (*frame.shape[:2], 1)) for frame in frames]
        yield [np.rint(frame).clip(0, 255).astype(np.uint8) for frame in noisy]


def temporal_measures(colorizer: Colorizer, clip: list[UInt8Array]) -> tuple[float, float, float]:
    """CDC, warping error, and colorfulness relative to the true colors."""
    consistency, errors = ColorConsistency(), []
    colorized = [colorizer(to_gray(frame)).pixels for frame in clip]
    for frame in colorized:
        consistency.add(frame)
    for index in range(0, FRAMES - 1, 4):  # optical flow is slow
        motion = motion_between(to_gray(clip[index]), to_gray(clip[index + 1]))
        errors.append(warping_error(colorized[index], colorized[index + 1], motion))
    colorful = np.mean([colorfulness(frame) for frame in colorized])
    true = np.mean([colorfulness(frame) for frame in clip])
    return consistency.value(), float(np.mean(errors)), float(colorful / true)


def sources_in(manifest: Path) -> dict[str, str]:
    """Return the source of every image by its name."""
    with gzip.open(manifest, "rt", newline="") as file:
        return {row["name"]: row["source_repo"] for row in csv.DictReader(file)}


def shards_of(photos: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and shard of every image."""
    for shard in sorted(photos.glob("*.tar")):
        with tarfile.open(shard) as file:
            yield from ((name, shard) for name in file.getnames())


def named_images(photos: Path) -> Iterator[tuple[str, UInt8Array]]:
    """Yield name and pixels of the images in a folder of shards."""
    for name, content in files_in(photos):
        yield name, np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def write_list(path: Path, pairs: list[tuple[str, Path]]) -> None:
    """Write a CSV list of images in shards for `prepare`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["color"])
        writer.writerows([f"{shard.absolute()}/{name}"] for name, shard in pairs)


def main() -> None:
    """Run one study."""
    studies: dict[str, Callable[[argparse.Namespace], None]] = {
        "ablations": ablations,
        "noise": noise,
        "source": source,
        "nogan": nogan,
        "contrast": contrast,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=studies)
    parser.add_argument("models", nargs="*", default=["embedded"])
    parser.add_argument("--photos", type=Path, help="training photographs")
    parser.add_argument("--images", type=Path, help="images for measuring")
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--source", default="srohit0/food_mnist")
    parser.add_argument("--base", default="embedded")
    parser.add_argument("--before")
    parser.add_argument("--after")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--width", type=float, default=0.25, help="factor on the decoder channels")
    parser.add_argument("--limit", type=int, default=100, help="number of images for measuring")
    parser.add_argument("--render-factor", type=int, help="for nogan and contrast")
    parser.add_argument("--variants", nargs="+", choices=ABLATIONS, help="for ablations")
    parser.add_argument("--most", type=int, default=20000, help="number of photos for source")
    parser.add_argument("--lambdas", nargs="+", type=float, default=LAMBDAS, help="for noise")
    parser.add_argument("--clips", type=int, default=8)
    options = parser.parse_args()
    studies[options.study](options)


if __name__ == "__main__":
    main()
