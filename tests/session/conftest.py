"""A session whose network can be held up, and all that it says."""

from __future__ import annotations

import pytest
from recorder import Heard, LayeredNetwork
from stand_ins import colorizer_of

from napari_colorize.session import ColorizeSession


@pytest.fixture
def network():
    return LayeredNetwork()


@pytest.fixture
def session(network):
    with ColorizeSession(model=colorizer_of(network)) as session:
        yield session
        network.let_go()


@pytest.fixture
def heard(session):
    return Heard(session)
