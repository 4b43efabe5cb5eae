"""Evaluation of several models on color images, at full size and in comparison with gray.

All images are 8-bit RGB. Metrics are in `metrics` and `frechet`, the configuration and the results
in `records`, accumulated values in `totals`, tables and files in `report` and `html_report`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000

from napari_colorize.analysis.expected_error import expected_error, source_of
from napari_colorize.array_types import AnyArray, Float64Array, UInt8Array
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ColorizeWarning, ImageError
from napari_colorize.imaging.resample import resize
from napari_colorize.result import Colorized
from napari_colorize_training.data.checks import NAMED, Problem, summary
from napari_colorize_training.evaluation.accumulators import (
    ColumnTotals,
    ExampleBuffer,
    FeatureMoments,
    FeatureNetworks,
    VideoMetrics,
    reduced_for_motion,
    thumbnail,
)
from napari_colorize_training.evaluation.ground_truth import GroundTruthImage, find_ground_truth
from napari_colorize_training.evaluation.metrics import (
    OpticalFlow,
    calibrate,
    colorfulness,
    colorfulness_abs,
    motion_between,
    patchiness,
    psnr,
    smooth_area,
    ssim,
    to_gray,
    to_lab,
    uncolored_share,
)
from napari_colorize_training.evaluation.quick_score import as_rgb, make_degrade, on_clean_gray
from napari_colorize_training.evaluation.records import (
    Column,
    CurvePoint,
    Evaluation,
    EvaluationConfig,
    Example,
    ImageFigures,
    NoReferenceFigures,
    nan_mean,
)
from napari_colorize_training.models.export import recorded_validation

CALIBRATION_GRID = 32  # areas along a side in which expected and measured errors are compared
SAMPLES = 6  # images on the sheet of samples


def evaluate(
    models: Mapping[str, Colorizer],
    data: Any,
    config: EvaluationConfig | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure models on the same images; each image is read once.

    Parameters
    ----------
    models : mapping of str to Colorizer
        Models by their names in the report.
    data : path, sequence, mapping or array
        Color images, with or without gray images; see `sources.read_source`.
    config : EvaluationConfig, optional
        Settings and metrics.
    progress : callable, optional
        Called after each image with the number of images done and in total.

    Raises
    ------
    FileNotFoundError
        If there are no images.
    ImageError
        If no image has colors, or frames of a video differ in size.
    CheckpointError
        If the file of a feature network cannot be read.
    """
    config = config or EvaluationConfig()
    validation, split = validation_images(models) if config.validation else (False, "")
    truths = find_ground_truth(
        data,
        validation=validation,
        group=config.group,
        frames=config.stack,
        limit=config.limit,
    )
    if not truths.items:
        raise ImageError(
            f"{truths.title} has none of the {split}. Give the unchanged images of the training, "
            "or leave out --validation."
        )
    evaluator = _Evaluator(models, config)
    evaluator.left_out += truths.problems
    with warnings.catch_warnings():
        # Warnings of a model concern its figures, and would be repeated for each image.
        warnings.simplefilter("ignore", ColorizeWarning)
        for done, truth in enumerate(truths, 1):
            evaluator.add(truth)
            if progress is not None:
                progress(done, len(truths))
    return evaluator.finish(Path(truths.title).name, split)


def validation_images(models: Mapping[str, Colorizer]) -> tuple[bool | frozenset[str], str]:
    """Return the images that the trainings of all models held back, and what they are in words.

    Without any record it is the default split (True).
    """
    records: dict[str, frozenset[str]] = {}
    for name, colorizer in models.items():
        file = Path(colorizer.checkpoint.file)  # relative: of the catalogue, without a record
        if file.is_absolute() and (record := recorded_validation(file)):
            records[name] = record
    known = list(records)
    unknown = ", ".join(name for name in models if name not in known)
    has = "have" if len(models) - len(known) > 1 else "has"
    note = f"{unknown} {has} no record of validation images, so these may be training images"
    if not known:
        return True, f"default validation split ({note})"
    common = frozenset.intersection(*records.values())
    return common, f"validation images of {' and '.join(known)}{f' ({note})' if unknown else ''}"


