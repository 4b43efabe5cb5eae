"""Random augmentation of gray and colors alike, for small data sets; on the device, in batches.

Geometric changes are combined to one projective transform per image and interpolated once, because
separate rotation, zoom and warp would blur three times. The strengths for photographs are those of
DeOldify, fastai 1's `get_transforms(max_zoom=1.2, max_lighting=0.5, max_warp=0.25)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize_training.rng import Random, uniform

LOGIT_EPSILON = 1e-4  # distance from 0 and 1, where logits are infinite
MIN_TRANSMISSION = 1 / 255  # of a slide; optical density is its negative logarithm


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Limits of random changes, which differ for each image. Default: no changes."""

    mirror: float = 0.0  # probability of a left-right flip (`Crops` can flip, too)
    # Rotations by 90 degrees and flips, all eight equally likely; for images without an upright
    # orientation
    turns: bool = False
    rotate: float = 0.0  # largest angle, degrees
    zoom: float = 1.0  # largest zoom factor
    # Largest shift of a corner by a perspective change, as a share of half the side
    warp: float = 0.0
    # Strength of brightness and contrast changes, in [0, 1): logits of the values change by at most
    # log((1 + lighting) / (1 - lighting)) and by a factor of at most 1 / (1 - lighting)
    lighting: float = 0.0
    # Largest relative change of the density of each dye in a stained slide (hematoxylin, eosin,
    # DAB); Tellez et al. 2018 (doi 10.1109/TMI.2018.2820199). Gray images of the data set are not
    # changed.
    stain: float = 0.0
    probability: float = 0.75  # probability of each of rotate, zoom, warp and lighting

    @property
    def is_geometric(self) -> bool:
        """Whether there is a geometric change."""
        return bool(self.mirror or self.turns or self.rotate or self.zoom > 1 or self.warp)


NONE = Augmentation()
PHOTOGRAPHS = Augmentation(mirror=0.5, rotate=10.0, zoom=1.2, warp=0.25, lighting=0.5)
STAINS = Augmentation(turns=True, rotate=10.0, zoom=1.2, lighting=0.2, stain=0.05)
PRESETS = {"none": NONE, "photographs": PHOTOGRAPHS, "stains": STAINS}


def augment(
    rgb: Tensor, gray: Tensor | None, augmentation: Augmentation, random: Random
) -> tuple[Tensor, Tensor | None]:
    """Augment each image at random, with the same changes of its gray.

    Parameters
    ----------
    rgb : Tensor, shape (N, 3, H, W)
        float, in [0, 1].
    gray : Tensor, shape (N, 1, H, W), optional
        In [0, 1]; None if gray is computed from the result.
    augmentation : Augmentation
        Limits of the changes.
    random : torch.Generator or sequence of N of them
        On any device.

    Returns
    -------
    tuple of Tensor
        `rgb` and `gray` of the same shapes, in [0, 1].
    """
    together = rgb if gray is None else torch.cat([rgb, gray], dim=1)
    if augmentation.stain:
        together = torch.cat(
            [_change_stain(rgb, augmentation.stain, random), together[:, 3:]], dim=1
        )
    if augmentation.is_geometric:
        together = _warp(together, transforms(together, augmentation, random))
    if augmentation.lighting:
        together = _change_lighting(together, augmentation, random)
    return together[:, :3], None if gray is None else together[:, 3:]


def transforms(images: Tensor, augmentation: Augmentation, random: Random) -> Tensor:
    """Return matrices `(N, 3, 3)` from coordinates in the result, -1 to 1, to the images."""
    matrix = torch.eye(3, device=images.device, dtype=images.dtype).expand(len(images), 3, 3)
    if augmentation.mirror:
        matrix = _flips(images, augmentation.mirror, random) @ matrix
    if augmentation.turns:
        quarters = (uniform(random, images) * 4).floor() * (math.pi / 2)
        matrix = _rotations(quarters) @ _flips(images, 0.5, random) @ matrix
    if augmentation.rotate:
        angles = (
            _random_amounts(images, augmentation, random, -augmentation.rotate, augmentation.rotate)
            * math.pi
            / 180
        )
        # Rotate in pixel coordinates, not in those of the square [-1, 1].
        shape = torch.tensor([images.shape[-1], images.shape[-2], 1.0]).to(images)
        matrix = (_rotations(angles) * shape[None, None, :] / shape[None, :, None]) @ matrix
    if augmentation.zoom > 1:
        matrix = _zooms(images, augmentation, random) @ matrix
    if augmentation.warp:
        matrix = _warps(images, augmentation, random) @ matrix
    return matrix


