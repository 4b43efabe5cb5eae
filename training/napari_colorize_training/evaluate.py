"""How good is a model: measured on photographs whose true colours are known.

Everything is measured at full size on 8-bit RGB, against the rounded Rec. 601 gray as the model
that does nothing.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab, rgb2yuv

from napari_colorize.colorizer import Colorizer
from napari_colorize_training.data import files_in, is_validation

Pixels = NDArray[np.uint8]


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


def evaluate(colorizer: Colorizer, truths: Iterable[Pixels], **settings: Any) -> Score:
    """Colorize the gray of each picture (uint8 `(Y, X, 3)`) and compare with its colours."""
    rows = [_measure(colorizer, truth, settings) for truth in truths]
    if not rows:
        raise ValueError("There are no pictures to measure on.")
    psnr, psnr_gray, error, error_gray, colorful, colorful_truth = np.array(rows).T
    return Score(
        pictures=len(rows),
        psnr=psnr.mean(),
        psnr_gray=psnr_gray.mean(),
        ciede2000=error.mean(),
        ciede2000_gray=error_gray.mean(),
        colorfulness=colorful.mean() / colorful_truth.mean(),
        better=(error < error_gray).mean(),
    )


def read_pictures(source: Path, *, validation: bool = False) -> Iterator[Pixels]:
    """The pictures of a folder, a shard or a folder of shards, uint8 `(Y, X, 3)`.

    With `validation`, only those that training holds back.
    """
    for name, content in files_in(source):
        if validation and not is_validation(name):
            continue
        yield np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def to_gray(image: Pixels) -> Pixels:
    """Rec. 601 luminance of `(Y, X, 3)`, rounded; what is gray already stays."""
    if image.ndim == 2:
        return image
    gray: Pixels = np.rint(rgb2yuv(image)[..., 0] * 255).clip(0, 255).astype(np.uint8)
    return gray


def psnr(truth: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio of 8-bit RGB in dB."""
    error = np.square(truth.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-10)))


def ciede2000(truth: Pixels, other: Pixels) -> float:
    """Mean colour difference over pixels (Sharma et al. 2005)."""
    return float(deltaE_ciede2000(rgb2lab(truth), rgb2lab(other)).mean())


def colorfulness(rgb: Pixels) -> float:
    """M3 of Hasler and Suesstrunk 2003, from signed opponent colours of 8-bit RGB."""
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    opponents = red - green, (red + green) / 2 - blue
    deviation = np.hypot(*(part.std() for part in opponents))
    mean = np.hypot(*(part.mean() for part in opponents))
    return float(deviation + 0.3 * mean)


def _measure(colorizer: Colorizer, truth: Pixels, settings: dict[str, Any]) -> tuple[float, ...]:
    gray = to_gray(truth)
    predicted = colorizer(gray, **settings).pixels
    shown = np.repeat(gray[..., None], 3, axis=-1)
    return (
        psnr(truth, predicted),
        psnr(truth, shown),
        ciede2000(truth, predicted),
        ciede2000(truth, shown),
        colorfulness(predicted),
        colorfulness(truth),
    )
