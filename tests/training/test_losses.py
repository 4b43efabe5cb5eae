from __future__ import annotations

import pytest
import torch
from napari_colorize_training.losses import class_weights, encode_softly, soft_cross_entropy

from napari_colorize.networks.compact import CLASS_GRID

STEPS, ORIGIN = torch.tensor(CLASS_GRID.steps), torch.tensor(CLASS_GRID.origin)


def test_the_mean_of_a_soft_code_is_the_color_itself():
    uv = torch.rand(2, 2, 5, 7) * 0.7 - 0.35

    classes, shares = encode_softly(uv, STEPS, ORIGIN, CLASS_GRID.shape)

    mean = (CLASS_GRID.centers()[classes] * shares.unsqueeze(-1)).sum(1).movedim(-1, 1)
    torch.testing.assert_close(mean, uv, atol=1e-5, rtol=0)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 5, 7))


def test_colors_beyond_the_grid_go_to_its_edge():
    uv = torch.tensor([0.436, -0.615]).view(1, 2, 1, 1)

    classes, shares = encode_softly(uv, STEPS, ORIGIN, CLASS_GRID.shape)

    mean = (CLASS_GRID.centers()[classes] * shares.unsqueeze(-1)).sum(1).flatten()
    torch.testing.assert_close(mean, torch.tensor([0.4, -0.5]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("rebalance", [0.0, 0.4, 1.0])
def test_class_weights_have_mean_one_and_favor_the_rare(rebalance):
    frequency = torch.tensor([0.7, 0.2, 0.1])

    weights = class_weights(frequency, rebalance, heaviest=100)

    assert float((weights * frequency).sum()) == pytest.approx(1)
    torch.testing.assert_close(weights / weights[0], (frequency / 0.7) ** -rebalance)


def test_the_rarest_classes_are_tamed():
    frequency = torch.tensor([0.9, 0.1 - 1e-6, 1e-6])

    tamed = class_weights(frequency, 1.0, heaviest=2.0)

    wild = frequency**-1.0 / 3  # of mean 1
    torch.testing.assert_close(tamed, wild.clamp_max(2) / (wild.clamp_max(2) * frequency).sum())


def test_cross_entropy_is_least_where_the_network_says_the_truth():
    classes, shares = torch.zeros(1, 4, 1, 1, dtype=torch.long), torch.full((1, 4, 1, 1), 0.25)
    weights = torch.ones(3)
    right, wrong = (torch.tensor(scores).view(1, 3, 1, 1) for scores in ([9.0, 0, 0], [0, 9.0, 0]))

    assert float(soft_cross_entropy(right, classes, shares, weights)) == pytest.approx(0, abs=1e-3)
    assert float(soft_cross_entropy(wrong, classes, shares, weights)) == pytest.approx(9, abs=1e-2)
