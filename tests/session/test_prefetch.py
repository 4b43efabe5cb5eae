"""Prefetching of planes that will probably be displayed next."""

from __future__ import annotations

import numpy as np
import pytest
from recorder import LayeredNetwork
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.errors import ImageError


@pytest.fixture
def stack():
    return np.random.default_rng(0).random((9, 12, 16), dtype=np.float32)


def prefetched(signals):
    return [index for index, _ in signals.all("plane_ready")]


def test_prefetched_planes_are_emitted_and_displayed_without_a_network(
    session, signals, network, stack
):
    session.source = stack
    session.prefetch([(3,), [4], np.array([3])])
    signals.wait_idle()

    assert prefetched(signals) == [(3,), (4,)]
    predictions = len(network.sizes)
    session.plane = (4,)
    shown = signals.wait_idle().all("result_ready")[-1]
    assert len(network.sizes) == predictions == 3
    np.testing.assert_array_equal(shown.pixels, signals.all("plane_ready")[1][1].pixels)
    expected = colorizer_of(TintNetwork())(stack[4], contrast_limits=(0, 1))
    np.testing.assert_array_equal(shown.pixels, expected.pixels)


def test_cached_planes_are_emitted_first_and_without_a_network(session, signals, network, stack):
    session.source = stack
    session.prefetch([(1,), (2,)])
    signals.wait_idle()
    session.set_settings(saturation=3.0)
    signals.wait_idle()
    network.is_blocked = True
    predictions = len(network.sizes)

    session.prefetch([(5,), (2,), (1,), (0,)])
    network.wait_until_blocked()

    assert prefetched(signals)[2:] == [(2,), (1,), (0,)]
    assert all(one.settings.saturation == 3 for _, one in signals.all("plane_ready")[2:])
    assert len(network.sizes) == predictions + 1


def test_temporal_smoothing_needs_the_planes_in_order(session, signals, stack):
    session.source = stack
    session.prefetch([(2,)])
    signals.wait_idle()
    session.set_settings(temporal_smoothing=0.5)

    session.prefetch([(1,), (2,)])  # the second one is cached
    signals.wait_idle()

    assert prefetched(signals) == [(2,), (1,), (2,)]


def test_a_new_call_of_prefetch_replaces_the_list(session, signals, network, stack):
    session.source = stack
    signals.wait_idle()
    network.is_blocked = True
    session.prefetch([(1,), (2,)])
    network.wait_until_blocked()

    session.prefetch([(7,)])
    network.unblock()

    assert prefetched(signals.wait_idle()) == [(7,)]


@pytest.mark.parametrize("change", ["source", "model", "factor", "cancel", "nothing"])
def test_changes_that_need_a_prediction_cancel_prefetching(
    session, signals, network, stack, change
):
    session.source = stack
    signals.wait_idle()
    network.is_blocked = True
    session.prefetch([(1,), (2,)])
    network.wait_until_blocked()

    {
        "source": lambda: session.update(source=stack / 2),
        "model": lambda: session.update(model=colorizer_of(LayeredNetwork())),
        "factor": lambda: session.set_settings(render_factor=9),
        "cancel": session.cancel,
        "nothing": lambda: None,
    }[change]()
    network.unblock()

    assert prefetched(signals.wait_idle()) == ([(1,), (2,)] if change == "nothing" else [])


def test_prefetching_follows_the_saturation(session, signals, network, stack):
    session.source = stack
    signals.wait_idle()
    network.is_blocked = True
    session.prefetch([(1,), (2,)])
    network.wait_until_blocked()

    session.set_settings(saturation=2.0)
    network.unblock()
    signals.wait_idle()

    assert prefetched(signals) == [(1,), (2,)] and len(network.sizes) == 3  # none was started again
    assert {one.settings.saturation for _, one in signals.all("plane_ready")} == {2.0}


def test_the_displayed_plane_comes_before_prefetching(session, signals, network, stack):
    session.source = stack
    signals.wait_idle()
    network.is_blocked = True
    session.prefetch([(1,), (2,)])
    network.wait_until_blocked()

    session.plane = (6,)
    network.unblock()
    signals.wait_idle()

    names = [name for name, _ in signals.emitted if name in ("result_ready", "plane_ready")]
    assert names == ["result_ready", "result_ready", "plane_ready", "plane_ready"]
    assert len(network.sizes) == 5  # the one that was interrupted began anew


def test_a_cached_plane_is_displayed_during_prefetching(session, signals, network, stack):
    session.source = stack
    session.prefetch([(1,)])
    signals.wait_idle()
    network.is_blocked = True
    session.prefetch([(2,)])
    network.wait_until_blocked()

    session.plane = (1,)
    network.pass_layer()  # one layer further
    shown = signals.wait_for("result_ready", 2)

    np.testing.assert_array_equal(shown.gray, stack[1])
    network.unblock()
    assert prefetched(signals.wait_idle()) == [(1,), (2,)] and len(network.sizes) == 3


def test_a_plane_that_is_displayed_during_its_prefetching_is_predicted_once(
    session, signals, network, stack
):
    session.source = stack
    signals.wait_idle()
    network.is_blocked = True
    session.prefetch([(1,)])
    network.wait_until_blocked()

    session.plane = (1,)
    network.unblock()
    signals.wait_idle()

    assert len(network.sizes) == 2 and prefetched(signals) == [(1,)]
    np.testing.assert_array_equal(session.result.gray, stack[1])


def test_runs_and_queries_come_before_prefetching(session, signals, network, stack):
    session.source = stack[:3]
    signals.wait_idle()
    network.is_blocked = True
    session.prefetch([(1,), (2,)])
    network.wait_until_blocked()

    session.colorize_stack()
    session.request_expected_error()
    network.unblock()
    signals.wait_idle()

    names = [
        name
        for name, _ in signals.emitted
        if name in ("expected_error_ready", "plane_ready", "run_finished")
    ]
    assert names == [
        "expected_error_ready",
        *["plane_ready"] * 3,
        "run_finished",
        *["plane_ready"] * 2,
    ]


def test_a_query_interrupts_prefetching(session, signals, network, stack):
    session.source = stack
    signals.wait_idle()
    network.is_blocked = True
    session.prefetch([(1,)])
    network.wait_until_blocked()

    session.request_expected_error()
    network.unblock()
    signals.wait_idle()

    names = [name for name, _ in signals.emitted if name in ("expected_error_ready", "plane_ready")]
    assert names == ["expected_error_ready", "plane_ready"]


def test_prefetching_does_not_replace_the_cached_plane(session, signals, stack):
    class Counting:
        shape, dtype, ndim, reads = stack.shape, stack.dtype, stack.ndim, []

        def __getitem__(self, index):
            self.reads.append(index)
            return stack[index].tolist()

    session.update(source=Counting(), plane=(3,))
    session.prefetch([(4,)])
    signals.wait_idle()
    session.set_settings(gamma=2.0)
    signals.wait_idle()

    assert Counting.reads == [(3,), (4,)]


def test_an_invalid_plane_ends_prefetching(session, signals, stack):
    session.source = stack
    session.prefetch([(1,), (99,), (2,)])
    signals.wait_idle()

    (error,) = signals.all("failed")
    assert isinstance(error, ImageError) and "no plane (99,)" in str(error)
    assert prefetched(signals) == [(1,)]


def test_invalid_inputs_raise_in_the_calling_thread(session, stack):
    with pytest.raises(ImageError, match="choose one first"):
        session.prefetch([(1,)])
    session.source = stack
    with pytest.raises(ImageError, match="whole numbers"):
        session.prefetch([1])
