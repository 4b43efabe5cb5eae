from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import CheckpointError
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.networks.compact import CompactUNet
from napari_colorize.zoo.weights import build, write_weights


def test_a_built_network_has_the_weights_in_evaluation_mode():
    torch.manual_seed(0)
    trained = CompactUNet(temperature=0.5).eval()

    built = build(ARCHITECTURES["compact"], trained.state_dict())

    gray = torch.rand(1, 1, 32, 48)
    torch.testing.assert_close(built(gray), trained(gray))
    assert not built.training
    assert not any(weight.requires_grad for weight in built.parameters())


def test_half_precision_in_a_file_becomes_float32():
    state = {key: value.half() for key, value in CompactUNet().state_dict().items()}

    built = build(ARCHITECTURES["compact"], state)

    assert {weight.dtype for weight in built.parameters()} == {torch.float32}


def test_weights_of_another_network_are_refused():
    architecture = replace(ARCHITECTURES["compact"], build=lambda state: torch.nn.Linear(2, 3))

    with pytest.raises(CheckpointError, match="do not match the network compact"):
        build(architecture, {"weight": torch.zeros(3, 3), "bias": torch.zeros(3)})


def test_the_error_for_weights_that_do_not_fit_names_the_file(tmp_path):
    state = CompactUNet().state_dict()
    state["extra"] = torch.zeros(3)
    path = tmp_path / "mine.safetensors"
    write_weights(path, state, {})

    with pytest.raises(CheckpointError, match="mine.safetensors do not match the network compact"):
        Colorizer.from_pretrained(path)


@pytest.mark.parametrize("name", ["compact", "region"])
@pytest.mark.parametrize(
    "shape", [(), (0,), (10**9, 0), (0, 10**9, 3, 3)], ids=["number", "empty", "long", "wide"]
)
def test_shapes_for_which_no_network_can_be_built_give_one_sentence(name, shape):
    with torch.device("meta"):
        keys = ARCHITECTURES[name].create().state_dict()

    with pytest.raises(CheckpointError, match=f"do not match the network {name}") as caught:
        build(ARCHITECTURES[name], {key: torch.ones(shape) for key in keys})
    assert "\n" not in str(caught.value)
