"""Steady colours along time: what was shown so far goes along with the motion and is averaged.

A network colours each frame by itself, so its colours flicker. A frame's chrominance is joined here
with that of the frames before it, carried along by the optical flow of the gray: a recursive mean
for every pixel, over the frames in which it was seen. Where the gray that was carried along is not
the gray that is there (uncovered, moved in another way, slowly dissolved into another picture) the
mean begins anew, and so it does everywhere when a new scene begins. All that is remembered is a
few maps of the chrominance's own size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize.scaling import resize

# Frames before this one that count at a strength of 1: a second of cinema. Many more would let
# errors grow: cubic interpolation strengthens some details by 3 % every time.
MEMORY = 24
STRETCH = 2.0  # times that a mean is lengthened at most
TINY = 1e-6  # keeps divisions finite; no visible chroma is so short

# The flow (iterative Lucas-Kanade of scikit-image). Chosen for the best flow in a tenth of the time
# of the embedded network.
FLOW_PIXELS = 64**2  # the gray is made so small first
FLOW_RADIUS = 5
FLOW_WARPS = 2
LEAST_SIDE = 4  # a picture that is smaller has no motion

# What tells grays apart.
NOISE = 0.02  # difference below which two grays are the same, if the whole frame is that quiet
GRAINY = 0.06  # ... and if it is grainy: twice the median difference, up to here
EXPOSURE = 0.25  # change of contrast between two frames that is taken for one of exposure
WINDOW = 2  # radius within which the structure of two frames is compared
FLAT = 1e-4  # variance of gray that counts as half structure
# Correlation of structure below which a scene is new. Of 1,000 pairs of unrelated pictures none had
# more than 0.50, with black bars; of 1,700 pairs of neighbours (fast, flashing or noisy) none less
# than 0.65.
NEW_SCENE = 0.57


@dataclass(frozen=True, eq=False)
class Steady:
    """All that is remembered of a sequence, at the size of the chrominance.

    Parameters
    ----------
    gray : Tensor, shape (h, w)
        Of the last frame.
    uv : Tensor, shape (h, w, 2)
        U and V of the last frame as steadied: what is shown.
    mean_gray : Tensor, shape (h, w)
        Gray averaged as the chrominance was. It lags behind what changes slowly, as colours would.
    frames : Tensor, shape (h, w)
        How many frames each pixel's mean is of.
    """

    gray: Tensor
    uv: Tensor
    mean_gray: Tensor
    frames: Tensor


@torch.inference_mode()
def steady(before: Steady | None, gray: Tensor, uv: Tensor, strength: float) -> Steady:
    """Join a frame's chrominance with that of the frames before it.

    Hue is averaged as a vector (U, V); its length is the root mean square of the lengths, or
    colours that disagree would give gray.

    Parameters
    ----------
    before : Steady or None
        What the call for the frame before gave; None for the first. A sequence begins anew if it is
        of another size, or if the frame shows another scene.
    gray : Tensor, shape (h, w)
        float32 luminance in [0, 1], without NaN, at the size of the chrominance.
    uv : Tensor, shape (h, w, 2)
        float32 U and V of this frame by itself.
    strength : float
        0 gives exactly `uv`. 1 is the steadiest, a mean of up to 25 frames. In between, the frames
        before have that part of the share that they have at 1: 0.8 averages about the last four.

    Returns
    -------
    Steady
        Its `uv` is what is shown; the rest is for the next call.

    Raises
    ------
    ValueError
        If `strength` is not within 0 to 1, or `gray` and `uv` are not of the same height and width.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"The strength must lie within 0 to 1, got {strength:g}.")
    if gray.shape != uv.shape[:2]:
        raise ValueError(
            f"gray and uv must cover the same pixels, got {tuple(gray.shape)} and "
            f"{tuple(uv.shape)}."
        )
    anew = Steady(gray, uv, gray, torch.ones_like(gray))
    if before is None or strength == 0 or before.gray.shape != gray.shape:
        return anew
    carried, is_inside = _carried(before, _motion(before.gray, gray))
    if _is_new_scene(carried.gray, gray):
        return anew
    largest = strength * MEMORY / (MEMORY + 1)
    most = largest / (1 - largest)
    frames = carried.frames.clamp(0, most) * is_inside * _is_same(carried, gray)
    share = frames / (frames + 1)
    return Steady(
        gray,
        _mean_chroma(uv, carried.uv, share),
        torch.lerp(gray, carried.mean_gray, share),
        frames + 1,
    )


