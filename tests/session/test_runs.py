"""Runs over a stack: their numbers, their planes, and whether those are current."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.session import ColorizeSession, PlaneSource


@pytest.fixture
def stack():
    return np.random.default_rng(0).random((4, 12, 16), dtype=np.float32)


@pytest.fixture
def plane_sources(session):
    """PlaneSource of every emitted plane."""
    plane_sources: list[PlaneSource] = []
    session.plane_ready.connect(lambda index, result, origin: plane_sources.append(origin))
    return plane_sources


def test_every_run_has_its_own_number(session, signals, plane_sources, stack):
    session.source = stack
    first = session.colorize_stack()
    signals.wait_idle()
    second = session.sweep([2, 3])
    signals.wait_idle()
    third = session.colorize_stack()
    session.prefetch([(1,)])
    signals.wait_idle()

    assert [end.run for end in signals.all("run_finished")] == [first, second, third]
    assert [origin.run for origin in plane_sources] == [first] * 4 + [third] * 4 + [None]
    assert len({first, second, third}) == 3
    assert all(origin.source is stack for origin in plane_sources)


def test_a_listener_may_accept_two_of_three_values(session, signals, stack):
    emitted = []
    session.plane_ready.connect(lambda index, result: emitted.append(index))
    session.source = stack

    session.colorize_stack()
    signals.wait_idle()

    assert emitted == [(0,), (1,), (2,), (3,)]


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
def test_a_plane_is_current_as_long_as_its_pixels_would_be_equal(
    session, signals, plane_sources, stack, kind, change, holds
):
    session.source = stack
    signals.wait_idle()
    session.prefetch([(1,)]) if kind == "prefetch" else session.colorize_stack()
    signals.wait_idle()
    assert session.is_current(plane_sources[0])

    change(session, stack)

    assert session.is_current(plane_sources[0]) == holds


def test_a_plane_of_another_session_is_not_current(ramp):
    model = colorizer_of(TintNetwork())
    with (
        ColorizeSession(source=ramp, model=model) as one,
        ColorizeSession(source=ramp.copy(), model=model) as other,
    ):
        assert one.is_current(one.plane_source)
        assert not one.is_current(other.plane_source)


def test_a_plane_is_current_again_when_a_change_is_reverted(session, signals, plane_sources, stack):
    session.source = stack
    session.colorize_stack()
    signals.wait_idle()

    session.set_settings(saturation=2.0)
    session.set_settings(saturation=1.0)

    assert session.is_current(plane_sources[0])


def test_a_prefetched_plane_at_the_newest_saturation_is_current(
    session, signals, network, plane_sources, stack
):
    session.source = stack
    signals.wait_idle()
    network.is_blocked = True
    session.prefetch([(1,)])
    network.wait_until_blocked()

    session.set_settings(saturation=2.0)
    network.unblock()
    signals.wait_idle()

    assert session.is_current(plane_sources[0])


def test_cancel_run_does_not_cancel_the_displayed_plane(session, signals, network, stack):
    session.source = stack
    signals.wait_idle()
    network.is_blocked = True
    run = session.colorize_stack()
    network.wait_until_blocked()
    session.set_settings(render_factor=9)

    session.cancel_run(run, keep=False)
    network.unblock()
    signals.wait_idle()

    (end,) = signals.all("run_finished")
    assert (end.run, end.cancelled, end.keep) == (run, True, False)
    assert signals.all("result_ready")[-1].settings.render_factor == 9
    assert not signals.all("plane_ready")


def test_a_run_that_was_stopped_before_its_first_step_is_cancelled(
    session, signals, network, stack
):
    network.is_blocked = True
    session.source = stack
    network.wait_until_blocked()

    run = session.colorize_stack()  # after the displayed plane
    session.cancel_run(run)
    network.unblock()
    signals.wait_idle()

    (end,) = signals.all("run_finished")
    assert end.cancelled and end.done == 0 and len(signals.all("result_ready")) == 1


def test_cancel_run_cancels_one_run_only(session, signals, stack):
    session.source = stack
    over = session.colorize_stack()
    signals.wait_idle()
    run = session.colorize_stack()

    session.cancel_run(over)
    session.cancel_run(run + 1)
    signals.wait_idle()

    assert [end.cancelled for end in signals.all("run_finished")] == [False, False]
