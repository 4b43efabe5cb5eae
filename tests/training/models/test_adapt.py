from __future__ import annotations

import copy
import re

import pytest
import torch
from napari_colorize_training.models.adapt import (
    EMA,
    EvaluationWeights,
    LowRank,
    add_lora,
    discriminative_rates,
    encoder_parameters,
    freeze,
    freeze_to,
    layer_groups,
    merge_lora,
    parameter_groups,
    set_training,
    unfreeze_at,
)
from torch import Tensor, nn

from napari_colorize.errors import SettingsError
from napari_colorize.networks.compact import CompactUNet
from napari_colorize.networks.layers import SelfAttention, conv2d


class Small(nn.Module):
    """An encoder and a decoder with all kinds of convolutions of the package."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12))
        self.middle = nn.Sequential(conv2d(12, 12), SelfAttention(12), nn.BatchNorm2d(12))
        self.last = nn.Sequential(
            conv2d(12, 12, norm="weight", bias=True),
            nn.Dropout(0.5),
            nn.ConvTranspose2d(12, 12, 3, padding=1),
        )
        self.head = nn.Sequential(nn.Conv2d(12, 12, 1), nn.Conv2d(12, 12, 3, padding=1, groups=12))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.middle(self.encoder(x)))) + self.shift


class Layered(Small):
    def layer_groups(self) -> list[list[nn.Module]]:
        return [[self.encoder], [self.middle, self.last], [self.head]]


@pytest.fixture
def network() -> Small:
    torch.manual_seed(0)
    network = Small()
    with torch.no_grad():
        network.middle[1].gamma.fill_(0.5)  # a new layer of attention is the identity
    return network


@pytest.fixture
def layered() -> Layered:
    torch.manual_seed(0)
    return Layered()


def trainable_names(network: nn.Module) -> set[str]:
    return {name.split(".")[0] for name, item in network.named_parameters() if item.requires_grad}


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def assert_same(state: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert state.keys() == other.keys()
    for name, value in state.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("kind", [Small, Layered, CompactUNet])
def test_every_parameter_is_in_one_group(kind):
    network = kind()

    grouped = [id(item) for group in parameter_groups(network) for item in group]

    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(item) for item in network.parameters()}
    assert len(parameter_groups(network)) == len(layer_groups(network))


def test_a_network_without_an_encoder_is_one_group():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3))

    assert len(parameter_groups(network)) == 1
    with pytest.raises(SettingsError, match="no encoder"):
        encoder_parameters(network)
    with pytest.raises(SettingsError, match="no encoder"):
        freeze(network, "decoder")


def test_only_the_selected_layers_are_trainable(layered):
    everything = {"encoder", "middle", "last", "head", "shift"}
    chosen = {}
    for trainable in ("all", "except_first", "decoder", "head"):
        freeze(layered, trainable)
        chosen[trainable] = trainable_names(layered)

    assert chosen["all"] == everything
    assert chosen["except_first"] == chosen["decoder"] == everything - {"encoder"}
    assert chosen["head"] == {"head", "shift"}


def test_an_unknown_choice_is_refused(layered):
    with pytest.raises(SettingsError, match="all, except_first, decoder, head"):
        freeze(layered, "bottom")


@pytest.mark.parametrize("index", [-2, -1, 0, 1, 2])
def test_freeze_to_counts_groups_as_fastai_does(layered, index):
    freeze_to(layered, index)

    flags = [all(item.requires_grad for item in group) for group in parameter_groups(layered)]
    assert flags == [place >= index % 3 for place in range(3)]


def test_groups_are_unfrozen_one_by_one_from_the_last(layered):
    freeze(layered, "gradual")
    assert "encoder" in trainable_names(layered)  # an optimizer made now has all parameters

    indices = [unfreeze_at(layered, share) for share in (0, 0.3, 0.34, 0.66, 0.67, 1)]

    assert indices == [2, 2, 1, 1, 0, 0]
    assert "encoder" in trainable_names(layered)


def test_frozen_weights_do_not_change_in_a_step(layered):
    freeze(layered, "decoder")
    set_training(layered)
    before = state_of(layered.encoder)
    optimizer = torch.optim.AdamW(layered.parameters(), lr=0.1, weight_decay=0.1)

    layered(torch.randn(2, 1, 8, 8)).square().mean().backward()
    optimizer.step()

    assert_same(state_of(layered.encoder), before)


def moved(network: nn.Module, statistics: str, trainable: str = "decoder") -> list[str]:
    """Return the batch norms whose statistics are updated by an image."""
    freeze(network, trainable, batch_norm=statistics)
    set_training(network, statistics)
    before = state_of(network)
    network(torch.randn(4, 1, 8, 8) + 3)
    after = network.state_dict()
    means = [key for key in before if key.endswith("running_mean")]
    return [key.split(".")[0] for key in means if not torch.equal(before[key], after[key])]


def test_frozen_norms_update_their_statistics_only_on_request(layered):
    assert moved(copy.deepcopy(layered), "frozen") == ["middle"]
    assert moved(copy.deepcopy(layered), "update") == ["encoder", "middle"]
    assert moved(copy.deepcopy(layered), "train") == ["encoder", "middle"]


def test_a_trained_encoder_can_keep_its_statistics(layered):
    assert moved(copy.deepcopy(layered), "frozen", "all") == ["encoder", "middle"]
    assert moved(copy.deepcopy(layered), "frozen_encoder", "all") == ["middle"]


def test_norms_of_a_frozen_encoder_can_be_trained_as_in_fastai(layered):
    freeze(layered, "decoder", batch_norm="train")

    conv, norm = layered.encoder
    assert not any(item.requires_grad for item in conv.parameters())
    assert all(item.requires_grad for item in norm.parameters())


def test_frozen_parts_have_no_dropout(layered):
    freeze(layered, "head")
    set_training(layered)

    assert layered.head.training and not layered.last[1].training


def test_learning_rates_are_geometric():
    assert discriminative_rates(1e-7, 1e-4, 4) == pytest.approx([1e-7, 1e-6, 1e-5, 1e-4])
    assert discriminative_rates(3e-7, 3e-4, 3)[1] == pytest.approx((3e-7 * 3e-4) ** 0.5)
    assert discriminative_rates(None, 1e-3, 3) == pytest.approx([1e-4, 1e-4, 1e-3])
    assert discriminative_rates(1e-5, 1e-3, 1) == [1e-3]
    with pytest.raises(SettingsError, match="above 0"):
        discriminative_rates(0.0, 1e-3, 3)


def trained_with_lora(network: nn.Module, steps: int = 3) -> nn.Module:
    optimizer = torch.optim.SGD([item for item in network.parameters() if item.requires_grad], 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(2, 1, 8, 8)).square().mean().backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("training", [False, True])
def test_lora_starts_as_the_identity(network, training):
    network.train(training)
    network.last[1].p = 0.0
    twin, x = copy.deepcopy(network), torch.randn(2, 1, 8, 8)

    add_lora(network, rank=2)

    assert torch.equal(network(x), twin(x))


def test_only_lora_is_trained(network):
    before = state_of(network)

    additions = add_lora(network, rank=2)
    set_training(network)
    trained_with_lora(network)

    assert {id(item) for item in additions} == {
        id(item) for item in network.parameters() if item.requires_grad
    }
    after = {
        re.sub(r"parametrizations\.(\w+)\.original", r"\1", name): value
        for name, value in network.state_dict().items()
    }
    # Power iteration continues in training, as in any network with spectral norm.
    compared = [name for name in before if not name.endswith(("weight_u", "weight_v"))]
    assert_same({name: before[name] for name in compared}, {name: after[name] for name in compared})
    assert all(float(item.detach().abs().sum()) > 0 for item in additions)


def test_lora_is_added_to_all_kinds_of_large_convolutions(network):
    add_lora(network, rank=2)

    added = {
        name.split(".parametrizations")[0]
        for name, part in network.named_modules()
        if isinstance(part, LowRank)
    }
    # Key and query have one output each: a pair of matrices would be larger.
    assert added == {
        *("encoder.0", "middle.0", "middle.1.value", "last.0", "last.2", "head.0", "head.1")
    }


def test_merged_lora_has_the_same_output_and_plain_keys(network):
    keys, x = network.state_dict().keys(), torch.randn(2, 1, 8, 8)
    add_lora(network, rank=2, alpha=4.0)
    trained_with_lora(network).eval()
    expected = network(x)

    merge_lora(network)

    assert network.state_dict().keys() == keys
    torch.testing.assert_close(network(x), expected, atol=1e-6, rtol=1e-5)
    torch.manual_seed(0)
    fresh = Small()
    start = fresh.eval()(x)
    fresh.load_state_dict(network.state_dict())
    torch.testing.assert_close(fresh(x), expected, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(start, expected, atol=1e-3)
    assert all(item.requires_grad for item in network.parameters())


def test_the_embedded_networks_lora_is_small_and_merges():
    torch.manual_seed(0)
    network = CompactUNet().eval()
    keys, size = list(network.state_dict()), sum(item.numel() for item in network.parameters())

    additions = add_lora(network, rank=4, where=r"^ups|^head")
    with torch.no_grad():
        for item in additions:
            item.add_(torch.randn_like(item) * 0.05)
    gray = torch.rand(1, 1, 32, 32)
    expected = network(gray)
    merge_lora(network)

    assert sum(item.numel() for item in additions) < size / 50
    assert sorted(network.state_dict()) == sorted(keys)
    torch.testing.assert_close(network(gray), expected, atol=1e-5, rtol=1e-4)


def test_the_addition_follows_the_article(network):
    weight = torch.randn(12, 12, 3, 3)
    addition = LowRank(weight, rank=2, alpha=6.0)
    with torch.no_grad():
        addition.up.normal_()

    added = (addition(weight) - weight).flatten(1)

    torch.testing.assert_close(added, 3 * addition.up @ addition.down)
    assert int(torch.linalg.matrix_rank(added.detach(), tol=1e-3)) == 2


def test_a_run_with_lora_can_be_resumed(network):
    add_lora(network, rank=2)
    trained_with_lora(network).eval()
    resumed = Small()
    add_lora(resumed, rank=2)

    resumed.load_state_dict(dict(network.state_dict()))

    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(resumed.eval()(x), network(x))


def test_merging_a_network_without_lora_changes_nothing(network):
    before = state_of(network)

    merge_lora(network)

    assert_same(state_of(network), before)


def test_invalid_lora_options_are_refused(network):
    with pytest.raises(SettingsError, match="at least 1"):
        add_lora(network, rank=0)
    with pytest.raises(SettingsError, match="contains 'tail'"):
        add_lora(network, where="tail")
    with pytest.raises(SettingsError, match="smaller rank"):
        add_lora(network, rank=1000)
    assert all(item.requires_grad for item in network.parameters())


def drift(network: nn.Module) -> None:
    with torch.no_grad():
        for item in network.parameters():
            item.add_(torch.randn_like(item))
        for item in network.buffers():
            item.add_(1)


def test_weights_and_statistics_are_averaged_exponentially_and_other_buffers_copied(network):
    average, expected = EMA(network, decay=0.4), state_of(network)
    averaged = {name for name, _ in network.named_parameters()}
    averaged |= {name for name in expected if name.endswith(("running_mean", "running_var"))}
    assert len(averaged) < len(expected)

    for step in range(12):
        drift(network)
        average.update(network, step)
        decay = min(0.4, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if name in averaged:
                expected[name] = decay * expected[name] + (1 - decay) * value
            else:
                expected[name] = value.clone()

    for name, value in average.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-5)


def test_averaged_weights_have_the_statistics_that_belong_to_them():
    """Weights that swing between two values, as with a high learning rate."""
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1, momentum=1.0))
    average, x = EMA(network, decay=0.99), torch.linspace(0, 10, 50)[:, None]
    weight = network[0].weight

    for step in range(2001):
        with torch.no_grad():
            weight.fill_(1 if step % 2 else 3)
        network(x)
        average.update(network, step)

    with torch.no_grad(), EvaluationWeights(network, average):
        assert float(weight) == pytest.approx(2, abs=0.1)
        assert abs(float(network(x).mean())) < 0.1  # 0 with statistics measured with the average


def test_an_average_can_be_resumed(network):
    whole, half = EMA(network, 0.9), EMA(network, 0.9)
    drift(network)
    for average in (whole, half):
        average.update(network, 0)
    resumed = EMA(Small(), 0.9)
    resumed.load_state_dict({key: item.clone() for key, item in half.state_dict().items()})

    drift(network)
    for average in (whole, resumed):
        average.update(network, 1)

    assert_same(whole.state_dict(), resumed.state_dict())


def test_an_average_of_another_network_is_refused(network):
    with pytest.raises(ValueError, match="another network"):
        EMA(network, 0.9).load_state_dict(nn.Linear(2, 2).state_dict())


def test_the_network_has_its_average_within_the_context(network):
    average = EMA(network, 0.9)
    start = state_of(network)
    drift(network)
    own = state_of(network)
    network.encoder.eval()

    with EvaluationWeights(network, average) as current:
        assert current is network and not network.training
        assert_same(state_of(network), start)

    assert_same(state_of(network), own)
    assert network.training and not network.encoder.training


def test_weights_are_restored_after_an_error(network):
    average = EMA(network, 0.9)
    drift(network)
    own = state_of(network)

    with pytest.raises(ZeroDivisionError), EvaluationWeights(network, average):
        _ = 1 / 0

    assert_same(state_of(network), own)


def test_without_an_average_the_network_keeps_its_weights(network):
    own = state_of(network)

    with EvaluationWeights(network, None):
        assert not network.training
        assert_same(state_of(network), own)

    assert network.training


def test_a_restarted_average_is_the_present_weights(network):
    average = EMA(network, 0.9)
    drift(network)

    average.restart(network)

    assert_same(average.state_dict(), state_of(network))
