"""The session at work: real threads that wait for events, never for time to pass."""

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
from recorder import SOON, Heard, LayeredNetwork
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.errors import (
    ColorizeError,
    ColorizeNote,
    ImageError,
    OutOfMemoryError,
    SettingsError,
    UnknownModelError,
)
from napari_colorize.session import ColorizeSession, RunFinished, RunProgress, cache
from napari_colorize.settings import ColorizeSettings


def saturations(heard):
    return [result.settings.saturation for result in heard.all("result_ready")]


def factors(heard):
    return [result.settings.render_factor for result in heard.all("result_ready")]


# What is shown


def test_the_picture_is_the_colorizers(session, heard, ramp):
    session.update(source=ramp, settings=ColorizeSettings(saturation=1.5, render_factor=3))

    result = heard.wait_for("result_ready")

    expected = colorizer_of(TintNetwork())(ramp, saturation=1.5, render_factor=3)
    np.testing.assert_array_equal(result.pixels, expected.pixels)
    assert result.provenance == expected.provenance
    assert session.result is result


def test_what_is_left_open_is_as_the_model_recommends(heard, session, ramp):
    session.model = colorizer_of(TintNetwork(), render_factor=7, saturation=2.0)
    session.source = ramp

    result = heard.wait_for("result_ready")

    assert (result.settings.render_factor, result.settings.saturation) == (7, 2.0)


def test_the_embedded_model_is_loaded_by_its_name(ramp):
    with ColorizeSession(source=ramp, precision="float32") as session:
        result = (
            Heard(session).wait_for("result_ready") if session.result is None else session.result
        )

    assert result.provenance["model"] == "embedded"


def test_pixels_are_composed_before_they_are_told(session, heard, ramp):
    session.source = ramp

    assert "pixels" in vars(heard.wait_for("result_ready"))


def test_saturation_never_asks_the_network(session, heard, network, ramp):
    session.source = ramp
    heard.settled()

    for saturation in (0.0, 0.5, 4.0):
        session.set_settings(saturation=saturation)
        heard.settled()

    assert saturations(heard) == [1.0, 0.0, 0.5, 4.0]
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
def test_what_the_network_would_answer_otherwise_is_predicted_anew(
    session, heard, network, ramp, change
):
    session.source = ramp
    heard.settled()

    session.set_settings(**change)
    heard.settled()

    assert len(network.sizes) == 2
    expected = colorizer_of(TintNetwork())(ramp, **change)
    np.testing.assert_array_equal(heard.all("result_ready")[-1].pixels, expected.pixels)


def test_saying_the_same_again_does_nothing(session, heard, ramp):
    session.update(source=ramp, plane=())
    heard.settled()

    session.update(source=ramp, plane=[], settings=ColorizeSettings(), device="auto")

    assert session.wait(0)
    assert len(heard.settled().all("result_ready")) == 1


def test_a_source_that_changed_in_place_is_refreshed(session, heard, ramp):
    image = ramp.copy()
    session.source = image
    before = heard.wait_for("result_ready")

    image[:] = 1 - ramp
    session.refresh()

    after = heard.wait_for("result_ready", 2)
    np.testing.assert_array_equal(after.gray, (1 - ramp))
    assert (after.pixels != before.pixels).any()


def test_a_fidelity_has_no_shortcut_for_saturation(session, heard, ramp):
    session.update(source=ramp, settings=ColorizeSettings(fidelity="ipol"))

    error = heard.wait_for("failed")  # the stand-in is none of theirs

    assert isinstance(error, SettingsError)


# Newest wins


def test_changes_during_a_prediction_are_coalesced(session, heard, network, ramp):
    network.held = True
    session.update(source=ramp, settings=ColorizeSettings(render_factor=2))
    network.wait_until_held()

    for render_factor in range(3, 20):
        session.set_settings(render_factor=render_factor)
    network.let_go()
    heard.settled()

    assert len(network.sizes) == 2
    assert factors(heard) == [19]


def test_a_prediction_that_nobody_wants_ends_between_two_layers(session, heard, network, ramp):
    network.held = True
    session.update(source=ramp, settings=ColorizeSettings(render_factor=2))
    network.wait_until_held()

    session.set_settings(render_factor=3)
    network.go.release()  # one layer further, no more
    network.wait_until_held()

    assert network.finished == 0 and len(network.sizes) == 2
    network.let_go()
    assert heard.wait_for("result_ready").settings.render_factor == 3


