"""Outcomes of a fine-tuning."""

from __future__ import annotations

import pytest
from napari_colorize_training.evaluation.quick_score import Score
from napari_colorize_training.verdict import Outcome, describe, judge


def score(error: float, gray: float) -> Score:
    return Score(
        images=7,
        psnr=20.0,
        psnr_gray=20.0,
        ciede2000=error,
        ciede2000_gray=gray,
        colorfulness=1.0,
        better_share=0.5,
    )


@pytest.mark.parametrize(
    ("before", "after", "gray", "kept_base", "outcome", "text"),
    [
        (10.0, 8.0, 12.0, False, Outcome.BETTER, "better than its base and than gray images"),
        (15.0, 13.0, 12.0, False, Outcome.BETTER_THAN_BASE, "NOT better than gray images, though"),
        (10.0, 11.0, 12.0, False, Outcome.NOT_BETTER, "NOT better than its base: its color error"),
        (10.0, 9.99, 12.0, False, Outcome.NOT_BETTER, "is 10.0, that of the base 10.0"),
        (15.0, 11.99, 12.0, False, Outcome.BETTER_THAN_BASE, "NOT better than gray images, though"),
        (10.0, 10.0, 12.0, True, Outcome.NOT_BETTER, "is a copy of it"),
        (
            72.3,
            71.8,
            72.4,
            False,
            Outcome.WRONG_RANGE,
            "cannot be judged: without color, the",
        ),
        (72.3, 40.0, 72.4, False, Outcome.WRONG_RANGE, "check the intensity range of both"),
    ],
)
def test_a_result_has_one_of_four_outcomes(before, after, gray, kept_base, outcome, text):
    scores = score(before, gray), score(after, gray)

    assert judge(*scores, kept_base=kept_base) is outcome

    sentence = describe(outcome, "mine", *scores, kept_base=kept_base)
    assert sentence.startswith("mine ") and text in sentence
    assert "(CIEDE2000) on 7 validation images" in sentence
