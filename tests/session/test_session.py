"""ColorizeSession with its worker thread; tests wait for events, not for time."""

from __future__ import annotations

import gc
import random
import subprocess
import sys
import threading
import traceback
import warnings
import weakref
from dataclasses import replace

import numpy as np
import pytest
from recorder import SOON, LayeredNetwork, SignalRecorder
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.errors import (
    ColorizeError,
    ColorizeNote,
    ImageError,
    OutOfMemoryError,
    SettingsError,
    UnknownModelError,
)
from napari_colorize.session import ColorizeSession, RunFinished, RunProgress, cache, displayed
from napari_colorize.session.renderer import COARSEST
from napari_colorize.settings import ColorizeSettings


def saturations(signals):
    return [result.settings.saturation for result in signals.all("result_ready")]


def factors(signals):
    return [result.settings.render_factor for result in signals.all("result_ready")]


# Results


def test_the_result_equals_that_of_the_colorizer(session, signals, ramp):
    session.update(source=ramp, settings=ColorizeSettings(saturation=1.5, render_factor=3))

    result = signals.wait_for("result_ready")

    expected = colorizer_of(TintNetwork())(ramp, saturation=1.5, render_factor=3)
    np.testing.assert_array_equal(result.pixels, expected.pixels)
    assert result.provenance == expected.provenance
    assert session.result is result


def test_unset_settings_are_those_that_the_model_recommends(signals, session, ramp):
    session.model = colorizer_of(TintNetwork(), render_factor=7, saturation=2.0)
    session.source = ramp

    result = signals.wait_for("result_ready")

    assert (result.settings.render_factor, result.settings.saturation) == (7, 2.0)


def test_the_embedded_model_is_loaded_by_its_name(ramp):
    with ColorizeSession(source=ramp, precision="float32") as session:
        result = (
            SignalRecorder(session).wait_for("result_ready")
            if session.result is None
            else session.result
        )

    assert result.provenance["model"] == "embedded"


def test_pixels_are_rendered_before_result_ready(session, signals, ramp):
    session.source = ramp

    assert "pixels" in vars(signals.wait_for("result_ready"))


def test_a_change_of_saturation_runs_no_network(session, signals, network, ramp):
    session.source = ramp
    signals.wait_idle()

    for saturation in (0.0, 0.5, 4.0):
        session.set_settings(saturation=saturation)
        signals.wait_idle()

    assert saturations(signals) == [1.0, 0.0, 0.5, 4.0]
    assert len(network.sizes) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"render_factor": 5},
        {"self_attention": False},
        {"contrast_limits": (0.2, 0.7)},
        {"gamma": 2.0},
    ],
)
def test_a_change_of_the_network_input_is_predicted_again(session, signals, network, ramp, change):
    session.source = ramp
    signals.wait_idle()

    session.set_settings(**change)
    signals.wait_idle()

    assert len(network.sizes) == 2
    expected = colorizer_of(TintNetwork())(ramp, **change)
    np.testing.assert_array_equal(signals.all("result_ready")[-1].pixels, expected.pixels)


def test_equal_inputs_do_nothing(session, signals, ramp):
    session.update(source=ramp, plane=())
    signals.wait_idle()

    session.update(source=ramp, plane=[], settings=ColorizeSettings(), device="auto")

    assert session.wait(0)
    assert len(signals.wait_idle().all("result_ready")) == 1


def test_a_source_that_changed_in_place_is_refreshed(session, signals, ramp):
    image = ramp.copy()
    session.source = image
    before = signals.wait_for("result_ready")

    image[:] = 1 - ramp
    session.refresh()

    after = signals.wait_for("result_ready", 2)
    np.testing.assert_array_equal(after.gray, (1 - ramp))
    assert (after.pixels != before.pixels).any()


def test_an_unsupported_fidelity_fails(session, signals, ramp):
    session.update(source=ramp, settings=ColorizeSettings(fidelity="ipol"))

    error = signals.wait_for("failed")  # the stand-in is none of theirs

    assert isinstance(error, SettingsError)


