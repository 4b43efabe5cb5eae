"""Temporal smoothing: recursive mean of chrominance along motion trajectories.

A network colorizes every frame independently, so colors flicker. `smooth_step` warps the smoothed
chrominance of the previous frame with the optical flow of the gray and averages it with the
chrominance of the current frame. The mean restarts at pixels where the warped gray differs from the
current gray (occlusion, wrong flow, dissolve), and everywhere at a scene change. Grays are compared
at a small size, which is fast and robust to film grain. The state is the last chrominance and three
small maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize.imaging.resample import resize, resize_map

# Previous frames in the mean at strength 1: one second at 24 frames per second. A longer mean would
# accumulate errors, because cubic interpolation amplifies some details by 3 % per frame.
MEMORY = 24
MAX_STRETCH = 2.0  # largest factor by which a mean vector is lengthened
TINY = 1e-6  # avoids a division by zero; far below visible chroma

# Maximum size at which grays are compared.
COMPARED_PIXELS = 64**2
MIN_SIDE = 4  # no optical flow below this height or width
# Iterative Lucas-Kanade: takes a tenth of the time of the embedded network.
FLOW_RADIUS = 5
FLOW_WARPS = 2

SAME_GRAY = 0.015  # gray difference that counts as no change; twice this is a full change
# Share of pixels similar to the previous frame that are also similar to the mean: above the first
# value within a scene, below the second in a dissolve.
SAME_SCENE, DISSOLVE = 0.85, 0.6
MAX_EXPOSURE = 2.0  # largest change of exposure between two frames, as a factor
BLACK_SQUARE = 1e-4  # mean square gray below which the exposure is not estimated
WINDOW_RADIUS = 2  # radius in pixels of the window for structural similarity
FLAT_VARIANCE = 1e-4  # gray variance with structure weight 0.5
SAME_STRUCTURE, OTHER_STRUCTURE = 0.9, 0.7
# Measured: at most 0.49 for 3,000 pairs of unrelated images, most with black bars, and at least
# 0.64 for 1,700 pairs of consecutive frames with fast motion, flashes or grain.
SCENE_CHANGE = 0.55


@dataclass(frozen=True, eq=False)
class TemporalState:
    """State of temporal smoothing after one frame of a sequence."""

    uv: Tensor  # shape (h, w, 2): smoothed U and V of the frame
    # Shape (y, x): luminance of the frame at the comparison size, at most 64 x 64 pixels
    gray: Tensor
    # Shape (y, x): luminance averaged with the same weights as the chrominance. It lags behind slow
    # changes, as smoothed colors would.
    mean_gray: Tensor
    frames: Tensor  # shape (y, x): number of frames in the mean at each pixel


@torch.inference_mode()
def smooth_step(
    before: TemporalState | None, gray: Tensor, uv: Tensor, strength: float
) -> TemporalState:
    """Average the chrominance of a frame with that of the frames before it.

    Hue is averaged as a vector (U, V). Its length is the root mean square of the lengths, because a
    plain mean of different hues would turn gray. The mean restarts if the frame shows another
    scene, or if the size of U and V changes.

    Parameters
    ----------
    before : TemporalState or None
        State after the previous frame; None for the first frame.
    gray : Tensor, shape (Y, X)
        float32 luminance in [0, 1] without NaN, of any size.
    uv : Tensor, shape (h, w, 2)
        float32 U and V predicted for this frame, on the same device. The `uv` of the returned state
        are the smoothed ones.
    strength : float
        0 to 1. 0 returns exactly `uv`. 1 gives a mean of up to 25 frames. In between, the weight of
        the previous frames is this fraction of their weight at 1: 0.8 averages about four frames.

    Raises
    ------
    ValueError
        If `strength` is outside 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"The strength must be between 0 and 1, got {strength:g}.")
    gray = resize_map(gray, _compared_size(uv.shape[0], uv.shape[1]))
    restarted = TemporalState(uv, gray, gray, torch.ones_like(gray))
    if before is None or strength == 0 or before.uv.shape != uv.shape:
        return restarted
    flow = _optical_flow(before.gray, gray)
    warped, warped_mean, frames = _warp(
        torch.stack([before.gray, before.mean_gray, before.frames]), flow
    )
    structure, weight = _structural_similarity(warped, gray)
    if _is_scene_change(structure, weight):
        return restarted
    gain = _gain(warped, gray)
    max_share = strength * MEMORY / (MEMORY + 1)
    previous_frames = frames.clamp(0, max_share / (1 - max_share)) * _is_inside(flow)
    previous_frames = previous_frames * _ramp(structure, OTHER_STRUCTURE, SAME_STRUCTURE)
    previous_frames = previous_frames * _similarity(gain * warped, gain * warped_mean, gray)
    share = previous_frames / (previous_frames + 1)
    size = uv.shape[0], uv.shape[1]
    uv_flow = resize(flow[None], size)[0] * _pixels_per_pixel(flow, size)
    warped_uv = gain * _warp(before.uv.movedim(-1, 0), uv_flow).movedim(0, -1)
    return TemporalState(
        _mean_chroma(uv, warped_uv, resize_map(share, size)),
        gray,
        torch.lerp(gray, gain * warped_mean, share),
        previous_frames + 1,
    )


