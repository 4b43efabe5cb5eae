"""Steady colours along time: what was shown so far goes along with the motion and is averaged.

A network colours each frame by itself, so its colours flicker. A frame's chrominance is joined here
with that of the frames before it, carried along by the optical flow of the gray: a recursive mean
for every pixel, over the frames in which it was seen. Where the gray that was carried along is not
the gray that is there (uncovered, moved in another way, slowly dissolved into another picture) the
mean begins anew, and so it does everywhere when a new scene begins. Grays are compared at a small
size: that is quick, and deaf to grain. All that is remembered is the last chrominance and a few
maps of that size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize.imaging.resample import resize, resize_map

# Frames before this one that count at a strength of 1: a second of cinema. Many more would let
# errors grow: cubic interpolation strengthens some details by 3 % every time.
MEMORY = 24
STRETCH = 2.0  # times that a mean is lengthened at most
TINY = 1e-6  # keeps divisions finite; no visible chroma is so short

# Grays are compared at no more than this size.
GLANCE_PIXELS = 64**2
LEAST_SIDE = 4  # a picture that is smaller has no motion
# Iterative Lucas-Kanade: nearly the best flow in a tenth of the embedded network's time.
FLOW_RADIUS = 5
FLOW_WARPS = 2

SAME = 0.015  # difference of gray up to which a place shows the same; at twice that, another
# Of what looks as it did a frame before, the share that also looks as it did on average: in scenes
# that last it is more, and in dissolves less.
LASTING, DISSOLVING = 0.85, 0.6
EXPOSURE = 2.0  # times as bright or as dark that the next frame can be
BLACK = 1e-4  # mean square of gray that is too dark to tell
WINDOW = 2  # radius within which the structure of two frames is compared
FLAT = 1e-4  # variance of gray that counts as half structure
SAME_STRUCTURE, OTHER_STRUCTURE = 0.9, 0.7
# Of 3,000 pairs of unrelated pictures, most of them with black bars, none had more than 0.49 of
# their structure in common; of 1,700 pairs of neighbours (fast, flashing or grainy) none less than
# 0.64.
NEW_SCENE = 0.55


@dataclass(frozen=True, eq=False)
class TemporalState:
    """All that is remembered of a sequence.

    Parameters
    ----------
    uv : Tensor, shape (h, w, 2)
        U and V of the last frame as steadied: what is shown.
    gray : Tensor, shape (y, x)
        Luminance of the last frame at the size at which grays are compared, 64 x 64 or less.
    mean_gray : Tensor, shape (y, x)
        Gray averaged as the chrominance was. It lags behind what changes slowly, as colours would.
    frames : Tensor, shape (y, x)
        Of how many frames the mean at each place is.
    """

    uv: Tensor
    gray: Tensor
    mean_gray: Tensor
    frames: Tensor


@torch.inference_mode()
def smooth_step(
    before: TemporalState | None, gray: Tensor, uv: Tensor, strength: float
) -> TemporalState:
    """Join a frame's chrominance with that of the frames before it.

    Hue is averaged as a vector (U, V); its length is the root mean square of the lengths, or
    colours that disagree would give gray.

    Parameters
    ----------
    before : Steady or None
        What the call for the frame before gave; None for the first. A sequence begins anew if it is
        of another size, or if the frame shows another scene.
    gray : Tensor, shape (Y, X)
        float32 luminance in [0, 1], without NaN, of any size.
    uv : Tensor, shape (h, w, 2)
        float32 U and V of this frame by itself, on the same device.
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
        If `strength` is not within 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"The strength must lie within 0 to 1, got {strength:g}.")
    gray = resize_map(gray, _glance_size(uv.shape[0], uv.shape[1]))
    anew = TemporalState(uv, gray, gray, torch.ones_like(gray))
    if before is None or strength == 0 or before.uv.shape != uv.shape:
        return anew
    flow = _motion(before.gray, gray)
    was, was_on_average, frames = _carried(
        torch.stack([before.gray, before.mean_gray, before.frames]), flow
    )
    structure, weight = _structure(was, gray)
    if _is_new_scene(structure, weight):
        return anew
    gain = _gain(was, gray)
    largest = strength * MEMORY / (MEMORY + 1)
    kept = frames.clamp(0, largest / (1 - largest)) * _is_inside(flow)
    kept = kept * _step(structure, OTHER_STRUCTURE, SAME_STRUCTURE)
    kept = kept * _sameness(gain * was, gain * was_on_average, gray)
    share = kept / (kept + 1)
    size = uv.shape[0], uv.shape[1]
    flow_there = resize(flow[None], size)[0] * _steps(flow, size)
    carried = gain * _carried(before.uv.movedim(-1, 0), flow_there).movedim(0, -1)
    return TemporalState(
        _mean_chroma(uv, carried, resize_map(share, size)),
        gray,
        torch.lerp(gray, gain * was_on_average, share),
        kept + 1,
    )