# Outdated requests


def test_changes_during_a_prediction_are_coalesced(session, signals, network, ramp):
    network.is_blocked = True
    session.update(source=ramp, settings=ColorizeSettings(render_factor=2))
    network.wait_until_blocked()

    for render_factor in range(3, 20):
        session.set_settings(render_factor=render_factor)
    network.unblock()
    signals.wait_idle()

    assert len(network.sizes) == 2
    assert factors(signals) == [19]


def test_an_outdated_prediction_is_cancelled_between_two_layers(session, signals, network, ramp):
    network.is_blocked = True
    session.update(source=ramp, settings=ColorizeSettings(render_factor=2))
    network.wait_until_blocked()

    session.set_settings(render_factor=3)
    network.pass_layer()  # one layer further, no more
    network.wait_until_blocked()

    assert network.finished == 0 and len(network.sizes) == 2
    network.unblock()
    assert signals.wait_for("result_ready").settings.render_factor == 3


def cancel_one_and_begin_another(session, network, *render_factors):
    """An image is overdue then: the network is blocked in the prediction of the second factor."""
    network.is_blocked = True
    session.set_settings(render_factor=render_factors[0])
    network.wait_until_blocked()
    session.set_settings(render_factor=render_factors[1])
    network.pass_layer()
    network.wait_until_blocked()


def test_while_a_slider_is_dragged_images_keep_coming(session, signals, network, ramp, monkeypatch):
    monkeypatch.setattr(displayed, "MAX_OUTDATED", SOON)
    session.update(source=ramp, settings=ColorizeSettings(render_factor=2))
    signals.wait_idle()
    cancel_one_and_begin_another(session, network, 3, 4)

    session.set_settings(render_factor=5)
    network.unblock()
    signals.wait_idle()

    assert factors(signals) == [2, 4, 5]


def test_an_overdue_image_that_takes_long_is_predicted_coarsely_before(
    session, signals, network, ramp, monkeypatch
):
    monkeypatch.setattr(displayed, "MAX_OUTDATED", SOON)
    monkeypatch.setattr(displayed, "COARSE_SECONDS", 0.0)  # any prediction takes longer
    session.update(source=ramp, settings=ColorizeSettings(render_factor=20))
    signals.wait_idle()
    cancel_one_and_begin_another(session, network, 30, 40)

    network.unblock()
    signals.wait_idle()

    assert factors(signals) == [20, COARSEST, 40]
    assert not session.is_pending


@pytest.mark.parametrize("change", ["source", "plane", "model"])
def test_an_overdue_image_of_something_else_is_cancelled(
    session, signals, network, ramp, monkeypatch, change
):
    monkeypatch.setattr(displayed, "MAX_OUTDATED", SOON)
    session.update(source=np.stack([ramp, 1 - ramp]), settings=ColorizeSettings(render_factor=2))
    signals.wait_idle()
    cancel_one_and_begin_another(session, network, 3, 4)

    other = {"source": 1 - ramp, "plane": (1,), "model": colorizer_of(TintNetwork())}
    session.update(**{change: other[change]})
    network.unblock()
    signals.wait_idle()

    assert factors(signals) == [2, 4]
    assert signals.all("result_ready")[-1] is session.result
    assert network.finished == (1 if change == "model" else 2)


def test_a_result_of_a_previous_source_is_not_emitted(session, signals, network, ramp):
    network.is_blocked = True
    session.source = ramp
    network.wait_until_blocked()

    session.source = other = 1 - ramp
    network.unblock()
    signals.wait_idle()

    (result,) = signals.all("result_ready")
    np.testing.assert_array_equal(result.gray, other)


