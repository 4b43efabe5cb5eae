"""Changes to gray and colours alike that make a small set larger; on the device, batch by batch.

Geometry is one projective map for each picture, sampled once: turning, enlarging and tilting one
after the other would blur three times. The strengths for photographs are those DeOldify trained
with, fastai 1's `get_transforms(max_zoom=1.2, max_lighting=0.5, max_warp=0.25)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize_training.rng import Random, uniform

EDGE = 1e-4  # of [0, 1]: logits beyond are endless
DENSEST = 1 / 255  # the least light that a slide lets through; density is its logarithm


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How strong each change may be; every picture draws its own. Default: none.

    Parameters
    ----------
    mirror : float
        Share of pictures mirrored left to right (`Crops` can do that already).
    turns : bool
        Quarter turns and mirroring, all eight equally likely: for what has no upright.
    rotate : float
        Largest angle, degrees.
    zoom : float
        Largest enlargement.
    warp : float
        Largest shift of a corner by a view from aside, as a share of half the side.
    lighting : float
        Strength of brightness and contrast, in [0, 1): for logits of gray, at most
        log((1 + lighting) / (1 - lighting)) added, and a factor up to 1 / (1 - lighting).
    stain : float
        Largest change of each of the three dyes' density in a stained slide (haematoxylin, eosin,
        DAB), as a share of it; Tellez et al. 2018 (doi 10.1109/TMI.2018.2820199). Grays that come
        with the pictures stay as they are.
    share : float
        Of pictures that each of rotate, zoom, warp and lighting happens to.
    """

    mirror: float = 0.0
    turns: bool = False
    rotate: float = 0.0
    zoom: float = 1.0
    warp: float = 0.0
    lighting: float = 0.0
    stain: float = 0.0
    probability: float = 0.75

    @property
    def moves(self) -> bool:
        """Whether pixels move."""
        return bool(self.mirror or self.turns or self.rotate or self.zoom > 1 or self.warp)


NONE = Augmentation()
PHOTOGRAPHS = Augmentation(mirror=0.5, rotate=10.0, zoom=1.2, warp=0.25, lighting=0.5)
STAINS = Augmentation(turns=True, rotate=10.0, zoom=1.2, lighting=0.2, stain=0.05)
PLANS = {"none": NONE, "photographs": PHOTOGRAPHS, "stains": STAINS}


def augment(
    rgb: Tensor, gray: Tensor | None, plan: Augmentation, random: Random
) -> tuple[Tensor, Tensor | None]:
    """Change each picture at random, its gray alike.

    Parameters
    ----------
    rgb : Tensor, shape (N, 3, H, W)
        float, in [0, 1].
    gray : Tensor, shape (N, 1, H, W), optional
        In [0, 1]; None if it is to be derived from the result.
    plan : Augmentation
        What may happen.
    random : torch.Generator or sequence of N of them
        On any device; decides everything.

    Returns
    -------
    tuple of Tensor
        `rgb` and `gray`, of the shapes that came and in [0, 1].
    """
    together = rgb if gray is None else torch.cat([rgb, gray], dim=1)
    if plan.stain:
        together = torch.cat([_stain(rgb, plan.stain, random), together[:, 3:]], dim=1)
    if plan.moves:
        together = _move(together, view_of(together, plan, random))
    if plan.lighting:
        together = _light(together, plan, random)
    return together[:, :3], None if gray is None else together[:, 3:]


def view_of(pictures: Tensor, plan: Augmentation, random: Random) -> Tensor:
    """Matrices `(N, 3, 3)` from places in the result, -1 to 1, to places in the pictures."""
    view = torch.eye(3, device=pictures.device, dtype=pictures.dtype).expand(len(pictures), 3, 3)
    if plan.mirror:
        view = _flips(pictures, plan.mirror, random) @ view
    if plan.turns:
        quarters = (uniform(random, pictures) * 4).floor() * (math.pi / 2)
        view = _rotations(quarters) @ _flips(pictures, 0.5, random) @ view
    if plan.rotate:
        angles = _sometimes(pictures, plan, random, -plan.rotate, plan.rotate) * math.pi / 180
        # Degrees are of the picture, not of the square that it is mapped to.
        shape = torch.tensor([pictures.shape[-1], pictures.shape[-2], 1.0]).to(pictures)
        view = (_rotations(angles) * shape[None, None, :] / shape[None, :, None]) @ view
    if plan.zoom > 1:
        view = _zooms(pictures, plan, random) @ view
    if plan.warp:
        view = _warps(pictures, plan, random) @ view
    return view


