"""Calibration of a model's expected errors, and its classifier of photographs.

The curve from expected to measured errors on validation images is monotone (isotonic regression
over means of parts of equal size). It is stored in the model's file as `calibration`.

The classifier separates statistics of the encoder's features of photographs from those of images
drawn by code (`non_photographs`): Fisher's linear discriminant with shrinkage. It is stored as
`photograph_classifier`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from skimage.color import deltaE_ciede2000
from torch import Tensor

from napari_colorize.analysis.expected_error import uncalibrated_error
from napari_colorize.array_types import Float64Array, UInt8Array
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ColorizeWarning, ImageError, SettingsError
from napari_colorize.imaging.resample import resize
from napari_colorize_training.data.checks import NAMED, Problem, summary
from napari_colorize_training.evaluation.evaluate import validation_images
from napari_colorize_training.evaluation.ground_truth import GroundTruthSet, find_ground_truth
from napari_colorize_training.evaluation.metrics import to_gray, to_lab
from napari_colorize_training.evaluation.non_photographs import non_photograph
from napari_colorize_training.models.export import add_tensors

POINTS = 24  # of the curve
MIN_IMAGES = 20  # with fewer, the curve is that of a few scenes
MAX_ERROR = 200.0  # CIEDE2000, larger than any color difference
MIN_PHOTOGRAPHS = 200  # for the classifier; with fewer it is left as it is
PHOTOGRAPHS = 3000  # largest number for the classifier, and number of other images
SHRINKAGE = 0.1  # of the covariance, towards a multiple of the identity
FLAGGED = 0.035  # share of unseen photographs that the classifier takes for something else


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Result of a calibration, which is also in the model's file."""

    curve: Float64Array  # shape (2, POINTS): uncalibrated and measured CIEDE2000
    images: int  # number of images on which it was measured
    split: str  # which images of the source they are; "" for all
    left_out: tuple[Problem, ...]  # problems of other images
    written: tuple[str, ...]  # names of the tensors in the model's file


def calibrate_model(
    model: Path,
    data: Any,
    *,
    validation: bool = True,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Calibrated:
    """Fit a model's calibration curve and write it into its file, atomically.

    For a network of the architecture region also its classifier of photographs, on up to
    `PHOTOGRAPHS` images evenly spaced among all, if there are at least `MIN_PHOTOGRAPHS`.

    Parameters
    ----------
    model : Path
        Safetensors file of a network with color classes; it is rewritten with the curve.
    data : path, sequence, mapping or array
        Color images; see `sources.read_source`.
    validation : bool
        Use only the images that the model's training held back, according to its metadata; without
        this record the default split.
    limit : int, optional
        Largest number of images.
    progress : callable, optional
        Called after each image with the number of images done and in total.

    Returns
    -------
    Calibrated
        The curve, and the images.

    Raises
    ------
    SettingsError
        If the network has no color classes.
    FileNotFoundError
        If there are no images.
    ImageError
        If fewer than `MIN_IMAGES` images have colors.
    """
    model = model.resolve()  # a link stays a link
    colorizer = Colorizer.from_pretrained(model, precision="float32")
    if not hasattr(colorizer.network, "calibration"):
        raise SettingsError(
            f"{model} has no color classes to calibrate: only networks of the architectures "
            "compact and region have."
        )
    chosen, split = validation_images({model.name: colorizer}) if validation else (False, "")
    truths = find_ground_truth(data, validation=chosen, limit=limit)
    expected, measured = [], []
    left_out = list(truths.problems)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColorizeWarning)
        for done, truth in enumerate(truths, 1):
            if truth.rgb is not None:
                errors = expected_and_measured(colorizer, truth.rgb)
                expected.append(errors[0].ravel())
                measured.append(errors[1].ravel())
            elif truth.problem is not None:
                left_out.append(truth.problem)
            if progress is not None:
                progress(done, len(truths))
    if len(expected) < MIN_IMAGES:
        held_back, also = "", ""
        if validation:
            held_back = " for validation"
            also = ", or use --all if the model was not trained on these"
        raise ImageError(
            f"{model.name} was not calibrated: {truths.title} has {len(expected)} color images"
            f"{held_back}, but at least {MIN_IMAGES} are needed"
            f"{summary(left_out, named=NAMED)}. Give more images{also}."
        )
    curve = fit_curve(np.concatenate(expected), np.concatenate(measured))
    measured_buffers = {"calibration": torch.tensor(curve).half()}
    if hasattr(colorizer.network, "photograph_classifier"):
        photographs = some_photographs(data)
        if len(photographs) >= MIN_PHOTOGRAPHS:
            classifier = fit_photograph_classifier(colorizer, photographs)
            measured_buffers["photograph_classifier"] = torch.tensor(classifier).half()
    add_tensors(model, measured_buffers)
    return Calibrated(curve, len(expected), split, tuple(left_out), tuple(measured_buffers))


