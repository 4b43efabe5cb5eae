"""How good is a model: measured on photographs whose true colours are known.

Everything is measured at full size on 8-bit RGB, against the rounded Rec. 601 gray as the model
that does nothing. `evaluate` compares several models in full, `quick_score` one in little time,
while it trains. Measures stand in `metrics` and `frechet`, what is asked and found
in `evaluation`, what is shown in `report`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.color import deltaE_ciede2000

from napari_colorize.analysis.expected_error import expected_error, source_of
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ColorizeWarning, ImageError, SettingsError
from napari_colorize.imaging.planes import to_plane
from napari_colorize.imaging.resample import resize
from napari_colorize.result import Colorized
from napari_colorize_training.evaluation.frechet import (
    Backbone,
    Moments,
    frechet_distance,
    inception_features,
    lpips_from,
)
from napari_colorize_training.evaluation.ground_truth import GroundTruthImage, find_ground_truth
from napari_colorize_training.evaluation.metrics import (
    ColorConsistency,
    OpticalFlow,
    calibrate,
    ciede2000,
    colorfulness,
    colorfulness_abs,
    motion_between,
    psnr,
    ssim,
    to_gray,
    to_lab,
    uncolored_share,
    warping_error,
)
from napari_colorize_training.evaluation.records import (
    Column,
    CurvePoint,
    Evaluation,
    EvaluationConfig,
    Example,
    ImageFigures,
    NoReferenceFigures,
    mean_of,
)

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Predict = Callable[[Pixels], Pixels]  # gray (Y, X) to RGB (Y, X, 3), both uint8

GRID = 32  # areas along a side in which expected and measured errors are compared
MOTION_SIDE = 256  # px, longer side of the frames in which motion is found
SAMPLES, CASES = 6, 4  # pictures in each sheet of a report
THUMBNAIL = 320  # px, longer side of what is kept for the sheets


@dataclass(frozen=True)
class Score:
    """Means over pictures, beside those of gray.

    Parameters
    ----------
    pictures : int
        How many.
    psnr, psnr_gray : float
        Peak signal-to-noise ratio of RGB, dB, per picture, then averaged.
    ciede2000, ciede2000_gray : float
        Mean colour difference over pixels, then pictures; 1 is just visible side by side.
    colorfulness : float
        Mean Hasler and Suesstrunk measure, as a share of the truth's.
    better : float
        Share of pictures nearer to the truth in CIEDE2000 than gray is.
    """

    pictures: int
    psnr: float
    psnr_gray: float
    ciede2000: float
    ciede2000_gray: float
    colorfulness: float
    better: float


def quick_score(
    colorizer: Colorizer | Predict,
    truths: Iterable[Pixels],
    *,
    grays: Iterable[Pixels | None] | None = None,
    degrade: str = "none",
    **settings: Any,
) -> Score:
    """Colorize the gray of each picture (uint8 `(Y, X, 3)`) and compare with its colours.

    Parameters
    ----------
    colorizer : Colorizer or callable
        A model, or anything that makes RGB `(Y, X, 3)` of gray `(Y, X)`, both uint8.
    truths : iterable of ndarray, uint8, shape (Y, X, 3)
        Pictures in colour.
    grays : iterable of ndarray or None, optional
        Their grays, uint8 `(Y, X)`, where these are not to be derived.
    degrade : str
        A name in `degrade.PLANS`: a Colorizer sees worn gray, its colours are measured on clean.
    **settings
        Of a Colorizer; see `ColorizeSettings`.
    """
    pairs = (
        ((truth, None) for truth in truths) if grays is None else zip(truths, grays, strict=True)
    )
    wear = _degrade(EvaluationConfig(degrade=degrade))
    rows = [
        _quick_row(colorizer, truth, to_gray(truth) if gray is None else gray, wear, settings)
        for truth, gray in pairs
    ]
    if not rows:
        raise ValueError("There are no pictures to measure on.")
    noise, noise_gray, error, error_gray, colorful, colorful_truth = np.array(rows).T
    return Score(
        pictures=len(rows),
        psnr=noise.mean(),
        psnr_gray=noise_gray.mean(),
        ciede2000=error.mean(),
        ciede2000_gray=error_gray.mean(),
        colorfulness=colorful.mean() / max(colorful_truth.mean(), 1e-9),
        better=(error < error_gray).mean(),
    )


def _quick_row(
    colorizer: Colorizer | Predict,
    truth: Pixels,
    gray: Pixels,
    wear: Callable[[Pixels, Pixels], Pixels],
    settings: dict[str, Any],
) -> tuple[float, ...]:
    answer = colorizer(wear(truth, gray), **settings)
    predicted = _on_clean(answer, gray).pixels if isinstance(answer, Colorized) else answer
    shown = as_rgb(gray)
    return (
        psnr(truth, predicted),
        psnr(truth, shown),
        ciede2000(truth, predicted),
        ciede2000(truth, shown),
        colorfulness(predicted),
        colorfulness(truth),
    )


def evaluate(
    models: Mapping[str, Colorizer],
    data: Any,
    exam: EvaluationConfig | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure models side by side; every picture is read once, and few are kept in memory.

    Parameters
    ----------
    models : mapping of str to Colorizer
        By the names that the report gives them.
    data : path, sequence, mapping or array
        Pictures in colour, perhaps with grays of their own; see `sources.read_source`.
    exam : Exam, optional
        What to measure.
    progress : callable, optional
        Told after each picture how many are done, and of how many.

    Raises
    ------
    FileNotFoundError
        If there are no pictures.
    ImageError
        If none has colours, or frames differ in size.
    CheckpointError
        If a network that measures cannot be read.
    """
    exam = exam or EvaluationConfig()
    truths = find_ground_truth(
        data,
        validation=exam.validation,
        group=exam.group,
        frames=exam.stack,
        limit=exam.limit,
    )
    bench = _Evaluator(models, exam)
    with warnings.catch_warnings():
        # What a model warns of is in its figures; here a warning would come once a picture.
        warnings.simplefilter("ignore", ColorizeWarning)
        for done, truth in enumerate(truths, 1):
            bench.measure(truth)
            if progress is not None:
                progress(done, len(truths))
    return bench.finish(Path(truths.title).name)


