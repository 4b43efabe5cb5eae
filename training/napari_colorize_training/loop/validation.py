"""Validation figures of a network, and a preview sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from napari_colorize.array_types import Float32Array, UInt8Array
from napari_colorize.imaging.color import rgb_to_yuv, to_uint8, yuv_to_rgb
from napari_colorize.imaging.resample import area_mean
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize_training.data.batch import TrainingBatch
from napari_colorize_training.evaluation.frechet import Moments, frechet_distance
from napari_colorize_training.loop.content_loss import GeneratorWrapper

PREVIEW_IMAGES = 6
STATISTICS_GRID = 4  # cells per side in which color statistics are measured
COLOR_WEIGHT = 0.1  # weight of deviating colorfulness in `ValidationFigures.measure`


@dataclass(frozen=True)
class ValidationFigures:
    """Errors of predicted colors, and those of gray for comparison."""

    # Root mean square error of U and V
    uv: float
    uv_gray: float
    # Mean color difference
    ciede2000: float
    ciede2000_gray: float
    colorfulness: float  # mean chroma as a share of the truth's
    # Frechet distance of local color statistics to the truth's, as a share of gray's: 0 for the
    # distribution of the true colors, 1 for gray. It stands in for FID, which needs a network and
    # thousands of images.
    frechet: float = math.nan

    @property
    def measure(self) -> float:
        """Criterion for the best checkpoint; lower is better, gray has more than 1.

        CIEDE2000 as a share of gray's, plus 0.1 times the logarithmic deviation of colorfulness:
        the error alone would select the grayest checkpoint.
        """
        deviation = abs(math.log(max(self.colorfulness, 1e-3)))
        return self.ciede2000 / self.ciede2000_gray + COLOR_WEIGHT * deviation

    def as_row(self) -> dict[str, float]:
        """Return the figures by their names in the log."""
        return {
            "validation_uv": self.uv,
            "validation_uv_gray": self.uv_gray,
            "validation_ciede2000": self.ciede2000,
            "validation_ciede2000_gray": self.ciede2000_gray,
            "validation_colorfulness": self.colorfulness,
            "validation_measure": self.measure,
            "validation_frechet": self.frechet,
        }


@torch.no_grad()
def predict(
    generator: GeneratorWrapper, gray: Tensor, network_gray: Tensor | None = None
) -> Tensor:
    """Colorize gray `(N, 1, H, W)`; returns RGB `(N, 3, H, W)` in [0, 1].

    `network_gray` is the network's input, if it differs from the luminance of the result.
    """
    network_gray = gray if network_gray is None else network_gray
    small = generator.rgb(generator(network_gray), network_gray).clamp(0, 1)
    uv = rgb_to_yuv(small.movedim(1, -1))[..., 1:].movedim(-1, 1)
    uv = F.interpolate(uv, gray.shape[-2:], mode="bilinear")
    return yuv_to_rgb(torch.cat([gray, uv], 1).movedim(1, -1)).movedim(-1, 1).clamp(0, 1)


@torch.no_grad()
def measure(generator: GeneratorWrapper, batches: Sequence[TrainingBatch]) -> ValidationFigures:
    """Return mean figures over batches; predicted colors are combined with clean gray."""
    rows, statistics = [], [Moments() for _ in range(3)]
    for data in batches:
        images = data.rgb, predict(generator, data.clean, data.gray), data.clean.expand_as(data.rgb)
        rows += [_row(*map(_channels_last, parts)) for parts in zip(*images, strict=True)]
        for moments, rgb in zip(statistics, images, strict=True):
            moments.add(_color_statistics(rgb))
    truth, predicted, gray = statistics
    uv, uv_gray, error, error_gray, chroma, chroma_gray = np.array(rows).mean(0).tolist()
    return ValidationFigures(
        uv=math.sqrt(uv),
        uv_gray=math.sqrt(uv_gray),
        ciede2000=error,
        ciede2000_gray=error_gray,
        colorfulness=chroma / max(chroma_gray, 1e-6),
        frechet=frechet_distance(predicted, truth) / max(frechet_distance(gray, truth), 1e-12),
    )


def _color_statistics(rgb: Tensor) -> Float32Array:
    """Means and standard deviations of U and V in the cells of a grid, `(N * cells, 4)`."""
    uv = rgb_to_yuv(rgb.float().cpu().movedim(1, -1))[..., 1:].movedim(-1, 1)
    mean = area_mean(uv, (STATISTICS_GRID, STATISTICS_GRID))
    square = area_mean(uv.square(), (STATISTICS_GRID, STATISTICS_GRID))
    spread = (square - mean.square()).clamp_min(0).sqrt()
    vectors: Float32Array = torch.cat([mean, spread], 1).movedim(1, -1).flatten(0, 2).numpy()
    return vectors


def _row(truth: Float32Array, predicted: Float32Array, gray: Float32Array) -> tuple[float, ...]:
    uv, uv_predicted = (_uv(part) for part in (truth, predicted))
    lab, lab_predicted, lab_gray = (rgb2lab(part) for part in (truth, predicted, gray))
    return (
        float(np.square(uv - uv_predicted).mean()),
        float(np.square(uv).mean()),
        float(deltaE_ciede2000(lab, lab_predicted).mean()),
        float(deltaE_ciede2000(lab, lab_gray).mean()),
        float(np.hypot(lab_predicted[..., 1], lab_predicted[..., 2]).mean()),
        float(np.hypot(lab[..., 1], lab[..., 2]).mean()),
    )


def _uv(rgb: Float32Array) -> Float32Array:
    uv: Float32Array = rgb_to_yuv(torch.from_numpy(rgb))[..., 1:].numpy()
    return uv


def _channels_last(x: Tensor) -> Float32Array:
    array: Float32Array = x.movedim(0, -1).float().cpu().contiguous().numpy()
    return array


def save_preview(path: Path, generator: GeneratorWrapper, data: TrainingBatch) -> None:
    """Write a sheet of input, prediction and truth, atomically."""
    from napari_colorize_training.evaluation.sheets import preview_sheet

    predicted = predict(generator, data.clean[:PREVIEW_IMAGES], data.gray[:PREVIEW_IMAGES])
    rows = [
        (_pixels(gray)[..., 0], _pixels(prediction), _pixels(truth))
        for gray, prediction, truth in zip(data.gray, predicted, data.rgb, strict=False)
    ]
    with new_file(path, overwrite=True) as part, write_errors(path):
        preview_sheet(rows).save(part, format="PNG")


def _pixels(x: Tensor) -> UInt8Array:
    return to_uint8(_channels_last(x))
