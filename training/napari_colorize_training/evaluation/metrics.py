"""Color metrics: pure functions of 8-bit images, with references to their definitions.

Images are uint8 RGB `(Y, X, 3)` at full size. Gray is measured like the output of a model.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab, rgb2yuv

from napari_colorize.array_types import AnyArray, Float64Array, UInt8Array
from napari_colorize.imaging.color import to_uint8
from napari_colorize.imaging.resample import resize

SSIM_SIGMA = 1.5  # px; skimage's window is then the 11 x 11 px of Wang et al. 2004
SSIM_WINDOW = 11
UNCOLORED_CHROMA = 2.0  # CIELAB chroma below which a pixel counts as uncolored
CDC_DISTANCES = (1, 2, 4)  # frames; TCVC
# Patches of unrelated color are much larger than the grain of the truth: they are measured in the
# image reduced to this shorter side, between neighboring pixels of YUV in [0, 1].
PATCH_SIDE = 40  # px
SMOOTH_LUMINANCE, SMOOTH_CHROMA = 0.03, 0.02  # largest change of the truth in a smooth area
MIN_SQUARED_ERROR = 1e-10  # squared levels; the PSNR of equal images is 148 dB, not infinite
# Sundaram, Brox and Keutzer 2010, eq. (5): bound of the forward-backward error of a visible pixel.
OCCLUSION_SHARE, OCCLUSION_FLOOR = 0.01, 0.5


def to_gray(image: UInt8Array) -> UInt8Array:
    """Return rounded Rec. 601 luminance of `(Y, X, 3)`; gray images are returned unchanged."""
    if image.ndim == 2:
        return image
    return to_uint8(rgb2yuv(image)[..., 0].clip(0, 1))


def to_lab(rgb: UInt8Array) -> Float64Array:
    """Return CIELAB (D65) of 8-bit sRGB, `(Y, X, 3)`."""
    lab: Float64Array = rgb2lab(rgb)
    return lab


def psnr(truth: UInt8Array, other: UInt8Array) -> float:
    """Return the peak signal-to-noise ratio of 8-bit RGB, dB."""
    error = np.square(truth.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / max(error, MIN_SQUARED_ERROR)))


def ssim(truth: UInt8Array, other: UInt8Array) -> float:
    """Return the structural similarity (Wang et al. 2004), mean over R, G and B; 1 is equal.

    As in the article: a Gaussian window of 11 x 11 pixels with a standard deviation of 1.5,
    covariances of the window itself, constants 0.01 and 0.03. NaN for images smaller than the
    window.
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


def ciede2000(truth: UInt8Array, other: UInt8Array) -> float:
    """Return the mean color difference over pixels (Sharma et al. 2005); 1 is just noticeable."""
    return float(deltaE_ciede2000(to_lab(truth), to_lab(other)).mean())


def colorfulness(rgb: UInt8Array) -> float:
    """Return M3 of Hasler and Suesstrunk 2003, from signed opponent colors of 8-bit RGB."""
    return _m3(*_opponents(rgb))


def colorfulness_abs(rgb: UInt8Array) -> float:
    """Return DDColor's variant of `colorfulness`, from absolute opponent colors.

    Its values are larger. Only for comparison with publications that use it (`calculate_cf` of
    piddnad/DDColor).
    """
    return _m3(*map(np.abs, _opponents(rgb)))


def uncolored_share(lab: Float64Array) -> float:
    """Return the share of pixels of CIELAB `(Y, X, 3)` with a chroma below 2, almost gray."""
    return float((np.hypot(lab[..., 1], lab[..., 2]) < UNCOLORED_CHROMA).mean())


def smooth_area(truth: UInt8Array) -> NDArray[np.bool_]:
    """Return where luminance and chroma of a reduced image change little, for `patchiness`.

    Colors have no reason to change there. The shape is that of the reduced image.
    """
    yuv = _reduced_yuv(truth)
    area: NDArray[np.bool_] = _gradient(yuv[..., :1]) < SMOOTH_LUMINANCE
    area &= _gradient(yuv[..., 1:]) < SMOOTH_CHROMA
    return area


def patchiness(rgb: UInt8Array, smooth: NDArray[np.bool_]) -> float:
    """Return the mean chroma gradient in smooth areas, in hundredths; high for patches of color.

    Parameters
    ----------
    rgb : ndarray, uint8, shape (Y, X, 3)
        Image of any size; it is reduced to a shorter side of `PATCH_SIDE`.
    smooth : ndarray, bool
        `smooth_area` of the true image of the same size.

    Returns
    -------
    float
        Mean length of the difference in U and V between neighboring pixels, times 100; NaN if
        nothing is smooth.
    """
    if not smooth.any():
        return float("nan")
    return float(100 * _gradient(_reduced_yuv(rgb)[..., 1:])[smooth].mean())


def _reduced_yuv(rgb: UInt8Array) -> Float64Array:
    scale = PATCH_SIDE / min(rgb.shape[:2])
    height, width = (max(2, round(side * scale)) for side in rgb.shape[:2])
    image = torch.from_numpy(rgb.astype(np.float64) / 255).movedim(-1, 0)[None]
    yuv: Float64Array = rgb2yuv(resize(image, (height, width))[0].movedim(0, -1).numpy())
    return yuv


def _gradient(planes: Float64Array) -> Float64Array:
    """Return the length of the forward differences of planes `(Y, X, C)`, `(Y - 1, X - 1)`."""
    down, right = np.diff(planes, axis=0)[:, :-1], np.diff(planes, axis=1)[:-1]
    length: Float64Array = np.sqrt((down**2 + right**2).sum(-1))
    return length


def _opponents(rgb: UInt8Array) -> tuple[Float64Array, Float64Array]:
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    return red - green, (red + green) / 2 - blue


