"""The embedded network: DeOldify's U-Net in small, telling how likely each of 357 colors is.

A light encoder sees gray; three decoder blocks of DeOldify's kind (sub-pixel upsampling with blur,
normalized skip, convolution, ReLU, batch norm) lead back to a quarter of the size, where chroma
has all the detail that eyes ask of it. Self-attention stands where DeOldify has it, at an eighth.

The head gives classes after Zhang et al. 2016: regression towards one color grays out whatever
may be red or blue. Their softmax is sharpened by a temperature and averaged (the annealed mean,
eq. 5 there); a mean is paler than what it is the mean of, so a factor makes up for it, and what
leaves the network is U and V.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks.layers import SelfAttention, SubPixelUpsample
from napari_colorize.networks.mobilenet import MobileNetEdgeTPU


@dataclass(frozen=True)
class ClassGrid:
    """Color classes: points on a regular grid over U and V."""

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
ATTENDING = 1  # the decoder block with self-attention, at an eighth of the size
EARLY = 2  # the encoder's blocks down to a quarter of the size
Sample = tuple[int, int, int]


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
    """Gray `(N, 1, H, W)` in [0, 1] to U and V `(N, 2, H / 4, W / 4)`; H and W multiples of 16.

    Parameters
    ----------
    temperature : float
        Of the softmax whose mean is U and V.
    vividness : float, optional
        Factor on that mean, which is paler than what it is the mean of.
    commonness : float, optional
        Before the softmax, logits are raised by so much of the logarithm of how often each color
        occurs: above 0 doubtful pixels turn to common colors, below 0 to rare ones.
    names_objects : bool
        Whether the decoder begins with the features that the encoder's classifier read.
    upsampled, widths : tuple of int
        Channels behind the upsampling of each decoder block, and behind its convolution.
    dropout : float
        Share of the deepest channels that training leaves out.
    calibration : int
        Points of the curve from the error that the classes tell to the one that was measured.
    """

    centers: Tensor
    temperature: Tensor
    vividness: Tensor | None
    commonness: Tensor | None
    log_frequency: Tensor | None  # of each color, set by training
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
        inputs = (MobileNetEdgeTPU.OBJECTS if names_objects else deepest, *widths)
        self.dropout = nn.Dropout2d(dropout)
        self.ups = nn.ModuleList(
            DecoderBlock(before, skip, up, width, attends=place == ATTENDING)
            for place, (before, skip, up, width) in enumerate(
                zip(inputs, reversed(skips), upsampled, widths, strict=False)
            )
        )
        self.head = nn.Conv2d(widths[-1], CLASS_GRID.count, 1)
        self.register_buffer("centers", CLASS_GRID.centers())
        self.register_buffer("temperature", torch.tensor(temperature))
        factor = None if vividness is None else torch.tensor(vividness)
        self.register_buffer("vividness", factor)
        tilts = commonness is not None
        self.register_buffer("commonness", torch.tensor(commonness) if tilts else None)
        self.register_buffer("log_frequency", torch.zeros(CLASS_GRID.count) if tilts else None)
        points = torch.zeros(2, calibration) if calibration else None
        self.register_buffer("calibration", points)

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        return self.expected(self.logits(gray, self_attention))

    def logits(
        self, gray: Tensor, self_attention: bool = True, sample: Sample | None = None
    ) -> Tensor:
        """How likely each color is, `(N, 357, H / 4, W / 4)`, before the softmax.

        With `sample` (step, row, column) only of every so manieth pixel in both directions.
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
        """The annealed mean of the colors, made vivid, U and V `(N, 2, H / 4, W / 4)`."""
        likely = logits.movedim(1, -1).float()
        if self.commonness is not None and self.log_frequency is not None:
            likely = likely + self.commonness.float() * self.log_frequency.float()
        mean = torch.softmax(likely / self.temperature.float(), dim=-1) @ self.centers.float()
        if self.vividness is not None:
            mean = self.vividness.float() * mean
        return mean.movedim(-1, 1)

    def neighbours(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Modules of which the first feeds only the second; see `fuse`."""
        yield from pairwise([*self.ups, self.head])

    def layer_groups(self) -> list[list[nn.Module]]:
        """What sees edges and textures, what sees objects, and what gives them colors."""
        encoder = self.encoder
        early: list[nn.Module] = [encoder.conv_stem, encoder.bn1, *encoder.blocks[:EARLY]]
        late: list[nn.Module] = [*encoder.blocks[EARLY:]]
        late += [part for part in (encoder.conv_head, encoder.bn2) if part is not None]
        return [early, late, [*self.ups, self.head]]


def compact_of(state: Mapping[str, Tensor]) -> CompactUNet:
    """An untrained network of the same keys and shapes."""
    widths = [state[f"ups.{place}.conv.weight"].shape[0] for place in range(3)]
    upsampled = [state[f"ups.{place}.upsample.conv.0.weight"].shape[0] // 4 for place in range(3)]
    return CompactUNet(
        vividness=1.0 if "vividness" in state else None,
        commonness=0.0 if "commonness" in state else None,
        names_objects="encoder.conv_head.weight" in state,
        upsampled=upsampled,
        widths=widths,
        calibration=state["calibration"].shape[1] if "calibration" in state else 0,
    )
