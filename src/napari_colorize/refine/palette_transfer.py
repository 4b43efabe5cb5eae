"""Reference pictures: the colours of another picture, taken over.

Two ways, both at the size of the chrominance. By statistics (`match_statistics`, after Reinhard et
al. 2001) the predicted colours stay where they are and are moved as a whole, until they have the
reference's mean and spread. By patches (`match_patches`, after Welsh et al. 2002) every pixel takes
the colour of a place in the reference that looks like it in gray. `take_palette` is the way in; it
knows about regions, each of which takes from the reference's region of the same number.
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

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize.imaging.planes import default_limits, to_numpy
from napari_colorize.imaging.resample import resize

Method = Literal["statistics", "patches"]

READ = 2**22  # pixels of a reference that are read: of larger ones every second or third
KEPT = 2**16  # pixels of it that are kept: networks see about as many
LARGEST_GAIN = 4.0  # almost gray predictions are noise, which is not made into colours
SAMPLES = 512  # places of the reference that are compared; Welsh et al. took about 200
NEIGHBORHOOD = 5  # pixels a side, as Welsh et al. have it
BEST = 5  # matches that are averaged: one alone makes speckles
BLOCK = 2**13  # pixels compared at a time
TINY = 1e-6  # keeps quotients finite


@dataclass(frozen=True, eq=False)
class Reference:
    """A picture in colour whose palette is wanted.

    Parameters
    ----------
    rgb : array, shape (Y, X, 3) or (Y, X, 4)
        Of any real dtype. What a fourth channel makes less than half opaque does not count.
    regions : array of int, shape (Y, X), optional
        Its parts, by number; 0 is no part.

    Raises
    ------
    ImageError
        If they are not of these shapes, or nothing is opaque.
    """

    rgb: NDArray[Any] = field(repr=False)
    regions: NDArray[np.integer[Any]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        rgb = to_numpy(self.rgb)
        if rgb.ndim != 3 or rgb.shape[2] not in (3, 4):
            raise ImageError(
                f"A reference is a picture in colour, (Y, X, 3 or 4), got shape {rgb.shape}."
            )
        object.__setattr__(self, "rgb", rgb)
        if self.regions is not None:
            regions = np.asarray(self.regions)
            if regions.shape != rgb.shape[:2] or regions.dtype.kind not in "bui":
                raise ImageError(
                    "Regions of a reference are whole numbers for each of its pixels, "
                    f"{rgb.shape[:2]}, got {regions.dtype} of shape {regions.shape}."
                )
            object.__setattr__(self, "regions", regions)
        if not bool((self._seen[3] > 0).any()):
            raise ImageError("Nothing of the reference picture is opaque: choose another one.")

    @cached_property
    def _seen(self) -> Tensor:
        """R, G and B `(4, h, w)` times opacity, which is 0 or 1 before it is shrunk; and this."""
        step = math.ceil(math.sqrt(self.rgb.shape[0] * self.rgb.shape[1] / READ))
        pixels = self.rgb[::step, ::step]
        low, high = default_limits(self.rgb[..., :3])[0]
        unit = (pixels[..., :3].astype(np.float32) - low) / max(high - low, 1e-30)
        opaque = np.isfinite(unit).all(axis=-1)
        if pixels.shape[2] == 4:
            opaque &= pixels[..., 3] >= default_limits(pixels[..., 3])[0][1] / 2
        parts = [np.clip(np.nan_to_num(unit), 0, 1) * opaque[..., None], opaque[..., None]]
        seen = torch.from_numpy(np.concatenate(parts, axis=-1).astype(np.float32))
        return resize(seen.movedim(-1, 0)[None], _fitting(pixels.shape, KEPT))[0]

    def small(self, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
        """Its luminance and chrominance at a size of about so many pixels.

        Returns
        -------
        gray : Tensor, shape (h, w)
            float32 in [0, 1].
        uv : Tensor, shape (h, w, 2)
            float32.
        opaque : Tensor, shape (h, w)
            bool.
        """
        seen = resize(self._seen[None], _fitting(self._seen.shape[1:], pixels))[0]
        yuv = rgb_to_yuv((seen[:3] / seen[3].clamp_min(TINY)).movedim(0, -1))
        # Were the parts that are opaque narrower than a pixel, none would be half full.
        return yuv[..., 0], yuv[..., 1:], seen[3] >= 0.5 * seen[3].max()


def transfer_palette(
    gray: Tensor,
    uv: Tensor,
    reference: Reference,
    *,
    strength: float,
    method: Method = "statistics",
    regions: NDArray[np.integer[Any]] | None = None,
) -> Tensor:
    """Chrominance with the palette of a reference.

    Parameters
    ----------
    gray : Tensor, shape (h, w)
        Luminance in [0, 1], at the size of `uv`.
    uv : Tensor, shape (h, w, 2)
        Predicted U and V.
    reference : Reference
        Where the palette comes from.
    strength : float
        0 leaves the prediction, 1 takes the palette; in between is between.
    method : {"statistics", "patches"}
        See `match_statistics` and `match_patches`.
    regions : array of int, shape (Y, X), optional
        Parts of the picture at any size, by number; 0 is no part. If reference and picture have
        regions, each takes from the one of the same number, and what only one of them has stays as
        it was. Otherwise the picture as a whole takes from all of the reference.

    Returns
    -------
    Tensor, shape (h, w, 2)
        U and V, which may need the limits of RGB as predicted ones do.

    Raises
    ------
    SettingsError
        If there is no such method.
    """
    if method not in ("statistics", "patches"):
        raise SettingsError(f"method must be one of statistics, patches, got {method!r}.")
    their_gray, their_uv, there = (part.to(uv.device) for part in reference.small(gray.numel()))
    region, their_region = torch.ones_like(gray, dtype=torch.int64), there.long()
    if regions is not None and reference.regions is not None:
        region = resize_labels(regions, gray.shape).to(uv.device)
        their_region = their_region * resize_labels(reference.regions, there.shape).to(uv.device)
    look, their_look = describe(gray), describe(their_gray)
    taken = uv.clone()
    for number in region.unique().tolist():
        here, there = region == number, their_region == number
        if number == 0 or not there.any():
            continue
        if method == "statistics":
            matched = match_statistics(uv[here], their_uv[there])
        else:
            matched = match_patches(look[here], their_look[there], their_uv[there])
        taken[here] = torch.lerp(uv[here], matched, strength)
    return taken


def match_statistics(uv: Tensor, wanted: Tensor) -> Tensor:
    """Move and stretch colours until their mean and covariance are those of others.

    The transfer of Reinhard, Ashikhmin, Gooch & Shirley, "Color transfer between images" (IEEE
    Computer Graphics and Applications 21, 2001, eqs. (10) and (11)), which matches mean and
    standard deviation of each axis, on chrominance alone: luminance stays. U and V depend on each
    other, unlike the axes there, so the covariance is matched, by the symmetric matrix that moves
    colours least (Pitie & Kokaram, "The linear Monge-Kantorovitch linear colour mapping", 2007).

    Parameters
    ----------
    uv : Tensor, shape (n, 2)
        U and V.
    wanted : Tensor, shape (m, 2)
        Those of the reference.

    Returns
    -------
    Tensor, shape (n, 2)
        With mean and covariance of `wanted`, unless that takes a gain above `LARGEST_GAIN`:
        predictions that are almost gray are moved, and stretched by no more.
    """
    mean, covariance = _moments(uv)
    their_mean, their_covariance = _moments(wanted)
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5, TINY**2)
    matrix = inverse @ _power(root @ their_covariance @ root, 0.5) @ inverse
    matrix = _power(matrix, 1.0, 0.0, LARGEST_GAIN)
    return (uv - mean) @ matrix.to(uv) + their_mean


def match_patches(look: Tensor, their_look: Tensor, their_uv: Tensor) -> Tensor:
    """Give every pixel the colours of the places in a reference that look like it in gray.

    After Welsh, Ashikhmin & Mueller, "Transferring color to greyscale images" (ACM Transactions on
    Graphics 21, 2002, section 3.1, global matching): the reference's luminance is shifted and
    scaled to the mean and spread of the picture's, then luminance and its standard deviation in a
    neighbourhood are compared with those of samples, which lie scattered evenly. Instead of the
    best match the `BEST` are averaged.

    Parameters
    ----------
    look : Tensor, shape (n, 2)
        Luminance and its deviation around each pixel, see `describe`.
    their_look : Tensor, shape (m, 2)
        The same of the reference.
    their_uv : Tensor, shape (m, 2)
        Its U and V.

    Returns
    -------
    Tensor, shape (n, 2)
        U and V. The same for the same input.
    """
    chosen = _scattered(len(their_look)).to(their_look.device)
    gray, their_gray = look[:, 0], their_look[:, 0]
    gain = gray.std(correction=0) / their_gray.std(correction=0).clamp_min(TINY)
    samples = their_look[chosen] * gain
    samples[:, 0] += gray.mean() - gain * their_gray.mean()
    colors = their_uv[chosen]
    count = min(BEST, len(samples))
    matched = [
        colors[torch.cdist(block, samples).topk(count, largest=False).indices].mean(dim=1)
        for block in look.split(BLOCK)
    ]
    return torch.cat(matched)


def describe(gray: Tensor) -> Tensor:
    """Luminance of each pixel and its standard deviation in the pixels around, `(h, w, 2)`."""
    padded = F.pad(gray[None, None], [NEIGHBORHOOD // 2] * 4, mode="replicate")
    moments = F.avg_pool2d(torch.cat([padded, padded**2], dim=1), NEIGHBORHOOD, stride=1)[0]
    deviation = (moments[1] - moments[0] ** 2).clamp_min(0).sqrt()
    return torch.stack([gray, deviation], dim=-1)


def resize_labels(labels: NDArray[np.integer[Any]], size: tuple[int, ...]) -> Tensor:
    """Numbers `(Y, X)` at another size: those in the middle of each pixel, int64."""
    rows, columns = (
        ((np.arange(to) + 0.5) * (length / to)).astype(np.intp)
        for length, to in zip(labels.shape, size, strict=True)
    )
    return torch.from_numpy(labels[np.ix_(rows, columns)].astype(np.int64))


def _fitting(shape: tuple[int, ...], pixels: int) -> tuple[int, int]:
    """Height and width of the same proportions, of at most about so many pixels."""
    scale = min(1.0, math.sqrt(pixels / (shape[0] * shape[1])))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (2,), and covariance (2, 2) as float64 on the CPU: some devices have no float64."""
    mean = values.mean(dim=0)
    return mean, ((values - mean).T @ (values - mean) / len(values)).cpu().double()


def _power(matrix: Tensor, exponent: float, low: float = 0.0, high: float = math.inf) -> Tensor:
    """A symmetric matrix to a power, by its eigenvalues, which are kept within bounds."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return vectors * values.clamp(low, high) ** exponent @ vectors.T


def _scattered(count: int) -> Tensor:
    """Some of so many places, one at random in each of as many equal stretches."""
    samples = min(count, SAMPLES)
    jitter = torch.rand(samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ((torch.arange(samples) + jitter) * (count / samples)).long().clamp_max(count - 1)