class _Evaluator:
    """State of an evaluation while images are added."""

    def __init__(self, models: Mapping[str, Colorizer], config: EvaluationConfig) -> None:
        self.models, self.config = dict(models), config
        device = next((model.device for model in self.models.values()), torch.device("cpu"))
        self.networks = FeatureNetworks(config.backbone, config.fid, config.lpips, device)
        for colorizer in self.models.values():
            colorizer.resolve_settings(config.settings)  # raises before the first image
        self.degrade = make_degrade(config.degrade, config.seed)
        self.names: list[str] = []
        self.groups: list[str] = []
        self.truth: list[NoReferenceFigures] = []
        self.truth_moments = FeatureMoments(self.networks)
        self.truth_video = VideoMetrics()
        self.gray = ColumnTotals(self.networks)
        self.totals = {name: ColumnTotals(self.networks) for name in self.models}
        self.samples: list[Example] = []
        self.best = {name: ExampleBuffer() for name in self.models}
        self.worst = {name: ExampleBuffer() for name in self.models}
        self.left_out: list[Problem] = []
        self._gray_before: UInt8Array | None = None

    def add(self, truth: GroundTruthImage) -> None:
        """Measure all models on an image, or keep its problem."""
        rgb = truth.rgb
        if rgb is None:
            self.left_out += [truth.problem] if truth.problem else []
            return
        lab, gray = to_lab(rgb), to_gray(rgb) if truth.gray is None else truth.gray
        self.names.append(truth.name)
        self.groups.append(truth.group)
        smooth = smooth_area(rgb)
        self.truth.append(_no_reference_figures(rgb, lab, smooth))
        self.truth_moments.add(rgb)
        motion = self._motion_to(gray) if self.config.stack else None
        if self.config.stack:
            self.truth_video.add(rgb, motion)
        network_gray = self.degrade(rgb, gray)
        self._add_figures(self.gray, as_rgb(gray), rgb, lab, smooth, motion)
        results = {
            name: self._measure_model(name, gray, network_gray, rgb, lab, smooth, motion)
            for name in self.models
        }
        self._keep_examples(truth.name, network_gray, results, rgb)

    def finish(self, data: str, split: str) -> Evaluation:
        """Return the results of all images."""
        if not self.names:
            if self.left_out:
                raise ImageError(
                    f"{data} has no images to measure on{summary(self.left_out, named=NAMED)}. "
                    "Give images with true colors."
                )
            raise FileNotFoundError(f"{data} has no images to measure on.")
        video = self.truth_video.values() if self.config.stack else {}
        return Evaluation(
            data=data,
            split=split,
            config=self.config,
            images=tuple(self.names),
            groups=tuple(self.groups),
            left_out=tuple(self.left_out),
            truth=tuple(self.truth),
            gray=self._column("gray", self.gray),
            models=tuple(self._column(name, totals) for name, totals in self.totals.items()),
            truth_cdc=video.get("cdc"),
            truth_warping_error=video.get("warping_error"),
            samples=tuple(self.samples),
            best={name: buffer.examples() for name, buffer in self.best.items()},
            worst={name: buffer.examples() for name, buffer in self.worst.items()},
        )

    def _motion_to(self, gray: UInt8Array) -> OpticalFlow | None:
        before, now = self._gray_before, reduced_for_motion(gray)
        self._gray_before = now
        if before is None:
            return None
        if before.shape != now.shape:
            raise ImageError(
                f"{self.names[-1]} differs in size from the frame before. Leave out --stack for a "
                "folder of single images."
            )
        return motion_between(before, now)

    def _measure_model(
        self,
        name: str,
        gray: UInt8Array,
        network_gray: UInt8Array,
        truth: UInt8Array,
        lab: Float64Array,
        smooth: NDArray[np.bool_],
        motion: OpticalFlow | None,
    ) -> UInt8Array:
        colorizer, totals = self.models[name], self.totals[name]
        result = colorizer(network_gray, **self.config.settings)
        clean = result if network_gray is gray else on_clean_gray(result, gray)
        errors = self._add_figures(totals, clean.pixels, truth, lab, smooth, motion)
        totals.curve.append(
            tuple(_at_saturation(clean, value, truth, lab) for value in self.config.saturations)
        )
        if self.config.calibration:
            totals.expected.append(_area_means(expected_error(colorizer, result)))
            totals.measured.append(_area_means(errors))
        pixels: UInt8Array = clean.pixels
        return pixels

    def _add_figures(
        self,
        totals: ColumnTotals,
        rgb: UInt8Array,
        truth: UInt8Array,
        truth_lab: Float64Array,
        smooth: NDArray[np.bool_],
        motion: OpticalFlow | None,
    ) -> Float64Array:
        """Add the figures of an image to a column; returns CIEDE2000 of every pixel."""
        lab = to_lab(rgb)
        errors: Float64Array = deltaE_ciede2000(truth_lab, lab)
        figures = _no_reference_figures(rgb, lab, smooth)
        lpips = self.networks.lpips
        totals.figures.append(
            ImageFigures(
                colorfulness=figures.colorfulness,
                colorfulness_abs=figures.colorfulness_abs,
                uncolored=figures.uncolored,
                patchiness=figures.patchiness,
                psnr=psnr(truth, rgb),
                ssim=ssim(truth, rgb),
                ciede2000=float(errors.mean()),
                lpips=lpips(truth, rgb) if lpips else math.nan,
            )
        )
        totals.moments.add(rgb)
        if self.config.stack:
            totals.video.add(rgb, motion)
        return errors

    def _keep_examples(
        self, name: str, gray: UInt8Array, results: Mapping[str, UInt8Array], truth: UInt8Array
    ) -> None:
        example = Example(
            name=name,
            gray=thumbnail(gray),
            predicted=tuple(thumbnail(rgb) for rgb in results.values()),
            truth=thumbnail(truth),
            errors=tuple(
                totals.figures[-1].ciede2000 for totals in (self.gray, *self.totals.values())
            ),
        )
        if len(self.samples) < SAMPLES:
            self.samples.append(example)
        for model, totals in self.totals.items():
            gain = self.gray.figures[-1].ciede2000 - totals.figures[-1].ciede2000
            self.best[model].offer(gain, example)
            self.worst[model].offer(-gain, example)

    def _column(self, name: str, totals: ColumnTotals) -> Column:
        gains = [
            gray.ciede2000 - own.ciede2000
            for gray, own in zip(self.gray.figures, totals.figures, strict=True)
        ]
        video = totals.video.values() if self.config.stack else {}
        return Column(
            name=name,
            images=tuple(totals.figures),
            better=float(np.mean(np.array(gains) > 0)),
            **totals.moments.distances(self.truth_moments),
            curve=self._curve(totals),
            calibration=(
                calibrate(np.array(totals.expected), np.array(totals.measured))
                if totals.expected
                else None
            ),
            uncertainty=source_of(self.models[name]) if totals.expected else "",
            cdc=video.get("cdc"),
            warping_error=video.get("warping_error"),
        )

    def _curve(self, totals: ColumnTotals) -> tuple[CurvePoint, ...]:
        if not totals.curve:
            return ()
        truth = nan_mean(figures.colorfulness for figures in self.truth)
        means = np.mean(totals.curve, axis=0)  # (saturations, 3)
        return tuple(
            CurvePoint(saturation, float(noise), float(error), float(colorful / truth))
            for saturation, (noise, error, colorful) in zip(
                self.config.saturations, means, strict=True
            )
        )


def _at_saturation(
    result: Colorized, saturation: float, truth: UInt8Array, truth_lab: Float64Array
) -> tuple[float, float, float]:
    """Return PSNR, CIEDE2000 and colorfulness at a saturation, without running the network."""
    rgb = result.with_(saturation=saturation).pixels
    error = float(deltaE_ciede2000(truth_lab, to_lab(rgb)).mean())
    return psnr(truth, rgb), error, colorfulness(rgb)


def _no_reference_figures(
    rgb: UInt8Array, lab: Float64Array, smooth: NDArray[np.bool_]
) -> NoReferenceFigures:
    return NoReferenceFigures(
        colorfulness(rgb), colorfulness_abs(rgb), uncolored_share(lab), patchiness(rgb, smooth)
    )


def _area_means(errors: AnyArray) -> Float64Array:
    """Return the means of errors `(Y, X)` in areas, `(CALIBRATION_GRID, CALIBRATION_GRID)`."""
    plane = torch.from_numpy(np.ascontiguousarray(errors))[None, None]
    size = (CALIBRATION_GRID, CALIBRATION_GRID)
    means: Float64Array = resize(plane.double(), size)[0, 0].numpy()
    return means
