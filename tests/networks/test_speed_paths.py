"""Optimized computations give the results of the plain ones."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from reference import load_arrays, reference_network
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from napari_colorize.networks import deoldify
from napari_colorize.networks.deoldify import DEEP, DeOldify, IpolUNet, ResBlock
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.layers import conv2d, convolve_rows
from napari_colorize.networks.winograd import WinogradConv2d, accelerate_convs, transform_filters

# Rounding of numbers around 1; an ordinary convolution in float32 has the same error.
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


class LargestTensor(TorchDispatchMode):
    """Records the size in bytes of the largest tensor that any operation creates."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.bytes = max(self.bytes, result.numel() * result.element_size())
        return result


def convolution(inputs, outputs, bias=True):
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias).requires_grad_(False)


def last_stage(residual):
    """Return the last stage of a small fused network as a function."""
    torch.manual_seed(0)
    network = DeOldify.__new__(DeOldify)
    nn.Module.__init__(network)
    net = deoldify.UNetModules(
        *[nn.Identity()] * 6,
        last_up=deoldify.PixelShuffleICNR(5, 5, norm=None, batch_norm=False),
        refine=nn.Sequential(residual),
        head=conv2d(8, 3, 1, bias=True, norm=None),
    )
    return lambda features, x: network.eval()._forward_full_size(net, features, x)


def plain_residual():
    return ResBlock(
        *(nn.Sequential(conv2d(8, 8, bias=True, norm=None), nn.ReLU()) for _ in range(2))
    ).requires_grad_(False)


@pytest.mark.parametrize(
    ("inputs", "outputs", "height", "width", "batch"),
    [
        (5, 7, 1, 1, 1),
        (3, 16, 4, 4, 1),
        (20, 33, 9, 13, 2),
        (64, 48, 50, 3, 1),
        (3, 16, 30, 131, 2),
    ],
)
def test_winograd_equals_the_ordinary_convolution(inputs, outputs, height, width, batch):
    conv = convolution(inputs, outputs)
    x = torch.randn(batch, inputs, height, width)

    winograd = WinogradConv2d(conv)(x)

    torch.testing.assert_close(winograd, conv(x), **CLOSE)
    assert winograd.is_contiguous(memory_format=torch.channels_last)


def test_winograd_is_exact_in_float64():
    conv = convolution(3, 2, bias=False).double()
    winograd = WinogradConv2d(conv).double()
    winograd.filters[:, :3, :2] = transform_filters(conv.weight)
    x = torch.randn(1, 3, 10, 11, dtype=torch.float64)

    torch.testing.assert_close(winograd(x), conv(x), atol=1e-13, rtol=1e-13)


@pytest.mark.parametrize("kind", ["ordinary", "winograd"])
@pytest.mark.parametrize(("above", "below"), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_convolved_rows_equal_those_of_the_whole_image(kind, above, below):
    conv = convolution(6, 5)
    x = torch.randn(1, 6, 23, 10)
    rows = slice(0 if above else 4, 23 if below else 17)
    expected = conv(x)[:, :, rows.start + 1 - above : rows.stop - 1 + below]

    ours = convolve_rows(
        conv if kind == "ordinary" else WinogradConv2d(conv), x[:, :, rows], above, below
    )

    torch.testing.assert_close(ours, expected, **CLOSE)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (16, 10), (18, 4), (64, 6), (70, 34)])
def test_the_last_stage_in_row_blocks_equals_the_last_stage_in_one_step(
    monkeypatch, height, width, batch
):
    finish = last_stage(plain_residual())
    features, x = (
        torch.randn(batch, 5, height // 2, width // 2),
        torch.randn(batch, 3, height, width),
    )

    monkeypatch.setattr(ResBlock, "is_fused", False)
    whole = finish(features, x)
    monkeypatch.setattr(ResBlock, "is_fused", True)
    monkeypatch.setattr(deoldify, "ROW_BLOCK_BYTES", 1)
    in_blocks = finish(features, x)

    torch.testing.assert_close(in_blocks, whole, **CLOSE)


def test_row_blocks_are_used_after_fusing_only():
    residual = deoldify.res_block(8, deoldify.DEOLDIFY_NAMES)

    assert not residual.is_fused
    assert fuse(residual).is_fused


def test_no_tensor_of_the_last_stage_grows_with_the_height(monkeypatch):
    finish = last_stage(plain_residual())
    monkeypatch.setattr(deoldify, "ROW_BLOCK_BYTES", 8 * 32 * 20 * 4)  # 20 rows of 8 x 32 numbers
    sizes = []
    for height in (100, 400):
        with LargestTensor() as largest, torch.inference_mode():
            finish(torch.zeros(1, 5, height // 2, 16), torch.zeros(1, 3, height, 32))
        sizes.append(largest.bytes)

    three_channels_at_full_size = 3 * 400 * 32 * 4
    assert sizes[1] <= max(2 * sizes[0], three_channels_at_full_size)


@pytest.mark.parametrize("build", [lambda: DeOldify(DEEP), IpolUNet], ids=["deep", "ipol"])
def test_winograd_is_used_for_large_features_only(build):
    with torch.device("meta"):
        network = build()
    network = fuse(network.to_empty(device="cpu"))
    before = {name for name, part in network.named_modules() if type(part) is nn.Conv2d}

    accelerate_convs(network)

    winograd = {name for name, part in network.named_modules() if isinstance(part, WinogradConv2d)}
    net = network.modules_in_order()
    fine = {part for each in (*net.up[2:], net.refine) for part in each.modules()}
    assert winograd < before
    assert winograd == {
        name for name, part in network.named_modules() if part in fine and name in winograd
    }
    assert {type(part) for part in net.refine.modules()} >= {WinogradConv2d}


@pytest.mark.parametrize("name", ["deep", "wide"])
def test_the_accelerated_network_equals_the_published_one(name, monkeypatch):
    stored = load_arrays(f"deoldify/outputs_{name}.npz")
    network, _ = reference_network(name)
    accelerate_convs(fuse(network).to(memory_format=torch.channels_last))
    monkeypatch.setattr(deoldify, "ROW_BLOCK_BYTES", 1)

    for size in ("80x80", "128x160"):
        with torch.inference_mode():
            output = network(torch.from_numpy(stored[f"input_{size}"]))
        np.testing.assert_allclose(output, stored[f"output_{size}"], atol=1e-5, rtol=0)


def test_an_accelerated_network_can_be_copied():
    residual = plain_residual()
    whole = nn.Module()
    whole.part = residual
    whole.high_resolution_modules = lambda: [residual]
    accelerate_convs(whole)
    x = torch.randn(1, 8, 9, 9)

    assert isinstance(residual[0][0], WinogradConv2d)
    torch.testing.assert_close(copy.deepcopy(residual)(x), residual(x))