def _mean_chroma(uv: Tensor, carried: Tensor, share: Tensor) -> Tensor:
    """The mean of two chrominances, as long as the root mean square of their lengths."""
    mean = torch.lerp(uv, carried, share[..., None])
    squares = torch.lerp(uv.square().sum(-1), carried.square().sum(-1), share)
    length = torch.linalg.vector_norm(mean, dim=-1)
    # Where opposite hues cancel there is none to be had: what is left is lengthened, but not much.
    stretch = (squares.sqrt() / length.clamp_min(TINY)).clamp_max(STRETCH)
    return mean * stretch[..., None]


def _motion(before: Tensor, now: Tensor) -> Tensor:
    """Rows and columns from each pixel of a gray to its place in the one before, (2, h, w).

    The images are small and the search has many steps, so it is done on the CPU wherever they are.
    """
    from skimage.registration import optical_flow_ilk

    height, width = now.shape
    shrink = min(1.0, (FLOW_PIXELS / (height * width)) ** 0.5)
    size = max(1, round(height * shrink)), max(1, round(width * shrink))
    if min(size) < LEAST_SIDE:
        return now.new_zeros(2, height, width)
    pair = torch.stack([_exposed_as(before, now), now])[:, None]
    reference, moving = resize(pair, size)[:, 0].cpu().flip(0).numpy()
    flow = optical_flow_ilk(
        reference,
        moving,
        radius=FLOW_RADIUS,
        num_warp=FLOW_WARPS,
        gaussian=True,
        dtype=reference.dtype,
    )
    steps = now.new_tensor([height / size[0], width / size[1]])[:, None, None]
    return resize(torch.from_numpy(flow).to(now)[None], (height, width))[0] * steps


def _exposed_as(gray: Tensor, like: Tensor) -> Tensor:
    """A gray with the mean and the contrast of another, as far as exposure explains it."""
    gain = (like.std() / gray.std().clamp_min(TINY)).clamp(1 - EXPOSURE, 1 + EXPOSURE)
    return (gray - gray.mean()) * gain + like.mean()


def _carried(before: Steady, flow: Tensor) -> tuple[Steady, Tensor]:
    """What is remembered, moved along the flow, and 1 where that was within the frame, else 0."""
    height, width = before.gray.shape
    rows = torch.arange(0.5, height, device=flow.device)[:, None] + flow[0]
    columns = torch.arange(0.5, width, device=flow.device) + flow[1]
    grid = torch.stack([columns * (2 / width), rows * (2 / height)], dim=-1) - 1
    maps = torch.stack([before.gray, before.mean_gray, before.frames, *before.uv.unbind(-1)])
    # Cubic: a mean that is interpolated linearly in every frame would become blurred.
    gray, mean_gray, frames, u, v = F.grid_sample(
        maps[None], grid[None], "bicubic", padding_mode="border", align_corners=False
    )[0]
    is_inside = (grid.abs() <= 1).all(-1)
    return Steady(gray, torch.stack([u, v], dim=-1), mean_gray, frames), is_inside


def _is_same(carried: Steady, gray: Tensor) -> Tensor:
    """How surely a pixel shows what it showed before, 0 to 1, (h, w)."""
    change = _difference(carried.gray, gray)
    bearable = (2 * change.median()).clamp(NOISE, GRAINY)
    drift = torch.maximum(change, _difference(carried.mean_gray, gray))
    return (2 - drift / bearable).clamp(0, 1)


def _difference(before: Tensor, now: Tensor) -> Tensor:
    return _around((_exposed_as(before, now) - now).abs()[None], 1)[0]


def _is_new_scene(before: Tensor, now: Tensor) -> bool:
    """Whether there is next to nothing of the frame before, already moved along, in this one.

    Compared is the structure within small windows (the correlation of Wang et al. 2004, eq. (10)),
    as another exposure leaves it what it is; windows count as far as they have any, as the black
    bars of two films are the same.
    """
    maps = torch.stack([before, now, before * before, now * now, before * now])
    mean, other_mean, square, other_square, product = _around(maps, WINDOW)
    variance = (square - mean * mean).clamp_min(0)
    other_variance = (other_square - other_mean * other_mean).clamp_min(0)
    alike = product - mean * other_mean + FLAT
    alike = alike / ((variance + FLAT) * (other_variance + FLAT)).sqrt()
    most = torch.maximum(variance, other_variance)
    weight = most / (most + FLAT)
    # Two frames without any structure are of one scene.
    return bool((alike * weight).mean() + FLAT < NEW_SCENE * (weight.mean() + FLAT))


def _around(maps: Tensor, radius: int) -> Tensor:
    """Means over the square window around each pixel, (C, h, w)."""
    side = 2 * radius + 1
    return F.avg_pool2d(maps[None], side, 1, radius, count_include_pad=False)[0]
