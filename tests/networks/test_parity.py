"""Networks against outputs of the published implementations, with equal weights.

The reference data and the tolerances are described in ../shared/parity/README.md. A small part of
the data is in tests/data, see `test_published_outputs.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from reference import load_arrays, reference_network
from torch import Tensor, nn

from napari_colorize.networks.deoldify import IpolUNet
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.layers import SelfAttention, attention

SIZES = ("64x64", "80x80", "96x96", "128x160")
VARIANT_SIZE = "80x80"  # one size shows whether a conversion of the weights is right
PUBLISHED = {
    "deep": "deoldify/outputs_deep.npz",
    "wide": "deoldify/outputs_wide.npz",
    "ipol": "ipol/uv.npz",
}
# Layers with other names in our networks.
MODULES = {
    "deep": {"layers.0": "layers.0.7", "attention": "layers.5.conv2.3"},
    "wide": {"layers.0": "layers.0.7", "attention": "layers.5.conv.3"},
    "ipol": {},
}
# Rounding errors of a sum of n products in float32 grow as sqrt(n) (Higham and Mary, SIAM Journal
# on Scientific Computing 41, 2019). The order of summation depends on processor and threads. The
# longest sum of the deep network, a convolution of 3 x 3 pixels and 1024 channels, has 9216.
ROUNDING = np.sqrt(9 * 1024) * np.finfo(np.float32).eps  # 1.14e-5, of the largest value of a layer
Arrays = dict[str, np.ndarray]


class Case:
    """One network: published arrays, and our arrays with the same keys, in three variants."""

    def __init__(self, name: str) -> None:
        self.stored = load_arrays(PUBLISHED[name])
        inputs = self.stored if name != "ipol" else load_arrays(PUBLISHED["wide"])
        self.inputs = {size: torch.from_numpy(inputs[f"input_{size}"]) for size in SIZES}
        network, self.checksum = reference_network(name)
        self.layers: Arrays = {}
        with torch.inference_mode():
            self.plain = self._outputs(network, self._layer_names(MODULES[name]))
            self.folded = self._outputs(fuse(network), sizes=[VARIANT_SIZE])
            # Many times slower than float32 on processors that emulate bfloat16.
            low = network.to(torch.bfloat16, memory_format=torch.channels_last)
            self.bfloat16 = self._outputs(low, sizes=[VARIANT_SIZE])

    def keys(self, prefix: str) -> list[str]:
        """Keys of the stored arrays with a prefix."""
        return [key for key in self.stored if key.startswith(prefix)]

    def _layer_names(self, modules: dict[str, str]) -> dict[str, str]:
        """Map the published name of each layer with stored numbers to its name in our network."""
        names = {str(name) for name in self.stored.get("stats_names_64x64", [])}
        names |= {key.split("_", maxsplit=2)[2] for key in self.keys("act_")}
        names -= {"attention_in", "attention_out", "attention_beta"}  # recorded with "attention"
        return {name: modules.get(name, name) for name in names}

    def _outputs(
        self,
        network: nn.Module,
        layer_names: dict[str, str] | None = None,
        sizes: Sequence[str] = SIZES,
    ) -> Arrays:
        outputs_of = _ipol_outputs if isinstance(network, IpolUNet) else _deoldify_outputs
        recorded = {}
        for size in sizes:
            handles = [
                network.get_submodule(path).register_forward_hook(
                    _record(self.layers, f"act_{size}_{name}")
                )
                for name, path in (layer_names or {}).items()
            ]
            recorded |= {
                f"{key}_{size}": value.numpy()
                for key, value in outputs_of(network, self.inputs[size]).items()
            }
            for handle in handles:
                handle.remove()
        return recorded


# The last pass determines the recorded layers: with attention, for IPOL without.
def _deoldify_outputs(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    without = network(x, self_attention=False)
    return {"output_without_attention": without, "output": network(x)}


def _ipol_outputs(network: IpolUNet, x: Tensor) -> dict[str, Tensor]:
    uv = network.chrominance(x)
    without = network.chrominance(x, self_attention=False)
    return {"uv": uv, "output": network.join(x, uv), "uv_without_attention": without}


def _record(recorded: Arrays, key: str):
    """Return a hook that copies the output of a layer, because the next layer can work in place."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        recorded[key] = output.numpy().copy()
        if isinstance(module, SelfAttention):
            recorded[key + "_in"], recorded[key + "_out"] = inputs[0].numpy().copy(), recorded[key]
            recorded[key + "_beta"] = _attention_weights(module, inputs[0])

    return hook


def _attention_weights(module: SelfAttention, x: Tensor) -> np.ndarray:
    """Attention weights of the first image: the output for unit vectors as values."""
    flat = x[:1].flatten(2)
    return attention(module.query(flat), module.key(flat), torch.eye(flat.shape[2])[None])[
        0
    ].numpy()


@pytest.fixture(scope="module", params=PUBLISHED)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def assert_close(ours: np.ndarray, published: np.ndarray, largest: float, rms: float = 1.0) -> None:
    error = np.abs(ours.astype(np.float64) - published)
    assert ours.shape == published.shape
    assert error.max() <= largest
    assert np.sqrt(np.square(error).mean()) <= rms


def tolerance(key: str) -> float:
    """The RGB output of the IPOL network passes through two color matrices."""
    return 5e-5 if key.startswith("output") else 1e-5


def test_the_weights_equal_those_of_the_reference(case: Case) -> None:
    assert case.checksum == case.stored["weights_crc32"]


def test_outputs_equal_the_published_ones(case: Case) -> None:
    keys = case.keys("output_") + case.keys("uv_")
    assert set(keys) == set(case.plain)
    for key in keys:
        assert_close(case.plain[key], case.stored[key], tolerance(key))


def test_fused_outputs_equal_the_published_ones(case: Case) -> None:
    for key, folded in case.folded.items():
        assert_close(folded, case.stored[key], tolerance(key))


def test_outputs_in_bfloat16_are_close_to_the_published_ones(case: Case) -> None:
    for key, low in case.bfloat16.items():
        assert_close(low, case.stored[key], 0.05, rms=0.008)


def test_layer_outputs_equal_the_published_ones(case: Case) -> None:
    keys = case.keys("act_")
    assert keys
    for key in keys:
        published = case.stored[key]
        # First channels of the first image; the attention weights have no channels.
        ours = case.layers[key]
        ours = ours[: len(published), : published.shape[1]]
        assert_close(ours, published, ROUNDING * np.abs(published).max())


def test_layer_statistics_equal_the_published_ones(case: Case) -> None:
    for size in SIZES if "stats_64x64" in case.stored else ():
        rows = zip(
            *(case.stored[f"stats{what}_{size}"] for what in ("_names", "_shapes", "")), strict=True
        )
        for name, shape, stats in rows:
            layer = case.layers[f"act_{size}_{name}"].astype(np.float64)
            assert layer.shape == tuple(shape)
            ours = np.array([layer.mean(), layer.std(), layer.min(), layer.max()])
            assert_close(ours, stats, ROUNDING * np.abs(stats).max())
