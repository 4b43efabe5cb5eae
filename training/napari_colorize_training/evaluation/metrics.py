"""Measures of colour: pure functions of 8-bit pictures, each with the definition it follows.

Pictures are uint8 RGB `(Y, X, 3)` at full size. No measure knows a model: gray is measured as the
model that does nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab, rgb2yuv

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

SSIM_SIGMA = 1.5  # pixels; with it, skimage's window is the 11 x 11 of Wang et al. 2004
SSIM_WINDOW = 11
PALE = 2.0  # CIELAB chroma below which a pixel counts as uncoloured
CDC_DISTANCES = (1, 2, 4)  # frames; TCVC
FINEST = 1e-10  # squared levels: two pictures that are equal are 148 dB apart, not infinitely
# Sundaram, Brox and Keutzer 2010, eq. (5): how far there-and-back may miss a pixel that is seen
# in both frames.
OCCLUSION_SHARE, OCCLUSION_FLOOR = 0.01, 0.5


def to_gray(image: Pixels) -> Pixels:
    """Rec. 601 luminance of `(Y, X, 3)`, rounded; what is gray already stays."""
    if image.ndim == 2:
        return image
    gray: Pixels = np.rint(rgb2yuv(image)[..., 0] * 255).clip(0, 255).astype(np.uint8)
    return gray


def to_lab(rgb: Pixels) -> Floats:
    """CIELAB (D65) of 8-bit sRGB, `(Y, X, 3)`."""
    lab: Floats = rgb2lab(rgb)
    return lab


def psnr(truth: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio of 8-bit RGB in dB."""
    error = np.square(truth.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / max(error, FINEST)))


def ssim(truth: Pixels, other: Pixels) -> float:
    """Structural similarity (Wang et al. 2004), mean over R, G and B; 1 is equal.

    As there: a Gaussian window of 11 x 11 pixels with a standard deviation of 1.5, covariances
    of the window itself, constants 0.01 and 0.03. NaN for pictures smaller than the window.
    """
    from skimage.metrics import structural_similarity

    if min(truth.shape[:2]) < SSIM_WINDOW:
        return float("nan")
    return float(
        structural_similarity(
            truth,
            other,
            channel_axis=-1,
            data_range=255,
            gaussian_weights=True,
            sigma=SSIM_SIGMA,
            use_sample_covariance=False,
        )
    )


def ciede2000(truth: Pixels, other: Pixels) -> float:
    """Mean colour difference over pixels (Sharma et al. 2005); 1 is just visible side by side."""
    return float(deltaE_ciede2000(to_lab(truth), to_lab(other)).mean())


def colorfulness(rgb: Pixels) -> float:
    """M3 of Hasler and Suesstrunk 2003, from signed opponent colours of 8-bit RGB."""
    return _m3(*_opponents(rgb))


def colorfulness_abs(rgb: Pixels) -> float:
    """DDColor's variant of `colorfulness`: absolute opponent colours, so means are larger.

    Only for comparison with that line of papers (`calculate_cf` of piddnad/DDColor).
    """
    return _m3(*map(np.abs, _opponents(rgb)))


def uncolored_share(lab: Floats) -> float:
    """Share of pixels `(Y, X, 3)` of CIELAB whose chroma is below 2, all but gray to an eye."""
    return float((np.hypot(lab[..., 1], lab[..., 2]) < PALE).mean())


def _opponents(rgb: Pixels) -> tuple[Floats, Floats]:
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    return red - green, (red + green) / 2 - blue


def _m3(*opponents: Floats) -> float:
    deviation = np.hypot(*(part.std() for part in opponents))
    mean = np.hypot(*(part.mean() for part in opponents))
    return float(deviation + 0.3 * mean)


@dataclass(frozen=True)
class CalibrationCurve:
    """How well a model knows where it is wrong.

    Parameters
    ----------
    rank_correlation : float
        Spearman's, between what was expected and what was measured; 1 is the same order.
    expected, measured : tuple of float
        Means in each part of the pixels, sorted by what was expected; the parts are of one size.
    """

    rank_correlation: float
    expected: tuple[float, ...]
    measured: tuple[float, ...]


def calibrate(expected: Floats, measured: Floats, parts: int = 10) -> CalibrationCurve:
    """Compare expected errors with measured ones, both of any one shape.

    Where all expectations (or all errors) are equal there is no order: the correlation is NaN.
    """
    from scipy.stats import spearmanr

    expected, measured = expected.ravel(), measured.ravel()
    varied = np.ptp(expected) > 0 and np.ptp(measured) > 0
    order = np.argsort(expected, kind="stable")
    parts = min(parts, expected.size)
    return CalibrationCurve(
        rank_correlation=float(spearmanr(expected, measured)[0]) if varied else float("nan"),
        expected=tuple(float(part.mean()) for part in np.array_split(expected[order], parts)),
        measured=tuple(float(part.mean()) for part in np.array_split(measured[order], parts)),
    )


