"""3x3 convolutions with a quarter of the multiplications, for processors.

Winograd's F(4x4, 3x3): 4 x 4 results at a time come from 6 x 6 inputs by way of 36 products where
144 are usual. Inputs, filters and products go through small matrices first and last; over the
channels, the 36 are ordinary matrix products, which is where the time goes.

The five points of the construction are 0, +-1/sqrt(2), +-sqrt(2) and infinity: with those of the
paper (0, +-1, +-2) rounding errors are several times larger, with these they are those of an
ordinary convolution. In bfloat16 they would not be, so this is for float32.

Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016. The points: Barabasz
et al., "Error analysis and improving the accuracy of Winograd convolution for deep neural
networks", ACM Transactions on Mathematical Software 46, 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))
OUT, IN = 4, 6  # sides of a tile of results, and of what it is made from
TILES = 400  # worked on at a time: enough for the matrix products, and they fit into the cache
ALIGNED = 16  # channels: 64 bytes, a cache line and a vector register


class WinogradConv2d(nn.Module):
    """A 3x3 convolution of stride 1 that keeps the size, for inference in float32.

    Parameters
    ----------
    conv : nn.Conv2d
        What it computes, to rounding. Its weight is not kept: this takes four times its memory.
    """

    filters: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        outputs, inputs = conv.weight.shape[:2]
        self.channels = outputs
        turned = torch.zeros(IN * IN, _aligned(inputs), _aligned(outputs))
        turned[:, :inputs, :outputs] = transform_filters(conv.weight.detach())
        self.register_buffer("filters", turned)
        bias = torch.zeros(outputs) if conv.bias is None else conv.bias.detach().float()
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, above: int = 1, below: int = 1) -> Tensor:
        """(N, C, H, W) to (N, C', H + above + below - 2, W).

        `above` and `below` are rows of zeros, 1 or 0, to assume beyond the first and last row.
        """
        shape = (len(x), self.channels, x.shape[2] + above + below - 2, x.shape[3])
        out = x.new_empty(shape).contiguous(memory_format=torch.channels_last)
        bands = _Bands(self.filters, shape[2], shape[3])
        for picture, result in zip(x.movedim(1, -1), out.movedim(1, -1), strict=True):
            for rows, made in bands(picture, above):
                torch.add(made[..., : self.channels], self.bias, out=result[rows])
        return out


class _Bands:
    """The tiles of a few rows at a time, in the same buffers: they stay in the cache.

    A step is one large operation over all tiles of the band, never one per row of a small matrix:
    on a busy machine, threads that wait for each other cost more than the arithmetic.
    """

    def __init__(self, filters: Tensor, height: int, width: int) -> None:
        self.filters = filters
        self.height, self.width = height, width
        self.across = -(-width // OUT)
        self.down = min(max(1, round(TILES / self.across)), -(-height // OUT))
        self.into, self.out_of = (each.to(filters) for each in tile_transforms())
        _, inputs, outputs = filters.shape
        tiles = self.down * self.across
        self.seen = filters.new_zeros(OUT * self.down + 2, OUT * self.across + 2, inputs)
        self.patches = filters.new_empty(IN * IN * tiles * inputs)
        self.turned = torch.empty_like(self.patches)
        self.products = filters.new_empty(IN * IN * tiles * outputs)
        self.made = filters.new_empty(OUT * OUT * tiles * outputs)

    def __call__(self, picture: Tensor, above: int) -> Iterator[tuple[slice, Tensor]]:
        """Rows of the result of an image (H, W, C), and what belongs there without the bias."""
        step = OUT * self.down
        for top in range(0, self.height, step):
            rows = slice(top, min(top + step, self.height))
            down = -(-(rows.stop - top) // OUT)
            self._see(picture, top - above, OUT * down + 2)
            yield rows, self._convolved(down)[: rows.stop - top, : self.width]

    def _see(self, picture: Tensor, first: int, count: int) -> None:
        """Copy `count` rows from `first` on; zeros where the image has none."""
        start, stop = max(first, 0), min(first + count, len(picture))
        self.seen[: start - first].zero_()
        self.seen[stop - first : count].zero_()
        _, width, channels = picture.shape
        self.seen[start - first : stop - first, 1 : width + 1, :channels] = picture[start:stop]

    def _convolved(self, down: int) -> Tensor:
        """Results of `down` rows of tiles, (4 down, 4 across, C')."""
        _, inputs, outputs = self.filters.shape
        across, tiles = self.across, down * self.across
        patches = _part(self.patches, IN, IN, down, across, inputs)
        turned = _part(self.turned, IN * IN, tiles, inputs)
        products = _part(self.products, IN * IN, tiles, outputs)
        made = _part(self.made, OUT, OUT, down, across, outputs)
        seen = self.seen[: OUT * down + 2].unfold(0, IN, OUT).unfold(1, IN, OUT)
        patches.copy_(seen.permute(3, 4, 0, 1, 2))
        torch.mm(self.into, patches.view(IN * IN, -1), out=turned.view(IN * IN, -1))
        torch.bmm(turned, self.filters, out=products)
        torch.mm(self.out_of, products.view(IN * IN, -1), out=made.view(OUT * OUT, -1))
        return made.permute(2, 0, 3, 1, 4).reshape(OUT * down, OUT * across, outputs)


def _part(buffer: Tensor, *shape: int) -> Tensor:
    """The beginning of a buffer, in a shape."""
    return buffer[: math.prod(shape)].view(shape)


@torch.no_grad()
def accelerate_convs(network: nn.Module) -> None:
    """Use this in a fused float32 network on a processor, in place, wherever it pays.

    A network's method `finest()` names the parts whose features are so large that the time goes
    there; in the others, filters are most of the memory traffic, and would be four times as many.
    """
    finest: Callable[[], Iterable[nn.Module]] = getattr(network, "finest", tuple)
    for part in finest():
        for module in list(part.modules()):
            for name, child in module.named_children():
                if type(child) is nn.Conv2d and _is_plain(child):
                    module.register_module(name, WinogradConv2d(child))


def _is_plain(conv: nn.Conv2d) -> bool:
    """Whether it is 3x3, of stride 1, and keeps the size."""
    return (
        conv.kernel_size == (3, 3)
        and conv.padding == (1, 1)
        and conv.stride == conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


def transform_filters(weight: Tensor) -> Tensor:
    """Filters (C', C, 3, 3) to (36, C, C'): the paper's G w G^T."""
    powers = _points()[:, None] ** torch.arange(3) / _apart()[:, None]
    g = torch.cat([powers, powers.new_tensor([[0, 0, 1]])])  # the last for infinity
    turned = torch.einsum("ia,jb,ocab->ijco", g, g, weight.double())
    return turned.flatten(0, 1).to(weight.dtype)


def tile_transforms() -> tuple[Tensor, Tensor]:
    """Matrices for tiles as columns: (36, 36) for inputs and (16, 36) for products.

    The paper's B^T d B and A^T m A, each written as one matrix by Kronecker products.
    """
    points = _points()
    b, a = torch.zeros(IN, IN).double(), torch.zeros(OUT, IN).double()
    for row, point in enumerate(points):
        b[row, :-1] = _vanishing_at(points[points != point])
    b[-1] = _vanishing_at(points)
    a[:, :-1] = points ** torch.arange(OUT)[:, None]
    a[-1, -1] = 1
    return torch.kron(b, b), torch.kron(a, a)


def _points() -> Tensor:
    return torch.tensor(POINTS, dtype=torch.float64)


def _apart() -> Tensor:
    """For each point, the product of its distances to the others."""
    points = _points()
    return (points[:, None] - points).fill_diagonal_(1).prod(dim=1)


def _vanishing_at(points: Tensor) -> Tensor:
    """Coefficients, lowest power first, of the polynomial whose zeros these are."""
    coefficients = points.new_ones(1)
    for point in points:
        higher, lower = coefficients.new_zeros(1), coefficients * -point
        coefficients = torch.cat([higher, coefficients]) + torch.cat([lower, higher])
    return coefficients


def _aligned(channels: int) -> int:
    return -(-channels // ALIGNED) * ALIGNED
