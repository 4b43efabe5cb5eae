"""Networks that need no training and no file: a tint with its passport, a narrow DeOldify."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.colorizer import Colorizer
from napari_colorize.networks.deoldify import Widths
from napari_colorize.zoo import Checkpoint

SMALL = Widths(  # DeOldify's deep kind, quick enough for tests
    encoder="resnet34",
    encoded=(512, 256, 128, 64, 64),
    upsampled=(16, 16, 16, 8),
    block=(24, 24, 24, 12),
    convs=2,
)


class TintNetwork(nn.Module):
    """Colors that follow gray, without weights: bright is orange, dark is blue."""

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        strength = 0.5 if self_attention else 0.25
        tint = (F.avg_pool2d(gray, 4) - 0.5) * strength
        return torch.cat([-tint, tint], dim=1)


class HandedNetwork(TintNetwork):
    """Sure of itself in the upper half; below, it colors left and right differently."""

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        uv = super().forward(gray, self_attention) * 0
        rows, columns = uv.shape[-2:]
        uv[:, 0, rows // 2 :, : columns // 2] = 0.2
        return uv


class HintedNetwork(nn.Module):
    """Takes lightness and hints, gives a and b: paints all in the mean color that it is hinted."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(
        self,
        lightness: Tensor,
        self_attention: bool = True,
        hints: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        self.batches.append(len(lightness))
        ab = lightness.new_zeros(len(lightness), 2, *lightness.shape[-2:])
        if hints is not None:
            color, mask = hints
            ab = ab + color.sum((-2, -1), keepdim=True) / mask.sum().clamp(min=1)
        return ab


def tint_checkpoint(**changes: object) -> Checkpoint:
    passport: dict[str, object] = {
        "name": "tint",
        "title": "A network of the tests",
        "architecture": "compact",
        "file": "tint.safetensors",
        "sha256": "0" * 64,
        "license": "BSD-3-Clause",
        "origin": "tests",
        "render_factor": 4,
        "fit": "aspect",
    }
    return Checkpoint(**(passport | changes))  # type: ignore[arg-type]


def colorizer_of(network: nn.Module, **passport: object) -> Colorizer:
    """A Colorizer on the CPU in float32, its passport changed as told."""
    return Colorizer(network, tint_checkpoint(**passport), torch.device("cpu"), torch.float32)
