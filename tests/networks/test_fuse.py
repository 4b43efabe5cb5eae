from __future__ import annotations

import torch
from torch import nn

from napari_colorize.networks.compact import CompactUNet
from napari_colorize.networks.fuse import fuse


class Chain(nn.Module):
    """A batch norm between a 3x3 convolution and another module."""

    def __init__(self, after: nn.Module) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
        self.after = after

    def forward(self, x):
        return self.after(self.before(x))

    def fusable_pairs(self):
        yield self.before, self.after


def with_statistics(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in [(module.running_mean, -0.2), (module.running_var, 0.5)]:
                tensor.uniform_(low, low + 0.4)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_a_norm_after_a_relu_is_folded_into_the_following_1x1_convolution():
    torch.manual_seed(0)
    network = with_statistics(Chain(nn.Conv2d(4, 3, 1)))
    x = torch.randn(1, 2, 6, 6)
    expected = network(x)

    fuse(network)

    assert norms(network) == 0
    torch.testing.assert_close(network(x), expected)


def test_a_norm_before_a_padded_convolution_is_kept():
    torch.manual_seed(0)
    network = with_statistics(Chain(nn.Conv2d(4, 3, 3, padding=1)))
    x = torch.randn(1, 2, 6, 6)
    expected = network(x)

    fuse(network)

    assert norms(network) == 1
    torch.testing.assert_close(network(x), expected)


def test_the_fused_compact_network_gives_the_same_output():
    torch.manual_seed(0)
    network = with_statistics(CompactUNet())
    x = torch.rand(2, 1, 64, 96)
    with torch.no_grad():
        expected = network(x), network(x, self_attention=False)
    before = norms(network)

    fuse(network)

    assert norms(network) < before / 4
    torch.testing.assert_close((network(x), network(x, self_attention=False)), expected)