def _m3(*opponents: Float64Array) -> float:
    deviation = np.hypot(*(part.std() for part in opponents))
    mean = np.hypot(*(part.mean() for part in opponents))
    return float(deviation + 0.3 * mean)


@dataclass(frozen=True)
class CalibrationCurve:
    """Agreement of expected and measured errors of a model."""

    # Spearman's coefficient of expected and measured errors; 1 is the same order
    rank_correlation: float
    # Means in parts of equal size of the pixels, sorted by expected error
    expected: tuple[float, ...]
    measured: tuple[float, ...]


def calibrate(expected: Float64Array, measured: Float64Array, parts: int = 10) -> CalibrationCurve:
    """Compare expected errors with measured ones of the same shape.

    The correlation is NaN if all expected or all measured errors are equal.
    """
    from scipy.stats import spearmanr

    expected, measured = expected.ravel(), measured.ravel()
    is_ordered = np.ptp(expected) > 0 and np.ptp(measured) > 0
    order = np.argsort(expected, kind="stable")
    parts = min(parts, expected.size)
    return CalibrationCurve(
        rank_correlation=float(spearmanr(expected, measured)[0]) if is_ordered else float("nan"),
        expected=tuple(float(part.mean()) for part in np.array_split(expected[order], parts)),
        measured=tuple(float(part.mean()) for part in np.array_split(measured[order], parts)),
    )


class ColorConsistency:
    """CDC (Liu et al., TCVC): change of the color distribution of a video; 0 is constant.

    For each of R, G and B: the Jensen-Shannon divergence (natural logarithm) of the 256-bin
    histograms of frames t and t + d, averaged over t, then over d = 1, 2, 4 and the channels.
    Gray videos have low values, so that it must be compared together with colorfulness. Frames are
    added one at a time.
    """

    def __init__(self) -> None:
        self._last: deque[Float64Array] = deque(maxlen=max(CDC_DISTANCES))
        self._divergences: dict[int, list[float]] = {distance: [] for distance in CDC_DISTANCES}

    def add(self, frame: UInt8Array) -> None:
        """Add the next frame."""
        now = _histograms(frame)
        for distance, values in self._divergences.items():
            if len(self._last) >= distance:
                values.append(_jensen_shannon(now, self._last[-distance]))
        self._last.append(now)

    def value(self) -> float:
        """Return the value for the frames so far, over all distances with a pair of frames."""
        means = [np.mean(values) for values in self._divergences.values() if values]
        return float(np.mean(means)) if means else float("nan")


def _histograms(frame: UInt8Array) -> Float64Array:
    """Return normalized histograms of the channels, `(3, 256)`."""
    counts = [np.bincount(frame[..., channel].ravel(), minlength=256) for channel in range(3)]
    shares: Float64Array = np.array(counts) / frame[..., 0].size
    return shares


def _jensen_shannon(one: Float64Array, other: Float64Array) -> float:
    """Return the mean Jensen-Shannon divergence of distributions `(3, 256)` over channels."""
    from scipy.special import rel_entr

    middle = (one + other) / 2
    return float((rel_entr(one, middle) + rel_entr(other, middle)).sum(axis=-1).mean() / 2)


@dataclass(frozen=True)
class OpticalFlow:
    """Positions of a frame's pixels in the frame before.

    Parameters
    ----------
    flow : ndarray, float, shape (2, Y, X)
        Displacement from a pixel to its position in the frame before, px: rows, columns.
    visible : ndarray, bool, shape (Y, X)
        UInt8Array that are visible in both frames.
    """

    flow: Float64Array
    visible: NDArray[np.bool_]


def motion_between(before: UInt8Array, now: UInt8Array) -> OpticalFlow:
    """Estimate optical flow of gray frames `(Y, X)` and occlusions by iterative Lucas-Kanade.

    A pixel is visible in both frames if forward and backward flow cancel within the bound of
    Sundaram et al. 2010, and if its position in the frame before is inside the frame.
    """
    from skimage.registration import optical_flow_ilk

    before_unit, now_unit = before / 255, now / 255
    forward = np.asarray(optical_flow_ilk(now_unit, before_unit))
    backward = np.asarray(optical_flow_ilk(before_unit, now_unit))
    returned = np.stack([_warp(part, forward) for part in backward])
    error = np.square(forward + returned).sum(0)
    lengths = np.square(forward).sum(0) + np.square(returned).sum(0)
    positions = _positions(forward)
    edges = np.array(now.shape)[:, None, None] - 1
    inside = ((positions >= 0) & (positions <= edges)).all(0)
    return OpticalFlow(forward, inside & (error < OCCLUSION_SHARE * lengths + OCCLUSION_FLOOR))


def warping_error(before: UInt8Array, now: UInt8Array, motion: OpticalFlow) -> float:
    """Return the mean squared change of RGB in [0, 1] along the motion (Lai et al. 2018).

    Only visible pixels are used; NaN if there are none. The motion is that of the gray input, which
    is the same for every model.
    """
    warped = np.stack(
        [_warp(before[..., channel] / 255, motion.flow) for channel in range(3)], axis=-1
    )
    change = np.square(now / 255 - warped)[motion.visible]
    return float(change.mean()) if change.size else float("nan")


def _positions(flow: Float64Array) -> Float64Array:
    rows, columns = np.indices(flow.shape[1:])
    positions: Float64Array = np.stack([rows, columns]) + flow
    return positions


def _warp(plane: AnyArray, flow: Float64Array) -> Float64Array:
    """Sample a plane `(Y, X)` at the positions of the flow, bilinearly."""
    from scipy.ndimage import map_coordinates

    warped: Float64Array = map_coordinates(plane, _positions(flow), order=1, mode="nearest")
    return warped
