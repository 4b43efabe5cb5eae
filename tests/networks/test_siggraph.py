from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from reference import (
    empty_network,
    keys_of,
    load_arrays,
    published_keys,
    reference_network,
)
from skimage.color import rgb2lab
from torch import nn

from napari_colorize.imaging.color import lab_to_rgb
from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.zhang import UNIT, Eccv16, Siggraph17, build_siggraph17

SIZES = ("64x64", "96x128")
CLOSE = 1e-3  # changing only kernels and memory layout of the original gives 4e-4


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return load_arrays("richzhang/siggraph17.npz")


@pytest.fixture(scope="module")
def published(stored) -> nn.Module:
    network, checksum = reference_network("siggraph17")
    assert checksum == stored["weights_crc32"]
    return network.requires_grad_(False)


def outputs(network: nn.Module, stored: dict[str, np.ndarray], size: str, hinted: bool):
    """Return the output of a network and the published output."""
    names = ("input_l", "hint_ab", "hint_mask")
    lightness, *hints = (torch.from_numpy(stored[f"{name}_{size}"]) for name in names)
    with torch.inference_mode():
        ab = network(lightness, hints=tuple(hints) if hinted else None)
    return ab.numpy(), stored[f"output_ab_{'hint_' * hinted}{size}"]


def test_state_dict_entries_equal_the_published_ones():
    assert keys_of(empty_network("siggraph17")) == published_keys("siggraph17")


@pytest.mark.parametrize("hinted", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_outputs_equal_the_published_ones(published, stored, size, hinted):
    ours, expected = outputs(published, stored, size, hinted)

    np.testing.assert_allclose(ours, expected, rtol=0, atol=CLOSE)


def test_layer_outputs_equal_the_published_ones(published, stored):
    names = [key.removeprefix("act_64x64_") for key in stored if key.startswith("act_")]
    layers = {}
    handles = [
        published.get_submodule("model_out.1" if name == "model_out" else name)
        # the next layer may work in place
        .register_forward_hook(lambda *parts, name=name: layers.update({name: parts[2].clone()}))
        for name in names
    ]
    outputs(published, stored, "64x64", hinted=False)
    for handle in handles:
        handle.remove()

    assert len(names) == 17
    for name in names:
        expected = stored[f"act_64x64_{name}"]
        ours = layers[name][: len(expected), : expected.shape[1]]
        np.testing.assert_allclose(
            ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=name
        )


def test_the_demo_image_equals_the_published_one(published, stored):
    image = stored["demo_input"]
    small = Image.fromarray(image).resize((256, 256), Image.Resampling.BICUBIC)

    with torch.inference_mode():
        ab = published(torch.from_numpy(rgb2lab(small)[None, None, ..., 0]).float())

    expected = stored["demo_output_ab_256_every4"]
    np.testing.assert_allclose(ab[..., ::4, ::4], expected, rtol=0, atol=CLOSE)
    large = F.interpolate(ab, image.shape[:2], mode="bilinear", align_corners=False)
    lightness = torch.from_numpy(rgb2lab(image)[None, None, ..., 0]).float()
    rgb = lab_to_rgb(torch.cat([lightness, large], dim=1)[0].movedim(0, -1)).clamp(0, 1)
    difference = np.abs((255 * rgb).round().numpy() - stored["demo_output"])
    assert difference.max() <= 1 and np.count_nonzero(difference) <= 5e-4 * difference.size


def test_fused_and_bfloat16_outputs_are_close_to_the_published_ones(published, stored):
    network = fuse(build_siggraph17(published.state_dict()))
    network.load_state_dict(published.state_dict())
    network.to(memory_format=torch.channels_last)

    ours, expected = outputs(network, stored, "64x64", hinted=True)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=CLOSE)

    ours, expected = outputs(network.to(torch.bfloat16), stored, "64x64", hinted=True)
    error = np.abs(ours - expected) / UNIT
    assert ours.dtype == np.float32
    assert error.max() < 0.05 and np.sqrt(np.square(error).mean()) < 0.008


def test_an_empty_mask_has_no_effect_and_hints_act_on_their_image_only():
    torch.manual_seed(0)
    network = Siggraph17(width=8).eval().requires_grad_(False)
    lightness = torch.rand(2, 1, 32, 48) * 100
    ab, mask = torch.zeros(2, 2, 32, 48), torch.zeros(2, 1, 32, 48)
    without = network(lightness)

    assert torch.equal(network(lightness, hints=(ab, mask)), without)

    ab[0, :, 8, 8], mask[0, :, 8, 8] = 60.0, 1.0
    changed = (network(lightness, hints=(ab, mask)) - without).abs().amax(dim=1)
    assert changed[0, 8, 8] > 0
    assert changed[1].max() == 0


def test_a_narrow_network_is_rebuilt_from_its_weights():
    network = Siggraph17(width=8).eval()
    network.model_class[0].weight.normal_()  # unused, but stored
    lightness = torch.rand(1, 1, 16, 24) * 100

    rebuilt = build_siggraph17(network.state_dict()).eval()
    rebuilt.load_state_dict(network.state_dict())

    assert torch.equal(rebuilt(lightness), network(lightness))
    assert torch.equal(rebuilt.model_class[0].weight, network.model_class[0].weight)
    assert not any(name.startswith("model_class") for name, _ in rebuilt.named_parameters())


def test_eccv16_and_siggraph17_are_distinguished():
    siggraph17, eccv16 = Siggraph17(width=8).state_dict(), Eccv16(width=8).state_dict()

    assert identify(siggraph17) is ARCHITECTURES["zhang-siggraph17"]
    assert identify(eccv16) is ARCHITECTURES["zhang-eccv16"]
