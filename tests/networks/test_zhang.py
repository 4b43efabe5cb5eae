from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from reference import keys_of, load_arrays, published_keys, reference_network
from skimage.color import rgb2lab

from napari_colorize.imaging.color import lab_to_rgb
from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.zhang import GRID, TEMPERATURE, Eccv16, bin_centers
from napari_colorize.zoo.weights import build

ZHANG = ARCHITECTURES["zhang-eccv16"]
SIZES = ("64x64", "96x128")


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return load_arrays("richzhang/eccv16.npz")


@pytest.fixture(scope="module")
def published(stored) -> Eccv16:
    """Network with the weights of the reference data, loaded as from a file."""
    network, checksum = reference_network("eccv16")
    assert checksum == stored["weights_crc32"]
    return build(ZHANG, network.state_dict())


def in_gamut_corners(levels: int) -> set[tuple[int, int]]:
    """Corners of the cells of a 10-grid over a and b that contain a color of the RGB surface."""
    level = np.linspace(0, 1, levels)
    face = np.stack([*np.meshgrid(level, level)], axis=-1)
    faces = [np.insert(face, axis, end, axis=-1) for axis in range(3) for end in (0, 1)]
    cells = np.floor(rgb2lab(np.stack(faces))[..., 1:].reshape(-1, 2) / GRID).astype(int)
    return {
        (GRID * int(a + right), GRID * int(b + up))
        for a, b in np.unique(cells, axis=0)
        for right in (0, 1)
        for up in (0, 1)
    }


def test_the_313_classes_are_sorted_and_cover_the_gamut():
    centers = bin_centers()

    outputs = [tuple(map(int, center)) for center in centers]
    assert len(set(outputs)) == 313
    assert outputs == sorted(outputs)
    corners = in_gamut_corners(256)
    assert len(corners) == 309
    assert set(outputs) - corners == {(40, 90), (100, -90), (100, -10), (100, 0)}
    assert corners <= set(outputs)


def test_state_dict_entries_equal_the_published_ones():
    with torch.device("meta"):
        network = Eccv16(temperature=None)

    assert keys_of(network) == published_keys("eccv16")
    assert identify(network.state_dict()) is ZHANG


@pytest.mark.parametrize("size", SIZES)
def test_outputs_equal_the_published_ones(published, stored, size):
    with torch.inference_mode():
        ab = published(torch.from_numpy(stored[f"input_l_{size}"]))

    np.testing.assert_allclose(ab, stored[f"output_ab_{size}"], atol=5e-5)


def test_layer_outputs_equal_the_published_ones(published, stored):
    outputs = {}
    for name in ("model1", "model2", "model3", "model4", "model5", "model6", "model7", "model_out"):
        published.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: outputs.update({name: output})
        )

    with torch.inference_mode():
        lightness = torch.from_numpy(stored["input_l_64x64"])
        outputs["logits"] = published.logits(lightness)
        outputs["softmax"] = torch.softmax(outputs["logits"], dim=1)
        published(lightness)

    for name, ours in outputs.items():
        expected = stored[f"act_64x64_{name}"]
        ours = ours[: len(expected), : expected.shape[1]]
        np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max(), err_msg=name)


def test_the_demo_image_equals_the_published_one(published, stored):
    image = stored["demo_input"]
    small = Image.fromarray(image).resize((256, 256), Image.Resampling.BICUBIC)

    with torch.inference_mode():
        ab = published(torch.from_numpy(rgb2lab(small)[None, None, ..., 0]).float())

    np.testing.assert_allclose(ab[..., ::4, ::4], stored["demo_output_ab_256_every4"], atol=5e-5)
    large = F.interpolate(ab, image.shape[:2], mode="bilinear", align_corners=False)
    lightness = torch.from_numpy(rgb2lab(image)[None, None, ..., 0]).float()
    rgb = lab_to_rgb(torch.cat([lightness, large], dim=1)[0].movedim(0, -1)).clamp(0, 1)
    difference = np.abs((255 * rgb).round().numpy() - stored["demo_output"])
    assert difference.max() <= 1 and np.count_nonzero(difference) <= 5e-4 * difference.size


def test_only_a_new_network_has_a_temperature():
    new, old = Eccv16(width=8), Eccv16(width=8, temperature=None)
    logits = torch.randn(1, 313, 4, 4)

    for network, sharpness in ((new, 2.606), (old, 1.0)):
        probabilities = torch.softmax(sharpness * logits.double(), dim=1)
        expected = torch.einsum("nkhw,kc->nchw", probabilities, bin_centers().double())
        torch.testing.assert_close(
            network.expected(logits), expected, atol=1e-3, rtol=0, check_dtype=False
        )
    assert abs(TEMPERATURE - 0.38) < 0.005


@pytest.mark.parametrize("temperature", [None, TEMPERATURE, 0.7])
def test_a_network_is_rebuilt_with_its_temperature(temperature):
    network = Eccv16(width=8, temperature=temperature).eval()
    torch.nn.init.normal_(network.model8[-1].weight)
    lightness = torch.rand(1, 1, 32, 48) * 100

    rebuilt = build(ZHANG, network.state_dict())

    assert torch.equal(rebuilt(lightness), network(lightness))
    assert torch.equal(fuse(rebuilt)(lightness), network(lightness))


def test_class_centers_are_not_trained():
    network = Eccv16(width=8)

    torch.testing.assert_close(network.centers, bin_centers())
    network(torch.rand(1, 1, 16, 16)).sum().backward()
    assert not any(name.startswith("model_out") for name, _ in network.named_parameters())
    assert all(weight.grad is not None for weight in network.parameters())


def test_a_new_network_predicts_equal_probabilities():
    network = Eccv16(width=16).eval()

    with torch.inference_mode():
        probabilities = network.logits(torch.rand(1, 1, 64, 64) * 100).log_softmax(dim=1)

    assert probabilities.mean() == pytest.approx(-np.log(313), abs=0.05)
