from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from reference import Entry, keys_of, load_arrays, named_weights, parity_file
from skimage.color import rgb2lab

from napari_colorize.imaging.color import lab_to_rgb
from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.zhang import GRID, TEMPERATURE, Eccv16, bin_centers
from napari_colorize.zoo.build import build

ZHANG = ARCHITECTURES["zhang-eccv16"]
SIZES = ("64x64", "96x128")


def published_keys() -> list[Entry]:
    """Name, shape and dtype of every entry of the published file, in its order."""
    rows = parity_file("richzhang/keys_eccv16.txt").read_text().splitlines()
    return [
        (key, () if shape == "scalar" else tuple(map(int, shape.split("x"))), dtype)
        for key, shape, dtype in (row.split("\t") for row in rows)
    ]


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return load_arrays("richzhang/eccv16.npz")


@pytest.fixture(scope="module")
def published(stored) -> Eccv16:
    """The network with the weights of the reference data, loaded as a file's are."""
    weights = named_weights()
    arrays = weights.named_weights({key: shape for key, shape, _ in published_keys()})
    assert weights.weights_crc32(arrays) == stored["weights_crc32"]
    return build(ZHANG, {key: torch.from_numpy(value) for key, value in arrays.items()})


def in_gamut_corners(levels: int) -> set[tuple[int, int]]:
    """Corners of the cells of a 10-grid over a and b that hold a color of RGB's surface."""
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


def test_there_are_313_colors_in_order_and_rgb_has_them_nearby():
    centers = bin_centers()

    found = [tuple(map(int, center)) for center in centers]
    assert len(set(found)) == 313
    assert found == sorted(found)
    corners = in_gamut_corners(256)
    assert len(corners) == 309
    assert set(found) - corners == {(40, 90), (100, -90), (100, -10), (100, 0)}
    assert corners <= set(found)


def test_keys_shapes_dtypes_and_order_are_the_published_ones():
    with torch.device("meta"):
        network = Eccv16(temperature=None)

    assert keys_of(network) == published_keys()
    assert identify(network.state_dict()) is ZHANG


@pytest.mark.parametrize("size", SIZES)
def test_colors_are_the_published_ones(published, stored, size):
    with torch.inference_mode():
        ab = published(torch.from_numpy(stored[f"input_l_{size}"]))

    np.testing.assert_allclose(ab, stored[f"output_ab_{size}"], atol=5e-5)


def test_layers_are_the_published_ones(published, stored):
    found = {}
    for name in ("model1", "model2", "model3", "model4", "model5", "model6", "model7", "model_out"):
        published.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: found.update({name: output})
        )

    with torch.inference_mode():
        lightness = torch.from_numpy(stored["input_l_64x64"])
        found["logits"] = published.logits(lightness)
        found["softmax"] = torch.softmax(found["logits"], dim=1)
        published(lightness)

    for name, ours in found.items():
        theirs = stored[f"act_64x64_{name}"]
        ours = ours[: len(theirs), : theirs.shape[1]]
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max(), err_msg=name)


def test_the_demo_picture_is_the_published_one(published, stored):
    picture = stored["demo_input"]
    small = Image.fromarray(picture).resize((256, 256), Image.Resampling.BICUBIC)

    with torch.inference_mode():
        ab = published(torch.from_numpy(rgb2lab(small)[None, None, ..., 0]).float())

    np.testing.assert_allclose(ab[..., ::4, ::4], stored["demo_output_ab_256_every4"], atol=5e-5)
    large = F.interpolate(ab, picture.shape[:2], mode="bilinear", align_corners=False)
    lightness = torch.from_numpy(rgb2lab(picture)[None, None, ..., 0]).float()
    rgb = lab_to_rgb(torch.cat([lightness, large], dim=1)[0].movedim(0, -1)).clamp(0, 1)
    apart = np.abs((255 * rgb).round().numpy() - stored["demo_output"])
    assert apart.max() <= 1 and np.count_nonzero(apart) <= 5e-4 * apart.size


def test_a_new_network_is_annealed_and_the_published_one_is_not():
    new, old = Eccv16(width=8), Eccv16(width=8, temperature=None)
    logits = torch.randn(1, 313, 4, 4)

    for network, sharpness in ((new, 2.606), (old, 1.0)):
        likely = torch.softmax(sharpness * logits.double(), dim=1)
        wanted = torch.einsum("nkhw,kc->nchw", likely, bin_centers().double())
        torch.testing.assert_close(
            network.expected(logits), wanted, atol=1e-3, rtol=0, check_dtype=False
        )
    assert abs(TEMPERATURE - 0.38) < 0.005


@pytest.mark.parametrize("temperature", [None, TEMPERATURE, 0.7])
def test_a_saved_network_comes_back_with_its_temperature(temperature):
    network = Eccv16(width=8, temperature=temperature).eval()
    torch.nn.init.normal_(network.model8[-1].weight)
    lightness = torch.rand(1, 1, 32, 48) * 100

    again = build(ZHANG, network.state_dict())

    assert torch.equal(again(lightness), network(lightness))
    assert torch.equal(fuse(again)(lightness), network(lightness))


def test_the_colors_of_classes_are_not_learned():
    network = Eccv16(width=8)

    torch.testing.assert_close(network.centers, bin_centers())
    network(torch.rand(1, 1, 16, 16)).sum().backward()
    assert not any(name.startswith("model_out") for name, _ in network.named_parameters())
    assert all(weight.grad is not None for weight in network.parameters())


def test_a_new_network_finds_all_colors_equally_likely():
    network = Eccv16(width=16).eval()

    with torch.inference_mode():
        likely = network.logits(torch.rand(1, 1, 64, 64) * 100).log_softmax(dim=1)

    assert likely.mean() == pytest.approx(-np.log(313), abs=0.05)
