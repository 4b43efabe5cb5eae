"""Configuration and results of an evaluation: plain records.

An `Evaluation` has a `Column` for gray and for each model. A column has the figures of every image,
in the order of the images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_colorize.array_types import UInt8Array
from napari_colorize.errors import SettingsError
from napari_colorize_training.data.checks import Problem
from napari_colorize_training.evaluation.metrics import CalibrationCurve


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Settings, images and metrics of an evaluation.

    Raises
    ------
    SettingsError
        If a saturation or the limit is out of range.
    """

    # Settings of all models. Default: those that each model recommends.
    render_factor: int | None = None
    saturation: float | None = None
    # Saturations at which the curve of figures is measured, 0 to 4
    saturations: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    # A key of `degrade.PRESETS`. Models get degraded gray; their colors are combined with the clean
    # gray before they are measured, so that figures are comparable.
    degrade: str | None = None
    # Use only the images that the trainings of the models held back; see `validation_images`
    validation: bool = False
    limit: int | None = None  # largest number of images
    # Option for groups as in training (`split.grouping`): figures are also reported for each group
    group: str | None = None
    # The images are the frames of a video: temporal consistency is measured, too
    stack: bool = False
    # Measure the expected errors of every model, which takes about as long as colorizing
    calibration: bool = True
    # Files of the networks for feature metrics; see `frechet`
    backbone: Path | None = None
    lpips: Path | None = None
    fid: Path | None = None
    seed: int = 0  # seed of the degradation

    def __post_init__(self) -> None:
        if any(not 0 <= value <= 4 for value in self.saturations):
            raise SettingsError(f"Saturations must be between 0 and 4, got {self.saturations}.")
        if self.limit is not None and self.limit < 1:
            raise SettingsError(f"The limit must be at least 1 image, got {self.limit}.")

    @property
    def settings(self) -> dict[str, Any]:
        """Settings with which the models are called."""
        given = {"render_factor": self.render_factor, "saturation": self.saturation}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class NoReferenceFigures:
    """Figures that the truth has as well: colorfulness, uncolored share and patchiness.

    Patchiness is measured in the smooth areas of the truth, NaN if it has none.
    """

    colorfulness: float
    colorfulness_abs: float
    uncolored: float
    patchiness: float


@dataclass(frozen=True)
class ImageFigures(NoReferenceFigures):
    """Figures of a model's image compared with the truth; NaN if undefined."""

    psnr: float
    ssim: float
    ciede2000: float
    lpips: float


@dataclass(frozen=True)
class CurvePoint:
    """Mean figures at one saturation; colorfulness as a share of the truth's."""

    saturation: float
    psnr: float
    ciede2000: float
    colorfulness: float


@dataclass(frozen=True)
class Column:
    """Figures of one model, or of gray; None for what was not measured."""

    name: str  # name of the model
    images: tuple[ImageFigures, ...]  # in the order of `Evaluation.images`
    better: float  # share of images with a lower CIEDE2000 than gray
    # Frechet distances to the true images: with the backbone for whole images and quadrants
    # together, whole images, and quadrants; and with Inception
    frechet: float | None = None
    frechet_whole: float | None = None
    frechet_quadrants: float | None = None
    fid: float | None = None
    curve: tuple[CurvePoint, ...] = ()  # figures over saturation
    calibration: CalibrationCurve | None = None  # expected and measured errors
    uncertainty: str = ""  # source of the expected errors
    # Temporal consistency of a video
    cdc: float | None = None
    warping_error: float | None = None

    def mean(self, figure: str, indices: Sequence[int] | None = None) -> float:
        """Return the mean of a field of `ImageFigures` over the images (or those of `indices`)."""
        chosen = self.images if indices is None else [self.images[index] for index in indices]
        return nan_mean(getattr(figures, figure) for figures in chosen)


@dataclass(frozen=True, eq=False)
class Example:
    """Thumbnails of one image: gray, the result of each model, and the truth.

    `errors` are the CIEDE2000 of gray and of each model.
    """

    name: str
    gray: UInt8Array
    predicted: tuple[UInt8Array, ...]
    truth: UInt8Array
    errors: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of several models on the same images."""

    data: str  # name of the source
    split: str  # which of its images are measured; "" for all
    config: EvaluationConfig  # settings and metrics
    # Name and group of each measured image
    images: tuple[str, ...]
    groups: tuple[str, ...]
    left_out: tuple[Problem, ...]  # problems of images that are not measured
    truth: tuple[NoReferenceFigures, ...]  # figures of the true images
    gray: Column  # figures of gray
    models: tuple[Column, ...]  # figures of the models
    # Temporal consistency of the true video
    truth_cdc: float | None = None
    truth_warping_error: float | None = None
    samples: tuple[Example, ...] = field(default=(), repr=False)  # examples of the first images
    # Examples by model, with the largest and smallest improvement over gray in CIEDE2000
    best: Mapping[str, tuple[Example, ...]] = field(default_factory=dict, repr=False)
    worst: Mapping[str, tuple[Example, ...]] = field(default_factory=dict, repr=False)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Gray first, then the models."""
        return (self.gray, *self.models)

    def truth_mean(self, figure: str, indices: Sequence[int] | None = None) -> float:
        """Return the mean of a field of `NoReferenceFigures` over the true images."""
        chosen = self.truth if indices is None else [self.truth[index] for index in indices]
        return nan_mean(getattr(figures, figure) for figures in chosen)

    def group_members(self) -> dict[str, list[int]]:
        """Return the indices of the images of each group, by its name."""
        indices: dict[str, list[int]] = {}
        for index, group in enumerate(self.groups):
            indices.setdefault(group, []).append(index)
        return dict(sorted(indices.items()))


def nan_mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.mean(numbers)) if numbers else math.nan
