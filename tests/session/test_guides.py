"""Guides, blends and temporal_smoothing in a session: recomposed, not predicted anew."""

from __future__ import annotations

import numpy as np
import pytest
from recorder import SOON
from stand_ins import TintNetwork, UnevenNetwork, colorizer_of

from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints
from napari_colorize.session import ColorizeSession
from napari_colorize.settings import ColorizeSettings


@pytest.fixture
def mask(ramp):
    mask = np.zeros(ramp.shape, bool)
    mask[:, 20:] = True
    return mask


def newest(session):
    assert session.wait(SOON)
    return session.result


@pytest.mark.parametrize("kind", ["mask", "hints"])
def test_guides_take_effect_without_the_network(session, signals, network, ramp, mask, kind):
    session.source = ramp
    signals.wait_for("result_ready")
    predictions = network.finished
    red = np.broadcast_to(np.float32([1, 0, 0]), (*mask.shape, 3))
    guides = Guides(mask=mask) if kind == "mask" else Guides(hints=Hints(mask, red))

    session.guides = guides
    result = newest(session)

    assert network.finished == predictions
    expected = colorizer_of(TintNetwork())(ramp, guides=guides)
    np.testing.assert_array_equal(result.pixels, expected.pixels)


def test_a_new_source_has_no_guides(session, ramp, mask):
    session.update(source=ramp, guides=Guides(mask=mask))
    newest(session)

    session.source = ramp[:30].copy()

    assert session.guides is None
    assert (newest(session).pixels[:, :20] != session.result.gray[:, :20, None]).any()


def test_empty_guides_are_none(session, ramp):
    session.update(source=ramp, guides=Guides())
    assert session.guides is None


@pytest.mark.parametrize(
    "change",
    [
        {"edges": False},
        {"shadows": 0.5},
        {"hue_damping": 1.0, "hue_from": 0.0},
        {"saturation": 2.0},
    ],
)
def test_refinement_runs_no_network(session, signals, network, ramp, change):
    session.source = ramp
    signals.wait_for("result_ready")
    predictions = network.finished

    session.set_settings(**change)

    assert newest(session).settings == colorizer_of(TintNetwork())(ramp, **change).settings
    assert network.finished == predictions
    expected = colorizer_of(TintNetwork())(ramp, **change)
    np.testing.assert_array_equal(session.result.pixels, expected.pixels)


def test_two_models_are_blended_and_their_share_runs_no_network(ramp):
    one, other = colorizer_of(TintNetwork()), colorizer_of(UnevenNetwork(), name="handed")
    with ColorizeSession(source=ramp, model=one, blend_with=other) as session:
        blended = newest(session)
        expected = one(ramp, blend_with=other)
        np.testing.assert_array_equal(blended.pixels, expected.pixels)
        chroma = session.result.chroma

        session.set_settings(blend=0.0)

        np.testing.assert_array_equal(newest(session).pixels, one(ramp).pixels)
        assert session.result.chroma is chroma


def test_blended_colors_are_not_shown_when_the_second_model_is_removed(
    session, signals, network, ramp
):
    other = colorizer_of(UnevenNetwork(), name="other")
    session.update(source=ramp, blend_with=other)
    shown = len(signals.wait_idle().all("result_ready"))
    network.is_blocked = True

    session.update(blend_with=None, settings=ColorizeSettings(saturation=2.0))
    network.wait_until_blocked()

    assert len(signals.all("result_ready")) == shown


def test_without_a_second_model_the_colors_are_those_of_the_first(ramp):
    one, other = colorizer_of(TintNetwork()), colorizer_of(UnevenNetwork(), name="handed")
    with ColorizeSession(source=ramp, model=one, blend_with=other) as session:
        newest(session)

        session.blend_with = None

        np.testing.assert_array_equal(newest(session).pixels, one(ramp).pixels)


def test_a_run_smooths_planes_in_order_of_time(ramp):
    stack = np.stack([np.roll(ramp, 3 * shift, axis=1) for shift in range(5)])
    colorizer = colorizer_of(TintNetwork())
    with ColorizeSession(source=stack, plane=(3,), model=colorizer) as session:
        newest(session)  # known before, by itself
        planes = {}
        session.plane_ready.connect(lambda index, result, _: planes.setdefault(index, result))

        session.set_settings(temporal_smoothing=0.8)
        newest(session)
        session.colorize_stack()
        assert session.wait(SOON)

    assert sorted(planes) == [(time,) for time in range(5)]
    for index, expected in colorizer.iter_planes(stack, temporal_smoothing=0.8):
        np.testing.assert_array_equal(planes[index].pixels, expected.pixels)


def test_played_planes_are_smoothed_one_after_the_other(ramp):
    stack = np.stack([np.roll(ramp, 3 * shift, axis=1) for shift in range(4)])
    colorizer = colorizer_of(TintNetwork())
    expected = dict(colorizer.iter_planes(stack, temporal_smoothing=0.8))
    with ColorizeSession(source=stack, model=colorizer) as session:
        session.set_settings(temporal_smoothing=0.8)
        for time in range(4):
            session.plane = (time,)
            np.testing.assert_array_equal(newest(session).pixels, expected[time,].pixels)


def test_a_plane_is_smoothed_anew_once_the_plane_before_it_is_known(ramp):
    stack = np.stack([np.roll(ramp, 3 * shift, axis=1) for shift in range(3)])
    colorizer = colorizer_of(TintNetwork())
    expected = dict(colorizer.iter_planes(stack[1:], temporal_smoothing=0.8))
    with ColorizeSession(source=stack, plane=(2,), model=colorizer) as session:
        session.set_settings(temporal_smoothing=0.8)
        newest(session)  # by itself
        for time in (1, 2):
            session.plane = (time,)
            np.testing.assert_array_equal(newest(session).pixels, expected[time - 1,].pixels)