def _glance_size(height: int, width: int) -> tuple[int, int]:
    shrink = min(1.0, (GLANCE_PIXELS / (height * width)) ** 0.5)
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _motion(before: Tensor, now: Tensor) -> Tensor:
    """Rows and columns from each pixel of a gray to its place in the one before, (2, y, x).

    The images are small and the search has many steps: it is done on the CPU wherever they are.
    """
    from skimage.registration import optical_flow_ilk

    if min(now.shape) < LEAST_SIDE:
        return now.new_zeros(2, *now.shape)
    # Flow takes a change of exposure for motion.
    before = (before - before.mean()) * (now.std() / before.std().clamp_min(TINY)) + now.mean()
    moving, reference = torch.stack([before, now]).cpu().numpy()
    flow = optical_flow_ilk(
        reference, moving, radius=FLOW_RADIUS, num_warp=FLOW_WARPS, gaussian=True, dtype="float32"
    )
    return torch.from_numpy(flow).to(now)


def _places(flow: Tensor) -> Tensor:
    """Where the flow comes from, as `grid_sample` counts: (y, x, 2), x first, -1 to 1."""
    height, width = flow.shape[1:]
    rows = torch.arange(0.5, height, device=flow.device)[:, None] + flow[0]
    columns = torch.arange(0.5, width, device=flow.device) + flow[1]
    return torch.stack([columns * (2 / width), rows * (2 / height)], dim=-1) - 1


def _is_inside(flow: Tensor) -> Tensor:
    return (_places(flow).abs() <= 1).all(-1)


def _carried(maps: Tensor, flow: Tensor) -> Tensor:
    """Maps (C, y, x) moved along; cubic, as linear interpolation in every frame would blur them."""
    return F.grid_sample(
        maps[None], _places(flow)[None], "bicubic", padding_mode="border", align_corners=False
    )[0]


def _steps(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels of another size in a pixel of the flow, (2, 1, 1)."""
    height, width = flow.shape[1:]
    return flow.new_tensor([size[0] / height, size[1] / width])[:, None, None]


def _gain(before: Tensor, now: Tensor) -> Tensor:
    """How many times as bright the same things are now; fades and unsteady exposure.

    U and V are proportional to it, as R, G and B are.
    """
    # As in a regression of now on before; black stays black, whatever the light.
    gain = ((before * now).mean() + BLACK) / (before.square().mean() + BLACK)
    return gain.clamp(1 / EXPOSURE, EXPOSURE)


def _sameness(before: Tensor, on_average: Tensor, now: Tensor) -> Tensor:
    """How surely a place shows what it showed in the frame before and on average, 0 to 1.

    While one scene dissolves into another each frame is much like the last, and in places of like
    gray nothing is to be seen of it; but elsewhere the average lags behind. If that is so in much
    of the frame, the mean begins anew in all of it.
    """
    like_last, like_average = _likeness(before, now), _likeness(on_average, now)
    same = like_last * like_average
    lasting = same.mean() / like_last.mean().clamp_min(TINY)
    return same * _step(lasting, DISSOLVING, LASTING)


def _likeness(before: Tensor, now: Tensor) -> Tensor:
    change = _around((before - now)[None], 1)[0].abs()
    return 1 - _step(change, SAME, 2 * SAME)


def _step(values: Tensor, low: float, high: float) -> Tensor:
    """From 0 at `low` to 1 at `high`."""
    return ((values - low) / (high - low)).clamp(0, 1)


def _structure(before: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
    """How alike the structure around each place is, and how much there is; both up to 1.

    The correlation within a small window (Wang et al. 2004, eq. (10)), which a change of exposure
    leaves what it is. Two windows without structure are alike.
    """
    maps = torch.stack([before, now, before * before, now * now, before * now])
    mean, other_mean, square, other_square, product = _around(maps, WINDOW)
    variance = (square - mean * mean).clamp_min(0)
    other_variance = (other_square - other_mean * other_mean).clamp_min(0)
    alike = product - mean * other_mean + FLAT
    alike = alike / ((variance + FLAT) * (other_variance + FLAT)).sqrt()
    most = torch.maximum(variance, other_variance)
    return alike, most / (most + FLAT)


def _is_new_scene(structure: Tensor, weight: Tensor) -> bool:
    """Whether there is next to nothing of the frame before, already moved along, in this one.

    Windows count as far as there is structure in them, as the black bars of two films are the same.
    """
    return bool((structure * weight).mean() + FLAT < NEW_SCENE * (weight.mean() + FLAT))


def _around(maps: Tensor, radius: int) -> Tensor:
    """Means over the square window around each pixel, (C, y, x)."""
    side = 2 * radius + 1
    return F.avg_pool2d(maps[None], side, 1, radius, count_include_pad=False)[0]


def _mean_chroma(uv: Tensor, carried: Tensor, share: Tensor) -> Tensor:
    """The mean of two chrominances, as long as the root mean square of their lengths."""
    mean = torch.lerp(uv, carried, share[..., None])
    squares = torch.lerp(uv.square().sum(-1), carried.square().sum(-1), share)
    length = torch.linalg.vector_norm(mean, dim=-1)
    # Where opposite hues cancel there is none to be had: what is left is lengthened, but not much.
    stretch = (squares.sqrt() / length.clamp_min(TINY)).clamp_max(STRETCH)
    return mean * stretch[..., None]
