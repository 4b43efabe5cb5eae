from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from napari_colorize.finetune.training_curves import TrainingCurves, smooth


def step(number: int, loss: float) -> dict:
    return {"event": "step", "step": number, "losses": {"G": loss}}


def validation(number: int, error: float, measure: float) -> dict:
    figures = {"ciede2000": error, "ciede2000_gray": 12.0, "measure": measure}
    named = {f"validation_{name}": value for name, value in figures.items()}
    return {"event": "validation", "step": number, **named}


@pytest.fixture
def curves() -> TrainingCurves:
    """Curves after 10 of 20 steps and two validations."""
    curves = TrainingCurves()
    steps = [step(number, 1 / number) for number in range(1, 11)]
    events = [validation(0, 20.0, 2.0), *steps, validation(10, 9.0, 0.9)]
    for event in [{"event": "start", "step": 0, "steps": 20}, *events]:
        assert curves.update(event)
    return curves


@pytest.mark.parametrize("events", [[], [step(1, 0.5)], [validation(0, 3.0, 1.0)]], ids=len)
def test_the_image_is_valid_before_there_are_points(events):
    curves = TrainingCurves()
    for event in events:
        curves.update(event)

    ElementTree.fromstring(curves.svg())


def test_both_charts_are_drawn(curves):
    lines = list(ElementTree.fromstring(curves.svg()).iter("polyline"))

    assert [len(line.get("points").split()) for line in lines] == [2, 10, 10]


def test_the_best_checkpoint_is_the_one_with_the_lowest_measure(curves):
    curves.update(validation(20, 8.0, 1.5))  # lower error, but a higher measure

    assert curves.best == (10, 9.0)


def test_a_resumed_run_drops_points_after_its_saved_state(curves):
    curves.update({"event": "start", "step": 4, "steps": 20})

    assert [number for number, _ in curves.losses] == [1, 2, 3, 4]
    assert curves.errors == [(0, 20.0)]


def test_other_events_change_nothing(curves):
    before = curves.svg()

    assert not curves.update({"event": "note", "text": "?"})
    assert curves.svg() == before


def test_the_moving_average_of_a_constant_is_the_constant():
    assert smooth([(k, 3.0) for k in range(5)]) == [(k, pytest.approx(3.0)) for k in range(5)]