def test_a_picture_of_another_source_is_never_shown(session, heard, network, ramp):
    network.held = True
    session.source = ramp
    network.wait_until_held()

    session.source = other = 1 - ramp
    network.let_go()
    heard.settled()

    (result,) = heard.all("result_ready")
    np.testing.assert_array_equal(result.gray, other)


@pytest.mark.parametrize("change", ["source", "plane", "factor", "cancel"])
def test_a_result_that_came_too_late_is_dropped(session, heard, network, ramp, change):
    changes = {
        "source": lambda: session.update(source=1 - ramp),
        "plane": lambda: session.update(plane=(1,)),
        "factor": lambda: session.set_settings(render_factor=9),
        "cancel": session.cancel,
    }
    network.at_end = changes[change]
    session.source = np.stack([ramp, 1 - ramp])

    shown = heard.settled().all("result_ready")

    assert len(shown) == (change != "cancel")
    assert session.result is (shown[-1] if shown else None)
    assert factors(heard) in ([], [9]) or shown[0].gray[0, 0] == 1


def test_an_error_that_came_too_late_is_dropped(session, heard, ramp):
    class Late(LayeredNetwork):
        def forward(self, gray, self_attention=True):
            session.set_settings(render_factor=9)
            if len(self.sizes) == 0:
                self.sizes.append(0)
                raise ZeroDivisionError
            return super().forward(gray, self_attention)

    session.update(source=ramp, model=colorizer_of(Late()))
    heard.settled()

    assert factors(heard) == [9] and not heard.all("failed")


def test_the_slider_is_followed_while_a_new_prediction_is_made(session, heard, network, ramp):
    session.set_settings(render_factor=2)
    session.source = ramp
    heard.settled()
    network.held = True
    session.set_settings(render_factor=3)
    network.wait_until_held()

    session.set_settings(saturation=3.0)
    network.go.release()
    interim = heard.wait_for("result_ready", 2)

    assert (interim.settings.render_factor, interim.settings.saturation) == (2, 3.0)
    assert network.finished == 1
    network.let_go()
    final = heard.wait_for("result_ready", 3)
    assert (final.settings.render_factor, final.settings.saturation) == (3, 3.0)
    assert len(network.sizes) == 2


def test_a_result_is_only_of_what_is_looked_at_now(session, heard, network, ramp):
    session.source = np.stack([ramp, 1 - ramp])
    heard.settled()
    assert session.result is heard.all("result_ready")[-1]

    network.held = True
    session.plane = (1,)

    assert session.result is None
    network.let_go()
    assert heard.settled().all("result_ready")[-1] is session.result