def _compared_size(height: int, width: int) -> tuple[int, int]:
    """Size at which grays are compared: the same aspect ratio, at most `COMPARED_PIXELS`."""
    shrink = min(1.0, (COMPARED_PIXELS / (height * width)) ** 0.5)
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _optical_flow(before: Tensor, now: Tensor) -> Tensor:
    """Optical flow in rows and columns from the current to the previous gray, (2, y, x).

    The images are small and the algorithm has many short steps, so it runs on the CPU.
    """
    from skimage.registration import optical_flow_ilk

    if min(now.shape) < MIN_SIDE:
        return now.new_zeros(2, *now.shape)
    # Normalize exposure: the algorithm would interpret its change as motion.
    before = (before - before.mean()) * (now.std() / before.std().clamp_min(TINY)) + now.mean()
    moving, reference = torch.stack([before, now]).cpu().numpy()
    flow = optical_flow_ilk(
        reference, moving, radius=FLOW_RADIUS, num_warp=FLOW_WARPS, gaussian=True, dtype="float32"
    )
    return torch.from_numpy(flow).to(now)


def _sample_positions(flow: Tensor) -> Tensor:
    """Source positions of a flow in `grid_sample` coordinates: (y, x, 2), x first, -1 to 1."""
    height, width = flow.shape[1:]
    rows = torch.arange(0.5, height, device=flow.device)[:, None] + flow[0]
    columns = torch.arange(0.5, width, device=flow.device) + flow[1]
    return torch.stack([columns * (2 / width), rows * (2 / height)], dim=-1) - 1


def _is_inside(flow: Tensor) -> Tensor:
    """Mask of pixels whose flow stays within the frame."""
    return (_sample_positions(flow).abs() <= 1).all(-1)


def _warp(maps: Tensor, flow: Tensor) -> Tensor:
    """Warp maps (C, y, x) with a flow.

    The interpolation is cubic: linear interpolation would blur a little more with every frame.
    """
    return F.grid_sample(
        maps[None],
        _sample_positions(flow)[None],
        "bicubic",
        padding_mode="border",
        align_corners=False,
    )[0]


def _pixels_per_pixel(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Number of pixels of another size per pixel of the flow, (2, 1, 1)."""
    height, width = flow.shape[1:]
    return flow.new_tensor([size[0] / height, size[1] / width])[:, None, None]


def _gain(before: Tensor, now: Tensor) -> Tensor:
    """Change of exposure from the previous to the current gray, as a factor.

    U and V are proportional to it, as R, G and B are.
    """
    # Regression coefficient; the constant gives a gain of 1 for black frames.
    gain = ((before * now).mean() + BLACK_SQUARE) / (before.square().mean() + BLACK_SQUARE)
    return gain.clamp(1 / MAX_EXPOSURE, MAX_EXPOSURE)


def _similarity(before: Tensor, mean: Tensor, now: Tensor) -> Tensor:
    """Similarity of each pixel to the previous frame and to the mean, 0 to 1.

    During a dissolve, each frame is similar to the previous one, and in regions of equal gray no
    change is visible. Elsewhere the mean lags behind. If this affects much of the frame, the mean
    restarts in the whole frame.
    """
    like_last, like_average = _gray_similarity(before, now), _gray_similarity(mean, now)
    similarity = like_last * like_average
    share_of_scene = similarity.mean() / like_last.mean().clamp_min(TINY)
    return similarity * _ramp(share_of_scene, DISSOLVE, SAME_SCENE)


def _gray_similarity(before: Tensor, now: Tensor) -> Tensor:
    """1 where the local mean gray is equal, 0 where it differs by more than `2 * SAME_GRAY`."""
    change = _local_mean((before - now)[None], 1)[0].abs()
    return 1 - _ramp(change, SAME_GRAY, 2 * SAME_GRAY)


def _ramp(values: Tensor, low: float, high: float) -> Tensor:
    """Linear ramp from 0 at `low` to 1 at `high`."""
    return ((values - low) / (high - low)).clamp(0, 1)


def _structural_similarity(before: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
    """Structural similarity of the neighborhood of each pixel, and its weight, both up to 1.

    The similarity is the local correlation (Wang et al. 2004, eq. (10)), which is invariant to
    exposure. Two windows without structure are similar.
    """
    maps = torch.stack([before, now, before * before, now * now, before * now])
    mean, other_mean, square, other_square, product = _local_mean(maps, WINDOW_RADIUS)
    variance = (square - mean * mean).clamp_min(0)
    other_variance = (other_square - other_mean * other_mean).clamp_min(0)
    similarity = product - mean * other_mean + FLAT_VARIANCE
    similarity = similarity / ((variance + FLAT_VARIANCE) * (other_variance + FLAT_VARIANCE)).sqrt()
    largest_variance = torch.maximum(variance, other_variance)
    return similarity, largest_variance / (largest_variance + FLAT_VARIANCE)


def _is_scene_change(structure: Tensor, weight: Tensor) -> bool:
    """Return whether a frame has almost no structure in common with the warped previous frame.

    Windows are weighted by their structure, so that black bars do not count.
    """
    return bool(
        (structure * weight).mean() + FLAT_VARIANCE < SCENE_CHANGE * (weight.mean() + FLAT_VARIANCE)
    )


def _local_mean(maps: Tensor, radius: int) -> Tensor:
    """Mean over the square window around each pixel, (C, y, x)."""
    side = 2 * radius + 1
    return F.avg_pool2d(maps[None], side, 1, radius, count_include_pad=False)[0]


def _mean_chroma(uv: Tensor, warped_uv: Tensor, share: Tensor) -> Tensor:
    """Weighted mean of two chrominances, scaled to the root mean square of their lengths."""
    mean = torch.lerp(uv, warped_uv, share[..., None])
    squares = torch.lerp(uv.square().sum(-1), warped_uv.square().sum(-1), share)
    length = torch.linalg.vector_norm(mean, dim=-1)
    # Opposite hues cancel to a short vector, whose hue is noise: limit the factor.
    stretch = (squares.sqrt() / length.clamp_min(TINY)).clamp_max(MAX_STRETCH)
    return mean * stretch[..., None]