def _random_amounts(
    images: Tensor, augmentation: Augmentation, random: Random, low: float, high: float
) -> Tensor:
    """Return uniform numbers `(N,)`; 0 for images that are not changed."""
    is_changed = uniform(random, images) < augmentation.probability
    return uniform(random, images, low=low, high=high) * is_changed


def _flips(images: Tensor, share: float, random: Random) -> Tensor:
    signs = torch.ones(len(images), 3, device=images.device, dtype=images.dtype)
    signs[:, 0] = torch.where(uniform(random, images) < share, -1.0, 1.0).to(images)
    return torch.diag_embed(signs)


def _rotations(angles: Tensor) -> Tensor:
    cos, sin = angles.cos(), angles.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def _zooms(images: Tensor, augmentation: Augmentation, random: Random) -> Tensor:
    """Zoom about a random point, so that no border is empty."""
    scale = 1 / (1 + _random_amounts(images, augmentation, random, 0.0, augmentation.zoom - 1))
    matrix = torch.diag_embed(torch.stack([scale, scale, torch.ones_like(scale)], dim=1))
    matrix[:, :2, 2] = uniform(random, images, 2, low=-1.0) * (1 - scale)[:, None]
    return matrix


def _warps(images: Tensor, augmentation: Augmentation, random: Random) -> Tensor:
    """Tilt about the vertical and the horizontal axis.

    x / (1 + p x + q y) with p = m / (2 + m) moves the corners of one side outwards to 1 + m of
    their distance, and the others inwards.
    """
    matrix = torch.eye(3, device=images.device, dtype=images.dtype).repeat(len(images), 1, 1)
    for axis in (0, 1):
        amount = _random_amounts(
            images, augmentation, random, -augmentation.warp, augmentation.warp
        )
        matrix[:, 2, axis] = amount / (2 + amount.abs())
    return matrix


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    # Coordinates of pixel centers; the outer edges of the image are at -1 and 1.
    y, x = (
        (2 * torch.arange(side, device=images.device, dtype=images.dtype) + 1) / side - 1
        for side in (height, width)
    )
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    points = torch.stack([xx, yy, torch.ones_like(xx)], dim=-1).view(1, -1, 3)
    mapped = points @ matrix.transpose(1, 2)  # (N, H W, 3)
    grid = (mapped[..., :2] / mapped[..., 2:]).view(-1, height, width, 2)
    return F.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _change_lighting(images: Tensor, augmentation: Augmentation, random: Random) -> Tensor:
    """Change brightness and contrast as fastai 1: a summand and a factor of logits."""
    strength = augmentation.lighting
    change = 0.5 * (1 + _random_amounts(images, augmentation, random, -strength, strength))
    limit = -math.log(1 - strength)
    factor = _random_amounts(images, augmentation, random, -limit, limit).exp()
    logits = torch.logit(images, LOGIT_EPSILON) + torch.logit(change)[:, None, None, None]
    return torch.sigmoid(logits * factor[:, None, None, None])


def _change_stain(rgb: Tensor, strength: float, random: Random) -> Tensor:
    """Change the density of each dye of a slide by a factor and a summand."""
    from skimage.color.colorconv import hed_from_rgb, rgb_from_hed

    to_dyes, to_rgb = (torch.tensor(matrix).to(rgb) for matrix in (hed_from_rgb, rgb_from_hed))
    density = -rgb.clamp_min(MIN_TRANSMISSION).log().movedim(1, -1)  # Beer and Lambert
    dyes = density @ to_dyes
    factor = 1 + uniform(random, rgb, 1, 1, 3, low=-strength, high=strength)
    offset = uniform(random, rgb, 1, 1, 3, low=-strength, high=strength)
    changed = (dyes * factor + offset) @ to_rgb
    return torch.exp(-changed).movedim(-1, 1).clamp(0, 1)
