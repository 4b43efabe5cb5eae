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
    [(gray, attributes, kind)] = getattr(samples, key)()

    rgb = getattr(data, PHOTOGRAPHS[key])()
    assert (attributes["name"], kind, gray.dtype) == (key, "image", np.uint8)
    np.testing.assert_allclose(gray, rgb @ [0.299, 0.587, 0.114], atol=0.51)


def test_the_video_is_a_stack_of_different_frames():
    [(video, attributes, _)] = samples.video()

    assert video.shape == (samples.VIDEO_FRAMES, *samples.VIDEO_FRAME_SHAPE)
    assert attributes["axis_labels"] == ("t", "y", "x")
    assert all((now != before).any() for now, before in zip(video[1:], video[:-1], strict=True))


def test_the_16_bit_sample_has_more_levels_than_8_bits():
    [(gray, attributes, _)] = samples.retina_16bit()

    assert gray.dtype == np.uint16 and len(np.unique(gray)) > 10 * 256
    assert attributes["contrast_limits"] == (0, 65535)


@pytest.mark.parametrize("key", [*PHOTOGRAPHS, "video", "retina_16bit"])
def test_napari_opens_each_sample(key):
    viewer = ViewerModel()

    [layer] = viewer.open_sample("napari-colorize", key)

    assert not layer.rgb and layer in viewer.layers


def test_science_samples_are_not_photographs():
    [(cell, _, _)] = samples.cell()
    assert cell.dtype == np.uint8 and cell.ndim == 2
    channels = samples.fluorescence()
    assert [attributes["blending"] for _, attributes, _ in channels] == ["additive"] * 2
    assert all(image.dtype == np.uint16 and image.max() > 500 for image, _, _ in channels)
    [(density, attributes, _)] = samples.xray()
    assert density.max() == 4095 and attributes["units"] == ("mm", "mm")