def test_many_hands_at_once_never_get_an_old_picture(session, heard, network):
    stack = np.random.default_rng(0).random((3, 9, 8), dtype=np.float32)
    session.source = stack
    serial, serials = threading.Lock(), {}
    started = {
        "sweep": lambda: session.sweep([1, 2]),
        "run": session.colorize_stack,
        "prefetch": lambda: session.prefetch([(2,), (0,), (1,)]),
        "judge": session.request_expected_error,
    }

    def play(seed):
        hand = random.Random(seed)
        for _ in range(40):
            with serial:  # so that we know in which order things were said
                number = len(serials)
                saturation = number / 1000
                kind = hand.choice(["plane", "factor", "saturation", "cancel", *started])
                settings = replace(session.settings, saturation=saturation)
                if kind == "plane":
                    session.update(plane=(hand.randrange(3),), settings=settings)
                elif kind == "factor":
                    settings = replace(settings, render_factor=hand.randrange(1, 4))
                    session.update(settings=settings)
                else:
                    session.update(settings=settings)
                serials[saturation] = session.plane or (0,)
            if kind == "cancel":
                session.cancel()
            if kind in started:
                started[kind]()

    hands = [threading.Thread(target=play, args=[seed]) for seed in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join(SOON)
    session.set_settings(saturation=1.0, render_factor=5)
    heard.settled()

    shown = saturations(heard)[1:]  # the first is as the model recommends
    assert shown == sorted(shown)
    assert not heard.all("failed")
    last = heard.all("result_ready")[-1]
    expected = colorizer_of(TintNetwork())(
        stack[(session.plane or (0,))], render_factor=5, contrast_limits=(0, 1)
    )
    np.testing.assert_array_equal(last.pixels, expected.pixels)
    for result in heard.all("result_ready")[1:]:  # never another plane than the one of that moment
        plane = serials.get(result.settings.saturation, session.plane or (0,))
        np.testing.assert_array_equal(result.gray, stack[plane])
    for index, result in heard.all("plane_ready"):
        np.testing.assert_array_equal(result.gray, stack[index])


# Going back


def test_going_back_is_instant(session, heard, network, ramp):
    session.source = np.stack([ramp, ramp[::-1]])
    for changes in ({"render_factor": 2}, {"render_factor": 3}, {"render_factor": 2}):
        session.set_settings(**changes)
        heard.settled()
    asked = len(network.sizes)
    for plane in ((1,), (0,), (1,)):
        session.plane = plane
        heard.settled()

    assert len(network.sizes) == asked + 1
    assert len(heard.all("result_ready")) >= 5


def test_few_predictions_are_kept(session, heard, network, ramp, monkeypatch):
    monkeypatch.setattr(cache, "CACHED", 3)
    session.source = ramp
    for render_factor in (1, 2, 3, 4, 5):
        session.set_settings(render_factor=render_factor)
        heard.settled()

    assert len(session._cache) == 3
    asked = len(network.sizes)
    session.set_settings(render_factor=1)
    heard.settled()
    assert len(network.sizes) == asked + 1


def test_large_pictures_are_kept_one_at_a_time(session, heard, ramp, monkeypatch):
    monkeypatch.setattr(cache, "CACHED_BYTES", ramp.nbytes)
    session.source = ramp
    for render_factor in (1, 2, 3):
        session.set_settings(render_factor=render_factor)
        heard.settled()

    assert len(session._cache) == 1


def test_another_source_leaves_nothing_of_the_last_one(session, heard, ramp):
    session.source = ramp
    heard.settled()

    session.source = None

    assert session.result is None and len(session._cache) == 0
    assert session.wait(SOON)


# Stacks


class CountingStack:
    """A lazy stack that remembers which planes were asked for."""

    def __init__(self, values):
        self.values, self.asked = values, []
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, index):
        self.asked.append(index)
        return self.values[index].tolist()  # no array before it is made one


def test_of_a_lazy_stack_only_the_plane_looked_at_is_computed_once(session, heard, ramp):
    stack = CountingStack(np.stack([ramp, ramp / 2, ramp / 3]))
    session.update(source=stack, plane=(2,))
    heard.settled()
    session.set_settings(render_factor=3)
    heard.settled()

    assert stack.asked == [(2,)]


def test_planes_of_a_stack_in_memory_share_their_limits(session, heard, ramp):
    stack = np.stack([ramp * 300, ramp * 100])
    session.update(source=stack, plane=(1,))

    result = heard.wait_for("result_ready")

    with pytest.warns(ColorizeNote, match="taken from the data: 0 and 300"):
        _, expected = colorizer_of(TintNetwork()).iter_planes(stack)
    np.testing.assert_array_equal(result.pixels, expected[1].pixels)
    assert result.notes == expected[1].notes


def test_a_run_colorizes_every_plane_as_the_colorizer_does(session, heard, ramp):
    stack = np.stack([ramp, ramp / 2, ramp / 4])
    session.source = stack

    session.colorize_stack()
    heard.settled()

    expected = list(colorizer_of(TintNetwork()).iter_planes(stack))
    told = heard.all("plane_ready")
    assert [index for index, _ in told] == [(0,), (1,), (2,)]
    for (_, result), (_, other) in zip(told, expected, strict=True):
        np.testing.assert_array_equal(result.pixels, other.pixels)
    assert [step.done for step in heard.all("progress")] == [1, 2, 3]
    assert heard.all("progress")[-1].seconds_left == 0
    assert heard.all("run_finished") == [RunFinished(3, 3, cancelled=False, keep=True, run=1)]


@pytest.mark.parametrize("keep", [True, False])
def test_a_run_is_cancelled_within_a_plane(session, heard, network, ramp, monkeypatch, keep):
    monkeypatch.setattr("napari_colorize.colorizer.BATCH_PLANES", 1)
    session.source = np.stack([ramp] * 50)
    heard.settled()
    finished = network.finished

    session.plane_ready.connect(lambda *_: setattr(network, "held", True))
    session.colorize_stack()
    network.wait_until_held()  # in the second plane
    session.cancel(keep=keep)
    assert session.status == "cancelling"
    network.go.release()
    heard.settled()

    assert network.finished == finished + 1
    assert heard.all("run_finished") == [RunFinished(1, 50, cancelled=True, keep=keep, run=1)]
    assert "cancelling" in heard.all("state") and heard.wait_for("state", 1)


