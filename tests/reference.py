"""The reference data beside the repository: keys, numbers and weights of the published networks."""

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
    """A file of the reference data; without them the test is skipped."""
    if not PARITY.is_dir():
        pytest.skip("The folder ../shared/parity with reference data is not here.")
    return PARITY / name


def published_keys(name: str) -> list[Entry]:
    """Name, shape and dtype of every entry of a published state dict, in its order."""
    rows = parity_file(NETWORKS[name][1]).read_text().splitlines()
    return [
        (key, () if shape == "scalar" else tuple(map(int, shape.split("x"))), dtype)
        for key, shape, dtype in (row.split("\t") for row in rows)
    ]


def keys_of(network: nn.Module) -> list[Entry]:
    """The same of a network of ours."""
    return [
        (key, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for key, value in network.state_dict().items()
    ]


def empty_network(name: str) -> nn.Module:
    """A network of ours without weights, which takes no time to build."""
    with torch.device("meta"):
        return NETWORKS[name][0]()


def named_weights() -> ModuleType:
    """The module that makes weights from names and shapes."""
    path = parity_file("named_weights.py")
    spec = importlib.util.spec_from_file_location("named_weights", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference_network(name: str) -> tuple[nn.Module, int]:
    """A network with the weights of the reference data, and their checksum."""
    network, weights = empty_network(name), named_weights()
    arrays = weights.named_weights({key: shape for key, shape, _ in keys_of(network)})
    state = {key: torch.from_numpy(value) for key, value in arrays.items()}
    network.load_state_dict(state, assign=True)
    return network.eval(), weights.weights_crc32(arrays)


def load_arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of an .npz file of the reference data."""
    with np.load(parity_file(name)) as stored:
        return dict(stored)
