"""Runs and planes that can be told from each other: whose they are, and whether they still hold."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.session import PlaneSource


@pytest.fixture
def stack():
    return np.random.default_rng(0).random((4, 12, 16), dtype=np.float32)


@pytest.fixture
def origins(session):
    """Of every plane that was told of."""
    origins: list[PlaneSource] = []
    session.plane_ready.connect(lambda index, result, origin: origins.append(origin))
    return origins


def test_every_run_has_a_number_of_its_own(session, heard, origins, stack):
    session.source = stack
    first = session.colorize_stack()
    heard.settled()
    second = session.sweep([2, 3])
    heard.settled()
    third = session.colorize_stack()
    session.prefetch([(1,)])
    heard.settled()

    assert [end.run for end in heard.all("run_finished")] == [first, second, third]
    assert [origin.run for origin in origins] == [first] * 4 + [third] * 4 + [None]
    assert len({first, second, third}) == 3
    assert all(origin.source is stack for origin in origins)


def test_a_listener_of_two_values_goes_on_working(session, heard, stack):
    told = []
    session.plane_ready.connect(lambda index, result: told.append(index))
    session.source = stack

    session.colorize_stack()
    heard.settled()

    assert told == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        (lambda session, stack: session.update(plane=(3,)), True),
        (lambda session, stack: session.set_settings(provenance=False), True),
        (lambda session, stack: session.set_settings(render_factor=4, saturation=1.0), True),
        (lambda session, stack: session.set_settings(saturation=2.0), False),
        (lambda session, stack: session.set_settings(render_factor=9), False),
        (lambda session, stack: session.set_settings(gamma=2.0), False),
        (lambda session, stack: session.update(model=colorizer_of(TintNetwork())), False),
        (lambda session, stack: session.update(device="cuda"), False),
        (lambda session, stack: session.update(source=stack.copy()), False),
        (lambda session, stack: session.update(source=None), False),
        (lambda session, stack: session.refresh(), False),
    ],
)
@pytest.mark.parametrize("kind", ["run", "prefetch"])
def test_a_plane_is_current_as_long_as_it_would_come_out_the_same(
    session, heard, origins, stack, kind, change, holds
):
    session.source = stack
    heard.settled()
    session.prefetch([(1,)]) if kind == "prefetch" else session.colorize_stack()
    heard.settled()
    assert session.is_current(origins[0])

    change(session, stack)

    assert session.is_current(origins[0]) == holds


def test_what_was_changed_back_is_current_again(session, heard, origins, stack):
    session.source = stack
    session.colorize_stack()
    heard.settled()

    session.set_settings(saturation=2.0)
    session.set_settings(saturation=1.0)

    assert session.is_current(origins[0])


def test_a_plane_at_a_followed_saturation_is_current(session, heard, network, origins, stack):
    session.source = stack
    heard.settled()
    network.held = True
    session.prefetch([(1,)])
    network.wait_until_held()

    session.set_settings(saturation=2.0)
    network.let_go()
    heard.settled()

    assert session.is_current(origins[0])


def test_cancelling_a_run_leaves_the_picture_alone(session, heard, network, stack):
    session.source = stack
    heard.settled()
    network.held = True
    run = session.colorize_stack()
    network.wait_until_held()
    session.set_settings(render_factor=9)

    session.cancel_run(run, keep=False)
    network.let_go()
    heard.settled()

    (end,) = heard.all("run_finished")
    assert (end.run, end.cancelled, end.keep) == (run, True, False)
    assert heard.all("result_ready")[-1].settings.render_factor == 9
    assert not heard.all("plane_ready")


def test_a_run_that_never_began_is_no_whole_one(session, heard, network, stack):
    network.held = True
    session.source = stack
    network.wait_until_held()

    run = session.colorize_stack()  # waits for the picture
    session.cancel_run(run)
    network.let_go()
    heard.settled()

    (end,) = heard.all("run_finished")
    assert end.cancelled and end.done == 0 and len(heard.all("result_ready")) == 1


def test_only_the_run_that_is_meant_is_cancelled(session, heard, stack):
    session.source = stack
    over = session.colorize_stack()
    heard.settled()
    run = session.colorize_stack()

    session.cancel_run(over)
    session.cancel_run(run + 1)
    heard.settled()

    assert [end.cancelled for end in heard.all("run_finished")] == [False, False]