def test_what_is_looked_at_comes_before_the_rest_of_a_run(
    session, heard, network, ramp, monkeypatch
):
    monkeypatch.setattr("napari_colorize.colorizer.BATCH_PLANES", 1)
    session.source = np.stack([ramp] * 5)
    heard.settled()
    network.held = True
    session.colorize_stack()
    network.wait_until_held()

    session.plane = (3,)
    network.let_go()
    heard.settled()

    names = [name for name, _ in heard.said]
    assert names.index("plane_ready") < len(names) - 1 - names[::-1].index("result_ready")
    assert len(names) - 1 - names[::-1].index("result_ready") < names.index("run_finished")
    assert [index for index, _ in heard.all("plane_ready")] == [(i,) for i in range(5)]


def test_saturation_is_followed_in_the_midst_of_a_run(session, heard, network, ramp):
    session.source = np.stack([ramp] * 3)
    heard.settled()
    network.held = True
    session.colorize_stack()
    network.wait_until_held()

    session.set_settings(saturation=2.5)
    network.go.release()
    result = heard.wait_for("result_ready", 2)

    assert result.settings.saturation == 2.5 and not heard.all("plane_ready")


def test_a_run_goes_on_when_its_source_is_taken_away(session, heard, network, ramp):
    session.source = np.stack([ramp] * 3)
    heard.settled()
    network.held = True
    session.colorize_stack()
    network.wait_until_held()

    session.source = None
    network.let_go()
    heard.settled()

    assert len(heard.all("plane_ready")) == 3


def test_a_newer_run_ends_the_older(session, heard, network, ramp):
    session.source = np.stack([ramp] * 3)
    heard.settled()
    network.held = True
    session.colorize_stack()
    network.wait_until_held()

    session.sweep([2, 3])
    network.let_go()
    heard.settled()

    assert [end.cancelled for end in heard.all("run_finished")] == [True, False]
    assert not heard.all("plane_ready")


def test_a_sweep_shows_every_render_factor_and_keeps_them(session, heard, network, ramp):
    session.source = ramp
    heard.settled()

    session.sweep([2, 3, 5])
    heard.settled()
    asked = len(network.sizes)
    session.set_settings(render_factor=5)
    heard.settled()

    told = heard.all("sweep_ready")
    assert [factor for factor, _ in told] == [2, 3, 5]
    assert len(network.sizes) == asked
    np.testing.assert_array_equal(told[-1][1].pixels, heard.all("result_ready")[-1].pixels)


def test_a_run_needs_a_source_and_a_sweep_real_render_factors(session, ramp):
    with pytest.raises(ImageError, match="choose one first"):
        session.colorize_stack()
    session.source = ramp
    with pytest.raises(SettingsError, match="render_factor must be"):
        session.sweep([3, 0])


# Stopping


def test_cancelling_ends_a_prediction_within_the_plane(session, heard, network, ramp):
    network.held = True
    session.source = ramp
    network.wait_until_held()

    session.cancel()
    network.go.release()
    heard.settled()

    assert network.finished == 0
    assert not heard.all("result_ready")
    assert heard.all("state")[:2] == ["getting ready", "predicting"]


def test_after_a_cancel_saturation_is_still_only_composed(session, heard, network, ramp):
    session.source = ramp
    heard.settled()
    network.held = True
    session.set_settings(render_factor=9)
    network.wait_until_held()
    session.cancel()
    network.let_go()
    heard.settled()

    session.set_settings(saturation=2.0)
    heard.settled()
    assert len(network.sizes) == 2 and saturations(heard) == [1.0, 2.0]
    session.set_settings(render_factor=4)
    session.wait(SOON)
    session.set_settings(render_factor=9)  # set anew: tried again
    heard.settled()
    assert factors(heard)[-1] == 9


def test_cancelling_nothing_does_nothing(session, heard, ramp):
    session.cancel()
    session.source = ramp
    heard.settled()
    session.cancel()

    assert session.status == "idle" and len(heard.all("result_ready")) == 1


def test_closing_in_the_midst_of_a_run_is_quick_and_quiet(session, heard, network, ramp):
    session.source = np.stack([ramp] * 20)
    heard.settled()
    network.held = True
    session.colorize_stack()
    network.wait_until_held()
    said = len(heard.said)

    closing = threading.Thread(target=session.close)
    closing.start()
    network.go.release()
    closing.join(SOON)

    assert not session._thread.is_alive()
    assert len(heard.said) <= said + 1
    assert not session._model.is_loaded and len(session._cache) == 0
    assert not any(layer._forward_pre_hooks for layer in network.modules())


