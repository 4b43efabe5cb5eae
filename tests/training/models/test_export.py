"""Exported files have the trained weights in half precision, and are reproducible."""

from __future__ import annotations

import json

import pytest
import torch
from napari_colorize_training.errors import TrainingError
from napari_colorize_training.models.adapt import add_lora
from napari_colorize_training.models.export import export_model, plain_state
from napari_colorize_training.recipe import parse_recipe
from tiny_training import tiny, tiny_table

from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo.weights import read_weights

KNOWN = ARCHITECTURES["lab-autoencoder"]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return KNOWN.create(widths=(8, 8, 8, 8))


def test_a_file_has_metadata(network, tmp_path):
    recipe = parse_recipe(tiny_table() | {"shown": {"saturation": 1.5, "render_factor": 12}})

    path = export_model(
        tmp_path / "a.safetensors", network.state_dict(), recipe, KNOWN, step=7, base="b"
    )

    metadata = read_weights(path).metadata
    assert metadata["architecture"] == "lab-autoencoder" and metadata["steps"] == "7"
    assert (
        metadata["saturation"] == "1.5"
        and metadata["render_factor"] == "12"
        and metadata["base"] == "b"
    )
    assert parse_recipe(json.loads(metadata["recipe"])) == recipe


@pytest.mark.parametrize("rule", ["auto", "percentile"])
def test_a_file_records_the_rule_for_the_intensity_range(network, tmp_path, rule):
    recipe = parse_recipe(tiny_table() | {"data": {"contrast_limits": rule}})

    path = export_model(tmp_path / "a.safetensors", network.state_dict(), recipe, KNOWN, step=7)

    assert read_weights(path).metadata["contrast_limits"] == rule


def test_values_too_large_for_half_precision_are_not_converted(network, tmp_path):
    state = dict(network.state_dict())
    name = next(key for key in state if key.endswith("running_var"))
    state[name] = torch.full_like(state[name], 1e6)

    path = export_model(tmp_path / "a.safetensors", state, tiny(), KNOWN, step=1)

    kept = read_weights(path).state
    assert torch.equal(kept[name], state[name])
    assert {value.dtype for key, value in kept.items() if key != name} <= {
        torch.float16,
        torch.int64,
    }


def test_the_calibration_of_the_base_is_removed(network, tmp_path):
    state = dict(network.state_dict()) | {"calibration": torch.ones(2, 5)}

    path = export_model(tmp_path / "a.safetensors", state, tiny(), KNOWN, step=1)

    assert read_weights(path).state.keys() == network.state_dict().keys()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_network_is_not_exported(network, tmp_path, value):
    state = dict(network.state_dict())
    name = next(iter(state))
    state[name] = torch.full_like(state[name], value)

    with pytest.raises(TrainingError, match=f"{name} is not finite"):
        export_model(tmp_path / "a.safetensors", state, tiny(), KNOWN, step=1)

    assert not list(tmp_path.iterdir())


def test_values_of_the_recipe_replace_buffers(tmp_path):
    known = ARCHITECTURES["zhang-eccv16"]
    state = {"temperature": torch.tensor(0.6), "other": torch.ones(2)}
    recipe = parse_recipe(tiny_table() | {"shown": {"temperature": 0.5}})

    path = export_model(tmp_path / "a.safetensors", state, recipe, known, step=1)

    assert read_weights(path).state["temperature"] == 0.5


def test_exported_lora_weights_have_the_same_output(network):
    names = network.state_dict().keys()
    for weight in add_lora(network, 2, alpha=2.0):
        torch.nn.init.normal_(weight)
    gray = torch.rand(1, 1, 32, 32) * 100

    state = plain_state(network)

    assert state.keys() == names
    plain = KNOWN.create(widths=(8, 8, 8, 8))
    plain.load_state_dict(state)
    torch.testing.assert_close(plain.eval()(gray), network.eval()(gray), atol=1e-3, rtol=1e-4)
