"""Our networks against numbers from the published implementations, of equal weights.

The reference data and the tolerances are described in ../shared/parity/README.md.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import load_arrays, reference_network
from torch import Tensor, nn

from napari_colorize.networks.deoldify import IpolUNet
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.layers import SelfAttention, attend

SIZES = ("64x64", "80x80", "96x96", "128x160")
PUBLISHED = {
    "deep": "deoldify/outputs_deep.npz",
    "wide": "deoldify/outputs_wide.npz",
    "ipol": "ipol/uv.npz",
}
# Where ours computes what the reference calls by another name.
MODULES = {
    "deep": {"layers.0": "layers.0.7", "attention": "layers.5.conv2.3"},
    "wide": {"layers.0": "layers.0.7", "attention": "layers.5.conv.3"},
    "ipol": {},
}
Arrays = dict[str, np.ndarray]


class Case:
    """One network: the published arrays, and ours under the same keys, in three variants."""

    def __init__(self, name: str) -> None:
        self.stored = load_arrays(PUBLISHED[name])
        inputs = self.stored if name != "ipol" else load_arrays(PUBLISHED["wide"])
        self.inputs = {size: torch.from_numpy(inputs[f"input_{size}"]) for size in SIZES}
        network, self.checksum = reference_network(name)
        self.layers: Arrays = {}
        with torch.inference_mode():
            self.plain = self._outputs(network, self._watched(MODULES[name]))
            self.folded = self._outputs(fuse(network))
            low = network.to(torch.bfloat16, memory_format=torch.channels_last)
            self.bfloat16 = self._outputs(low)

    def keys(self, prefix: str) -> list[str]:
        """Keys of the stored arrays that begin with a prefix."""
        return [key for key in self.stored if key.startswith(prefix)]

    def _watched(self, modules: dict[str, str]) -> dict[str, str]:
        """Published name of each layer with stored numbers: its name in our network."""
        names = {str(name) for name in self.stored.get("stats_names_64x64", [])}
        names |= {key.split("_", maxsplit=2)[2] for key in self.keys("act_")}
        names -= {"attention_in", "attention_out", "attention_beta"}  # noted with "attention"
        return {name: modules.get(name, name) for name in names}

    def _outputs(self, network: nn.Module, watched: dict[str, str] | None = None) -> Arrays:
        ask = _ask_ipol if isinstance(network, IpolUNet) else _ask_deoldify
        found = {}
        for size, x in self.inputs.items():
            handles = [
                network.get_submodule(path).register_forward_hook(
                    _note(self.layers, f"act_{size}_{name}")
                )
                for name, path in (watched or {}).items()
            ]
            found |= {f"{key}_{size}": value.numpy() for key, value in ask(network, x).items()}
            for handle in handles:
                handle.remove()
        return found


# Layers were noted in the pass that comes last here: with attention, and for IPOL without.
def _ask_deoldify(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    without = network(x, self_attention=False)
    return {"output_without_attention": without, "output": network(x)}


def _ask_ipol(network: IpolUNet, x: Tensor) -> dict[str, Tensor]:
    uv = network.chrominance(x)
    without = network.chrominance(x, self_attention=False)
    return {"uv": uv, "output": network.join(x, uv), "uv_without_attention": without}


def _note(found: Arrays, key: str):
    """A hook that keeps a layer's output as it is now: the next layer may work in place."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found[key] = output.numpy().copy()
        if isinstance(module, SelfAttention):
            found[key + "_in"], found[key + "_out"] = inputs[0].numpy().copy(), found[key]
            found[key + "_beta"] = _attention_weights(module, inputs[0])

    return hook


def _attention_weights(module: SelfAttention, x: Tensor) -> np.ndarray:
    """The weights of the first image: what comes out if every position says its own name."""
    flat = x[:1].flatten(2)
    return attend(module.query(flat), module.key(flat), torch.eye(flat.shape[2])[None])[0].numpy()


@pytest.fixture(scope="module", params=PUBLISHED)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def assert_close(ours: np.ndarray, theirs: np.ndarray, largest: float, rms: float = 1.0) -> None:
    error = np.abs(ours.astype(np.float64) - theirs)
    assert ours.shape == theirs.shape
    assert error.max() <= largest
    assert np.sqrt(np.square(error).mean()) <= rms


def tolerance(key: str) -> float:
    """IPOL's RGB has been through two color matrices."""
    return 5e-5 if key.startswith("output") else 1e-5


def test_the_weights_are_those_of_the_reference(case: Case) -> None:
    assert case.checksum == case.stored["weights_crc32"]


def test_outputs_are_the_published_ones(case: Case) -> None:
    keys = case.keys("output_") + case.keys("uv_")
    assert set(keys) == set(case.plain)
    for key in keys:
        assert_close(case.plain[key], case.stored[key], tolerance(key))


def test_outputs_with_norms_folded_are_the_published_ones(case: Case) -> None:
    for key, folded in case.folded.items():
        assert_close(folded, case.stored[key], tolerance(key))


def test_outputs_in_bfloat16_are_close_to_the_published_ones(case: Case) -> None:
    for key, low in case.bfloat16.items():
        assert_close(low, case.stored[key], 0.05, rms=0.008)


def test_layers_are_the_published_ones(case: Case) -> None:
    keys = case.keys("act_")
    assert keys
    for key in keys:
        theirs = case.stored[key]
        # Of the first image's first channels; the attention weights have no channels.
        ours = case.layers[key]
        ours = ours[: len(theirs), : theirs.shape[1]]
        assert_close(ours, theirs, 1e-5 * np.abs(theirs).max())


def test_statistics_of_layers_are_the_published_ones(case: Case) -> None:
    for size in SIZES if "stats_64x64" in case.stored else ():
        rows = zip(
            *(case.stored[f"stats{what}_{size}"] for what in ("_names", "_shapes", "")), strict=True
        )
        for name, shape, stats in rows:
            layer = case.layers[f"act_{size}_{name}"].astype(np.float64)
            assert layer.shape == tuple(shape)
            ours = np.array([layer.mean(), layer.std(), layer.min(), layer.max()])
            assert_close(ours, stats, 1e-5 * np.abs(stats).max())