def as_rgb(gray: Pixels) -> Pixels:
    """Gray `(Y, X)` three times, `(Y, X, 3)`."""
    return np.repeat(gray[..., None], 3, axis=-1)


class _PerceptualMetrics:
    """The networks that measure, as far as their files are given; read before any picture is."""

    def __init__(self, exam: EvaluationConfig, device: torch.device) -> None:
        self.backbone = Backbone(exam.backbone, device) if exam.backbone else None
        self.inception = inception_features(exam.fid) if exam.fid else None
        self.lpips = lpips_from(exam.lpips) if exam.lpips else None


class _FrechetSets:
    """Features of one set of pictures, as the measuring networks see them."""

    def __init__(self, eyes: _PerceptualMetrics) -> None:
        self._eyes = eyes
        self.whole, self.quadrants, self.both, self.fid = (Moments() for _ in range(4))

    def add(self, rgb: Pixels) -> None:
        if self._eyes.backbone is not None:
            features = self._eyes.backbone(rgb)
            self.both.add(features)
            self.whole.add(features[:1])
            self.quadrants.add(features[1:])
        if self._eyes.inception is not None:
            self.fid.add(self._eyes.inception(rgb))

    def distances(self, truths: _FrechetSets) -> dict[str, float | None]:
        pairs = {
            "frechet": (self.both, truths.both),
            "frechet_whole": (self.whole, truths.whole),
            "frechet_quadrants": (self.quadrants, truths.quadrants),
            "fid": (self.fid, truths.fid),
        }
        return {
            name: frechet_distance(one, other) if one.count else None
            for name, (one, other) in pairs.items()
        }


