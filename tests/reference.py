"""Reference data beside the repository: keys, values and weights of published networks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from napari_colorize.networks.ddcolor import LARGE, DDColor
from napari_colorize.networks.deoldify import DEEP, WIDE, DeOldify, IpolUNet
from napari_colorize.networks.siggraph import Siggraph17

PARITY = Path(__file__).parents[2] / "shared" / "parity"
NETWORKS = {
    "deep": (lambda: DeOldify(DEEP), "deoldify/keys_deep.txt"),
    "wide": (lambda: DeOldify(WIDE), "deoldify/keys_wide.txt"),
    "ipol": (IpolUNet, "ipol/keys_uv.txt"),
    "siggraph17": (Siggraph17, "richzhang/keys_siggraph17.txt"),
    "ddcolor-tiny": (DDColor, "ddcolor/keys_tiny.txt"),
    "ddcolor-large": (lambda: DDColor(LARGE), "ddcolor/keys_large.txt"),
}
Entry = tuple[str, tuple[int, ...], str]


def parity_file(name: str) -> Path:
    """Path of a file of the reference data; the test is skipped if they are missing."""
    if not PARITY.is_dir():
        pytest.skip("The folder ../shared/parity with reference data is missing.")
    return PARITY / name


def published_keys(name: str) -> list[Entry]:
    """Name, shape and dtype of all entries of a published state dict, in order."""
    rows = parity_file(NETWORKS[name][1]).read_text().splitlines()
    return [
        (key, () if shape == "scalar" else tuple(map(int, shape.split("x"))), dtype)
        for key, shape, dtype in (row.split("\t") for row in rows)
    ]


def keys_of(network: nn.Module) -> list[Entry]:
    """Name, shape and dtype of all entries of a network's state dict, in order."""
    return [
        (key, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for key, value in network.state_dict().items()
    ]


def empty_network(name: str) -> nn.Module:
    """Build a network on the meta device, without memory for weights."""
    with torch.device("meta"):
        return NETWORKS[name][0]()


def named_weights() -> ModuleType:
    """Import the module that generates weights from names and shapes."""
    path = parity_file("named_weights.py")
    spec = importlib.util.spec_from_file_location("named_weights", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference_network(name: str) -> tuple[nn.Module, int]:
    """Network with the weights of the reference data, and their checksum."""
    network, weights = empty_network(name), named_weights()
    arrays = weights.named_weights({key: shape for key, shape, _ in keys_of(network)})
    state = {key: torch.from_numpy(value) for key, value in arrays.items()}
    network.load_state_dict(state, assign=True)
    return network.eval(), weights.weights_crc32(arrays)


def load_arrays(name: str) -> dict[str, np.ndarray]:
    """Load all arrays of an .npz file of the reference data."""
    with np.load(parity_file(name)) as stored:
        return dict(stored)