@pytest.mark.parametrize("change", ["source", "plane", "factor", "cancel"])
def test_a_result_that_is_outdated_at_its_end_is_dropped(session, signals, network, ramp, change):
    changes = {
        "source": lambda: session.update(source=1 - ramp),
        "plane": lambda: session.update(plane=(1,)),
        "factor": lambda: session.set_settings(render_factor=9),
        "cancel": session.cancel,
    }
    network.after_layers = changes[change]
    session.source = np.stack([ramp, 1 - ramp])

    shown = signals.wait_idle().all("result_ready")

    assert len(shown) == (change != "cancel")
    assert session.result is (shown[-1] if shown else None)
    assert factors(signals) in ([], [9]) or shown[0].gray[0, 0] == 1


def test_an_error_of_an_outdated_request_is_dropped(session, signals, ramp):
    class Late(LayeredNetwork):
        def forward(self, gray, self_attention=True):
            session.set_settings(render_factor=9)
            if len(self.sizes) == 0:
                self.sizes.append(0)
                raise ZeroDivisionError
            return super().forward(gray, self_attention)

    session.update(source=ramp, model=colorizer_of(Late()))
    signals.wait_idle()

    assert factors(signals) == [9] and not signals.all("failed")


def test_saturation_is_applied_during_a_prediction(session, signals, network, ramp):
    session.set_settings(render_factor=2)
    session.source = ramp
    signals.wait_idle()
    network.is_blocked = True
    session.set_settings(render_factor=3)
    network.wait_until_blocked()

    session.set_settings(saturation=3.0)
    network.pass_layer()
    interim = signals.wait_for("result_ready", 2)

    assert (interim.settings.render_factor, interim.settings.saturation) == (2, 3.0)
    assert network.finished == 1
    network.unblock()
    final = signals.wait_for("result_ready", 3)
    assert (final.settings.render_factor, final.settings.saturation) == (3, 3.0)
    assert len(network.sizes) == 2


def test_result_is_none_until_the_new_plane_is_rendered(session, signals, network, ramp):
    session.source = np.stack([ramp, 1 - ramp])
    signals.wait_idle()
    assert session.result is signals.all("result_ready")[-1]

    network.is_blocked = True
    session.plane = (1,)

    assert session.result is None
    network.unblock()
    assert signals.wait_idle().all("result_ready")[-1] is session.result


