"""The embedded network: DeOldify's U-Net in small, telling how likely each of 357 colours is.

A light encoder sees gray; three decoder blocks of DeOldify's kind (sub-pixel upsampling with blur,
normalised skip, convolution, ReLU, batch norm) lead back to a quarter of the size, where chroma
has all the detail that eyes ask of it. Self-attention stands where DeOldify has it, at an eighth.

The head gives classes after Zhang et al. 2016: regression towards one colour grays out whatever
may be red or blue. Their softmax is sharpened by a temperature and averaged (the annealed mean,
eq. 5 there), so what leaves the network is U and V.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks.layers import SelfAttention, SubPixelUpsample
from napari_colorize.networks.mobilenet import MobileNetEdgeTPU


@dataclass(frozen=True)
class ClassGrid:
    """Colour classes: points on a regular grid over U and V."""

    origin: tuple[float, float] = (-0.4, -0.5)
    steps: tuple[float, float] = (0.05, 0.05)
    shape: tuple[int, int] = (17, 21)

    @property
    def count(self) -> int:
        return self.shape[0] * self.shape[1]

    def centers(self) -> Tensor:
        """U and V of every class, (count, 2), V fastest."""
        points = (
            [start + step * index for index in range(number)]
            for start, step, number in zip(self.origin, self.steps, self.shape, strict=True)
        )
        return torch.tensor(list(product(*points)))


CLASS_GRID = ClassGrid()


class DecoderBlock(nn.Module):
    """Twice the size, joined with the encoder's features of that size."""

    def __init__(self, inputs: int, skip: int, upsampled: int, outputs: int, attends: bool) -> None:
        super().__init__()
        self.upsample = SubPixelUpsample(inputs, upsampled, norm=None)
        self.skip_norm = nn.BatchNorm2d(skip)
        self.conv = nn.Conv2d(upsampled + skip, outputs, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.norm = nn.BatchNorm2d(outputs)
        self.attention = SelfAttention(outputs, norm=None) if attends else None

    def forward(self, x: Tensor, skip: Tensor, self_attention: bool = True) -> Tensor:
        height, width = skip.shape[-2:]
        x = self.upsample(x)[..., :height, :width]  # one too large where the skip's side is odd
        x = F.relu(torch.cat([x, self.skip_norm(skip)], dim=1))
        x = self.norm(self.relu(self.conv(x)))
        if self.attention is not None and self_attention:
            x = self.attention(x)
        return x


class CompactUNet(nn.Module):
    """Gray `(N, 1, H, W)` in [0, 1] to U and V `(N, 2, H / 4, W / 4)`; H and W multiples of 16."""

    centers: Tensor
    temperature: Tensor

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        quarter, eighth, sixteenth, deepest = MobileNetEdgeTPU.CHANNELS
        self.encoder = MobileNetEdgeTPU()
        self.ups = nn.ModuleList(
            [
                DecoderBlock(deepest, sixteenth, 128, 256, attends=False),
                DecoderBlock(256, eighth, 128, 192, attends=True),
                DecoderBlock(192, quarter, 96, 128, attends=False),
            ]
        )
        self.head = nn.Conv2d(128, CLASS_GRID.count, 1)
        self.register_buffer("centers", CLASS_GRID.centers())
        self.register_buffer("temperature", torch.tensor(temperature))

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        return self.expected(self.logits(gray, self_attention))

    def logits(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        """How likely each colour is, `(N, 357, H / 4, W / 4)`, before the softmax."""
        gray = gray.to(self.head.weight.dtype)
        *skips, x = self.encoder(gray * 2 - 1)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip, self_attention)
        return self.head(x)

    def expected(self, logits: Tensor) -> Tensor:
        """The annealed mean of the colours, U and V `(N, 2, H / 4, W / 4)`."""
        likely = logits.movedim(1, -1).float() / self.temperature.float()
        return (torch.softmax(likely, dim=-1) @ self.centers.float()).movedim(-1, 1)

    def neighbours(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Modules of which the first feeds only the second; see `fuse`."""
        yield from pairwise([*self.ups, self.head])

    def train_decoder(self) -> CompactUNet:
        """Training mode, but the encoder keeps the norm statistics of its pretraining."""
        self.train()
        self.encoder.eval()
        return self
