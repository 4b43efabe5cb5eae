"""3x3 convolutions by Winograd's minimal filtering, with a quarter of the multiplications.

F(4x4, 3x3) computes 4 x 4 outputs from 6 x 6 inputs with 36 products per pair of channels instead
of 144. Inputs, filters and products are transformed by small matrices; over the channels, the 36
products are ordinary matrix products, which take most of the time.

The five interpolation points are 0, +-1/sqrt(2), +-sqrt(2) and infinity. With those of the paper
(0, +-1, +-2) rounding errors are several times larger; with these they are similar to an ordinary
convolution in float32. In bfloat16 they are not, so this is used in float32 only.

Measured against oneDNN's convolution (torch 2.13, two cores of a busy Intel Xeon with AVX-512,
float32, channels last, alternating in one process, median of 5): 1.3 to 1.8 times faster for the
layers of the deep DeOldify decoder, 1.4 times for the whole network at render factor 10.
`benchmarks/convolution.py` and `benchmarks/network.py` repeat the measurement.

Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016. Points: Barabasz et
al., "Error analysis and improving the accuracy of Winograd convolution for deep neural networks",
ACM Transactions on Mathematical Software 46, 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))
TILE_OUT, TILE_IN = 4, 6  # sides of an output tile and of its input tile
BLOCK_TILES = 400  # tiles per block: efficient for matrix products, and fits into the cache
ALIGNED_CHANNELS = 16  # channels: 64 bytes, a cache line and a vector register


class WinogradConv2d(nn.Module):
    """3x3 convolution of stride 1 that keeps the size, for inference in float32 on a CPU.

    It has the result of `conv`, up to rounding. Only transformed filters are stored; they need four
    times the memory.
    """

    filters: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        outputs, inputs = conv.weight.shape[:2]
        self.channels = outputs
        transformed = torch.zeros(TILE_IN * TILE_IN, _align(inputs), _align(outputs))
        transformed[:, :inputs, :outputs] = transform_filters(conv.weight.detach())
        self.register_buffer("filters", transformed)
        bias = torch.zeros(outputs) if conv.bias is None else conv.bias.detach().float()
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, above: int = 1, below: int = 1) -> Tensor:
        """Map (N, C, H, W) to (N, C', H + above + below - 2, W).

        `above` and `below` are the rows of zero padding, 1 or 0, at the first and the last row.
        """
        shape = (len(x), self.channels, x.shape[2] + above + below - 2, x.shape[3])
        out = x.new_empty(shape).contiguous(memory_format=torch.channels_last)
        row_blocks = _RowBlocks(self.filters, shape[2], shape[3])
        for image, result in zip(x.movedim(1, -1), out.movedim(1, -1), strict=True):
            for rows, results in row_blocks(image, above):
                torch.add(results[..., : self.channels], self.bias, out=result[rows])
        return out


class _RowBlocks:
    """Row blocks of tiles, computed in reused buffers that fit into the cache.

    Each step is one large operation over all tiles of the block. Many small matrix products would
    cost more in thread synchronization than in arithmetic on a busy machine.
    """

    def __init__(self, filters: Tensor, height: int, width: int) -> None:
        self.filters = filters
        self.height, self.width = height, width
        self.across = -(-width // TILE_OUT)
        self.down = min(max(1, round(BLOCK_TILES / self.across)), -(-height // TILE_OUT))
        self.input_transform, self.output_transform = (
            each.to(filters) for each in tile_transforms()
        )
        _, inputs, outputs = filters.shape
        tiles = self.down * self.across
        self.padded = filters.new_zeros(
            TILE_OUT * self.down + 2, TILE_OUT * self.across + 2, inputs
        )
        self.patches = filters.new_empty(TILE_IN * TILE_IN * tiles * inputs)
        self.transformed = torch.empty_like(self.patches)
        self.products = filters.new_empty(TILE_IN * TILE_IN * tiles * outputs)
        self.results = filters.new_empty(TILE_OUT * TILE_OUT * tiles * outputs)

    def __call__(self, image: Tensor, above: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield rows of the result for an image (H, W, C), and their values without the bias."""
        step = TILE_OUT * self.down
        for top in range(0, self.height, step):
            rows = slice(top, min(top + step, self.height))
            down = -(-(rows.stop - top) // TILE_OUT)
            self._copy_rows(image, top - above, TILE_OUT * down + 2)
            yield rows, self._convolve_rows(down)[: rows.stop - top, : self.width]

    def _copy_rows(self, image: Tensor, first: int, count: int) -> None:
        """Copy `count` rows from `first` on to the padded buffer; rows outside the image are 0."""
        start, stop = max(first, 0), min(first + count, len(image))
        self.padded[: start - first].zero_()
        self.padded[stop - first : count].zero_()
        _, width, channels = image.shape
        self.padded[start - first : stop - first, 1 : width + 1, :channels] = image[start:stop]

    def _convolve_rows(self, down: int) -> Tensor:
        """Results of `down` rows of tiles, shape (4 down, 4 across, C')."""
        _, inputs, outputs = self.filters.shape
        across, tiles = self.across, down * self.across
        patches = _view(self.patches, TILE_IN, TILE_IN, down, across, inputs)
        transformed = _view(self.transformed, TILE_IN * TILE_IN, tiles, inputs)
        products = _view(self.products, TILE_IN * TILE_IN, tiles, outputs)
        results = _view(self.results, TILE_OUT, TILE_OUT, down, across, outputs)
        padded = (
            self.padded[: TILE_OUT * down + 2]
            .unfold(0, TILE_IN, TILE_OUT)
            .unfold(1, TILE_IN, TILE_OUT)
        )
        patches.copy_(padded.permute(3, 4, 0, 1, 2))
        torch.mm(
            self.input_transform,
            patches.view(TILE_IN * TILE_IN, -1),
            out=transformed.view(TILE_IN * TILE_IN, -1),
        )
        torch.bmm(transformed, self.filters, out=products)
        torch.mm(
            self.output_transform,
            products.view(TILE_IN * TILE_IN, -1),
            out=results.view(TILE_OUT * TILE_OUT, -1),
        )
        return results.permute(2, 0, 3, 1, 4).reshape(TILE_OUT * down, TILE_OUT * across, outputs)


def _view(buffer: Tensor, *shape: int) -> Tensor:
    """View of the start of a buffer with a given shape."""
    return buffer[: math.prod(shape)].view(shape)


@torch.no_grad()
def accelerate_convs(network: nn.Module) -> None:
    """Replace 3x3 convolutions in place in a fused float32 network on a CPU, where this is faster.

    The method `high_resolution_modules()` of a network returns the modules with large features,
    where this saves time. In other modules the filters dominate the memory traffic, and the
    transformed filters are four times as large.
    """
    high_resolution_modules: Callable[[], Iterable[nn.Module]] = getattr(
        network, "high_resolution_modules", tuple
    )
    for part in high_resolution_modules():
        for module in list(part.modules()):
            for name, child in module.named_children():
                if type(child) is nn.Conv2d and _is_plain(child):
                    module.register_module(name, WinogradConv2d(child))


def _is_plain(conv: nn.Conv2d) -> bool:
    """Return whether a convolution is 3x3 with stride 1 and zero padding of 1."""
    return (
        conv.kernel_size == (3, 3)
        and conv.padding == (1, 1)
        and conv.stride == conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


def transform_filters(weight: Tensor) -> Tensor:
    """Transform filters (C', C, 3, 3) to (36, C, C'): G w G^T of the paper."""
    powers = _points()[:, None] ** torch.arange(3) / _differences()[:, None]
    g = torch.cat([powers, powers.new_tensor([[0, 0, 1]])])  # last row: the point at infinity
    transformed = torch.einsum("ia,jb,ocab->ijco", g, g, weight.double())
    return transformed.flatten(0, 1).to(weight.dtype)


def tile_transforms() -> tuple[Tensor, Tensor]:
    """Transforms of tiles as column vectors: (36, 36) for inputs and (16, 36) for products.

    B^T d B and A^T m A of the paper, each written as one matrix with Kronecker products.
    """
    points = _points()
    b, a = torch.zeros(TILE_IN, TILE_IN).double(), torch.zeros(TILE_OUT, TILE_IN).double()
    for row, point in enumerate(points):
        b[row, :-1] = _polynomial(points[points != point])
    b[-1] = _polynomial(points)
    a[:, :-1] = points ** torch.arange(TILE_OUT)[:, None]
    a[-1, -1] = 1
    return torch.kron(b, b), torch.kron(a, a)


def _points() -> Tensor:
    """Finite interpolation points in float64."""
    return torch.tensor(POINTS, dtype=torch.float64)


def _differences() -> Tensor:
    """Product of the differences of each point to all others."""
    points = _points()
    return (points[:, None] - points).fill_diagonal_(1).prod(dim=1)


def _polynomial(points: Tensor) -> Tensor:
    """Coefficients of the polynomial with the given roots, lowest power first."""
    coefficients = points.new_ones(1)
    for point in points:
        higher, lower = coefficients.new_zeros(1), coefficients * -point
        coefficients = torch.cat([higher, coefficients]) + torch.cat([lower, higher])
    return coefficients


def _align(channels: int) -> int:
    """Channels rounded up to a multiple of `ALIGNED_CHANNELS`."""
    return -(-channels // ALIGNED_CHANNELS) * ALIGNED_CHANNELS