def some_photographs(data: Any) -> list[UInt8Array]:
    """Return the luminance `(Y, X)` of at most `PHOTOGRAPHS` images, from all parts of a source."""
    truths = find_ground_truth(data)
    chosen = np.linspace(0, len(truths) - 1, min(PHOTOGRAPHS, len(truths))).round().astype(int)
    items = [truths.items[number] for number in chosen]
    some = GroundTruthSet(truths.title, items, [""] * len(items))
    return [to_gray(truth.rgb) for truth in some if truth.rgb is not None]


def expected_and_measured(
    colorizer: Colorizer, rgb: UInt8Array, **settings: Any
) -> tuple[Float64Array, Float64Array]:
    """Return uncalibrated expected errors and measured errors, at the size of the class maps."""
    result = colorizer(to_gray(rgb), **settings)
    expected = uncalibrated_error(colorizer, result).astype(np.float64)
    errors = deltaE_ciede2000(to_lab(rgb), to_lab(result.pixels))
    small = resize(torch.from_numpy(errors)[None, None], (expected.shape[0], expected.shape[1]))
    return expected, small[0, 0].numpy()


def fit_curve(expected: Float64Array, measured: Float64Array, points: int = POINTS) -> Float64Array:
    """Fit the curve `(2, points)` from uncalibrated to measured errors."""
    order = np.argsort(expected, kind="stable")
    inner = points - 2
    x = np.array([part.mean() for part in np.array_split(expected[order], inner)])
    y = np.array([part.mean() for part in np.array_split(measured[order], inner)])
    y = isotonic_regression(y).x
    return np.array([[0.0, *x, MAX_ERROR], [y[0], *y, y[-1]]])


def fit_photograph_classifier(
    colorizer: Colorizer, photographs: Sequence[UInt8Array], seed: int = 0
) -> Float64Array:
    """Fit the classifier of a network of the architecture region.

    Parameters
    ----------
    colorizer : Colorizer
        The network whose encoder's features are classified.
    photographs : sequence of ndarray, shape (Y, X)
        Gray photographs, uint8. As many other images are drawn.
    seed : int
        Of the images that are drawn.

    Returns
    -------
    ndarray, shape (N + 1,)
        Weights of `RegionNet.statistics` and the bias. A share of `FLAGGED` of new photographs is
        above 0; the median of the other images is 1.
    """
    rng = np.random.default_rng(seed)
    drawn = (non_photograph(rng, photographs) for _ in photographs)
    ours = np.stack([statistics(colorizer, gray) for gray in photographs])
    others = np.stack([statistics(colorizer, gray) for gray in drawn])
    return discriminant(ours, others)


def statistics(colorizer: Colorizer, gray: UInt8Array) -> Float64Array:
    """`RegionNet.statistics` of a gray image `(Y, X)` at the recommended render factor."""
    network: Any = colorizer.network
    plane = colorizer.to_plane(gray, colorizer.resolve_settings({}))
    size = colorizer.network_size(plane, colorizer.checkpoint.render_factor)
    with torch.inference_mode():
        found: Tensor = network.statistics(network.encode(resize(plane.gray[None, None], size)))
    return found[0].double().cpu().numpy()


def discriminant(photographs: Float64Array, others: Float64Array) -> Float64Array:
    """Fisher's linear discriminant of two sets `(n, N)`; the last fifths set bias and scale."""
    (ours, unseen), (theirs, drawn) = (
        np.split(part, [len(part) * 4 // 5]) for part in (photographs, others)
    )
    covariance = (np.cov(ours.T) + np.cov(theirs.T)) / 2
    covariance += SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    weights = np.linalg.solve(covariance, theirs.mean(0) - ours.mean(0))
    limit = np.quantile(unseen @ weights, 1 - FLAGGED)
    scale = np.median(drawn @ weights) - limit
    return np.append(weights, -limit) / scale
