"""Transfer the color palette of a reference image.

Both methods work at the size of the chrominance. `match_statistics` (after Reinhard et al. 2001)
moves and scales the predicted colors to the mean and covariance of the reference.
`match_patches` (after Welsh et al. 2002) gives every pixel the colors of reference pixels with
similar luminance and texture. `transfer_palette` calls one of them, for each region if there are
regions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize.imaging.intensity_range import image_range
from napari_colorize.imaging.planes import to_numpy
from napari_colorize.imaging.resample import resize

Method = Literal["statistics", "patches"]

MAX_READ_PIXELS = 2**22  # pixels of a reference that are read; larger images are subsampled
MAX_PIXELS = 2**16  # pixels that are stored: about the input size of a network
MAX_GAIN = 4.0  # limit for almost gray predictions, whose chroma is noise
SAMPLES = 512  # reference pixels that are compared; Welsh et al. use about 200
NEIGHBORHOOD = 5  # side of the window in pixels, as in Welsh et al.
MATCHES = 5  # averaged matches; a single match gives speckles
BLOCK_PIXELS = 2**13  # pixels per block
TINY = 1e-6  # avoids a division by zero


@dataclass(frozen=True, eq=False)
class Reference:
    """Color image whose palette is transferred.

    Parameters
    ----------
    rgb : array, shape (Y, X, 3) or (Y, X, 4)
        Image of any real dtype. Pixels with alpha below one half are ignored.
    regions : array of int, shape (Y, X), optional
        Numbered regions; 0 is background.

    Raises
    ------
    ImageError
        If the shapes are wrong, or no pixel is opaque.
    """

    rgb: AnyArray = field(repr=False)
    regions: NDArray[np.integer[Any]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        rgb = to_numpy(self.rgb)
        if rgb.ndim != 3 or rgb.shape[2] not in (3, 4):
            raise ImageError(
                f"A reference must be a color image, (Y, X, 3 or 4), got shape {rgb.shape}."
            )
        object.__setattr__(self, "rgb", rgb)
        if self.regions is not None:
            regions = np.asarray(self.regions)
            if regions.shape != rgb.shape[:2] or regions.dtype.kind not in "bui":
                raise ImageError(
                    "Regions of a reference must be integers, one per pixel, "
                    f"{rgb.shape[:2]}, got {regions.dtype} of shape {regions.shape}."
                )
            object.__setattr__(self, "regions", regions)
        if not bool((self._premultiplied[3] > 0).any()):
            raise ImageError("No pixel of the reference image is opaque: use another image.")

    @cached_property
    def _premultiplied(self) -> Tensor:
        """Premultiplied R, G, B and alpha, shape (4, h, w). Alpha was 0 or 1 before shrinking."""
        step = math.ceil(math.sqrt(self.rgb.shape[0] * self.rgb.shape[1] / MAX_READ_PIXELS))
        pixels = self.rgb[::step, ::step]
        low, high = image_range(self.rgb[..., :3]).limits
        unit = (pixels[..., :3].astype(np.float32) - low) / max(high - low, 1e-30)
        opaque = np.isfinite(unit).all(axis=-1)
        if pixels.shape[2] == 4:
            opaque &= pixels[..., 3] >= image_range(pixels[..., 3]).limits[1] / 2
        parts = [np.clip(np.nan_to_num(unit), 0, 1) * opaque[..., None], opaque[..., None]]
        premultiplied = torch.from_numpy(np.concatenate(parts, axis=-1).astype(np.float32))
        return resize(premultiplied.movedim(-1, 0)[None], _fit_size(pixels.shape, MAX_PIXELS))[0]

    def small(self, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return luminance and chrominance at a size of about `pixels` pixels.

        These are float32 luminance (h, w) in [0, 1], float32 U and V (h, w, 2), and a mask (h, w)
        of the opaque pixels, which are used.
        """
        size = _fit_size(self._premultiplied.shape[1:], pixels)
        rgb, alpha = resize(self._premultiplied[None], size)[0].split([3, 1])
        yuv = rgb_to_yuv((rgb / alpha.clamp_min(TINY)).movedim(0, -1))
        # Relative to the maximum: opaque parts can be narrower than a pixel of this size.
        return yuv[..., 0], yuv[..., 1:], alpha[0] >= 0.5 * alpha.max()


def transfer_palette(
    gray: Tensor,
    uv: Tensor,
    reference: Reference,
    *,
    strength: float,
    method: Method = "statistics",
    regions: NDArray[np.integer[Any]] | None = None,
) -> Tensor:
    """Give predicted U and V (h, w, 2) the palette of a reference image.

    Parameters
    ----------
    gray : Tensor, shape (h, w)
        Luminance in [0, 1], at the size of `uv`.
    strength : float
        0 to 1: linear interpolation between the prediction and the transferred palette.
    method : {"statistics", "patches"}
        See `match_statistics` and `match_patches`.
    regions : array of int, shape (Y, X), optional
        Numbered regions of the image, at any size; 0 is background. If reference and image have
        regions, each region uses the reference region of the same number, and regions without a
        counterpart stay unchanged. Otherwise the whole image uses the whole reference.

    Returns
    -------
    Tensor, shape (h, w, 2)
        U and V. Like predicted values, they can be outside the RGB gamut.
    """
    if method not in ("statistics", "patches"):
        raise SettingsError(f"method must be one of statistics, patches, got {method!r}.")
    reference_gray, reference_uv, opaque = (
        part.to(uv.device) for part in reference.small(gray.numel())
    )
    region, reference_region = torch.ones_like(gray, dtype=torch.int64), opaque.long()
    if regions is not None and reference.regions is not None:
        region = resize_labels(regions, gray.shape).to(uv.device)
        reference_region *= resize_labels(reference.regions, opaque.shape).to(uv.device)
    features, reference_features = describe(gray), describe(reference_gray)
    result = uv.clone()
    for label in region.unique().tolist():
        inside, reference_inside = region == label, reference_region == label
        if label == 0 or not reference_inside.any():
            continue
        if method == "statistics":
            matched = match_statistics(uv[inside], reference_uv[reference_inside])
        else:
            matched = match_patches(
                features[inside],
                reference_features[reference_inside],
                reference_uv[reference_inside],
            )
        result[inside] = torch.lerp(uv[inside], matched, strength)
    return result


