"""PredictionCache: which entries are dropped, and when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.runtime import memory
from napari_colorize.session import cache
from napari_colorize.session.cache import PredictionCache


@pytest.fixture
def entry(ramp):
    return colorizer_of(TintNetwork())(ramp)


def test_the_least_recently_used_prediction_is_dropped_first(entry, monkeypatch):
    monkeypatch.setattr(cache, "MAX_PREDICTIONS", 2)
    predictions = PredictionCache()
    predictions.put("a", entry, 0)
    predictions.put("b", entry, 0)

    assert predictions.get("a") is entry  # now "b" is the least recently used
    predictions.put("c", entry, 0)

    assert [key in predictions for key in "abc"] == [True, False, True]


def test_a_prediction_that_is_put_again_is_the_newest(entry, monkeypatch):
    monkeypatch.setattr(cache, "MAX_PREDICTIONS", 2)
    predictions = PredictionCache()
    for key in "aba":
        predictions.put(key, entry, 0)

    predictions.put("c", entry, 0)

    assert [key in predictions for key in "abc"] == [True, False, True]


def test_predictions_of_another_generation_are_refused(entry):
    predictions = PredictionCache()
    predictions.clear(generation=2)

    predictions.put("a", entry, 1)
    predictions.put_chroma("a", entry, 1)

    assert "a" not in predictions


def test_chrominance_is_cached_without_the_gray_plane(entry):
    predictions = PredictionCache()

    predictions.put_chroma("a", entry, 0)

    cached = predictions.chroma("a")
    assert predictions.get("a") is None and cached.plane.gray.nbytes == 0
    np.testing.assert_array_equal(cached.chroma.uv, entry.chroma.uv)


def test_chrominance_of_other_limits_replaces_the_prediction(entry):
    predictions = PredictionCache()
    predictions.put("a", entry, 0)
    predictions.put_chroma("a", entry, 0)
    assert predictions.get("a") is entry

    other = replace(entry, plane=replace(entry.plane, limits=(0.25, 0.5)))
    predictions.put_chroma("a", other, 0)

    assert predictions.get("a") is None and predictions.chroma("a") is not None


def test_chrominance_uses_a_share_of_the_memory_that_is_free_without_it(entry, monkeypatch):
    each = entry.chroma.uv.nbytes
    monkeypatch.setattr(cache, "MIN_CHROMA_BYTES", 0)
    monkeypatch.setattr(memory, "available", lambda: (cache.CHROMA_SHARE - 1) * 2 * each)
    predictions = PredictionCache()

    for key in "abcd":
        predictions.put_chroma(key, entry, 0)

    assert [key in predictions for key in "abcd"] == [False, False, True, True]
