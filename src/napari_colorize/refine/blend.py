"""Blend the chrominance of two models.

Averaging two colorizers came closer to true colors than either of them (HAVC,
https://github.com/dan64/vs-deoldify: DeOldify with DDColor, 50/50, on 23 images). U and V are
averaged linearly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_colorize.imaging.resample import resize_map
from napari_colorize.settings import BlendBy

# CIEDE2000, just noticeable difference. Smaller expected errors are treated as equal.
MIN_ERROR = 1.0
STEP_WIDTH = 0.3  # luminance range of the step; narrower steps are visible in the image


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
    """Blend the chrominance of two models for one image: `(1 - w) one + w other`.

    The weight w of the second model is

    - "mean": `share` everywhere.
    - "confidence": `share p' / ((1 - share) p + share p')`, where p and p' are the inverse squared
      expected errors of the first and the second model. At a share of 0.5 this is the
      minimum-variance mean if the errors are independent.
    - "luminance": 0 in dark and 1 in bright regions, with a smooth step between. The step moves
      from white down to black with increasing share and is centered on middle gray at 0.5. Models
      differ most in dark scenes (HAVC's luma-masked merge).

    Parameters
    ----------
    one, other : Tensor, shape (h, w, 2)
        float32 U and V. The sizes may differ; the result has the larger height and width.
    share : float
        0 to 1. 0 gives exactly `one` and 1 exactly `other`, at its own size, in every mode.
    gray : Tensor, shape (Y, X), optional
        Luminance of the image in [0, 1], of any size. Required for "luminance".
    errors : tuple of Tensor, optional
        Expected CIEDE2000 errors of the two models, two maps of any size. Required for
        "confidence".

    Raises
    ------
    ValueError
        If `share` is outside 0 to 1, `by` is unknown, or `gray` or `errors` is missing.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"The share of the second model must be between 0 and 1, got {share:g}.")
    if share in (0, 1):
        return other if share else one
    size = max(one.shape[0], other.shape[0]), max(one.shape[1], other.shape[1])
    if by == "mean":
        weight = torch.full((1, 1), share, device=one.device)
    elif by == "confidence" and errors is not None:
        error, other_error = (resize_map(error, size) for error in errors)
        weight = _weight_by_error(error, other_error, share)
    elif by == "luminance" and gray is not None:
        weight = _weight_by_luminance(resize_map(gray, size), share)
    else:
        raise ValueError(
            'Expected by="mean", by="confidence" with errors, or by="luminance" with gray; got '
            f"by={by!r}."
        )
    one, other = resize_map(one, size), resize_map(other, size)
    return torch.lerp(one, other, weight[..., None].to(one))


def _weight_by_error(error: Tensor, other_error: Tensor, share: float) -> Tensor:
    """Weight of the second model by expected errors, shape (h, w)."""
    # Inverse squared errors times both squared errors, which avoids a division by zero.
    first_weight = (1 - share) * other_error.clamp_min(MIN_ERROR).square()
    second_weight = share * error.clamp_min(MIN_ERROR).square()
    return second_weight / (first_weight + second_weight)


def _weight_by_luminance(gray: Tensor, share: float) -> Tensor:
    """Weight of the second model by luminance, shape (h, w): a smooth step.

    The step begins at luminance 1 for a share of 0, and ends at luminance 0 for a share of 1.
    """
    begin = 1 - share * (1 + STEP_WIDTH)
    ramp = ((gray - begin) / STEP_WIDTH).clamp(0, 1)
    return ramp * ramp * (3 - 2 * ramp)
