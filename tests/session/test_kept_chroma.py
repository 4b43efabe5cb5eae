"""Cached chrominance of a stack that was colorized."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.session import cache

PLANES = cache.MAX_PREDICTIONS + 6  # more than are kept whole


@pytest.fixture
def stack():
    return np.random.default_rng(0).random((PLANES, 12, 16)).astype(np.float32) * 300


@pytest.fixture(params=["numpy", "dask"])
def source(request, stack):
    if request.param == "numpy":
        return stack
    return pytest.importorskip("dask.array").from_array(stack, chunks=(1, 12, 16))


def test_after_a_run_another_saturation_runs_no_network(session, signals, network, source, stack):
    session.source = source
    session.colorize_stack()
    signals.wait_idle()
    predictions = len(network.sizes)

    session.set_settings(saturation=2.5)
    expected = dict(colorizer_of(TintNetwork()).iter_planes(stack, saturation=2.5))
    for place in (0, 1, PLANES - 1):
        session.plane = (place,)
        shown = signals.wait_idle().all("result_ready")[-1]

        np.testing.assert_array_equal(shown.pixels, expected[place,].pixels)
        assert shown.notes == expected[place,].notes
        assert shown.provenance == expected[place,].provenance
    assert len(network.sizes) == predictions


def test_a_run_at_another_saturation_only_renders(session, signals, network, source, stack):
    session.source = source
    session.colorize_stack()
    signals.wait_idle()
    predictions = len(network.sizes)

    session.set_settings(saturation=0.5)
    session.colorize_stack()
    signals.wait_idle()

    assert len(network.sizes) == predictions
    again = dict(signals.all("plane_ready")[PLANES:])
    for index, expected in colorizer_of(TintNetwork()).iter_planes(stack, saturation=0.5):
        np.testing.assert_array_equal(again[index].pixels, expected.pixels)


def test_a_new_run_continues_a_cancelled_one(session, signals, network, stack, monkeypatch):
    monkeypatch.setattr("napari_colorize.colorizer.BATCH_PLANES", 1)
    session.source = stack[:6]
    signals.wait_idle()
    session.plane_ready.connect(lambda index, _: session.cancel() if index == (3,) else None)
    session.colorize_stack()
    signals.wait_idle()
    predictions = len(network.sizes)
    session.colorize_stack()
    signals.wait_idle()
    emitted = [index for index, _ in signals.all("plane_ready")]

    assert emitted == [(i,) for i in (*range(4), *range(4))]  # emitted again, and cancelled again
    session.plane_ready.disconnect()
    session.colorize_stack()
    signals.wait_idle()
    assert len(network.sizes) == predictions + 2


def test_a_plane_prefetched_with_its_own_limits_is_predicted_again(session, signals, stack):
    bright = stack[:3] * np.float32([1, 2, 3])[:, None, None]
    session.source = pytest.importorskip("dask.array").from_array(bright, chunks=(1, 12, 16))
    session.prefetch([(1,)])
    signals.wait_idle()

    session.colorize_stack()
    signals.wait_idle()

    planes = dict(signals.all("plane_ready")[1:])
    for index, expected in colorizer_of(TintNetwork()).iter_planes(bright):
        np.testing.assert_array_equal(planes[index].pixels, expected.pixels)


def test_cached_chrominance_holds_no_gray_planes(session, signals, stack):
    session.source = stack
    session.colorize_stack()
    signals.wait_idle()

    for kept in session._worker._cache._chroma.values():
        assert kept.plane.gray.numel() == 0 and "pixels" not in vars(kept)
    assert len(session._worker._cache._chroma) == PLANES


def test_the_oldest_chrominance_is_dropped_when_memory_is_short(
    session, signals, network, stack, monkeypatch
):
    session.source = stack
    session.colorize_stack()
    signals.wait_idle()
    each = session._worker._cache._chroma_bytes // PLANES
    session.refresh()
    monkeypatch.setattr(cache, "MIN_CHROMA_BYTES", 5 * each)
    monkeypatch.setattr(cache, "CHROMA_SHARE", 10**12)

    session.colorize_stack()
    signals.wait_idle()

    assert (
        session._worker._cache._chroma_bytes == 5 * each
        and len(session._worker._cache._chroma) == 5
    )


def test_a_new_source_and_release_memory_drop_the_chrominance(session, signals, network, stack):
    for leave in (session.release_memory, lambda: session.update(source=None)):
        session.source = stack.copy()
        session.colorize_stack()
        signals.wait_idle()
        assert session._worker._cache._chroma

        leave()
        signals.wait_idle()
        assert not session._worker._cache._chroma and session._worker._cache._chroma_bytes == 0
