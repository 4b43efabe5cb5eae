"""Small networks for tests, without training or files, and Colorizers made of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.colorizer import Colorizer
from napari_colorize.model_spec import ModelSpec
from napari_colorize.networks.deoldify import UNetConfig
from napari_colorize.zoo import Checkpoint

SMALL = UNetConfig(  # a narrow variant of DeOldify's deep network
    encoder="resnet34",
    encoder_channels=(512, 256, 128, 64, 64),
    upsample_channels=(16, 16, 16, 8),
    block_channels=(24, 24, 24, 12),
    convs=2,
)


class TintNetwork(nn.Module):
    """Network without weights whose chroma is linear in gray: bright is orange, dark is blue."""

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        strength = 0.5 if self_attention else 0.25
        chroma = (F.avg_pool2d(gray, 4) - 0.5) * strength
        return torch.cat([-chroma, chroma], dim=1)


class UnevenNetwork(TintNetwork):
    """Network whose colors differ between left and right in the lower half of the image only."""

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        uv = super().forward(gray, self_attention) * 0
        rows, columns = uv.shape[-2:]
        uv[:, 0, rows // 2 :, : columns // 2] = 0.2
        return uv


class HintedNetwork(nn.Module):
    """Network that takes L and hints and returns the mean hinted a and b everywhere."""

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
    metadata: dict[str, object] = {
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
    return Checkpoint(**(metadata | changes))  # type: ignore[arg-type]


def tint_spec(*_: object, **__: object) -> ModelSpec:
    """In place of `ModelSpec.from_model`, if a TintNetwork takes the place of all models."""
    return ModelSpec(checkpoint=tint_checkpoint(), source="tint")


def colorizer_of(network: nn.Module, **metadata: object) -> Colorizer:
    """Colorizer on the CPU in float32, with changed fields of its checkpoint."""
    return Colorizer(network, tint_checkpoint(**metadata), torch.device("cpu"), torch.float32)
