"""What is written is what was trained, in half the bytes, and the same each time."""

from __future__ import annotations

import json

import pytest
import torch
from napari_colorize_training.errors import TrainingError
from napari_colorize_training.models.adapt import add_lora
from napari_colorize_training.models.export import export_model, plain_state
from napari_colorize_training.recipe import recipe_from
from tiny_training import tiny, tiny_table

from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo.weights import read_weights

KNOWN = ARCHITECTURES["lab-autoencoder"]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return KNOWN.create(widths=(8, 8, 8, 8))


def test_a_file_says_what_it_is(network, tmp_path):
    recipe = recipe_from(tiny_table() | {"shown": {"saturation": 1.5, "render_factor": 12}})

    path = export_model(
        tmp_path / "a.safetensors", network.state_dict(), recipe, KNOWN, step=7, base="b"
    )

    told = read_weights(path).metadata
    assert told["architecture"] == "lab-autoencoder" and told["steps"] == "7"
    assert told["saturation"] == "1.5" and told["render_factor"] == "12" and told["base"] == "b"
    assert recipe_from(json.loads(told["recipe"])) == recipe


def test_values_too_large_for_half_precision_keep_theirs(network, tmp_path):
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


def test_what_a_base_knew_of_its_errors_is_left_behind(network, tmp_path):
    state = dict(network.state_dict()) | {"calibration": torch.ones(2, 5)}

    path = export_model(tmp_path / "a.safetensors", state, tiny(), KNOWN, step=1)

    assert read_weights(path).state.keys() == network.state_dict().keys()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_diverged_is_not_written(network, tmp_path, value):
    state = dict(network.state_dict())
    name = next(iter(state))
    state[name] = torch.full_like(state[name], value)

    with pytest.raises(TrainingError, match=f"{name} is no longer finite"):
        export_model(tmp_path / "a.safetensors", state, tiny(), KNOWN, step=1)

    assert not list(tmp_path.iterdir())


def test_a_number_of_the_recipe_takes_a_buffers_place(tmp_path):
    known = ARCHITECTURES["zhang-eccv16"]
    state = {"temperature": torch.tensor(0.6), "other": torch.ones(2)}
    recipe = recipe_from(tiny_table() | {"shown": {"temperature": 0.5}})

    path = export_model(tmp_path / "a.safetensors", state, recipe, known, step=1)

    assert read_weights(path).state["temperature"] == 0.5


def test_with_lora_the_plain_weights_do_the_same(network):
    names = network.state_dict().keys()
    for weight in add_lora(network, 2, alpha=2.0):
        torch.nn.init.normal_(weight)
    gray = torch.rand(1, 1, 32, 32) * 100

    state = plain_state(network)

    assert state.keys() == names
    plain = KNOWN.create(widths=(8, 8, 8, 8))
    plain.load_state_dict(state)
    torch.testing.assert_close(plain.eval()(gray), network.eval()(gray), atol=1e-3, rtol=1e-4)
