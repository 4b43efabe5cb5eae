"""What an evaluation asks (`Exam`) and what it found (`Evaluation`): plain records, no work.

An `Evaluation` has a `Column` for gray and for each model, and a column has figures of every
image, in the order of the images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.errors import SettingsError
from napari_colorize_training.evaluation.metrics import CalibrationCurve

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What to measure, and on what.

    Parameters
    ----------
    render_factor, saturation : optional
        Of all models. Default: as each recommends.
    saturations : tuple of float
        Where the curve of figures over saturation is measured.
    degrade : str, optional
        A name in `degrade.PLANS`. Models see a worn gray; their colors are measured on the clean
        one, so that the figures are about colors and comparable.
    validation : bool
        Only the images that training holds back.
    limit : int, optional
        Stop after so many images.
    group : str, optional
        What groups images, as for training (`split.grouping`): figures are also given for each
        group, and none is divided by `validation`.
    stack : bool
        The data are the frames of a film, in order: temporal_smoothing is measured too.
    calibration : bool
        Ask every model how unsure it is; takes about as long as colorizing.
    backbone, lpips, fid : Path, optional
        Networks that measure, as local files; see `frechet`.
    seed : int
        Of the degradations.

    Raises
    ------
    SettingsError
        If a saturation or the limit is out of range.
    """

    render_factor: int | None = None
    saturation: float | None = None
    saturations: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    degrade: str | None = None
    validation: bool = False
    limit: int | None = None
    group: str | None = None
    stack: bool = False
    calibration: bool = True
    backbone: Path | None = None
    lpips: Path | None = None
    fid: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if any(not 0 <= value <= 4 for value in self.saturations):
            raise SettingsError(f"Saturations lie between 0 and 4, got {self.saturations}.")
        if self.limit is not None and self.limit < 1:
            raise SettingsError(f"The limit must be at least 1 image, got {self.limit}.")

    @property
    def settings(self) -> dict[str, Any]:
        """What a Colorizer is called with."""
        given = {"render_factor": self.render_factor, "saturation": self.saturation}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class NoReferenceFigures:
    """What can be said of an image without another: its colorfulness and uncolored share."""

    colorfulness: float
    colorfulness_abs: float
    uncolored: float


@dataclass(frozen=True)
class ImageFigures(NoReferenceFigures):
    """Of one image as one model has it, against the truth; NaN where it cannot be told."""

    psnr: float
    ssim: float
    ciede2000: float
    lpips: float


@dataclass(frozen=True)
class CurvePoint:
    """Means over images at one saturation; colorfulness as a share of the truth's."""

    saturation: float
    psnr: float
    ciede2000: float
    colorfulness: float


@dataclass(frozen=True)
class Column:
    """All that was measured of one model, or of gray; None is what was not.

    Parameters
    ----------
    name : str
        Of the model.
    images : tuple of ImageFigures
        In the order of `Evaluation.images`.
    better : float
        Share of images nearer to the truth in CIEDE2000 than gray is.
    frechet, frechet_whole, frechet_quadrants, fid : float, optional
        Distances to the set of truths; the backbone's own of five vectors an image, of the whole
        images alone, and of the quadrants alone.
    curve : tuple of CurvePoint
        Over saturation.
    calibration : Calibration, optional
        Of the errors that it expects.
    uncertainty : str
        What those were taken from.
    cdc, warping_error : float, optional
        Of a film.
    """

    name: str
    images: tuple[ImageFigures, ...]
    better: float
    frechet: float | None = None
    frechet_whole: float | None = None
    frechet_quadrants: float | None = None
    fid: float | None = None
    curve: tuple[CurvePoint, ...] = ()
    calibration: CalibrationCurve | None = None
    uncertainty: str = ""
    cdc: float | None = None
    warping_error: float | None = None

    def mean(self, figure: str, among: Sequence[int] | None = None) -> float:
        """Mean of a field of `ImageFigures` over the images (`among` these) that have it."""
        chosen = self.images if among is None else [self.images[index] for index in among]
        return nan_mean(getattr(figures, figure) for figures in chosen)


@dataclass(frozen=True, eq=False)
class Example:
    """One image for the sheets, shrunk: gray, as each model has it, and the truth.

    `errors` are the CIEDE2000 of gray and of each model.
    """

    name: str
    gray: Pixels
    predicted: tuple[Pixels, ...]
    truth: Pixels
    errors: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """ImageFigures of several models on the same images.

    Parameters
    ----------
    data : str
        Where the images came from.
    exam : Exam
        What was asked.
    images, groups : tuple of str
        Name and group of every image measured.
    skipped : int
        Images left out: damaged, or without colors.
    truth : tuple of Look
        Of the true images.
    truth_cdc, truth_warping_error : float, optional
        Of the true film.
    gray : Column
        The model that does nothing.
    models : tuple of Column
        The others.
    samples : tuple of Example
        The first images.
    best, worst : dict
        Examples by model: where it wins most over gray in CIEDE2000, and least.
    """

    data: str
    config: EvaluationConfig
    images: tuple[str, ...]
    groups: tuple[str, ...]
    skipped: int
    truth: tuple[NoReferenceFigures, ...]
    gray: Column
    models: tuple[Column, ...]
    truth_cdc: float | None = None
    truth_warping_error: float | None = None
    samples: tuple[Example, ...] = field(default=(), repr=False)
    best: Mapping[str, tuple[Example, ...]] = field(default_factory=dict, repr=False)
    worst: Mapping[str, tuple[Example, ...]] = field(default_factory=dict, repr=False)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Gray first, then the models."""
        return (self.gray, *self.models)

    def truth_mean(self, figure: str, among: Sequence[int] | None = None) -> float:
        """Mean of one figure of `Look` over the true images."""
        chosen = self.truth if among is None else [self.truth[index] for index in among]
        return nan_mean(getattr(look, figure) for look in chosen)

    def group_members(self) -> dict[str, list[int]]:
        """Places of the images of each group, by its name."""
        places: dict[str, list[int]] = {}
        for place, group in enumerate(self.groups):
            places.setdefault(group, []).append(place)
        return dict(sorted(places.items()))


def nan_mean(values: Iterable[float]) -> float:
    """Over those that are numbers; NaN if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.mean(numbers)) if numbers else math.nan
