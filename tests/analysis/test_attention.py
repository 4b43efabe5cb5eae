from __future__ import annotations

import threading

import numpy as np
import pytest
import skimage.data
import torch
from stand_ins import SMALL, TintNetwork, colorizer_of
from torch import Tensor, nn

from napari_colorize.analysis.attention import AttentionMap, _stop_before
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.networks.deoldify import DeOldify
from napari_colorize.networks.layers import IpolSelfAttention, SelfAttention

GRAY = skimage.data.camera()[::4, ::2]  # (128, 256)
NARROW = {"encoder": "resnet18-layer3", "width": 0.0625}


class SimilarityNetwork(TintNetwork):
    """Network with self-attention between pixels on the same side of gray 0.5."""

    def __init__(self, kind: type[SelfAttention | IpolSelfAttention]) -> None:
        super().__init__()
        self.attention = kind(8, norm=None)
        for name, part in self.attention.named_children():
            nn.init.constant_(part.weight, 20.0 if name in ("query", "key", "f", "g") else 0.1)
        self.finished = 0

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        signed = torch.where(gray > 0.5, 1.0, -1.0).expand(-1, 8, -1, -1)[..., ::4, ::4]
        self.attention(signed, self_attention)
        self.finished += 1
        return super().forward(gray, self_attention)


@pytest.mark.parametrize("kind", [SelfAttention, IpolSelfAttention])
def test_it_shows_the_positions_that_a_point_attends_to(kind):
    halves = np.zeros((64, 64), np.float32)
    halves[:, 32:] = 1
    colorizer = colorizer_of(SimilarityNetwork(kind))

    left, right = (colorizer.attention_map(halves, (30, column)) for column in (31, 32))

    assert left.weights.shape == (16, 16)
    assert left.weights[:, :8].sum() == pytest.approx(1)
    assert right.weights[:, 8:].sum() == pytest.approx(1)
    np.testing.assert_allclose(left.full()[:, :28], left.weights.max(), rtol=1e-5)


def new_colorizer(architecture: str) -> Colorizer:
    torch.manual_seed(0)
    if architecture == "deoldify-deep":
        network = DeOldify(SMALL)
    else:
        network = ARCHITECTURES[architecture].create(**NARROW)
    return colorizer_of(network.eval(), architecture=architecture, fit="square")


@pytest.mark.parametrize("architecture", ["deoldify-deep", "deoldify-other", "embedded"])
def test_every_network_with_self_attention_has_a_map(architecture):
    if architecture == "embedded":
        colorizer = Colorizer.from_pretrained("embedded", device="cpu", precision="float32")
    else:
        colorizer = new_colorizer(architecture)

    found = colorizer.attention_map(GRAY, (5.4, 200.0), render_factor=4)

    assert isinstance(found, AttentionMap)
    assert (found.point, found.size, found.full().shape) == ((5, 200), (128, 256), (128, 256))
    assert found.weights.dtype == found.full().dtype == np.float32
    assert found.weights.sum() == pytest.approx(1, abs=1e-5) and found.weights.min() >= 0
    elsewhere = colorizer.attention_map(GRAY, (120, 10), render_factor=4)
    assert (elsewhere.weights != found.weights).any()


def test_the_map_is_that_of_the_last_layer():
    network = ARCHITECTURES["deoldify-other"].create(**NARROW | {"attention": 2}).eval()
    colorizer = colorizer_of(network, architecture="deoldify-other", fit="square")

    found = colorizer.attention_map(GRAY, (0, 0), render_factor=4)

    assert found.weights.shape == (16, 16)  # a quarter of 64; the first is at an eighth


@pytest.mark.parametrize("settings", [{"self_attention": False}, {"fidelity": "ipol"}])
def test_self_attention_setting_and_fidelity_do_not_change_it(settings):
    colorizer = new_colorizer("deoldify-other")

    plain, other = (
        colorizer.attention_map(GRAY, (9, 9), render_factor=3, **some) for some in ({}, settings)
    )

    np.testing.assert_array_equal(plain.weights, other.weights)


def test_gamma_changes_it():
    colorizer = new_colorizer("deoldify-other")

    plain, darker = (
        colorizer.attention_map(GRAY, (9, 9), render_factor=3, gamma=gamma) for gamma in (1, 3)
    )

    assert (plain.weights != darker.weights).any()


def test_the_network_stops_at_the_layer_and_is_unchanged(ramp):
    network = SimilarityNetwork(SelfAttention)

    colorizer_of(network).attention_map(ramp, (0, 0))

    assert network.finished == 0 and not network.attention._forward_pre_hooks
    colorizer_of(network)(ramp)
    assert network.finished == 1


def test_other_threads_can_use_the_network_meanwhile(ramp):
    network = SimilarityNetwork(SelfAttention)
    colorizer = colorizer_of(network)
    expected, results = colorizer(ramp).pixels, []
    other = threading.Thread(target=lambda: results.append(colorizer(ramp).pixels))

    with _stop_before(network.attention) as inputs:
        other.start()
        other.join()

    np.testing.assert_array_equal(results[0], expected)
    assert inputs == []


@pytest.mark.parametrize("point", [(-1, 0), (48, 0), (0, 63.6), (0, float("nan"))])
def test_a_point_outside_is_refused(ramp, point):
    with pytest.raises(ImageError, match="point"):
        colorizer_of(SimilarityNetwork(SelfAttention)).attention_map(ramp, point)


def test_a_network_without_attention_is_refused(tiny_colorizer, ramp):
    with pytest.raises(SettingsError, match="tint has no self-attention layer to show"):
        tiny_colorizer.attention_map(ramp, (0, 0))
