"""Requirements on the model that is included in the package."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from napari_colorize_training.evaluation.ground_truth import read_images
from napari_colorize_training.evaluation.metrics import (
    ciede2000,
    patchiness,
    smooth_area,
    to_gray,
)
from napari_colorize_training.evaluation.quick_score import quick_score
from PIL import Image

from napari_colorize import zoo
from napari_colorize.analysis.expected_error import CALIBRATED, expected_error, source_of
from napari_colorize.colorizer import Colorizer
from napari_colorize.zoo import CATALOGUE

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer.from_pretrained("embedded", device="cpu", precision="float32")


def gray_of(name: str) -> np.ndarray:
    return to_gray(getattr(skimage.data, name)())


def uv_of(colorizer: Colorizer, gray: np.ndarray, **settings: object) -> np.ndarray:
    return colorizer.predict(gray, **settings).uv.numpy()


def test_it_is_the_default_and_needs_no_download():
    checkpoint, weights = zoo.load("embedded")

    assert not checkpoint.urls
    assert checkpoint.architecture == "region"
    assert all(value.dtype != torch.float32 for value in weights.state.values())
    assert zoo.local_path(CATALOGUE["embedded"]).stat().st_size <= 20 * MEGABYTE


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_its_colors_are_not_gray(colorizer, name):
    assert colorizer.predict(gray_of(name)).mean() > 4 / 255


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_its_colors_follow_a_mirrored_image(colorizer, name):
    gray = gray_of(name)
    uv, mirrored = uv_of(colorizer, gray), uv_of(colorizer, gray[:, ::-1])[:, ::-1]

    assert np.corrcoef(uv.ravel(), mirrored.ravel())[0, 1] > 0.7


def test_its_colors_depend_on_the_image(colorizer):
    grays = [gray_of(name)[:300, :400] for name in PHOTOGRAPHS]
    predictions = [uv_of(colorizer, gray) for gray in grays]

    for index, uv in enumerate(predictions):
        for other in predictions[index + 1 :]:
            assert np.abs(uv - other).mean() > 2 / 255


def test_its_colors_change_at_image_edges(colorizer):
    gray = gray_of("chelsea")[:300, :400]  # mostly fur
    replaced = gray.copy()
    replaced[:, 200:] = gray_of("coffee")[:300, :200]

    change = np.abs(uv_of(colorizer, gray) - uv_of(colorizer, replaced)).mean(axis=(0, 2))

    half = len(change) // 2
    assert change[half:].mean() > 2 * change[:half].mean()


def test_self_attention_changes_the_colors(colorizer):
    gray = gray_of("astronaut")

    change = uv_of(colorizer, gray) - uv_of(colorizer, gray, self_attention=False)

    assert np.abs(change).max() > 1 / 255


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_automatic_precision_is_close_to_float32(colorizer, name):
    gray = gray_of(name)
    quick = Colorizer.from_pretrained("embedded", device="cpu")

    difference = np.abs(colorizer(gray).rgb.astype(int) - quick(gray).rgb.astype(int))

    assert difference.mean() <= 1
    assert np.quantile(difference, 0.999) <= 6


def test_colorizing_imports_neither_torchvision_nor_timm():
    code = (
        "import sys, numpy, napari_colorize as nc\nnc.colorize(numpy.eye(40))\nprint(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()

    # torch._dynamo is torch's compiler, whose import takes two seconds.
    assert not {"torchvision", "timm", "requests", "torch._dynamo"} & set(loaded)


NOT_PHOTOGRAPHS = (
    *(
        "brick",
        "cell",
        "checkerboard",
        "colorwheel",
        "grass",
        "gravel",
        "horse",
        "hubble_deep_field",
    ),
    *("immunohistochemistry", "logo", "microaneurysms", "page", "retina", "shepp_logan_phantom"),
    "text",
)


def gray_of_any(image: np.ndarray) -> np.ndarray:
    image = image[..., :3] if image.ndim == 3 else image
    if image.dtype != np.uint8:
        image = np.rint(255 * image.astype(float) / image.max()).astype(np.uint8)
    return to_gray(image) if image.ndim == 3 else image


@pytest.mark.parametrize("name", [*PHOTOGRAPHS, "camera"])
def test_photographs_are_not_flagged(colorizer, name):
    assert not colorizer(gray_of_any(getattr(skimage.data, name)())).is_unlike_photographs


@pytest.mark.parametrize("name", NOT_PHOTOGRAPHS)
def test_other_images_are_flagged_and_their_colors_damped(colorizer, name):
    gray = gray_of_any(getattr(skimage.data, name)())
    network = colorizer.network
    classifier = network.photograph_classifier

    result = colorizer(gray)
    network.photograph_classifier = None
    try:
        vivid = colorizer(gray)
    finally:
        network.photograph_classifier = classifier

    assert result.is_unlike_photographs and not vivid.is_unlike_photographs
    assert any("unlike the photographs" in note for note in result.record["notes"])
    assert result.chroma.mean() < 0.75 * vivid.chroma.mean()


def test_few_held_out_photographs_are_flagged(colorizer, shared):
    truths = list(read_images(Path(shared) / "data" / "heldout-dev.tar"))[::4]

    flagged = [colorizer(to_gray(truth)).is_unlike_photographs for truth in truths]

    assert len(flagged) == 50 and np.mean(flagged) <= 0.05


@pytest.mark.parametrize("kind", ["histology", "xray-chest"])
def test_images_of_other_domains_are_flagged(colorizer, shared, kind):
    with tarfile.open(Path(shared) / "data" / "domains" / f"{kind}.tar") as shard:
        files = [shard.extractfile(member).read() for member in shard if member.isfile()][:20]
    images = [np.asarray(Image.open(io.BytesIO(file))) for file in files]

    flagged = [colorizer(gray_of_any(image)).is_unlike_photographs for image in images]

    assert len(flagged) == 20 and np.mean(flagged) >= 0.9


def test_it_beats_gray_on_validation_photographs(colorizer, shared):
    from itertools import islice

    truths = list(islice(read_images(Path(shared) / "data" / "heldout-dev.tar"), 0, None, 10))

    score = quick_score(colorizer, truths)

    assert score.images == 20
    assert score.psnr > score.psnr_gray
    assert score.ciede2000 < score.ciede2000_gray
    assert 0.6 < score.colorfulness < 1.05  # 0.67; 0.77 on all 200 photographs


def test_its_colors_have_fewer_patches_than_the_truth_has_texture(colorizer, shared):
    from itertools import islice

    truths = list(islice(read_images(Path(shared) / "data" / "heldout-dev.tar"), 0, None, 20))

    areas = [smooth_area(truth) for truth in truths]
    true = np.nanmean([patchiness(*pair) for pair in zip(truths, areas, strict=True)])
    results = (colorizer(to_gray(truth)).rgb for truth in truths)
    found = np.nanmean([patchiness(*pair) for pair in zip(results, areas, strict=True)])

    assert found < 0.7 * true  # 1.36 in the first generation, of all 200 photographs


def test_its_expected_error_matches_the_measured_error(colorizer, shared):
    from itertools import islice

    truths = islice(read_images(Path(shared) / "data" / "heldout-dev.tar"), 0, None, 20)

    expected, measured = zip(*map(partial(errors_of, colorizer), truths), strict=True)

    assert source_of(colorizer) == CALIBRATED
    assert np.mean(expected) == pytest.approx(np.mean(measured), rel=0.25)
    assert np.ptp(expected) > 1  # differs between images


def errors_of(colorizer: Colorizer, truth: np.ndarray) -> tuple[float, float]:
    result = colorizer(to_gray(truth))
    return float(expected_error(colorizer, result).mean()), ciede2000(truth, result.pixels)
