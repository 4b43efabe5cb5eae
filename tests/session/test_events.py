"""Devices, times and warnings of a session."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
from recorder import SOON
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.errors import ColorizeWarning
from napari_colorize.session import ColorizeSession


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [
        (0, False, ("auto", "cpu")),
        (1, False, ("auto", "cuda", "cpu")),
        (2, False, ("auto", "cuda:0", "cuda:1", "cpu")),
        (0, True, ("auto", "mps", "cpu")),
    ],
)
def test_devices_are_those_of_this_machine(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    with ColorizeSession(model=colorizer_of(TintNetwork())) as session:
        before = session.devices
        session.warm_up()
        session.wait(SOON)

        assert (before, session.devices) == (("auto", "cpu"), expected)


def test_seconds_per_image_is_known_after_the_first_result(session, signals, network, ramp):
    before = session.seconds_per_image
    session.source = ramp
    signals.wait_idle()

    assert before is None and 0 < session.seconds_per_image < SOON
    network.is_blocked = True
    session.model = colorizer_of(network)  # another model, before its first result
    assert session.seconds_per_image is None


def test_rendering_does_not_change_the_prediction_time(session, signals, network, ramp):
    session.source = np.stack([ramp] * 3)
    session.colorize_stack()
    signals.wait_idle()
    predicting = session._worker.renderer._prediction_time

    session.set_settings(saturation=2.0)
    session.colorize_stack()
    signals.wait_idle()

    assert session._worker.renderer._prediction_time is predicting


def test_warnings_of_other_threads_are_shown(session, signals, ramp):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        session.source = ramp * 300
        signals.wait_idle()
        of_the_worker = list(shown)
        other = threading.Thread(target=colorizer_of(TintNetwork()), args=[ramp * 300])
        other.start()
        other.join(SOON)

    (one,) = [one for one in shown if issubclass(one.category, ColorizeWarning)]
    assert "taken from the data" in str(one.message)
    assert not of_the_worker
