"""Sample data: gray, as described, and there without a network."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from skimage import data

import napari_colorize
from napari_colorize.napari import samples

MANIFEST = Path(napari_colorize.__file__).with_name("napari.yaml")
PHOTOGRAPHS = {"astronaut": "astronaut", "cat": "chelsea", "coffee": "coffee", "rocket": "rocket"}


@pytest.fixture(autouse=True)
def plugin(npe2pm):
    """napari knows this plugin, installed or not, and no other."""
    with npe2pm.tmp_plugin(manifest=MANIFEST):
        yield


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("A sample must not need a network.")

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.mark.parametrize("key", PHOTOGRAPHS)
def test_a_photograph_is_its_rec_601_luminance(key):
    [(gray, looks, kind)] = getattr(samples, key)()

    rgb = getattr(data, PHOTOGRAPHS[key])()
    assert (looks["name"], kind, gray.dtype) == (key, "image", np.uint8)
    np.testing.assert_allclose(gray, rgb @ [0.299, 0.587, 0.114], atol=0.51)


def test_the_film_is_a_stack_that_moves():
    [(film, looks, _)] = samples.video()

    assert film.shape == (samples.FRAMES, *samples.FRAME_SHAPE)
    assert looks["axis_labels"] == ("t", "y", "x")
    assert all((now != before).any() for now, before in zip(film[1:], film[:-1], strict=True))


def test_the_deep_one_has_steps_that_8_bits_cannot_hold():
    [(gray, looks, _)] = samples.deep_16bit()

    assert gray.dtype == np.uint16 and len(np.unique(gray)) > 10 * 256
    assert looks["contrast_limits"] == (0, 65535)


@pytest.mark.parametrize("key", [*PHOTOGRAPHS, "film", "deep"])
def test_napari_opens_each_from_its_menu(key):
    viewer = ViewerModel()

    [layer] = viewer.open_sample("napari-colorize", key)

    assert not layer.rgb and layer in viewer.layers
