"""The colours of a stack that was colorized stay known, at any saturation."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.session import cache

PLANES = cache.CACHED + 6  # more than are kept whole


@pytest.fixture
def stack():
    return np.random.default_rng(0).random((PLANES, 12, 16)).astype(np.float32) * 300


@pytest.fixture(params=["numpy", "dask"])
def source(request, stack):
    if request.param == "numpy":
        return stack
    return pytest.importorskip("dask.array").from_array(stack, chunks=(1, 12, 16))


def test_after_a_run_another_saturation_never_asks_the_network(
    session, heard, network, source, stack
):
    session.source = source
    session.colorize_stack()
    heard.settled()
    asked = len(network.sizes)

    session.set_settings(saturation=2.5)
    expected = dict(colorizer_of(TintNetwork()).iter_planes(stack, saturation=2.5))
    for place in (0, 1, PLANES - 1):
        session.plane = (place,)
        shown = heard.settled().all("result_ready")[-1]

        np.testing.assert_array_equal(shown.pixels, expected[place,].pixels)
        assert shown.notes == expected[place,].notes
        assert shown.provenance == expected[place,].provenance
    assert len(network.sizes) == asked


def test_a_run_at_another_saturation_only_composes(session, heard, network, source, stack):
    session.source = source
    session.colorize_stack()
    heard.settled()
    asked = len(network.sizes)

    session.set_settings(saturation=0.5)
    session.colorize_stack()
    heard.settled()

    assert len(network.sizes) == asked
    again = dict(heard.all("plane_ready")[PLANES:])
    for index, expected in colorizer_of(TintNetwork()).iter_planes(stack, saturation=0.5):
        np.testing.assert_array_equal(again[index].pixels, expected.pixels)


def test_a_cancelled_run_goes_on_where_it_ended(session, heard, network, stack, monkeypatch):
    monkeypatch.setattr("napari_colorize.colorizer.BATCH_PLANES", 1)
    session.source = stack[:6]
    heard.settled()
    session.plane_ready.connect(lambda index, _: session.cancel() if index == (3,) else None)
    session.colorize_stack()
    heard.settled()
    asked = len(network.sizes)
    session.colorize_stack()
    heard.settled()
    told = [index for index, _ in heard.all("plane_ready")]

    assert told == [(i,) for i in (*range(4), *range(4))]  # told again, and cancelled again
    session.plane_ready.disconnect()
    session.colorize_stack()
    heard.settled()
    assert len(network.sizes) == asked + 2


def test_what_is_kept_of_many_planes_is_small(session, heard, stack):
    session.source = stack
    session.colorize_stack()
    heard.settled()

    for kept in session._cache._colors.values():
        assert kept.plane.gray.numel() == 0 and "pixels" not in vars(kept)
    assert len(session._cache._colors) == PLANES


def test_when_memory_is_short_the_oldest_colours_are_forgotten(
    session, heard, network, stack, monkeypatch
):
    session.source = stack
    session.colorize_stack()
    heard.settled()
    each = session._cache._colors_bytes // PLANES
    session.refresh()
    monkeypatch.setattr(cache, "COLORS_BYTES", 5 * each)
    monkeypatch.setattr(cache, "COLORS_SHARE", 10**12)

    session.colorize_stack()
    heard.settled()

    assert session._cache._colors_bytes == 5 * each and len(session._cache._colors) == 5


def test_another_source_or_unloading_leaves_no_colours(session, heard, network, stack):
    for leave in (session.release_memory, lambda: session.update(source=None)):
        session.source = stack.copy()
        session.colorize_stack()
        heard.settled()
        assert session._cache._colors

        leave()
        heard.settled()
        assert not session._cache._colors and session._cache._colors_bytes == 0