def test_many_threads_never_get_an_outdated_result(session, signals, network):
    stack = np.random.default_rng(0).random((3, 9, 8), dtype=np.float32)
    session.source = stack
    serial, serials = threading.Lock(), {}
    started = {
        "sweep": lambda: session.sweep([1, 2]),
        "run": session.colorize_stack,
        "prefetch": lambda: session.prefetch([(2,), (0,), (1,)]),
        "judge": session.request_expected_error,
    }

    def change_at_random(seed):
        rng = random.Random(seed)
        for _ in range(40):
            with serial:  # so that the order of the requests is known
                number = len(serials)
                saturation = number / 1000
                kind = rng.choice(["plane", "factor", "saturation", "cancel", *started])
                settings = replace(session.settings, saturation=saturation)
                if kind == "plane":
                    session.update(plane=(rng.randrange(3),), settings=settings)
                elif kind == "factor":
                    settings = replace(settings, render_factor=rng.randrange(1, 4))
                    session.update(settings=settings)
                else:
                    session.update(settings=settings)
                serials[saturation] = session.plane or (0,)
            if kind == "cancel":
                session.cancel()
            if kind in started:
                started[kind]()

    threads = [threading.Thread(target=change_at_random, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    session.set_settings(saturation=1.0, render_factor=5)
    signals.wait_idle()

    shown = saturations(signals)[1:]  # the first is as the model recommends
    assert shown == sorted(shown)
    assert not signals.all("failed")
    last = signals.all("result_ready")[-1]
    expected = colorizer_of(TintNetwork())(
        stack[(session.plane or (0,))], render_factor=5, contrast_limits=(0, 1)
    )
    np.testing.assert_array_equal(last.pixels, expected.pixels)
    for result in signals.all("result_ready")[
        1:
    ]:  # never another plane than the one of that moment
        plane = serials.get(result.settings.saturation, session.plane or (0,))
        np.testing.assert_array_equal(result.gray, stack[plane])
    for index, result in signals.all("plane_ready"):
        np.testing.assert_array_equal(result.gray, stack[index])


# Cache


def test_earlier_settings_and_planes_are_cached(session, signals, network, ramp):
    session.source = np.stack([ramp, ramp[::-1]])
    for changes in ({"render_factor": 2}, {"render_factor": 3}, {"render_factor": 2}):
        session.set_settings(**changes)
        signals.wait_idle()
    predictions = len(network.sizes)
    for plane in ((1,), (0,), (1,)):
        session.plane = plane
        signals.wait_idle()

    assert len(network.sizes) == predictions + 1
    assert len(signals.all("result_ready")) >= 5


def test_the_number_of_cached_predictions_is_limited(session, signals, network, ramp, monkeypatch):
    monkeypatch.setattr(cache, "MAX_PREDICTIONS", 3)
    session.source = ramp
    for render_factor in (1, 2, 3, 4, 5):
        session.set_settings(render_factor=render_factor)
        signals.wait_idle()

    assert len(session._worker._cache) == 3
    predictions = len(network.sizes)
    session.set_settings(render_factor=1)
    signals.wait_idle()
    assert len(network.sizes) == predictions + 1


def test_the_bytes_of_cached_predictions_are_limited(session, signals, ramp, monkeypatch):
    monkeypatch.setattr(cache, "MAX_PREDICTION_BYTES", ramp.nbytes)
    session.source = ramp
    for render_factor in (1, 2, 3):
        session.set_settings(render_factor=render_factor)
        signals.wait_idle()

    assert len(session._worker._cache) == 1


def test_a_new_source_clears_the_cache(session, signals, ramp):
    session.source = ramp
    signals.wait_idle()

    session.source = None

    assert session.result is None and len(session._worker._cache) == 0
    assert session.wait(SOON)


# Stacks


class CountingStack:
    """A lazy stack that records which planes are read."""

    def __init__(self, values):
        self.values, self.reads = values, []
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, index):
        self.reads.append(index)
        return self.values[index].tolist()  # no array before it is made one


def test_only_the_displayed_plane_of_a_lazy_stack_is_read_and_once(session, signals, ramp):
    stack = CountingStack(np.stack([ramp, ramp / 2, ramp / 3]))
    session.update(source=stack, plane=(2,))
    signals.wait_idle()
    session.set_settings(render_factor=3)
    signals.wait_idle()

    assert stack.reads == [(2,)]


def test_planes_of_a_stack_in_memory_share_their_limits(session, signals, ramp):
    stack = np.stack([ramp * 300, ramp * 100])
    session.update(source=stack, plane=(1,))

    result = signals.wait_for("result_ready")

    with pytest.warns(ColorizeNote, match="taken from the data: 0 and 300"):
        _, expected = colorizer_of(TintNetwork()).iter_planes(stack)
    np.testing.assert_array_equal(result.pixels, expected[1].pixels)
    assert result.notes == expected[1].notes


def test_a_run_colorizes_every_plane_as_the_colorizer_does(session, signals, ramp):
    stack = np.stack([ramp, ramp / 2, ramp / 4])
    session.source = stack

    session.colorize_stack()
    signals.wait_idle()

    expected = list(colorizer_of(TintNetwork()).iter_planes(stack))
    planes = signals.all("plane_ready")
    assert [index for index, _ in planes] == [(0,), (1,), (2,)]
    for (_, result), (_, other) in zip(planes, expected, strict=True):
        np.testing.assert_array_equal(result.pixels, other.pixels)
    assert [step.done for step in signals.all("progress")] == [1, 2, 3]
    assert signals.all("progress")[-1].seconds_left == 0
    assert signals.all("run_finished") == [RunFinished(3, 3, cancelled=False, keep=True, run=1)]


@pytest.mark.parametrize("keep", [True, False])
def test_a_run_is_cancelled_within_a_plane(session, signals, network, ramp, monkeypatch, keep):
    monkeypatch.setattr("napari_colorize.colorizer.BATCH_PLANES", 1)
    session.source = np.stack([ramp] * 50)
    signals.wait_idle()
    finished = network.finished

    session.plane_ready.connect(lambda *_: setattr(network, "is_blocked", True))
    session.colorize_stack()
    network.wait_until_blocked()  # in the second plane
    session.cancel(keep=keep)
    assert session.status == "cancelling"
    network.pass_layer()
    signals.wait_idle()

    assert network.finished == finished + 1
    assert signals.all("run_finished") == [RunFinished(1, 50, cancelled=True, keep=keep, run=1)]
    assert "cancelling" in signals.all("state") and signals.wait_for("state", 1)


def test_the_displayed_plane_is_rendered_before_the_rest_of_a_run(
    session, signals, network, ramp, monkeypatch
):
    monkeypatch.setattr("napari_colorize.colorizer.BATCH_PLANES", 1)
    session.source = np.stack([ramp] * 5)
    signals.wait_idle()
    network.is_blocked = True
    session.colorize_stack()
    network.wait_until_blocked()

    session.plane = (3,)
    network.unblock()
    signals.wait_idle()

    names = [name for name, _ in signals.emitted]
    assert names.index("plane_ready") < len(names) - 1 - names[::-1].index("result_ready")
    assert len(names) - 1 - names[::-1].index("result_ready") < names.index("run_finished")
    assert [index for index, _ in signals.all("plane_ready")] == [(i,) for i in range(5)]


def test_saturation_is_applied_to_the_displayed_plane_during_a_run(session, signals, network, ramp):
    session.source = np.stack([ramp] * 3)
    signals.wait_idle()
    network.is_blocked = True
    session.colorize_stack()
    network.wait_until_blocked()

    session.set_settings(saturation=2.5)
    network.pass_layer()
    result = signals.wait_for("result_ready", 2)

    assert result.settings.saturation == 2.5 and not signals.all("plane_ready")


def test_a_run_continues_when_the_source_is_set_to_none(session, signals, network, ramp):
    session.source = np.stack([ramp] * 3)
    signals.wait_idle()
    network.is_blocked = True
    session.colorize_stack()
    network.wait_until_blocked()

    session.source = None
    network.unblock()
    signals.wait_idle()

    assert len(signals.all("plane_ready")) == 3


def test_a_new_run_cancels_the_previous_one(session, signals, network, ramp):
    session.source = np.stack([ramp] * 3)
    signals.wait_idle()
    network.is_blocked = True
    session.colorize_stack()
    network.wait_until_blocked()

    session.sweep([2, 3])
    network.unblock()
    signals.wait_idle()

    assert [end.cancelled for end in signals.all("run_finished")] == [True, False]
    assert not signals.all("plane_ready")


def test_a_sweep_emits_and_caches_every_render_factor(session, signals, network, ramp):
    session.source = ramp
    signals.wait_idle()

    session.sweep([2, 3, 5])
    signals.wait_idle()
    predictions = len(network.sizes)
    session.set_settings(render_factor=5)
    signals.wait_idle()

    swept = signals.all("sweep_ready")
    assert [factor for factor, _ in swept] == [2, 3, 5]
    assert len(network.sizes) == predictions
    np.testing.assert_array_equal(swept[-1][1].pixels, signals.all("result_ready")[-1].pixels)


def test_runs_without_source_or_with_invalid_factors_are_refused(session, ramp):
    with pytest.raises(ImageError, match="choose one first"):
        session.colorize_stack()
    session.source = ramp
    with pytest.raises(SettingsError, match="render_factor must be"):
        session.sweep([3, 0])


# Stopping


def test_cancel_ends_a_prediction_between_two_layers(session, signals, network, ramp):
    network.is_blocked = True
    session.source = ramp
    network.wait_until_blocked()

    session.cancel()
    network.pass_layer()
    signals.wait_idle()

    assert network.finished == 0
    assert not signals.all("result_ready")
    assert signals.all("state")[:2] == ["getting ready", "predicting"]


def test_after_cancel_a_change_of_saturation_runs_no_network(session, signals, network, ramp):
    session.source = ramp
    signals.wait_idle()
    network.is_blocked = True
    session.set_settings(render_factor=9)
    network.wait_until_blocked()
    session.cancel()
    network.unblock()
    signals.wait_idle()

    session.set_settings(saturation=2.0)
    signals.wait_idle()
    assert len(network.sizes) == 2 and saturations(signals) == [1.0, 2.0]
    session.set_settings(render_factor=4)
    session.wait(SOON)
    session.set_settings(render_factor=9)  # set anew: tried again
    signals.wait_idle()
    assert factors(signals)[-1] == 9


def test_cancel_without_work_does_nothing(session, signals, ramp):
    session.cancel()
    session.source = ramp
    signals.wait_idle()
    session.cancel()

    assert session.status == "idle" and len(signals.all("result_ready")) == 1


def test_close_during_a_run_is_quick_and_emits_nothing(session, signals, network, ramp):
    session.source = np.stack([ramp] * 20)
    signals.wait_idle()
    network.is_blocked = True
    session.colorize_stack()
    network.wait_until_blocked()
    count = len(signals.emitted)

    closing = threading.Thread(target=session.close)
    closing.start()
    network.pass_layer()
    closing.join(SOON)

    assert not session._worker._thread.is_alive()
    assert len(signals.emitted) <= count + 1
    assert not session._worker.models.is_loaded and len(session._worker._cache) == 0
    assert not any(layer._forward_pre_hooks for layer in network.modules())


def test_a_listener_may_close_the_session(session, ramp):
    session.result_ready.connect(lambda _: session.close())
    session.source = ramp

    session._worker._thread.join(SOON)

    assert not session._worker._thread.is_alive()


def test_a_closed_session_raises(session, ramp):
    session.close()

    for use in (
        lambda: session.update(source=ramp),
        lambda: session.set_settings(saturation=2.0),
        session.warm_up,
        session.refresh,
    ):
        with pytest.raises(ColorizeError, match="closed: make a new ColorizeSession"):
            use()
    session.close()
    session.cancel()


def test_release_memory_frees_everything_until_the_next_change(session, signals, network, ramp):
    session.source = ramp
    signals.wait_idle()

    session.release_memory()
    signals.wait_idle()
    assert (
        not session._worker.models.is_loaded
        and session._worker._displayed_image._displayed is None
        and len(session._worker._cache) == 0
    )
    assert not network._forward_pre_hooks
    session.set_settings(saturation=2.0)
    signals.wait_idle()

    assert saturations(signals) == [1.0, 2.0] and len(network.sizes) == 2


def test_a_network_that_is_not_in_use_is_released(session, signals, ramp):
    once = colorizer_of(TintNetwork())
    gone = weakref.ref(once.network)
    session.update(source=ramp, model=once)
    signals.wait_idle()
    session.model = colorizer_of(TintNetwork())
    signals.wait_idle()

    session.release_memory()
    signals.wait_idle()
    del once
    gc.collect()

    assert gone() is None


def gone_after_closing(make_source, wait=5.0):
    """Whether the source of a closed session is freed when its thread has ended."""
    network = LayeredNetwork()
    session = ColorizeSession(model=colorizer_of(network))
    signals = SignalRecorder(session)
    source = make_source()
    gone = weakref.ref(source)
    session.source = source
    signals.wait_idle()
    network.is_blocked = True
    session.colorize_stack()
    session.set_settings(render_factor=3)
    network.wait_until_blocked()
    signals.emitted.clear()
    del source

    closing = threading.Thread(target=session.close, args=[wait])
    closing.start()
    if wait == 0:
        closing.join(SOON)
    network.unblock()
    session._worker._thread.join(SOON)
    closing.join(SOON)  # its frames hold the session until it has returned
    gc.collect()
    return gone() is None, weakref.ref(session)


@pytest.mark.parametrize("wait", [0, 5])
def test_a_closed_session_holds_no_source(ramp, wait):
    is_gone, session = gone_after_closing(lambda: np.stack([ramp] * 3), wait)

    gc.collect()
    assert is_gone
    assert session() is None  # not even the end of Python waits for it


def test_errors_hold_no_source(session, signals, ramp):
    source = ramp.copy()
    gone = weakref.ref(source)
    session.update(source=source, model="deoldifi")
    signals.wait_idle()
    session.set_settings(saturation=2.0)
    signals.wait_idle()

    del source
    session.close()

    assert gone() is None


# Errors


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"source": "photo.png"}, ImageError, "An array was expected, got the path"),
        ({"source": np.zeros((0, 3))}, ImageError, "no pixels"),
        ({"source": np.zeros((2, 3, 4, 5, 6)), "plane": (2, 0, 0)}, ImageError, "no plane"),
        ({"source": np.zeros((2, 3, 4, 5, 6)), "plane": (0, 0, -1)}, ImageError, "no plane"),
        ({"source": np.zeros((2, 30, 40)), "plane": (0, 0)}, ImageError, "no plane"),
        ({"model": "deoldifi"}, UnknownModelError, "No model is named"),
        ({"model": "/nowhere/mine.safetensors"}, ColorizeError, "mine.safetensors"),
        ({"model": "embedded", "device": "abacus"}, SettingsError, "abacus"),
    ],
)
def test_the_session_continues_after_an_error(session, signals, ramp, changes, kind, sentence):
    good = session.model
    session.update(**{"source": ramp, **changes})

    error = signals.wait_for("failed")

    assert isinstance(error, kind) and sentence in str(error) and "\n" not in str(error)
    session.update(source=1 - ramp, model=good, device="auto")
    assert signals.wait_for("result_ready")
    assert len(signals.wait_idle().all("failed")) == 1


