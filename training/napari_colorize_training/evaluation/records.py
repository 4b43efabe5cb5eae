"""What an evaluation asks (`Exam`) and what it found (`Evaluation`): plain records, no work.

An `Evaluation` has a `Column` for gray and for each model, and a column has figures of every
picture, in the order of the pictures.
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
        A name in `degrade.PLANS`. Models see a worn gray; their colours are measured on the clean
        one, so that the figures are about colours and comparable.
    validation : bool
        Only the pictures that training holds back.
    limit : int, optional
        Stop after so many pictures.
    group : str, optional
        What groups pictures, as for training (`split.grouping`): figures are also given for each
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
            raise SettingsError(f"The limit must be at least 1 picture, got {self.limit}.")

    @property
    def settings(self) -> dict[str, Any]:
        """What a Colorizer is called with."""
        given = {"render_factor": self.render_factor, "saturation": self.saturation}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class NoReferenceFigures:
    """What can be said of a picture without another: its colourfulness and uncoloured share."""

    colorfulness: float
    colorfulness_abs: float
    uncolored: float


@dataclass(frozen=True)
class ImageFigures(NoReferenceFigures):
    """Of one picture as one model has it, against the truth; NaN where it cannot be told."""

    psnr: float
    ssim: float
    ciede2000: float
    lpips: float


@dataclass(frozen=True)
class CurvePoint:
    """Means over pictures at one saturation; colourfulness as a share of the truth's."""

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
    pictures : tuple of PictureFigures
        In the order of `Evaluation.pictures`.
    better : float
        Share of pictures nearer to the truth in CIEDE2000 than gray is.
    frechet, frechet_whole, frechet_quadrants, fid : float, optional
        Distances to the set of truths; the backbone's own of five vectors a picture, of the whole
        pictures alone, and of the quadrants alone.
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
    pictures: tuple[ImageFigures, ...]
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
        """Mean of a field of `PictureFigures` over the pictures (`among` these) that have it."""
        chosen = self.pictures if among is None else [self.pictures[index] for index in among]
        return mean_of(getattr(figures, figure) for figures in chosen)


@dataclass(frozen=True, eq=False)
class Example:
    """One picture for the sheets, shrunk: gray, as each model has it, and the truth.

    `errors` are the CIEDE2000 of gray and of each model.
    """

    name: str
    gray: Pixels
    predicted: tuple[Pixels, ...]
    truth: Pixels
    errors: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """PictureFigures of several models on the same pictures.

    Parameters
    ----------
    data : str
        Where the pictures came from.
    exam : Exam
        What was asked.
    pictures, groups : tuple of str
        Name and group of every picture measured.
    skipped : int
        Pictures left out: damaged, or without colours.
    truth : tuple of Look
        Of the true pictures.
    truth_cdc, truth_warping_error : float, optional
        Of the true film.
    gray : Column
        The model that does nothing.
    models : tuple of Column
        The others.
    samples : tuple of Example
        The first pictures.
    best, worst : dict
        Examples by model: where it wins most over gray in CIEDE2000, and least.
    """

    data: str
    config: EvaluationConfig
    pictures: tuple[str, ...]
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
        """Mean of one figure of `Look` over the true pictures."""
        chosen = self.truth if among is None else [self.truth[index] for index in among]
        return mean_of(getattr(look, figure) for look in chosen)

    def members(self) -> dict[str, list[int]]:
        """Places of the pictures of each group, by its name."""
        places: dict[str, list[int]] = {}
        for place, group in enumerate(self.groups):
            places.setdefault(group, []).append(place)
        return dict(sorted(places.items()))


def mean_of(values: Iterable[float]) -> float:
    """Over those that are numbers; NaN if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.mean(numbers)) if numbers else math.nan
