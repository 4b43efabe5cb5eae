"""Embedded network: a small U-Net that predicts the probability of 357 color classes.

A MobileNet encoder reads gray. Three decoder blocks of DeOldify's kind (pixel shuffle with blur,
normalized skip, convolution, ReLU, batch norm) lead to 1/4 of the size, which is sufficient for
chroma. Self-attention is at 1/8 of the size, as in DeOldify.

The head predicts classes (Zhang et al. 2016), because regression gives gray where several colors
are plausible. The softmax is sharpened by a temperature and averaged (annealed mean, eq. 5 of the
paper). The mean has less chroma than the classes, so a factor compensates. The output is U and V.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks.layers import PixelShuffleICNR, SelfAttention
from napari_colorize.networks.mobilenet import MobileNetEdgeTPU


@dataclass(frozen=True)
class ClassGrid:
    """Color classes: points of a regular grid over U and V."""

    origin: tuple[float, float] = (-0.4, -0.5)
    steps: tuple[float, float] = (0.05, 0.05)
    shape: tuple[int, int] = (17, 21)

    @property
    def count(self) -> int:
        """Number of classes."""
        return self.shape[0] * self.shape[1]

    def centers(self) -> Tensor:
        """U and V of every class, shape (count, 2), V varying fastest."""
        points = (
            [start + step * index for index in range(number)]
            for start, step, number in zip(self.origin, self.steps, self.shape, strict=True)
        )
        return torch.tensor(list(product(*points)))


CLASS_GRID = ClassGrid()
ATTENTION_BLOCK = 1  # index of the decoder block with self-attention, at 1/8 of the size
EARLY_BLOCKS = 2  # encoder blocks down to 1/4 of the size
Sample = tuple[int, int, int]


class DecoderBlock(nn.Module):
    """U-Net block: upsample, concatenate the encoder features of this size, convolve."""

    def __init__(
        self, inputs: int, skip: int, upsampled: int, outputs: int, with_attention: bool
    ) -> None:
        super().__init__()
        self.upsample = PixelShuffleICNR(inputs, upsampled, norm=None)
        self.skip_norm = nn.BatchNorm2d(skip)
        self.conv = nn.Conv2d(upsampled + skip, outputs, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.norm = nn.BatchNorm2d(outputs)
        self.attention = SelfAttention(outputs, norm=None) if with_attention else None

    def forward(self, x: Tensor, skip: Tensor, self_attention: bool = True) -> Tensor:
        height, width = skip.shape[-2:]
        x = self.upsample(x)[..., :height, :width]  # one too large if the side of the skip is odd
        x = F.relu(torch.cat([x, self.skip_norm(skip)], dim=1))
        x = self.norm(self.relu(self.conv(x)))
        if self.attention is not None and self_attention:
            x = self.attention(x)
        return x


class CompactUNet(nn.Module):
    """Gray `(N, 1, H, W)` in [0, 1] to U and V `(N, 2, H / 4, W / 4)`.

    Height and width must be multiples of 16.

    Parameters
    ----------
    temperature, vividness : float
        Temperature of the softmax whose mean is U and V, and a factor on this mean, which has less
        chroma than the classes.
    commonness : float, optional
        Weight of the log frequency of each class that is added to the logits before the softmax.
        Values above 0 shift uncertain pixels to common colors, values below 0 to rare colors.
    names_objects : bool
        Whether the decoder starts from the features that the classifier of the encoder used.
    upsampled, widths : tuple of int
        Channels of each decoder block after upsampling, and at its end.
    dropout : float
        Share of the deepest channels that are dropped in training.
    calibration : int
        Number of points of the curve that maps expected to measured error; 0 for none.
    """

    centers: Tensor
    temperature: Tensor
    vividness: Tensor | None
    commonness: Tensor | None
    log_frequency: Tensor | None  # per class, set by training
    calibration: Tensor | None

    def __init__(
        self,
        temperature: float = 1.0,
        *,
        vividness: float | None = None,
        commonness: float | None = None,
        names_objects: bool = False,
        upsampled: Sequence[int] = (128, 128, 96),
        widths: Sequence[int] = (256, 192, 128),
        dropout: float = 0.0,
        calibration: int = 0,
    ) -> None:
        super().__init__()
        *skips, deepest = MobileNetEdgeTPU.CHANNELS
        self.encoder = MobileNetEdgeTPU(names_objects=names_objects)
        inputs = (MobileNetEdgeTPU.CLASSIFIER_CHANNELS if names_objects else deepest, *widths)
        self.dropout = nn.Dropout2d(dropout)
        self.ups = nn.ModuleList(
            DecoderBlock(before, skip, up, width, with_attention=index == ATTENTION_BLOCK)
            for index, (before, skip, up, width) in enumerate(
                zip(inputs, reversed(skips), upsampled, widths, strict=False)
            )
        )
        self.head = nn.Conv2d(widths[-1], CLASS_GRID.count, 1)
        self.register_buffer("centers", CLASS_GRID.centers())
        self.register_buffer("temperature", torch.tensor(temperature))
        factor = None if vividness is None else torch.tensor(vividness)
        self.register_buffer("vividness", factor)
        has_prior = commonness is not None
        self.register_buffer("commonness", torch.tensor(commonness) if has_prior else None)
        self.register_buffer("log_frequency", torch.zeros(CLASS_GRID.count) if has_prior else None)
        points = torch.zeros(2, calibration) if calibration else None
        self.register_buffer("calibration", points)

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        """Predict U and V `(N, 2, H / 4, W / 4)`."""
        return self.expected(self.logits(gray, self_attention))

    def logits(
        self, gray: Tensor, self_attention: bool = True, sample: Sample | None = None
    ) -> Tensor:
        """Logits of the classes `(N, 357, H / 4, W / 4)`, before temperature and softmax.

        With `sample` (step, row, column), only every `step`-th pixel in both directions is
        computed.
        """
        gray = gray.to(self.head.weight.dtype)
        *skips, x = self.encoder(gray * 2 - 1)
        x = self.dropout(x)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip, self_attention)
        if sample is not None:
            step, row, column = sample
            x = x[..., row::step, column::step]
        return self.head(x)

    def expected(self, logits: Tensor) -> Tensor:
        """U and V `(N, 2, H / 4, W / 4)`: the annealed mean of the classes, times vividness."""
        logits = logits.movedim(1, -1).float()
        if self.commonness is not None and self.log_frequency is not None:
            logits = logits + self.commonness.float() * self.log_frequency.float()
        mean = torch.softmax(logits / self.temperature.float(), dim=-1) @ self.centers.float()
        if self.vividness is not None:
            mean = self.vividness.float() * mean
        return mean.movedim(-1, 1)

    def fusable_pairs(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Pairs of modules for `fuse`: the first is the only input of the second."""
        yield from pairwise([*self.ups, self.head])

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return early encoder, late encoder and decoder, for different learning rates."""
        encoder = self.encoder
        early: list[nn.Module] = [encoder.conv_stem, encoder.bn1, *encoder.blocks[:EARLY_BLOCKS]]
        late: list[nn.Module] = [*encoder.blocks[EARLY_BLOCKS:]]
        late += [part for part in (encoder.conv_head, encoder.bn2) if part is not None]
        return [early, late, [*self.ups, self.head]]


def build_compact(state: Mapping[str, Tensor]) -> CompactUNet:
    """Build a network with the keys and shapes of a state dict."""
    widths = [state[f"ups.{index}.conv.weight"].shape[0] for index in range(3)]
    upsampled = [state[f"ups.{index}.upsample.conv.0.weight"].shape[0] // 4 for index in range(3)]
    return CompactUNet(
        vividness=1.0 if "vividness" in state else None,
        commonness=0.0 if "commonness" in state else None,
        names_objects="encoder.conv_head.weight" in state,
        upsampled=upsampled,
        widths=widths,
        calibration=state["calibration"].shape[1] if "calibration" in state else 0,
    )
