from __future__ import annotations

import pytest
import torch
from napari_colorize_training.loop.engine import make_accelerator
from napari_colorize_training.loop.optimization import OptimizedModule, ParameterGroup
from torch import nn


@pytest.fixture
def player():
    torch.manual_seed(0)
    network = nn.Linear(3, 1)
    player = OptimizedModule(network, make_accelerator("float32"))
    player.begin(
        [ParameterGroup(list(network.parameters()), 0.1)],
        name="adam",
        betas=(0.9, 0.99),
        weight_decay=0.0,
    )
    return player


def test_a_step_reduces_the_loss(player):
    x = torch.ones(2, 3)
    before = player.network(x).square().mean()

    player.step(before)

    assert player.network(x).square().mean() < before


def test_a_gradient_with_nan_is_ignored(player):
    weight = player.network.weight.detach().clone()
    loss = player.network(torch.ones(2, 3)).mean()

    # The loss is a number; the slope of a square root at zero is none.
    player.step(loss + (player.network.weight.sum() * 0).sqrt())

    assert torch.equal(player.network.weight, weight)


@pytest.mark.parametrize("decay_biases", [True, False])
def test_biases_decay_only_if_asked(player, decay_biases):
    with torch.no_grad():
        player.network.weight.fill_(1)
        player.network.bias.fill_(1)
    player.begin(
        [ParameterGroup(list(player.network.parameters()), 0.1)],
        name="adamw",
        betas=(0.9, 0.99),
        weight_decay=0.5,
        decay_biases=decay_biases,
    )

    assert player.set_rates(1) == 0.1
    player.step(player.network(torch.zeros(1, 3)).sum() * 0)  # decay alone

    torch.testing.assert_close(player.network.weight, torch.full((1, 3), 0.95))
    torch.testing.assert_close(player.network.bias, torch.tensor([0.95 if decay_biases else 1.0]))