def referenced_by(error):
    """Names of what frames hold for as long as the error lives."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [name for frame in frames for name in frame.f_locals]


def test_an_unexpected_error_is_emitted_with_its_cause_and_logged(session, signals, ramp, caplog):
    class Broken(TintNetwork):
        def forward(self, gray, self_attention=True):
            raise ZeroDivisionError("in the\nlayer")

    session.update(source=ramp, model=colorizer_of(Broken()))

    error = signals.wait_for("failed")

    assert type(error) is ColorizeError and isinstance(error.__cause__, ZeroDivisionError)
    assert "ZeroDivisionError: in the layer" in str(error)
    assert "failed unexpectedly" in caplog.text
    assert not referenced_by(error.__cause__)


def test_exhausted_memory_is_reported_and_holds_no_tensors(session, signals, ramp):
    class Huge(TintNetwork):
        def forward(self, gray, self_attention=True):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    session.update(source=ramp, model=colorizer_of(Huge()))

    error = signals.wait_for("failed")

    assert isinstance(error, OutOfMemoryError)
    assert not referenced_by(error)


def test_a_failed_prediction_is_not_repeated_for_another_saturation(session, signals, ramp):
    session.update(source=ramp, model="deoldifi")
    signals.wait_idle()

    session.set_settings(saturation=2.0)
    signals.wait_idle()

    assert len(signals.all("failed")) == 1


def test_an_error_ends_a_run(session, signals, ramp):
    session.update(source=np.stack([ramp] * 2), plane=(0,), model="deoldifi")
    session.colorize_stack()
    signals.wait_idle()

    assert len(signals.all("failed")) == 2
    assert signals.all("run_finished") == [RunFinished(0, 0, cancelled=False, keep=True, run=1)]


def test_an_exception_in_a_listener_is_logged(session, signals, ramp, caplog):
    session.result_ready.connect(lambda _: 1 / 0)
    session.source = ramp
    signals.wait_idle()

    session.set_settings(saturation=2.0)
    signals.wait_idle()

    assert saturations(signals) == [1.0, 2.0] and "A listener of result_ready failed" in caplog.text


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"settings": {"saturation": 2}}, SettingsError),
        ({"plane": (1.5,)}, ImageError),
        ({"plane": 3}, ImageError),
        ({"color": 1}, TypeError),
    ],
)
def test_invalid_inputs_raise_in_the_calling_thread(session, changes, kind):
    with pytest.raises(kind):
        session.update(**changes)


# Threads


def test_notes_are_in_the_result_and_no_warning_is_shown(session, signals, ramp):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        session.source = ramp * 300
        result = signals.wait_for("result_ready")

    assert any("taken from the data" in note for note in result.notes)
    assert not [one for one in shown if "taken from the data" in str(one.message)]


def test_other_threads_may_use_the_network(session, signals, network, ramp):
    session.source = ramp
    signals.wait_idle()
    session._worker._is_cancelling = True  # what the worker would stop for

    result = session.model(ramp)

    session._worker._is_cancelling = False
    np.testing.assert_array_equal(result.pixels, signals.all("result_ready")[0].pixels)


def test_all_signals_are_emitted_from_the_worker_thread(session, ramp):
    threads = set()
    for signal in (session.result_ready, session.state):
        signal.connect(lambda _: threads.add(threading.current_thread().name))
    session.source = ramp
    session.wait(SOON)

    assert threads == {"napari-colorize"}


def test_warm_up_needs_no_source(session, signals):
    session.warm_up()
    signals.wait_idle()

    assert session._worker.models.is_loaded
    assert signals.all("state")[0] == "getting ready" and not signals.all("failed")


def test_warm_up_loads_the_newest_model(session, signals, download, network):
    good = session.model
    session.model = "deoldify-artistic"
    session.warm_up()
    signals.wait_for("progress")

    session.model = good
    download.release()
    signals.wait_idle()

    assert network._forward_pre_hooks and not signals.all("failed")


def test_only_the_worker_thread_imports_torch():
    code = """