class ColorConsistency:
    """CDC (Liu et al., TCVC): how much the colours of a film jump; 0 is steady.

    For each of R, G and B: the Jensen-Shannon divergence (natural logarithm) of the 256-bin
    histograms of frames t and t + d, averaged over t, then over d = 1, 2, 4 and the channels.
    Gray film scores low: read it beside the colourfulness. Frames are fed one at a time.
    """

    def __init__(self) -> None:
        self._last: deque[Floats] = deque(maxlen=max(CDC_DISTANCES))
        self._jumps: dict[int, list[float]] = {distance: [] for distance in CDC_DISTANCES}

    def add(self, frame: Pixels) -> None:
        """Take the next frame in."""
        now = _histograms(frame)
        for distance, jumps in self._jumps.items():
            if len(self._last) >= distance:
                jumps.append(_jensen_shannon(now, self._last[-distance]))
        self._last.append(now)

    def value(self) -> float:
        """The measure so far; distances that no two frames have are left out."""
        means = [np.mean(jumps) for jumps in self._jumps.values() if jumps]
        return float(np.mean(means)) if means else float("nan")


def _histograms(frame: Pixels) -> Floats:
    """Shares of the 256 values in each channel, `(3, 256)`."""
    counts = [np.bincount(frame[..., channel].ravel(), minlength=256) for channel in range(3)]
    shares: Floats = np.array(counts) / frame[..., 0].size
    return shares


def _jensen_shannon(one: Floats, other: Floats) -> float:
    """Mean over channels of the divergence of distributions `(3, 256)`."""
    from scipy.special import rel_entr

    middle = (one + other) / 2
    return float((rel_entr(one, middle) + rel_entr(other, middle)).sum(axis=-1).mean() / 2)


@dataclass(frozen=True)
class OpticalFlow:
    """Where the pixels of a frame were in the frame before.

    Parameters
    ----------
    flow : ndarray, float, shape (2, Y, X)
        Rows and columns to go from a pixel to its place in the frame before.
    visible : ndarray, bool, shape (Y, X)
        Pixels that are seen in both frames.
    """

    flow: Floats
    visible: NDArray[np.bool_]


def motion_between(before: Pixels, now: Pixels) -> OpticalFlow:
    """Optical flow of gray frames `(Y, X)` by iterative Lucas-Kanade, with its occlusions.

    A pixel is seen in both if the flow there and the flow back cancel within the bound of
    Sundaram et al. 2010, and if its place before lies inside the frame.
    """
    from skimage.registration import optical_flow_ilk

    before_unit, now_unit = before / 255, now / 255
    there = np.asarray(optical_flow_ilk(now_unit, before_unit))
    back = np.asarray(optical_flow_ilk(before_unit, now_unit))
    returned = np.stack([_moved(part, there) for part in back])
    miss = np.square(there + returned).sum(0)
    lengths = np.square(there).sum(0) + np.square(returned).sum(0)
    places = _places(there)
    edges = np.array(now.shape)[:, None, None] - 1
    inside = ((places >= 0) & (places <= edges)).all(0)
    return OpticalFlow(there, inside & (miss < OCCLUSION_SHARE * lengths + OCCLUSION_FLOOR))


def warping_error(before: Pixels, now: Pixels, motion: OpticalFlow) -> float:
    """Mean squared change of RGB in [0, 1] along the motion (Lai et al. 2018), where visible.

    The motion is that of the gray input, the same for every model; NaN if nothing is visible.
    """
    warped = np.stack(
        [_moved(before[..., channel] / 255, motion.flow) for channel in range(3)], axis=-1
    )
    change = np.square(now / 255 - warped)[motion.visible]
    return float(change.mean()) if change.size else float("nan")


def _places(flow: Floats) -> Floats:
    rows, columns = np.indices(flow.shape[1:])
    places: Floats = np.stack([rows, columns]) + flow
    return places


def _moved(plane: NDArray[Any], flow: Floats) -> Floats:
    """A plane `(Y, X)` looked up where the flow points, bilinearly."""
    from scipy.ndimage import map_coordinates

    moved: Floats = map_coordinates(plane, _places(flow), order=1, mode="nearest")
    return moved