class _VideoMetrics:
    """Steadiness of one column of frames."""

    def __init__(self) -> None:
        self._consistency = ColorConsistency()
        self._errors: list[float] = []
        self._before: Pixels | None = None

    def add(self, frame: Pixels, motion: OpticalFlow | None) -> None:
        """Take the next frame in, with the motion since the one before (None for the first)."""
        self._consistency.add(frame)
        small = _for_motion(frame)
        if self._before is not None and motion is not None:
            self._errors.append(warping_error(self._before, small, motion))
        self._before = small

    def values(self) -> dict[str, float]:
        return {"cdc": self._consistency.value(), "warping_error": mean_of(self._errors)}


class _ColumnTotals:
    """What gathers in a column, picture by picture."""

    def __init__(self, eyes: _PerceptualMetrics) -> None:
        self.figures: list[ImageFigures] = []
        self.sets = _FrechetSets(eyes)
        self.film = _VideoMetrics()
        self.curve: list[tuple[tuple[float, float, float], ...]] = []
        self.expected: list[Floats] = []
        self.measured: list[Floats] = []


class _ExampleBuffer:
    """The few pictures of a column with the highest scores."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, Example]] = []

    def offer(self, score: float, example: Example) -> None:
        self._kept.append((score, example))
        self._kept.sort(key=lambda case: -case[0])
        del self._kept[CASES:]

    def examples(self) -> tuple[Example, ...]:
        return tuple(example for _, example in self._kept)


class _Evaluator:
    """Everything that is under way while pictures come in."""

    def __init__(self, models: Mapping[str, Colorizer], exam: EvaluationConfig) -> None:
        self.models, self.exam = dict(models), exam
        device = next((model.device for model in self.models.values()), torch.device("cpu"))
        self.eyes = _PerceptualMetrics(exam, device)
        for colorizer in self.models.values():
            colorizer.resolve_settings(
                exam.settings
            )  # a wrong setting is told before the first picture
        self.wear = _degrade(exam)
        self.names: list[str] = []
        self.groups: list[str] = []
        self.truth: list[NoReferenceFigures] = []
        self.truths = _FrechetSets(self.eyes)
        self.true_film = _VideoMetrics()
        self.gray = _ColumnTotals(self.eyes)
        self.tallies = {name: _ColumnTotals(self.eyes) for name in self.models}
        self.samples: list[Example] = []
        self.best = {name: _ExampleBuffer() for name in self.models}
        self.worst = {name: _ExampleBuffer() for name in self.models}
        self.skipped = 0
        self._gray_before: Pixels | None = None

    def measure(self, truth: GroundTruthImage) -> None:
        """Every figure of one picture, or count it as left out."""
        rgb = truth.rgb
        if rgb is None or (truth.gray is not None and truth.gray.shape != rgb.shape[:2]):
            self.skipped += 1
            return
        lab, gray = to_lab(rgb), to_gray(rgb) if truth.gray is None else truth.gray
        self.names.append(truth.name)
        self.groups.append(truth.group)
        self.truth.append(_no_reference_figures(rgb, lab))
        self.truths.add(rgb)
        motion = self._motion_to(gray) if self.exam.stack else None
        if self.exam.stack:
            self.true_film.add(rgb, motion)
        seen = self.wear(rgb, gray)
        self._take(self.gray, as_rgb(gray), rgb, lab, motion)
        shown = {
            name: self._measure_model(name, gray, seen, rgb, lab, motion) for name in self.models
        }
        self._keep_examples(truth.name, seen, shown, rgb)

    def finish(self, data: str) -> Evaluation:
        if not self.names:
            if self.skipped:
                raise ImageError(
                    f"None of the {self.skipped} pictures of {data} can be read and has colours: "
                    "there is nothing to compare with. Give photographs in colour."
                )
            raise FileNotFoundError(f"{data} holds no pictures to measure on.")
        film = self.true_film.values() if self.exam.stack else {}
        return Evaluation(
            data=data,
            config=self.exam,
            pictures=tuple(self.names),
            groups=tuple(self.groups),
            skipped=self.skipped,
            truth=tuple(self.truth),
            gray=self._column("gray", self.gray),
            models=tuple(self._column(name, tally) for name, tally in self.tallies.items()),
            truth_cdc=film.get("cdc"),
            truth_warping_error=film.get("warping_error"),
            samples=tuple(self.samples),
            best={name: cases.examples() for name, cases in self.best.items()},
            worst={name: cases.examples() for name, cases in self.worst.items()},
        )

    def _motion_to(self, gray: Pixels) -> OpticalFlow | None:
        before, now = self._gray_before, _for_motion(gray)
        self._gray_before = now
        if before is None:
            return None
        if before.shape != now.shape:
            raise ImageError(
                f"{self.names[-1]} is not as large as the frame before: a film has frames of one "
                "size. Leave out --stack for a folder of single pictures."
            )
        return motion_between(before, now)

    def _measure_model(
        self,
        name: str,
        gray: Pixels,
        seen: Pixels,
        truth: Pixels,
        lab: Floats,
        motion: OpticalFlow | None,
    ) -> Pixels:
        colorizer, tally = self.models[name], self.tallies[name]
        answer = colorizer(seen, **self.exam.settings)
        shown = answer
        if seen is not gray:
            shown = _on_clean(answer, gray)
        errors = self._take(tally, shown.pixels, truth, lab, motion)
        tally.curve.append(
            tuple(self._at_saturation(shown, value, truth, lab) for value in self.exam.saturations)
        )
        if self.exam.calibration:
            tally.expected.append(_in_areas(expected_error(colorizer, answer)))
            tally.measured.append(_in_areas(errors))
        pixels: Pixels = shown.pixels
        return pixels

    def _take(
        self,
        tally: _ColumnTotals,
        rgb: Pixels,
        truth: Pixels,
        lab: Floats,
        motion: OpticalFlow | None,
    ) -> Floats:
        """PictureFigures of a picture as one column has it; returns CIEDE2000 of every pixel."""
        own = to_lab(rgb)
        errors: Floats = deltaE_ciede2000(lab, own)
        look = _no_reference_figures(rgb, own)
        tally.figures.append(
            ImageFigures(
                colorfulness=look.colorfulness,
                colorfulness_abs=look.colorfulness_abs,
                uncolored=look.uncolored,
                psnr=psnr(truth, rgb),
                ssim=ssim(truth, rgb),
                ciede2000=float(errors.mean()),
                lpips=self.eyes.lpips(truth, rgb) if self.eyes.lpips else math.nan,
            )
        )
        tally.sets.add(rgb)
        if self.exam.stack:
            tally.film.add(rgb, motion)
        return errors

    def _at_saturation(
        self, shown: Colorized, saturation: float, truth: Pixels, lab: Floats
    ) -> tuple[float, float, float]:
        """PSNR, CIEDE2000 and colourfulness; no network runs."""
        rgb = shown.with_(saturation=saturation).pixels
        error = float(deltaE_ciede2000(lab, to_lab(rgb)).mean())
        return psnr(truth, rgb), error, colorfulness(rgb)

    def _keep_examples(
        self, path: str, gray: Pixels, shown: Mapping[str, Pixels], truth: Pixels
    ) -> None:
        example = Example(
            name=path,
            gray=_thumbnail(gray),
            predicted=tuple(_thumbnail(rgb) for rgb in shown.values()),
            truth=_thumbnail(truth),
            errors=tuple(
                tally.figures[-1].ciede2000 for tally in (self.gray, *self.tallies.values())
            ),
        )
        if len(self.samples) < SAMPLES:
            self.samples.append(example)
        for name, tally in self.tallies.items():
            lead = self.gray.figures[-1].ciede2000 - tally.figures[-1].ciede2000
            self.best[name].offer(lead, example)
            self.worst[name].offer(-lead, example)

    def _column(self, name: str, tally: _ColumnTotals) -> Column:
        errors = [figures.ciede2000 for figures in tally.figures]
        leads = [
            figures.ciede2000 - error
            for figures, error in zip(self.gray.figures, errors, strict=True)
        ]
        film = tally.film.values() if self.exam.stack else {}
        return Column(
            name=name,
            pictures=tuple(tally.figures),
            better=float(np.mean(np.array(leads) > 0)),
            **tally.sets.distances(self.truths),
            curve=self._curve(tally),
            calibration=(
                calibrate(np.array(tally.expected), np.array(tally.measured))
                if tally.expected
                else None
            ),
            uncertainty=source_of(self.models[name]) if tally.expected else "",
            cdc=film.get("cdc"),
            warping_error=film.get("warping_error"),
        )

    def _curve(self, tally: _ColumnTotals) -> tuple[CurvePoint, ...]:
        if not tally.curve:
            return ()
        truth = mean_of(look.colorfulness for look in self.truth)
        means = np.mean(tally.curve, axis=0)  # (saturations, 3)
        return tuple(
            CurvePoint(saturation, float(noise), float(error), float(colorful / truth))
            for saturation, (noise, error, colorful) in zip(
                self.exam.saturations, means, strict=True
            )
        )


def _no_reference_figures(rgb: Pixels, lab: Floats) -> NoReferenceFigures:
    return NoReferenceFigures(colorfulness(rgb), colorfulness_abs(rgb), uncolored_share(lab))


def _degrade(exam: EvaluationConfig) -> Callable[[Pixels, Pixels], Pixels]:
    """What makes a worn gray of a picture and its gray; the gray itself without a degradation."""
    if exam.degrade is None:
        return lambda truth, gray: gray
    from napari_colorize_training.data.degrade import PLANS, degrade

    if exam.degrade not in PLANS:
        raise SettingsError(
            f"No degradation is named {exam.degrade!r}. Choose one of: {', '.join(PLANS)}."
        )
    wear = PLANS[exam.degrade]
    random = torch.Generator().manual_seed(exam.seed)

    def worn(truth: Pixels, gray: Pixels) -> Pixels:
        rgb = torch.from_numpy(truth.copy()).movedim(-1, 0)[None].float() / 255
        plane = torch.from_numpy(gray.copy())[None, None].float() / 255
        result = degrade(rgb, plane, wear, random)[0, 0].clamp(0, 1)
        pixels: Pixels = (result * 255).round().to(torch.uint8).numpy()
        return pixels

    return worn


def _on_clean(answer: Colorized, gray: Pixels) -> Colorized:
    """The colours of an answer on another gray of the same size."""
    return replace(answer, plane=to_plane(gray, device=answer.plane.gray.device))


def _in_areas(errors: NDArray[Any]) -> Floats:
    """Means over at most 32 x 32 areas, `(GRID, GRID)`."""
    plane = torch.from_numpy(np.ascontiguousarray(errors))[None, None]
    means: Floats = resize(plane.double(), (GRID, GRID))[0, 0].numpy()
    return means


def _for_motion(frame: Pixels) -> Pixels:
    return _shrunk(frame, MOTION_SIDE, Image.Resampling.BOX)


def _thumbnail(picture: Pixels) -> Pixels:
    return _shrunk(picture, THUMBNAIL, Image.Resampling.LANCZOS)


def _shrunk(picture: Pixels, side: int, by: Image.Resampling) -> Pixels:
    share = side / max(picture.shape[:2])
    if share >= 1:
        return picture
    height, width = (max(1, round(length * share)) for length in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), by))
