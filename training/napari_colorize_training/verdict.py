"""Whether a fine-tuned model is better than its base and than gray images, in one sentence."""

from __future__ import annotations

from enum import StrEnum

from napari_colorize_training.evaluation.quick_score import Score

# CIEDE2000 of gray. Color images have about 5 to 20; more means a difference in brightness.
MAX_GRAY_ERROR = 30.0
REMEDY = "give more images of the kind that you want to colorize"


class Outcome(StrEnum):
    """Outcome of a fine-tuning on the validation images, by the mean color error."""

    BETTER = "better"
    """Better than the base and than gray."""
    BETTER_THAN_BASE = "better than base"
    """Better than the base, but not than gray."""
    NOT_BETTER = "not better"
    WRONG_RANGE = "wrong range"
    """Gray itself is so far from the truth that the brightness of the images is misread."""


def judge(before: Score, after: Score, *, kept_base: bool) -> Outcome:
    """Compare the scores of base and result; `kept_base` if the result is the base.

    A difference that the sentence does not show, which has one decimal, is none.
    """
    if after.ciede2000_gray > MAX_GRAY_ERROR:
        return Outcome.WRONG_RANGE
    if kept_base or round(after.ciede2000, 1) >= round(before.ciede2000, 1):
        return Outcome.NOT_BETTER
    if round(after.ciede2000, 1) >= round(after.ciede2000_gray, 1):
        return Outcome.BETTER_THAN_BASE
    return Outcome.BETTER


def describe(outcome: Outcome, name: str, before: Score, after: Score, *, kept_base: bool) -> str:
    """Return the outcome for a model of this name in one or two sentences."""
    images = f"{after.images} validation image{'s' * (after.images != 1)}"
    errors = (
        f"its color error (CIEDE2000) on {images} is {after.ciede2000:.1f}, that of the base "
        f"{before.ciede2000:.1f}, that of gray {after.ciede2000_gray:.1f}"
    )
    if outcome is Outcome.WRONG_RANGE:
        return (
            f"{name} cannot be judged: without color, the error (CIEDE2000) on {images} is "
            f"{after.ciede2000_gray:.0f}, which differences in color alone do not reach. The gray "
            "images are darker or brighter than the colors: check the intensity range of both."
        )
    if kept_base:
        return (
            f"{name} is NOT better than its base, and is a copy of it: no checkpoint has a lower "
            f"color error (CIEDE2000) on {images} than {before.ciede2000:.1f} (gray "
            f"{after.ciede2000_gray:.1f}). Use the base, or {REMEDY}."
        )
    if outcome is Outcome.NOT_BETTER:
        return f"{name} is NOT better than its base: {errors}. Use the base, or {REMEDY}."
    if outcome is Outcome.BETTER_THAN_BASE:
        return (
            f"{name} is NOT better than gray images, though closer to the colors than its base: "
            f"{errors}. To improve it, {REMEDY}."
        )
    return f"{name} is better than its base and than gray images: {errors}."
