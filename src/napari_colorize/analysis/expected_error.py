"""Expected color error of a prediction, pixel by pixel, in CIEDE2000.

A network with color classes predicts the probability of each class, and so the error that is to be
expected of the displayed color: `sum_c p(c) CIEDE2000(displayed, c)`. This value is biased; a
network with a calibration, measured on photographs of the validation split, corrects the bias. For
a network without color classes the difference between the predictions for the image and for its
mirror image is used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_colorize.array_types import Float32Array
from napari_colorize.errors import SettingsError
from napari_colorize.imaging.resample import resize, resize_map
from napari_colorize.pipeline import compose, network_input, to_rgb
from napari_colorize.predictor import Predictor
from napari_colorize.result import Colorized

TOP_CLASSES = 32  # most probable classes per pixel; the probability of all others is negligible
# Mean CIEDE2000 to the ground truth as a function of the difference between an image and its mirror
# image: measured with the embedded model on 40 validation photographs, similar for other models.
MIRROR_DIFFERENCE = (0.06, 0.41, 1.09, 2.26, 4.76, 9.64, 19.5)
MIRROR_ERROR = (6.8, 9.6, 11.5, 13.0, 14.5, 16.7, 19.3)

BY_CLASSES = "error expected from the color classes"
CALIBRATED = "error expected from the color classes, calibrated"
BY_MIRROR = "difference to the colors of the mirror image"


def source_of(model: Predictor) -> str:
    """Description of the method that `expected_error` uses for a model."""
    if not hasattr(model.network, "logits"):
        return BY_MIRROR
    return BY_CLASSES if _calibration(model) is None else CALIBRATED


def expected_error(model: Predictor, result: Colorized) -> Float32Array:
    """Estimate the error of each color in a result of the model; the network runs once more.

    The error is CIEDE2000, float32 (h, w): a difference of 1 is just visible, above 10 the color is
    a guess. The size is that of the color classes or of the image; `imaging.resample.resize_map`
    changes it.

    Raises
    ------
    SettingsError
        If the result was made with a fidelity, which keeps no chroma.
    """
    if result.chroma is None:
        raise SettingsError(
            f'An image made with fidelity="{result.settings.fidelity}" keeps no chroma, so its '
            "error cannot be estimated: colorize without a fidelity."
        )
    if not hasattr(model.network, "logits"):
        return _mirror_difference(model, result)
    errors = uncalibrated_error(model, result)
    calibration = _calibration(model)
    return errors if calibration is None else _interpolate(errors, *calibration)


def full_size_error(model: Predictor, result: Colorized) -> Float32Array:
    """`expected_error` at the size of the image, float32 `(Y, X)`."""
    height, width = result.plane.gray.shape
    errors = torch.from_numpy(expected_error(model, result))
    full: Float32Array = resize_map(errors, (height, width)).numpy()
    return full


def comparable_error(model: Predictor, result: Colorized) -> Float32Array:
    """`expected_error` on one scale for all networks, so that two models can be blended by it.

    The difference between an image and its mirror image is much smaller than the error. It is
    converted to the error that was measured for it.
    """
    errors = expected_error(model, result)
    if hasattr(model.network, "logits"):
        return errors
    return _interpolate(errors, np.array(MIRROR_DIFFERENCE), np.array(MIRROR_ERROR))


@torch.inference_mode()
def uncalibrated_error(model: Predictor, result: Colorized) -> Float32Array:
    """Mean CIEDE2000 distance of the most probable classes from the displayed color.

    Each class counts by its probability. `model` has color classes, `result` has chroma. The map is
    float32 (h, w), at the size of the classes.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    chroma, saturation = result.chroma, result.settings.saturation
    assert chroma is not None
    assert saturation is not None
    network: Any = model.network
    size = model.network_size(result.plane, chroma.render_factor)
    gray = resize(result.plane.gray[None, None], size).nan_to_num()
    gray, uv = gray.to(model.device), chroma.uv.to(model.device)
    x = network_input(model.architecture, gray)
    logits = network.logits(x, self_attention=chroma.self_attention).float()
    probabilities, classes = logits.softmax(1).topk(min(TOP_CLASSES, logits.shape[1]), dim=1)
    centers = network.centers.float()[classes[0]].movedim(-1, 1)  # (classes, 2, h, w)
    small_gray = resize(gray, (logits.shape[-2], logits.shape[-1]))
    rgb = [
        to_rgb(model.architecture, colors, small_gray.expand(len(colors), -1, -1, -1))
        for colors in (_displayed_color(model, logits, uv) * saturation, centers)
    ]
    lab = rgb2lab(torch.cat(rgb).clamp(0, 1).movedim(1, -1).cpu().numpy())
    distances = deltaE_ciede2000(lab[:1], lab[1:])
    weights = (probabilities[0] / probabilities[0].sum(0)).cpu().numpy()
    errors: Float32Array = (weights * distances).sum(0).astype(np.float32)
    return errors


def _calibration(model: Predictor) -> tuple[Float32Array, Float32Array] | None:
    """Expected and measured errors of the network's calibration, both `(K,)`, ascending."""
    found = getattr(model.network, "calibration", None)
    if found is None:
        return None
    expected, measured = found.float().cpu().numpy()
    return expected, measured


def _interpolate(values: Float32Array, x: Any, y: Any) -> Float32Array:
    interpolated: Float32Array = np.interp(values, x, y).astype(np.float32)
    return interpolated


def _displayed_color(model: Predictor, logits: Tensor, uv: Tensor) -> Tensor:
    """Predicted colors at the size of the classes, in the color space of the classes."""
    if model.architecture.output_space == "uv":
        return resize(uv.movedim(-1, 0)[None], (logits.shape[-2], logits.shape[-1]))
    network: Any = model.network
    expected: Tensor = network.expected(logits).float()
    return expected


def _mirror_difference(model: Predictor, result: Colorized) -> Float32Array:
    """CIEDE2000 between the predictions for the image and for its mirror image, `(Y, X)`."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    chroma, saturation = result.chroma, result.settings.saturation
    assert chroma is not None
    assert saturation is not None
    settings = replace(
        result.settings,
        render_factor=chroma.render_factor,
        self_attention=chroma.self_attention,
    )
    unit = replace(result.plane, dtype=np.dtype(np.float32), limits=(0, 1), alpha=None)
    mirrored = model.predict_chroma(replace(unit, gray=unit.gray.flip(1)), settings)
    lab, mirrored_lab = (
        rgb2lab(compose(unit, uv, saturation)) for uv in (chroma.uv, mirrored.uv.flip(1))
    )
    difference: Float32Array = deltaE_ciede2000(lab, mirrored_lab).astype(np.float32)
    return difference