def _sometimes(
    pictures: Tensor, plan: Augmentation, random: Random, low: float, high: float
) -> Tensor:
    """Numbers `(N,)` between `low` and `high`; 0 where nothing is to happen."""
    happens = uniform(random, pictures) < plan.probability
    return uniform(random, pictures, low=low, high=high) * happens


def _flips(pictures: Tensor, share: float, random: Random) -> Tensor:
    signs = torch.ones(len(pictures), 3, device=pictures.device, dtype=pictures.dtype)
    signs[:, 0] = torch.where(uniform(random, pictures) < share, -1.0, 1.0).to(pictures)
    return torch.diag_embed(signs)


def _rotations(angles: Tensor) -> Tensor:
    cos, sin = angles.cos(), angles.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def _zooms(pictures: Tensor, plan: Augmentation, random: Random) -> Tensor:
    """Enlarged about a place that leaves no border empty."""
    scale = 1 / (1 + _sometimes(pictures, plan, random, 0.0, plan.zoom - 1))
    view = torch.diag_embed(torch.stack([scale, scale, torch.ones_like(scale)], dim=1))
    view[:, :2, 2] = uniform(random, pictures, 2, low=-1.0) * (1 - scale)[:, None]
    return view


def _warps(pictures: Tensor, plan: Augmentation, random: Random) -> Tensor:
    """Tilted about the vertical and the horizontal axis.

    x / (1 + p x + q y) with p = m / (2 + m) sends the corners on one side outwards to 1 + m of
    their distance and brings the others nearer.
    """
    view = torch.eye(3, device=pictures.device, dtype=pictures.dtype).repeat(len(pictures), 1, 1)
    for axis in (0, 1):
        amount = _sometimes(pictures, plan, random, -plan.warp, plan.warp)
        view[:, 2, axis] = amount / (2 + amount.abs())
    return view


def _move(pictures: Tensor, view: Tensor) -> Tensor:
    height, width = pictures.shape[-2:]
    # Centres of pixels; the outer edges of the picture are at -1 and 1.
    y, x = (
        (2 * torch.arange(side, device=pictures.device, dtype=pictures.dtype) + 1) / side - 1
        for side in (height, width)
    )
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    places = torch.stack([xx, yy, torch.ones_like(xx)], dim=-1).view(1, -1, 3)
    seen = places @ view.transpose(1, 2)  # (N, H W, 3)
    grid = (seen[..., :2] / seen[..., 2:]).view(-1, height, width, 2)
    return F.grid_sample(
        pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _light(pictures: Tensor, plan: Augmentation, random: Random) -> Tensor:
    """Brightness and contrast as fastai 1 changes them: a sum and a factor on logits."""
    strength = plan.lighting
    change = 0.5 * (1 + _sometimes(pictures, plan, random, -strength, strength))
    limit = -math.log(1 - strength)
    factor = _sometimes(pictures, plan, random, -limit, limit).exp()
    logits = torch.logit(pictures, EDGE) + torch.logit(change)[:, None, None, None]
    return torch.sigmoid(logits * factor[:, None, None, None])


def _stain(rgb: Tensor, strength: float, random: Random) -> Tensor:
    """Each dye of a slide a little denser or thinner, by factor and by a constant."""
    from skimage.color.colorconv import hed_from_rgb, rgb_from_hed

    to_dyes, to_rgb = (torch.tensor(matrix).to(rgb) for matrix in (hed_from_rgb, rgb_from_hed))
    density = -rgb.clamp_min(DENSEST).log().movedim(1, -1)  # Beer and Lambert
    dyes = density @ to_dyes
    factor = 1 + uniform(random, rgb, 1, 1, 3, low=-strength, high=strength)
    offset = uniform(random, rgb, 1, 1, 3, low=-strength, high=strength)
    changed = (dyes * factor + offset) @ to_rgb
    return torch.exp(-changed).movedim(-1, 1).clamp(0, 1)
