"""Two models' chrominance as one: each counts alike everywhere, or where it knows more.

Merging two colorizers was measured to come closer to true colours than either of them (HAVC,
https://github.com/dan64/vs-deoldify: DeOldify with DDColor, 50/50, on 23 pictures). U and V are
merged linearly, so what is merged is exactly what is shown.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_colorize.imaging.resample import resize_map
from napari_colorize.settings import BlendBy

# CIEDE2000: about what is just visible. Below it no model is surer than another.
LEAST_ERROR = 1.0
SOFTNESS = 0.3  # of gray: how far the second model takes to come in; a harder step shows


@torch.inference_mode()
def blend(
    one: Tensor,
    other: Tensor,
    share: float,
    *,
    by: BlendBy = "mean",
    gray: Tensor | None = None,
    errors: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Merge the chrominance that two models gave one picture: `(1 - w) one + w other`.

    The weight w of the second model is

    - "mean": `share`, everywhere;
    - "confidence": `share p' / ((1 - share) p + share p')`, where p and p' are one over the squared
      errors that the first and the second model expect of themselves. At a share of 0.5 that is
      the merge of the least variance, if the two err independently;
    - "luminance": 0 in dark and 1 in bright places, with a soft step between them that a growing
      share moves from white down to black; at 0.5 it is centred on middle gray. Dark scenes are
      where models differ most and one of them often is the calmer (HAVC's luma-masked merge).

    Parameters
    ----------
    one, other : Tensor, shape (h, w, 2)
        float32 U and V; their sizes may differ.
    share : float
        0 to 1: exactly `one` to exactly `other`, in every mode.
    by : {"mean", "confidence", "luminance"}
        What decides where the second model counts.
    gray : Tensor, shape (Y, X), optional
        The picture's luminance in [0, 1], of any size; needed for "luminance".
    errors : tuple of Tensor, optional
        CIEDE2000 that each model expects of its colours, two maps of any size; needed for
        "confidence".

    Returns
    -------
    Tensor, shape (H, W, 2)
        At the larger height and the larger width of the two. At a share of 0 or 1 it is `one` or
        `other` itself, at its own size.

    Raises
    ------
    ValueError
        If `share` is not within 0 to 1, `by` is unknown, or what it needs is not given.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"The share of the second model must lie within 0 to 1, got {share:g}.")
    if share in (0, 1):
        return other if share else one
    size = max(one.shape[0], other.shape[0]), max(one.shape[1], other.shape[1])
    if by == "mean":
        weight = torch.full((1, 1), share, device=one.device)
    elif by == "confidence" and errors is not None:
        error, other_error = (resize_map(error, size) for error in errors)
        weight = _where_surer(error, other_error, share)
    elif by == "luminance" and gray is not None:
        weight = _where_brighter(resize_map(gray, size), share)
    else:
        raise ValueError(
            'Give by="mean", by="confidence" with errors, or by="luminance" with gray; got '
            f"by={by!r} without."
        )
    one, other = resize_map(one, size), resize_map(other, size)
    return torch.lerp(one, other, weight[..., None].to(one))


def _where_surer(error: Tensor, other_error: Tensor, share: float) -> Tensor:
    """Weight of the other model, `(h, w)`: shares of the precisions, 1 / error^2."""
    # Both precisions times both squared errors, so that nothing is divided by zero.
    mine = (1 - share) * other_error.clamp_min(LEAST_ERROR).square()
    others = share * error.clamp_min(LEAST_ERROR).square()
    return others / (mine + others)


def _where_brighter(gray: Tensor, share: float) -> Tensor:
    """Weight of the other model, `(h, w)`: a smooth step of gray.

    It would begin at 1 for a share of 0 and end at 0 for a share of 1, and leave nothing of the one
    or the other.
    """
    begin = 1 - share * (1 + SOFTNESS)
    ramp = ((gray - begin) / SOFTNESS).clamp(0, 1)
    return ramp * ramp * (3 - 2 * ramp)
