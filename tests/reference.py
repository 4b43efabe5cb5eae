"""Reference data of the published networks: state-dict entries, weights, inputs and outputs.

`tests/data/parity` is part of the repository. `../shared/parity` has more data; tests that need it
are skipped without it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from named_weights import named_weights, weights_crc32
from torch import nn

from napari_colorize.networks.ddcolor import LARGE, DDColor
from napari_colorize.networks.deoldify import DEEP, WIDE, DeOldify, IpolUNet
from napari_colorize.networks.zhang import Eccv16, Siggraph17

DATA = Path(__file__).parent / "data" / "parity"
SHARED = Path(__file__).parents[2] / "shared" / "parity"
NETWORKS = {
    "deep": lambda: DeOldify(DEEP),
    "wide": lambda: DeOldify(WIDE),
    "ipol": IpolUNet,
    "siggraph17": Siggraph17,
    "eccv16": lambda: Eccv16(temperature=None),
    "ddcolor-tiny": DDColor,
    "ddcolor-large": lambda: DDColor(LARGE),
}
Entry = tuple[str, tuple[int, ...], str]


def published_keys(name: str) -> list[Entry]:
    """Name, shape and dtype of every entry of a published state dict, in order."""
    rows = (DATA / f"keys_{name}.txt").read_text().splitlines()
    return [
        (key, () if shape == "scalar" else tuple(map(int, shape.split("x"))), dtype)
        for key, shape, dtype in (row.split("\t") for row in rows)
    ]


def keys_of(network: nn.Module) -> list[Entry]:
    """Name, shape and dtype of every entry of the state dict of a network."""
    return [
        (key, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for key, value in network.state_dict().items()
    ]


def empty_network(name: str) -> nn.Module:
    """Build a network without weights, which is fast."""
    with torch.device("meta"):
        return NETWORKS[name]()


def reference_network(name: str) -> tuple[nn.Module, int]:
    """Build a network with the weights of the reference data; also return their checksum."""
    network = empty_network(name)
    arrays = named_weights({key: shape for key, shape, _ in keys_of(network)})
    state = {key: torch.from_numpy(value) for key, value in arrays.items()}
    network.load_state_dict(state, assign=True)
    return network.eval(), weights_crc32(arrays)


def stored_outputs(name: str) -> dict[str, np.ndarray]:
    """Input and published outputs of a network, from tests/data."""
    with np.load(DATA / f"{name}.npz") as stored:
        return dict(stored)


def load_arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of an .npz file in ../shared/parity; skip the test without it."""
    if not SHARED.is_dir():
        pytest.skip("The reference data in ../shared/parity are not available.")
    with np.load(SHARED / name) as stored:
        return dict(stored)