import sys, threading
importers = set()
class Watch:
    def find_spec(self, name, *_):
        if name == "torch":
            importers.add(threading.current_thread().name)
sys.meta_path.insert(0, Watch())
import napari_colorize as nc
session = nc.ColorizeSession(model="embedded", device="cpu", precision="float32", plane=None)
session.set_settings(saturation=2.0, render_factor=2)
assert session.status == "idle" and session.result is None and session.wait(0)
assert "torch" not in sys.modules and threading.active_count() == 1
import numpy
composed = threading.Event()
session.result_ready.connect(lambda _: composed.set())
session.source = numpy.zeros((8, 9), numpy.uint8)
assert composed.wait(300)
print(*importers)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "napari-colorize" and not run.stderr


# Downloads


@pytest.fixture
def download(monkeypatch, tmp_path):
    """Replaces the download by one of two blocks; the second needs a release of the semaphore."""
    second = threading.Semaphore(0)

    def fetch(checkpoint, *, progress):
        progress.reset(100)
        progress.update(40)
        assert second.acquire(timeout=SOON)
        progress.update(60)
        raise ColorizeError("That was all.")

    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", str(tmp_path))
    monkeypatch.setattr("napari_colorize.zoo.fetch", fetch)
    return second


def test_a_download_emits_progress(session, signals, download, ramp):
    download.release()
    session.update(source=ramp, model="deoldify-artistic")
    signals.wait_for("failed")

    first, last = signals.all("progress")
    assert isinstance(first, RunProgress) and "deoldify-artistic" in first.text
    assert (first.done, first.total, last.done) == (40, 100, 100)
    assert first.seconds_left is not None and last.seconds_left == 0
    assert "downloading" in signals.all("state")


def test_a_download_can_be_cancelled(session, signals, download, ramp):
    session.update(source=ramp, model="deoldify-artistic")
    signals.wait_for("progress")

    session.cancel()
    download.release()
    signals.wait_idle()

    assert len(signals.all("progress")) == 1 and not signals.all("failed")


def test_another_model_cancels_a_download(session, signals, download, ramp):
    good = session.model
    session.update(source=ramp, model="deoldify-artistic")
    signals.wait_for("progress")

    session.model = good
    download.release()

    assert signals.wait_for("result_ready") and not signals.all("failed")