def test_a_listener_may_close_the_session(session, ramp):
    session.result_ready.connect(lambda _: session.close())
    session.source = ramp

    session._thread.join(SOON)

    assert not session._thread.is_alive()


def test_what_is_closed_says_so(session, ramp):
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


def test_unloading_frees_everything_and_the_next_change_loads_again(session, heard, network, ramp):
    session.source = ramp
    heard.settled()

    session.release_memory()
    heard.settled()
    assert not session._model.is_loaded and session._shown is None and len(session._cache) == 0
    assert not network._forward_pre_hooks
    session.set_settings(saturation=2.0)
    heard.settled()

    assert saturations(heard) == [1.0, 2.0] and len(network.sizes) == 2


def test_a_network_that_is_out_of_use_takes_no_memory(session, heard, ramp):
    once = colorizer_of(TintNetwork())
    gone = weakref.ref(once.network)
    session.update(source=ramp, model=once)
    heard.settled()
    session.model = colorizer_of(TintNetwork())
    heard.settled()

    session.release_memory()
    heard.settled()
    del once
    gc.collect()

    assert gone() is None


def gone_after_closing(make_source, wait=5.0):
    """Whether a closed session lets go of its source, once its thread has ended."""
    network = LayeredNetwork()
    session = ColorizeSession(model=colorizer_of(network))
    heard = Heard(session)
    source = make_source()
    gone = weakref.ref(source)
    session.source = source
    heard.settled()
    network.held = True
    session.colorize_stack()
    session.set_settings(render_factor=3)
    network.wait_until_held()
    heard.said.clear()
    del source

    closing = threading.Thread(target=session.close, args=[wait])
    closing.start()
    if wait == 0:
        closing.join(SOON)
    network.let_go()
    session._thread.join(SOON)
    gc.collect()
    return gone() is None, weakref.ref(session)


@pytest.mark.parametrize("wait", [0, 5])
def test_a_closed_session_lets_go_of_its_source(ramp, wait):
    is_gone, session = gone_after_closing(lambda: np.stack([ramp] * 3), wait)

    gc.collect()
    assert is_gone
    assert session() is None  # not even the end of Python waits for it


def test_a_source_whose_picture_failed_is_let_go_of(session, heard, ramp):
    source = ramp.copy()
    gone = weakref.ref(source)
    session.update(source=source, model="deoldifi")
    heard.settled()
    session.set_settings(saturation=2.0)
    heard.settled()

    del source
    session.close()

    assert gone() is None


# Errors


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"source": "photo.png"}, ImageError, "Read the file first"),
        ({"source": np.zeros((0, 3))}, ImageError, "no pixels"),
        ({"source": np.zeros((2, 3, 4, 5, 6)), "plane": (7, 0, 0)}, ImageError, "no plane"),
        ({"source": np.zeros((2, 30, 40)), "plane": (0, 0)}, ImageError, "no plane"),
        ({"model": "deoldifi"}, UnknownModelError, "No model is named"),
        ({"model": "/nowhere/mine.safetensors"}, ColorizeError, "mine.safetensors"),
        ({"model": "embedded", "device": "abacus"}, SettingsError, "abacus"),
    ],
)
def test_an_error_is_one_sentence_and_the_session_lives(
    session, heard, ramp, changes, kind, sentence
):
    good = session.model
    session.update(**{"source": ramp, **changes})

    error = heard.wait_for("failed")

    assert isinstance(error, kind) and sentence in str(error) and "\n" not in str(error)
    session.update(source=1 - ramp, model=good, device="auto")
    assert heard.wait_for("result_ready")
    assert len(heard.settled().all("failed")) == 1


