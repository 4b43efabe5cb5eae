"""Planes that are predicted before they are looked at."""

from __future__ import annotations

import numpy as np
import pytest
from recorder import LayeredNetwork
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.errors import ImageError


@pytest.fixture
def stack():
    return np.random.default_rng(0).random((9, 12, 16), dtype=np.float32)


def told(heard):
    return [index for index, _ in heard.all("plane_ready")]


def test_each_plane_is_told_of_and_shown_at_once_when_it_is_looked_at(
    session, heard, network, stack
):
    session.source = stack
    session.prefetch([(3,), [4], np.array([3])])
    heard.settled()

    assert told(heard) == [(3,), (4,)]
    asked = len(network.sizes)
    session.plane = (4,)
    shown = heard.settled().all("result_ready")[-1]
    assert len(network.sizes) == asked == 3
    np.testing.assert_array_equal(shown.pixels, heard.all("plane_ready")[1][1].pixels)
    expected = colorizer_of(TintNetwork())(stack[4], contrast_limits=(0, 1))
    np.testing.assert_array_equal(shown.pixels, expected.pixels)


def test_what_is_known_is_told_first_and_without_a_network(session, heard, network, stack):
    session.source = stack
    session.prefetch([(1,), (2,)])
    heard.settled()
    session.set_settings(saturation=3.0)
    heard.settled()
    network.held = True
    asked = len(network.sizes)

    session.prefetch([(5,), (2,), (1,), (0,)])
    network.wait_until_held()

    assert told(heard)[2:] == [(2,), (1,), (0,)]
    assert all(one.settings.saturation == 3 for _, one in heard.all("plane_ready")[2:])
    assert len(network.sizes) == asked + 1


def test_another_call_replaces_the_list(session, heard, network, stack):
    session.source = stack
    heard.settled()
    network.held = True
    session.prefetch([(1,), (2,)])
    network.wait_until_held()

    session.prefetch([(7,)])
    network.let_go()

    assert told(heard.settled()) == [(7,)]


@pytest.mark.parametrize("change", ["source", "model", "factor", "cancel", "nothing"])
def test_what_would_come_out_otherwise_is_dropped(session, heard, network, stack, change):
    session.source = stack
    heard.settled()
    network.held = True
    session.prefetch([(1,), (2,)])
    network.wait_until_held()

    {
        "source": lambda: session.update(source=stack / 2),
        "model": lambda: session.update(model=colorizer_of(LayeredNetwork())),
        "factor": lambda: session.set_settings(render_factor=9),
        "cancel": session.cancel,
        "nothing": lambda: None,
    }[change]()
    network.let_go()

    assert told(heard.settled()) == ([(1,), (2,)] if change == "nothing" else [])


def test_another_saturation_is_followed(session, heard, network, stack):
    session.source = stack
    heard.settled()
    network.held = True
    session.prefetch([(1,), (2,)])
    network.wait_until_held()

    session.set_settings(saturation=2.0)
    network.let_go()
    heard.settled()

    assert told(heard) == [(1,), (2,)] and len(network.sizes) == 3  # none began anew
    assert {one.settings.saturation for _, one in heard.all("plane_ready")} == {2.0}


def test_what_is_looked_at_comes_first(session, heard, network, stack):
    session.source = stack
    heard.settled()
    network.held = True
    session.prefetch([(1,), (2,)])
    network.wait_until_held()

    session.plane = (6,)
    network.let_go()
    heard.settled()

    names = [name for name, _ in heard.said if name in ("result_ready", "plane_ready")]
    assert names == ["result_ready", "result_ready", "plane_ready", "plane_ready"]
    assert len(network.sizes) == 5  # the one that was interrupted began anew


def test_a_known_plane_is_shown_while_another_is_predicted(session, heard, network, stack):
    session.source = stack
    session.prefetch([(1,)])
    heard.settled()
    network.held = True
    session.prefetch([(2,)])
    network.wait_until_held()

    session.plane = (1,)
    network.go.release()  # one layer further
    shown = heard.wait_for("result_ready", 2)

    np.testing.assert_array_equal(shown.gray, stack[1])
    network.let_go()
    assert told(heard.settled()) == [(1,), (2,)] and len(network.sizes) == 3


def test_a_plane_that_is_looked_at_meanwhile_is_not_begun_anew(session, heard, network, stack):
    session.source = stack
    heard.settled()
    network.held = True
    session.prefetch([(1,)])
    network.wait_until_held()

    session.plane = (1,)
    network.let_go()
    heard.settled()

    assert len(network.sizes) == 2 and told(heard) == [(1,)]
    np.testing.assert_array_equal(session.result.gray, stack[1])


def test_runs_and_questions_come_first(session, heard, network, stack):
    session.source = stack[:3]
    heard.settled()
    network.held = True
    session.prefetch([(1,), (2,)])
    network.wait_until_held()

    session.colorize_stack()
    session.request_expected_error()
    network.let_go()
    heard.settled()

    names = [
        name
        for name, _ in heard.said
        if name in ("expected_error_ready", "plane_ready", "run_finished")
    ]
    assert names == [
        "expected_error_ready",
        *["plane_ready"] * 3,
        "run_finished",
        *["plane_ready"] * 2,
    ]


def test_what_is_looked_at_is_not_read_again(session, heard, stack):
    class Counting:
        shape, dtype, ndim, asked = stack.shape, stack.dtype, stack.ndim, []

        def __getitem__(self, index):
            self.asked.append(index)
            return stack[index].tolist()

    session.update(source=Counting(), plane=(3,))
    session.prefetch([(4,)])
    heard.settled()
    session.set_settings(gamma=2.0)
    heard.settled()

    assert Counting.asked == [(3,), (4,)]


def test_a_plane_that_is_not_there_ends_it(session, heard, stack):
    session.source = stack
    session.prefetch([(1,), (99,), (2,)])
    heard.settled()

    (error,) = heard.all("failed")
    assert isinstance(error, ImageError) and "no plane (99,)" in str(error)
    assert told(heard) == [(1,)]


def test_nonsense_is_refused_where_it_is_said(session, stack):
    with pytest.raises(ImageError, match="choose one first"):
        session.prefetch([(1,)])
    session.source = stack
    with pytest.raises(ImageError, match="whole numbers"):
        session.prefetch([1])
