"""Correct what a model says of its own errors by what they are, on photographs not trained on.

The curve from told to measured errors is a monotone one (isotonic regression over the means of
parts of equal size), and travels in the model's file as `calibration`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from skimage.color import deltaE_ciede2000

from napari_colorize.analysis.expected_error import uncalibrated_error
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ColorizeWarning, SettingsError
from napari_colorize.imaging.resample import resize
from napari_colorize.zoo.weights import read_weights, write_weights
from napari_colorize_training.evaluation.ground_truth import find_ground_truth
from napari_colorize_training.evaluation.metrics import to_gray, to_lab

Floats = NDArray[np.float64]

POINTS = 24  # of the curve
ENDLESS = 200.0  # CIEDE2000 beyond any two colours


def calibrate_model(
    model: Path,
    data: Any,
    *,
    validation: bool = True,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """Measure a model's curve and write it into its file, atomically.

    Parameters
    ----------
    model : Path
        A safetensors file of a network with colour classes; rewritten with the curve.
    data : path, sequence, mapping or array
        Photographs in colour; see `sources.read_source`.
    validation : bool
        Only those that training on this data holds back.
    limit : int, optional
        No more than so many.
    progress : callable, optional
        Told after each picture how many are done, and of how many.

    Returns
    -------
    ndarray, shape (2, POINTS)
        Told and measured CIEDE2000.

    Raises
    ------
    SettingsError
        If the network tells no colour classes.
    FileNotFoundError
        If there are no pictures in colour.
    """
    colorizer = Colorizer.from_pretrained(model, precision="float32")
    if not hasattr(colorizer.network, "calibration"):
        raise SettingsError(
            f"{model} has no colour classes that could be calibrated: only networks of the "
            "architecture compact do."
        )
    truths = find_ground_truth(data, validation=validation, limit=limit)
    told, measured = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColorizeWarning)
        for done, truth in enumerate(truths, 1):
            if truth.rgb is not None:
                both = expected_and_measured(colorizer, truth.rgb)
                told.append(both[0].ravel())
                measured.append(both[1].ravel())
            if progress is not None:
                progress(done, len(truths))
    if not told:
        raise FileNotFoundError(f"{data} holds no pictures in colour to calibrate on.")
    curve = curve_of(np.concatenate(told), np.concatenate(measured))
    weights = read_weights(model)
    state = dict(weights.state) | {"calibration": torch.tensor(curve).half()}
    write_weights(model, state, weights.metadata)
    return curve


def expected_and_measured(
    colorizer: Colorizer, rgb: NDArray[np.uint8], **settings: Any
) -> tuple[Floats, Floats]:
    """What a model tells of its errors, and what they are, at the size of its classes."""
    result = colorizer(to_gray(rgb), **settings)
    told = uncalibrated_error(colorizer, result).astype(np.float64)
    errors = deltaE_ciede2000(to_lab(rgb), to_lab(result.pixels))
    small = resize(torch.from_numpy(errors)[None, None], (told.shape[0], told.shape[1]))
    return told, small[0, 0].numpy()


def curve_of(told: Floats, measured: Floats, points: int = POINTS) -> Floats:
    """The curve `(2, points)` that makes of told errors the ones to expect."""
    order = np.argsort(told, kind="stable")
    inner = points - 2
    x = np.array([part.mean() for part in np.array_split(told[order], inner)])
    y = np.array([part.mean() for part in np.array_split(measured[order], inner)])
    y = isotonic_regression(y).x
    return np.array([[0.0, *x, ENDLESS], [y[0], *y, y[-1]]])
