from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from napari_colorize.finetune.curves import smooth
from napari_colorize.jupyter.curves import HEIGHT, Curves


def step(number: int, loss: float) -> dict:
    return {"event": "step", "step": number, "losses": {"G": loss}}


def look(number: int, error: float, measure: float) -> dict:
    figures = {"ciede2000": error, "ciede2000_gray": 12.0, "measure": measure}
    named = {f"validation_{name}": value for name, value in figures.items()}
    return {"event": "validation", "step": number, **named}


@pytest.fixture
def curves() -> Curves:
    curves = Curves()
    told = [look(0, 20.0, 2.0), *(step(k, 1 / k) for k in range(1, 11)), look(10, 9.0, 0.9)]
    for event in [{"event": "start", "step": 0, "steps": 20}, *told]:
        assert curves.hear(event)
    return curves


@pytest.mark.parametrize("events", [[], [step(1, 0.5)], [look(0, 3.0, 1.0)]], ids=len)
def test_a_picture_is_there_from_the_beginning(events):
    curves = Curves()
    for event in events:
        curves.hear(event)

    ElementTree.fromstring(curves.svg())


def test_less_is_lower_and_later_is_further_right(curves):
    lines = [
        [tuple(map(float, place.split(","))) for place in line.get("points").split()]
        for line in ElementTree.fromstring(curves.svg()).iter("polyline")
    ]

    errors, losses, means = lines
    assert len(errors) == 2 and len(losses) == len(means) == 10
    for line in lines:
        assert line[-1][0] > line[0][0] and line[-1][1] > line[0][1]
        assert all(0 < y < HEIGHT for _, y in line)


def test_the_best_is_what_the_training_says_is_best(curves):
    curves.hear(look(20, 8.0, 1.5))  # less error, but worse as the training judges

    assert curves.best == (10, 9.0)


def test_a_run_that_goes_on_forgets_what_came_after_its_state(curves):
    curves.hear({"event": "start", "step": 4, "steps": 20})

    assert [number for number, _ in curves.losses] == [1, 2, 3, 4]
    assert curves.errors == [(0, 20.0)]


def test_what_cannot_be_seen_changes_nothing(curves):
    before = curves.svg()

    assert not curves.hear({"event": "note", "text": "?"})
    assert curves.svg() == before


def test_a_mean_of_the_same_is_the_same():
    assert smooth([(k, 3.0) for k in range(5)]) == [(k, pytest.approx(3.0)) for k in range(5)]
