"""Mean scores of one model, measured quickly; used to compare a fine-tuned model with its base."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from napari_colorize.array_types import UInt8Array
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import SettingsError
from napari_colorize.imaging.color import to_uint8
from napari_colorize.imaging.planes import to_plane
from napari_colorize.result import Colorized
from napari_colorize_training.evaluation.metrics import ciede2000, colorfulness, psnr, to_gray

Predict = Callable[[UInt8Array], UInt8Array]  # gray (Y, X) to RGB (Y, X, 3), both uint8
Degrade = Callable[[UInt8Array, UInt8Array], UInt8Array]  # truth and gray to degraded gray


@dataclass(frozen=True)
class Score:
    """Mean figures over images, and those of gray for comparison."""

    images: int  # number of images
    # Peak signal-to-noise ratio of RGB, dB, mean over images
    psnr: float
    psnr_gray: float
    # Mean color difference over pixels, then images; 1 is just noticeable
    ciede2000: float
    ciede2000_gray: float
    colorfulness: float  # mean measure of Hasler and Suesstrunk, as a share of the truth's
    better_share: float  # share of images with a lower CIEDE2000 than gray


def quick_score(
    colorizer: Colorizer | Predict,
    truths: Iterable[UInt8Array],
    *,
    grays: Iterable[UInt8Array | None] | None = None,
    degrade: str = "none",
    **settings: Any,
) -> Score:
    """Colorize the gray of each image and compare the result with its colors.

    Parameters
    ----------
    colorizer : Colorizer or callable
        A model, or a function from gray `(Y, X)` to RGB `(Y, X, 3)`, both uint8.
    truths : iterable of ndarray, uint8, shape (Y, X, 3)
        Color images.
    grays : iterable of ndarray or None, optional
        Their gray images, uint8 `(Y, X)`. Default and None: luminance.
    degrade : str
        A key of `degrade.PRESETS`: a Colorizer gets degraded gray, and its colors are combined
        with the clean gray before they are measured.
    **settings
        Settings of a Colorizer; see `ColorizeSettings`.
    """
    pairs = (
        ((truth, None) for truth in truths) if grays is None else zip(truths, grays, strict=True)
    )
    degrade_gray = make_degrade(degrade)
    rows = [
        _figures(colorizer, truth, to_gray(truth) if gray is None else gray, degrade_gray, settings)
        for truth, gray in pairs
    ]
    if not rows:
        raise ValueError("There are no images to measure on.")
    noise, noise_gray, error, error_gray, colorful, colorful_truth = np.array(rows).T
    return Score(
        images=len(rows),
        psnr=noise.mean(),
        psnr_gray=noise_gray.mean(),
        ciede2000=error.mean(),
        ciede2000_gray=error_gray.mean(),
        colorfulness=colorful.mean() / max(colorful_truth.mean(), 1e-9),
        better_share=(error < error_gray).mean(),
    )


def _figures(
    colorizer: Colorizer | Predict,
    truth: UInt8Array,
    gray: UInt8Array,
    degrade: Degrade,
    settings: dict[str, Any],
) -> tuple[float, ...]:
    result = colorizer(degrade(truth, gray), **settings)
    rgb = on_clean_gray(result, gray).pixels if isinstance(result, Colorized) else result
    return (
        psnr(truth, rgb),
        psnr(truth, as_rgb(gray)),
        ciede2000(truth, rgb),
        ciede2000(truth, as_rgb(gray)),
        colorfulness(rgb),
        colorfulness(truth),
    )


def as_rgb(gray: UInt8Array) -> UInt8Array:
    """Repeat gray `(Y, X)` to RGB `(Y, X, 3)`."""
    return np.repeat(gray[..., None], 3, axis=-1)


def on_clean_gray(result: Colorized, gray: UInt8Array) -> Colorized:
    """Return the colors of a result on another gray image of the same size."""
    return replace(result, plane=to_plane(gray, device=result.plane.gray.device))


def make_degrade(name: str | None, seed: int = 0) -> Degrade:
    """Return a function that degrades gray images; the identity for "none" and None.

    `name` is a key of `degrade.PRESETS`. Raises `SettingsError` if it is unknown.
    """
    if name is None:
        return lambda truth, gray: gray
    from napari_colorize_training.data.degrade import PRESETS, degrade

    if name not in PRESETS:
        raise SettingsError(
            f"No degradation is named {name!r}. Choose one of: {', '.join(PRESETS)}."
        )
    preset = PRESETS[name]
    random = torch.Generator().manual_seed(seed)

    def apply(truth: UInt8Array, gray: UInt8Array) -> UInt8Array:
        rgb = torch.from_numpy(truth.copy()).movedim(-1, 0)[None].float() / 255
        plane = torch.from_numpy(gray.copy())[None, None].float() / 255
        degraded = degrade(rgb, plane, preset, random)[0, 0].clamp(0, 1)
        pixels: UInt8Array = to_uint8(degraded).numpy()
        return pixels

    return apply
