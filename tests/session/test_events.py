"""What a session says about the machine and about time."""

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


def test_the_time_of_a_picture_is_known_after_the_first(session, heard, network, ramp):
    before = session.seconds_per_picture
    session.source = ramp
    heard.settled()

    assert before is None and 0 < session.seconds_per_picture < SOON
    network.held = True
    session.model = colorizer_of(network)  # another model, until it has made a picture
    assert session.seconds_per_picture is None


def test_the_time_of_a_picture_does_not_count_what_is_only_composed(session, heard, network, ramp):
    session.source = np.stack([ramp] * 3)
    session.colorize_stack()
    heard.settled()
    predicting = session._pictures._predicting

    session.set_settings(saturation=2.0)
    session.colorize_stack()
    heard.settled()

    assert session._pictures._predicting is predicting


def test_warnings_of_other_threads_are_shown(session, heard, ramp):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        session.source = ramp * 300
        heard.settled()
        of_the_worker = list(shown)
        other = threading.Thread(target=colorizer_of(TintNetwork()), args=[ramp * 300])
        other.start()
        other.join(SOON)

    (one,) = [one for one in shown if issubclass(one.category, ColorizeWarning)]
    assert "taken from the data" in str(one.message)
    assert not of_the_worker
