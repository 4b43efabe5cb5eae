"""Status messages of a training run."""

from __future__ import annotations

import pytest

from napari_colorize.finetune import status
from napari_colorize.finetune.status import TrainingStatus


def validation(error: float) -> dict:
    return {
        "event": "validation",
        "validation_ciede2000": error,
        "validation_ciede2000_gray": 12.0,
    }


def test_no_message_names_a_front_end():
    events = [
        {"event": "reading", "done": 1, "total": 2},
        {"event": "start", "step": 0, "steps": 10},
        {"event": "step", "step": 3, "steps": 10, "seconds_left": 5.0},
        {"event": "paused", "step": 3},
        {"event": "resumed", "step": 3},
        {"event": "stopped", "step": 3},
    ]
    run = TrainingStatus("mine", "embedded")
    messages = [status.INTRO, run.sentence]

    for event in events:
        run.update(event)
        messages.append(run.sentence)

    text = " ".join(messages).lower()
    assert not any(name in text for name in ("napari", "jupyter", "notebook", "viewer"))
    assert "continues if you close this program" in text


def test_the_validation_error_is_compared_with_the_first_one():
    run = TrainingStatus("mine", "embedded")

    run.update(validation(10.0))
    assert "less" not in run.figures
    run.update(validation(8.0))

    assert "10.0 at the beginning, 8.0 now, 20% less; 12.0 without color" in run.figures


def test_unknown_events_are_ignored():
    run = TrainingStatus("mine", "embedded")
    before = run.sentence

    run.update({"event": "something new"})

    assert run.sentence == before


def finetuned(count: str, before: float, after: float) -> dict:
    """Final event; `count` is the key of the number of validation images."""
    scores = [{count: 7, "ciede2000": value, "ciede2000_gray": 12.0} for value in (before, after)]
    return {
        "event": "finetuned",
        "before": scores[0],
        "after": scores[1],
        "improved": after < before,
    }


@pytest.mark.parametrize("count", ["images", "pictures"])  # the second one in older logs
def test_the_result_names_both_errors(count):
    run = TrainingStatus("mine", "embedded")

    run.update(finetuned(count, 10.0, 8.0))

    assert run.is_better and run.sentence.startswith("mine is better than its base")
    assert (
        "on 7 validation images changed from 10.0 to 8.0; without color it is 12.0" in run.sentence
    )


def test_a_result_that_is_not_better_is_reported():
    same, worse = TrainingStatus("mine", "embedded"), TrainingStatus("mine", "embedded")

    same.update(finetuned("images", 8.0, 8.0))
    worse.update(finetuned("images", 8.0, 9.0))

    assert not same.is_better and "mine is a copy of its base" in same.sentence
    assert not worse.is_better and "mine is NOT better than its base" in worse.sentence
