"""Values that an evaluation accumulates: figures, feature moments, examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from napari_colorize.array_types import Float64Array, UInt8Array
from napari_colorize_training.evaluation.frechet import (
    Backbone,
    Moments,
    frechet_distance,
    inception_features,
    lpips_from,
)
from napari_colorize_training.evaluation.metrics import (
    ColorConsistency,
    OpticalFlow,
    warping_error,
)
from napari_colorize_training.evaluation.records import Example, ImageFigures, nan_mean

MOTION_SIDE = 256  # px, longer side of the frames in which motion is estimated
THUMBNAIL_SIDE = 320  # px, longer side of images on sheets
EXAMPLES = 4  # best and worst images of each model


class FeatureNetworks:
    """Networks of the feature metrics, read before the first image; None without a file."""

    def __init__(
        self,
        backbone: Path | None,
        fid: Path | None,
        lpips: Path | None,
        device: torch.device,
    ) -> None:
        self.backbone = Backbone(backbone, device) if backbone else None
        self.inception = inception_features(fid) if fid else None
        self.lpips = lpips_from(lpips) if lpips else None


class FeatureMoments:
    """Moments of the features of a set of images."""

    def __init__(self, networks: FeatureNetworks) -> None:
        self._networks = networks
        self.whole, self.quadrants, self.both, self.fid = (Moments() for _ in range(4))

    def add(self, rgb: UInt8Array) -> None:
        """Add an image."""
        if self._networks.backbone is not None:
            features = self._networks.backbone(rgb)
            self.both.add(features)
            self.whole.add(features[:1])
            self.quadrants.add(features[1:])
        if self._networks.inception is not None:
            self.fid.add(self._networks.inception(rgb))

    def distances(self, truths: FeatureMoments) -> dict[str, float | None]:
        """Return the Frechet distances to the true images; None without a network."""
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


class VideoMetrics:
    """Temporal consistency of a sequence of frames."""

    def __init__(self) -> None:
        self._consistency = ColorConsistency()
        self._errors: list[float] = []
        self._before: UInt8Array | None = None

    def add(self, frame: UInt8Array, motion: OpticalFlow | None) -> None:
        """Add a frame, with the motion since the one before (None for the first)."""
        self._consistency.add(frame)
        small = reduced_for_motion(frame)
        if self._before is not None and motion is not None:
            self._errors.append(warping_error(self._before, small, motion))
        self._before = small

    def values(self) -> dict[str, float]:
        """Return the metrics by their names in `Column`."""
        return {"cdc": self._consistency.value(), "warping_error": nan_mean(self._errors)}


class ColumnTotals:
    """Accumulated values of one model, or of gray."""

    def __init__(self, networks: FeatureNetworks) -> None:
        self.figures: list[ImageFigures] = []
        self.moments = FeatureMoments(networks)
        self.video = VideoMetrics()
        self.curve: list[tuple[tuple[float, float, float], ...]] = []
        self.expected: list[Float64Array] = []
        self.measured: list[Float64Array] = []


class ExampleBuffer:
    """The examples with the highest scores."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, Example]] = []

    def offer(self, score: float, example: Example) -> None:
        """Add an example, and remove the lowest if there are too many."""
        self._kept.append((score, example))
        self._kept.sort(key=lambda item: -item[0])
        del self._kept[EXAMPLES:]

    def examples(self) -> tuple[Example, ...]:
        """Return the examples, highest score first."""
        return tuple(example for _, example in self._kept)


def reduced_for_motion(frame: UInt8Array) -> UInt8Array:
    """Reduce a frame to the size at which motion is estimated."""
    return _reduced(frame, MOTION_SIDE, Image.Resampling.BOX)


def thumbnail(image: UInt8Array) -> UInt8Array:
    """Reduce an image to the size of sheets."""
    return _reduced(image, THUMBNAIL_SIDE, Image.Resampling.LANCZOS)


def _reduced(image: UInt8Array, side: int, resampling: Image.Resampling) -> UInt8Array:
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), resampling))
