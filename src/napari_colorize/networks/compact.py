"""The embedded network: DeOldify's U-Net in small, telling how likely each of 357 colours is.

A light encoder sees gray; three decoder blocks of DeOldify's kind (sub-pixel upsampling with blur,
normalised skip, convolution, ReLU, batch norm) lead back to a quarter of the size, where chroma
has all the detail that eyes ask of it. Self-attention stands where DeOldify has it, at an eighth.

The head gives classes after Zhang et al. 2016: regression towards one colour grays out whatever
may be red or blue. Their softmax is sharpened by a temperature and averaged (the annealed mean,
eq. 5 there), so what leaves the network is U and V.
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
UV_UNIT = 0.1  # what is 1 to the last layer; the length of (U, V) in vivid photographs
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


class Finish(nn.Module):
    """U and V at twice their size, along the edges that the gray shows.

    A correction of what bilinear enlargement gives, from the encoder's first features at a quarter
    and half of the size, and from the gray. A new layer corrects nothing.

    Parameters
    ----------
    coarse, fine : int
        Channels of the convolutions at a quarter and at half of the size.
    """

    def __init__(self, coarse: int = 64, fine: int = 48) -> None:
        super().__init__()
        half, quarter = MobileNetEdgeTPU.FIRST, MobileNetEdgeTPU.CHANNELS[0]
        self.quarter_norm = nn.BatchNorm2d(quarter)
        self.half_norm = nn.BatchNorm2d(half)
        self.coarse1 = nn.Conv2d(quarter + 3, coarse, 3, padding=1)
        self.coarse2 = nn.Conv2d(coarse, coarse, 3, padding=1)
        self.upsample = SubPixelUpsample(coarse, fine, norm=None)
        self.fine1 = nn.Conv2d(fine + half + 3, fine, 3, padding=1)
        self.fine2 = nn.Conv2d(fine, fine, 3, padding=1)
        self.correction = nn.Conv2d(fine, 2, 3, padding=1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)  # type: ignore[arg-type]

    def forward(self, uv: Tensor, quarter: Tensor, half: Tensor, gray: Tensor) -> Tensor:
        """`uv` at a quarter and the features to U and V at half of the `gray`, float32."""
        dtype = gray.dtype
        given = [self.quarter_norm(quarter), F.avg_pool2d(gray, 4), (uv / UV_UNIT).to(dtype)]
        x = F.relu(self.coarse1(torch.cat(given, dim=1)))
        x = self.upsample(F.relu(self.coarse2(x)))
        enlarged = F.interpolate(uv.float(), half.shape[-2:], mode="bilinear")
        given = [x, self.half_norm(half), F.avg_pool2d(gray, 2), (enlarged / UV_UNIT).to(dtype)]
        x = F.relu(self.fine1(torch.cat(given, dim=1)))
        x = F.relu(self.fine2(x))
        return enlarged + UV_UNIT * self.correction(x).float()


class CompactUNet(nn.Module):
    """Gray `(N, 1, H, W)` in [0, 1] to U and V `(N, 2, H / 2, W / 2)`; H and W multiples of 16.

    Parameters
    ----------
    temperature : float
        Of the softmax whose mean is U and V.
    names_objects : bool
        Whether the decoder begins with the features that the encoder's classifier read.
    upsampled, widths : tuple of int
        Channels behind the upsampling of each decoder block, and behind its convolution.
    dropout : float
        Share of the deepest channels that training leaves out.
    finishes : bool
        Whether a `Finish` follows; without it U and V are `(N, 2, H / 4, W / 4)`.
    calibration : int
        Points of the curve from the error that the classes tell to the one that was measured.
    """

    centers: Tensor
    temperature: Tensor
    calibration: Tensor | None

    def __init__(
        self,
        temperature: float = 1.0,
        *,
        names_objects: bool = False,
        upsampled: Sequence[int] = (128, 128, 96),
        widths: Sequence[int] = (256, 192, 128),
        dropout: float = 0.0,
        finishes: bool = False,
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
        self.finish = Finish() if finishes else None
        self.register_buffer("centers", CLASS_GRID.centers())
        self.register_buffer("temperature", torch.tensor(temperature))
        points = torch.zeros(2, calibration) if calibration else None
        self.register_buffer("calibration", points)

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        gray = gray.to(self.head.weight.dtype)
        half, skips = self._seen(gray)
        uv = self.expected(self.head(self._decoded(skips, self_attention)))
        return uv if self.finish is None else self.finish(uv, skips[0], half, gray)

    def logits(
        self, gray: Tensor, self_attention: bool = True, sample: Sample | None = None
    ) -> Tensor:
        """How likely each colour is, `(N, 357, H / 4, W / 4)`, before the softmax.

        With `sample` (step, row, column) only of every so manieth pixel in both directions.
        """
        _, skips = self._seen(gray.to(self.head.weight.dtype))
        x = self._decoded(skips, self_attention)
        if sample is not None:
            step, row, column = sample
            x = x[..., row::step, column::step]
        return self.head(x)

    def finished(self, gray: Tensor, uv: Tensor) -> Tensor:
        """Other U and V `(N, 2, H / 4, W / 4)`, enlarged along the gray's edges."""
        assert self.finish is not None
        gray = gray.to(self.head.weight.dtype)
        half = self.encoder.at_half(gray * 2 - 1)
        return self.finish(uv, self.encoder.blocks[1](half), half, gray)

    def _seen(self, gray: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        half = self.encoder.at_half(gray * 2 - 1)
        return half, self.encoder.deeper(half)

    def _decoded(self, features: tuple[Tensor, ...], self_attention: bool) -> Tensor:
        """The decoder's last features, at a quarter of the size."""
        *skips, x = features
        x = self.dropout(x)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip, self_attention)
        return x

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

    def layer_groups(self) -> list[list[nn.Module]]:
        """What sees edges and textures, what sees objects, and what gives them colours."""
        encoder = self.encoder
        early: list[nn.Module] = [encoder.conv_stem, encoder.bn1, *encoder.blocks[:EARLY]]
        late: list[nn.Module] = [*encoder.blocks[EARLY:]]
        late += [part for part in (encoder.conv_head, encoder.bn2) if part is not None]
        groups = [early, late, [*self.ups, self.head]]
        return groups if self.finish is None else [*groups, [self.finish]]

    def encoder_parameters(self) -> list[nn.Parameter]:
        """The pretrained ones."""
        return list(self.encoder.parameters())


def compact_of(state: Mapping[str, Tensor]) -> CompactUNet:
    """An untrained network of the same keys and shapes."""
    widths = [state[f"ups.{place}.conv.weight"].shape[0] for place in range(3)]
    upsampled = [state[f"ups.{place}.upsample.conv.0.weight"].shape[0] // 4 for place in range(3)]
    return CompactUNet(
        names_objects="encoder.conv_head.weight" in state,
        upsampled=upsampled,
        widths=widths,
        finishes="finish.fine1.weight" in state,
        calibration=state["calibration"].shape[1] if "calibration" in state else 0,
    )
