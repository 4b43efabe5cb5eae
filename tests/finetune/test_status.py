"""Status messages of a training run."""

from __future__ import annotations

import pytest
from napari_colorize_training.verdict import Outcome

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


@pytest.mark.parametrize(
    ("outcome", "title"),
    [
        ("better", "mine is ready"),
        (
            "better than base",
            "mine is NOT better than gray, though closer to the colors than its base",
        ),
        ("not better", "mine is no better than its base"),
        ("wrong range", "mine cannot be judged"),
    ],
)
def test_the_outcome_is_the_one_that_training_reports(outcome, title):
    run = TrainingStatus("mine", "embedded")

    run.update({"event": "finetuned", "outcome": outcome, "improved": True, "text": "So it is."})

    assert run.sentence == "So it is."
    assert status.TITLES[run.outcome].format(name="mine") == title


@pytest.mark.parametrize(("improved", "outcome"), [(True, "better"), (False, "not better")])
def test_logs_of_earlier_versions_have_two_outcomes(improved, outcome):
    run = TrainingStatus("mine", "embedded")

    run.update({"event": "finetuned", "improved": improved, "text": "Done."})

    assert run.outcome == outcome


def test_every_outcome_of_training_has_a_title():
    assert {*Outcome} == {*status.TITLES} - {""}
