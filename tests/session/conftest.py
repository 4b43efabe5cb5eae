"""A session whose network can be blocked, and its signals."""

from __future__ import annotations

import pytest
from recorder import LayeredNetwork, SignalRecorder
from stand_ins import colorizer_of

from napari_colorize.session import ColorizeSession


@pytest.fixture
def network():
    return LayeredNetwork()


@pytest.fixture
def session(network):
    with ColorizeSession(model=colorizer_of(network)) as session:
        yield session
        network.unblock()


@pytest.fixture
def signals(session):
    return SignalRecorder(session)