def match_statistics(uv: Tensor, reference_uv: Tensor) -> Tensor:
    """Move and scale U and V (n, 2) to the mean and covariance of reference colors (m, 2).

    The transfer of Reinhard, Ashikhmin, Gooch and Shirley, "Color transfer between images" (IEEE
    Computer Graphics and Applications 21, 2001, eqs. (10) and (11)), which matches mean and
    standard deviation of each axis, is applied to chrominance only. U and V are correlated, unlike
    the axes of the paper, so the covariance is matched, by the symmetric matrix that moves colors
    least (Pitie and Kokaram, "The linear Monge-Kantorovitch linear colour mapping", 2007). The gain
    is limited to `MAX_GAIN`, so that almost gray predictions are not amplified further.
    """
    mean, covariance = _moments(uv)
    reference_mean, reference_covariance = _moments(reference_uv)
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5, TINY**2)
    matrix = inverse @ _power(root @ reference_covariance @ root, 0.5) @ inverse
    matrix = _power(matrix, 1.0, 0.0, MAX_GAIN)
    return (uv - mean) @ matrix.to(uv) + reference_mean


def match_patches(features: Tensor, reference_features: Tensor, reference_uv: Tensor) -> Tensor:
    """Give every pixel the U and V (n, 2) of reference pixels with similar gray values.

    After Welsh, Ashikhmin and Mueller, "Transferring color to greyscale images" (ACM Transactions
    on Graphics 21, 2002, section 3.1, global matching). The luminance of the reference is shifted
    and scaled to the mean and standard deviation of the image. Luminance and its local standard
    deviation are then compared with evenly scattered samples of the reference. The colors of the
    `MATCHES` best samples are averaged; the paper uses the best one. The result is deterministic.

    `features` (n, 2) and `reference_features` (m, 2) are luminance and local standard deviation of
    each pixel, see `describe`; `reference_uv` (m, 2) are U and V of the reference.
    """
    sampled = _sample_indices(len(reference_features)).to(reference_features.device)
    gray, reference_gray = features[:, 0], reference_features[:, 0]
    gain = gray.std(correction=0) / reference_gray.std(correction=0).clamp_min(TINY)
    samples = reference_features[sampled] * gain
    samples[:, 0] += gray.mean() - gain * reference_gray.mean()
    colors = reference_uv[sampled]
    count = min(MATCHES, len(samples))
    matched = [
        colors[torch.cdist(block, samples).topk(count, largest=False).indices].mean(dim=1)
        for block in features.split(BLOCK_PIXELS)
    ]
    return torch.cat(matched)


def describe(gray: Tensor) -> Tensor:
    """Luminance of each pixel and its local standard deviation, shape (h, w, 2)."""
    padded = F.pad(gray[None, None], [NEIGHBORHOOD // 2] * 4, mode="replicate")
    moments = F.avg_pool2d(torch.cat([padded, padded**2], dim=1), NEIGHBORHOOD, stride=1)[0]
    deviation = (moments[1] - moments[0] ** 2).clamp_min(0).sqrt()
    return torch.stack([gray, deviation], dim=-1)


def resize_labels(labels: NDArray[np.integer[Any]], size: tuple[int, ...]) -> Tensor:
    """Resize a label image `(Y, X)` by nearest neighbor, to int64."""
    rows, columns = (
        ((np.arange(to) + 0.5) * (length / to)).astype(np.intp)
        for length, to in zip(labels.shape, size, strict=True)
    )
    return torch.from_numpy(labels[np.ix_(rows, columns)].astype(np.int64))


def _fit_size(shape: tuple[int, ...], pixels: int) -> tuple[int, int]:
    """Height and width with the same aspect ratio and at most about `pixels` pixels."""
    scale = min(1.0, math.sqrt(pixels / (shape[0] * shape[1])))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (2,), and covariance (2, 2) as float64 on the CPU, because MPS has no float64."""
    mean = values.mean(dim=0)
    return mean, ((values - mean).T @ (values - mean) / len(values)).cpu().double()


def _power(matrix: Tensor, exponent: float, low: float = 0.0, high: float = math.inf) -> Tensor:
    """Power of a symmetric matrix by its eigenvalues, which are clamped to [low, high]."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return vectors * values.clamp(low, high) ** exponent @ vectors.T


def _sample_indices(count: int) -> Tensor:
    """Return sample indices, one at random in each of up to `SAMPLES` equal intervals."""
    samples = min(count, SAMPLES)
    jitter = torch.rand(samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ((torch.arange(samples) + jitter) * (count / samples)).long().clamp_max(count - 1)