def held_by(error):
    """Names of what frames hold for as long as the error lives."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [name for frame in frames for name in frame.f_locals]


def test_an_unexpected_error_is_told_with_its_cause_and_logged(session, heard, ramp, caplog):
    class Broken(TintNetwork):
        def forward(self, gray, self_attention=True):
            raise ZeroDivisionError("in the\nlayer")

    session.update(source=ramp, model=colorizer_of(Broken()))

    error = heard.wait_for("failed")

    assert type(error) is ColorizeError and isinstance(error.__cause__, ZeroDivisionError)
    assert "ZeroDivisionError: in the layer" in str(error)
    assert "failed unexpectedly" in caplog.text
    assert not held_by(error.__cause__)


def test_memory_that_runs_out_is_told_in_words_and_let_go_of(session, heard, ramp):
    class Huge(TintNetwork):
        def forward(self, gray, self_attention=True):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    session.update(source=ramp, model=colorizer_of(Huge()))

    error = heard.wait_for("failed")

    assert isinstance(error, OutOfMemoryError)
    assert not held_by(error)


def test_after_a_failure_saturation_does_not_fail_again(session, heard, ramp):
    session.update(source=ramp, model="deoldifi")
    heard.settled()

    session.set_settings(saturation=2.0)
    heard.settled()

    assert len(heard.all("failed")) == 1


def test_a_run_that_fails_ends(session, heard, ramp):
    session.update(source=np.stack([ramp] * 2), plane=(0,), model="deoldifi")
    session.colorize_stack()
    heard.settled()

    assert len(heard.all("failed")) == 2
    assert heard.all("run_finished") == [RunFinished(0, 0, cancelled=False, keep=True, run=1)]


def test_a_listener_that_raises_does_no_harm(session, heard, ramp, caplog):
    session.result_ready.connect(lambda _: 1 / 0)
    session.source = ramp
    heard.settled()

    session.set_settings(saturation=2.0)
    heard.settled()

    assert saturations(heard) == [1.0, 2.0] and "A listener of composed failed" in caplog.text


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"settings": {"saturation": 2}}, SettingsError),
        ({"plane": (1.5,)}, ImageError),
        ({"plane": 3}, ImageError),
        ({"colour": 1}, TypeError),
    ],
)
def test_nonsense_is_refused_where_it_is_said(session, changes, kind):
    with pytest.raises(kind):
        session.update(**changes)


# Threads


def test_notes_come_with_the_result_and_no_warning_is_shown(session, heard, ramp):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        session.source = ramp * 300
        result = heard.wait_for("result_ready")

    assert any("taken from the data" in note for note in result.notes)
    assert not [one for one in shown if "taken from the data" in str(one.message)]


def test_others_may_use_the_network_meanwhile(session, heard, network, ramp):
    session.source = ramp
    heard.settled()
    session._cancelling = True  # what the worker would stop for

    result = session.model(ramp)

    session._cancelling = False
    np.testing.assert_array_equal(result.pixels, heard.all("result_ready")[0].pixels)


def test_the_worker_speaks_and_nobody_else(session, ramp):
    threads = set()
    for signal in (session.result_ready, session.state):
        signal.connect(lambda _: threads.add(threading.current_thread().name))
    session.source = ramp
    session.wait(SOON)

    assert threads == {"napari-colorize"}


def test_getting_ready_needs_no_picture(session, heard):
    session.warm_up()
    heard.settled()

    assert session._model.is_loaded
    assert heard.all("state")[0] == "getting ready" and not heard.all("failed")


def test_the_model_that_gets_ready_is_the_newest(session, heard, download, network):
    good = session.model
    session.model = "deoldify-artistic"
    session.warm_up()
    heard.wait_for("progress")

    session.model = good
    download.release()
    heard.settled()

    assert network._forward_pre_hooks and not heard.all("failed")


def test_torch_is_imported_by_the_worker_alone():
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
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "napari-colorize" and not said.stderr


# Downloads


@pytest.fixture
def download(monkeypatch, tmp_path):
    """Fetching a checkpoint that is not here, in two pieces, the second when told to."""
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


def test_a_download_tells_how_far_it_is(session, heard, download, ramp):
    download.release()
    session.update(source=ramp, model="deoldify-artistic")
    heard.wait_for("failed")

    first, last = heard.all("progress")
    assert isinstance(first, RunProgress) and "deoldify-artistic" in first.text
    assert (first.done, first.total, last.done) == (40, 100, 100)
    assert first.seconds_left is not None and last.seconds_left == 0
    assert "downloading" in heard.all("state")


def test_a_download_can_be_cancelled(session, heard, download, ramp):
    session.update(source=ramp, model="deoldify-artistic")
    heard.wait_for("progress")

    session.cancel()
    download.release()
    heard.settled()

    assert len(heard.all("progress")) == 1 and not heard.all("failed")


def test_choosing_another_model_ends_a_download(session, heard, download, ramp):
    good = session.model
    session.update(source=ramp, model="deoldify-artistic")
    heard.wait_for("progress")

    session.model = good
    download.release()

    assert heard.wait_for("result_ready") and not heard.all("failed")
