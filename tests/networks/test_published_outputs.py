"""Networks against stored outputs of the published implementations, see tests/data/README.md."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from reference import reference_network, stored_outputs
from torch import Tensor, nn

from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD
from napari_colorize.networks.fuse import fuse

# Largest absolute error in float32. The outputs of DeOldify, IPOL and DDColor span about -3 to 3,
# a and b of the other networks -110 to 110.
TOLERANCES = {
    "deep": 1e-5,
    "ipol": 5e-5,
    "ddcolor-tiny": 1e-5,
    "eccv16": 5e-5,
    "siggraph17": 1e-3,  # changing only kernels and memory layout of the original gives 4e-4
    "wide": 1e-5,
}
LARGE = "wide", "ipol"  # 200 million parameters
PARAMETERS = [
    pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in TOLERANCES
]


def outputs_of(name: str, network: nn.Module, stored: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Outputs of a network, with the keys of the stored ones."""
    given = {key: torch.from_numpy(value) for key, value in stored.items() if value.ndim}
    if name == "eccv16":
        return {"output": network(given["lightness"])}
    if name == "siggraph17":
        hints = given["hint_ab"], given["hint_mask"]
        return {
            "output": network(given["lightness"]),
            "output_with_hints": network(given["lightness"], hints=hints),
        }
    rgb = (given["gray"].float() / 255).unsqueeze(1).repeat(1, 3, 1, 1)
    if name == "ddcolor-tiny":  # normalizes its input itself
        return {"output": network(rgb)}
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    x = (rgb - mean) / std
    if name == "ipol":
        return {
            "output": network(x),
            "uv": network.chrominance(x),
            "uv_without_attention": network.chrominance(x, self_attention=False),
        }
    return {"output": network(x), "output_without_attention": network(x, self_attention=False)}


@pytest.fixture(scope="module", params=PARAMETERS)
def case(request: pytest.FixtureRequest) -> tuple[str, nn.Module, dict[str, np.ndarray]]:
    """Name, network with the weights of the reference, and stored arrays."""
    name = request.param
    network, checksum = reference_network(name)
    stored = stored_outputs(name)
    assert checksum == stored["weights_crc32"]
    return name, network.requires_grad_(False), stored


@pytest.mark.parametrize("is_fused", [False, True])
def test_outputs_equal_the_published_ones(case, is_fused):
    name, network, stored = case
    if is_fused:
        network = fuse(copy.deepcopy(network)).to(memory_format=torch.channels_last)

    outputs = outputs_of(name, network, stored)

    for key, output in outputs.items():
        np.testing.assert_allclose(output, stored[key], rtol=0, atol=TOLERANCES[name], err_msg=key)
