from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from reference import (
    empty_network,
    keys_of,
    load_arrays,
    published_keys,
    reference_network,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from napari_colorize.networks import ARCHITECTURES, ddcolor
from napari_colorize.networks.ddcolor import (
    build_ddcolor,
    new_ddcolor,
    position_embedding_sine,
)
from napari_colorize.networks.fuse import fuse
from napari_colorize.zoo.weights import read_weights

SIZES = ("64x64", "96x96", "128x160")
CLOSE = 1e-5
SMALL = {
    "depths": (1, 2, 1, 1),
    "encoded": (8, 16, 24, 32),
    "decoded": (24, 32, 16),
    "queries": 100,
    "hidden": 16,
    "inner": 24,
    "layers": 4,
}


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation creates."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return load_arrays("ddcolor/tiny.npz")


@pytest.fixture(scope="module")
def grays() -> dict[str, Tensor]:
    inputs = load_arrays("deoldify/outputs_deep.npz")
    return {
        size: torch.from_numpy(inputs[f"gray_{size}"] / np.float32(255))[:, None].repeat(1, 3, 1, 1)
        for size in SIZES
    }


@pytest.fixture(scope="module")
def published(stored) -> nn.Module:
    network, checksum = reference_network("ddcolor-tiny")
    assert checksum == stored["weights_crc32"]
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def fused(published) -> nn.Module:
    network = fuse(copy.deepcopy(published))
    return network.to(memory_format=torch.channels_last)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    network = new_ddcolor(**SMALL)
    for name, weight in network.named_parameters():
        if name.endswith("gamma"):
            nn.init.uniform_(weight, -1, 1)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("size", ["tiny", "large"])
def test_state_dict_entries_equal_the_published_ones(size):
    network = empty_network(f"ddcolor-{size}")

    assert keys_of(network) == published_keys(f"ddcolor-{size}")
    state = network.state_dict()
    assert ARCHITECTURES["ddcolor"].matches(state)
    with torch.device("meta"):
        assert keys_of(build_ddcolor(state)) == keys_of(network)


@pytest.mark.parametrize("size", SIZES)
def test_outputs_equal_the_published_ones(published, stored, grays, size):
    with torch.inference_mode():
        ab = published(grays[size])

    np.testing.assert_allclose(ab, stored[f"output_ab_{size}"], rtol=0, atol=CLOSE)


@pytest.mark.parametrize("block_bytes", [1, 2**30])
@pytest.mark.parametrize("size", SIZES)
def test_fused_outputs_equal_the_published_ones(
    fused, stored, grays, size, block_bytes, monkeypatch
):
    monkeypatch.setattr(ddcolor, "ROW_BLOCK_BYTES", block_bytes)

    with torch.inference_mode():
        ab = fused(grays[size])

    np.testing.assert_allclose(ab, stored[f"output_ab_{size}"], rtol=0, atol=CLOSE)


def test_bfloat16_outputs_are_close_to_the_published_ones(fused, stored, grays):
    network = copy.deepcopy(fused).to(torch.bfloat16)

    for size in SIZES:
        with torch.inference_mode():
            ab = network(grays[size]).numpy()
        error = ab - stored[f"output_ab_{size}"]
        assert ab.dtype == np.float32
        # Outputs span -3 to 3.
        assert np.abs(error).max() < 0.1 and np.sqrt(np.square(error).mean()) < 0.025


def test_layer_outputs_equal_the_published_ones(published, stored, grays):
    names = [key.removeprefix("act_64x64_") for key in stored if key.startswith("act_")]
    outputs = {}
    handles = [
        published.get_submodule(name).register_forward_hook(
            lambda *parts, name=name: outputs.update({name: parts[2]})
        )
        for name in names
        if name != "decoder.color_decoder"
    ]
    head = published.refine_net.register_forward_hook(
        lambda *parts: outputs.update({"decoder.color_decoder": parts[1][0][:, :100]})
    )
    with torch.inference_mode():
        published(grays["64x64"])
    for handle in (*handles, head):
        handle.remove()

    assert len(names) == 7
    for name in names:
        expected = stored[f"act_64x64_{name}"]
        ours = outputs[name][: len(expected), : expected.shape[1]]
        np.testing.assert_allclose(
            ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=name
        )


def test_the_position_embedding_has_sines_and_cosines_of_row_and_column():
    embedding = position_embedding_sine(torch.zeros(1, 8, 3, 5))

    row, column = 2 * math.pi * 2 / 3, 2 * math.pi * 4 / 5
    expected = [
        wave(angle / scale)
        for angle in (row, column)
        for scale in (1, 100)
        for wave in (math.sin, math.cos)
    ]
    torch.testing.assert_close(embedding[:, 1, 3], torch.tensor(expected), atol=1e-5, rtol=0)


def test_the_fused_network_creates_no_map_per_query():
    network, gray = small_network(), torch.rand(1, 3, 128, 160)

    with LargestTensor() as plain, torch.inference_mode():
        expected = network(gray)
    with LargestTensor() as fused, torch.inference_mode():
        torch.testing.assert_close(fuse(network)(gray), expected, atol=1e-5, rtol=1e-5)

    assert plain.numbers >= 100 * 128 * 160 > 2 * fused.numbers


def test_a_file_with_unused_entries_is_loaded_unchanged(tmp_path):
    network = new_ddcolor(**SMALL, classes=10).eval().requires_grad_(False)
    torch.save({"params": network.state_dict()}, tmp_path / "network.pth")

    state = read_weights(tmp_path / "network.pth").state
    rebuilt = build_ddcolor(state).eval().requires_grad_(False)
    rebuilt.load_state_dict(state)

    gray = torch.rand(2, 3, 64, 32)
    assert "encoder.arch.head_cls.weight" in state
    assert torch.equal(rebuilt(gray), network(gray))


def test_unused_entries_are_no_parameters():
    parameters = dict(new_ddcolor(**SMALL, classes=10).named_parameters())

    assert "encoder.arch.norm3.weight" in parameters
    assert not any(".norm.weight" in name and "arch.norm." in name for name in parameters)
    assert not any("head_cls" in name for name in parameters)
