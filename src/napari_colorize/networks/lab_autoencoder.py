"""Autoencoders from CIELAB L to a and b, or to RGB, for comparison of the two targets.

Strided convolutions reduce to 1/16 of the size and upsampled convolutions restore it, without skip
connections. Surveys of colorization compare the two under the names Lab and RGB autoencoder. They
share all layers except the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from napari_colorize.networks.convnet import Decoder, Encoder, encoder_widths

Target = Literal["ab", "rgb"]

WIDTHS = (64, 128, 256, 512)  # not standardized: doubled at each stage
AB_UNIT = 110.0  # scale of tanh; a and b of sRGB are within -108 and 98
L_UNIT = 50.0  # L is 0 to 100


class LabAutoencoder(nn.Module):
    """CIELAB L (N, 1, H, W), 0 to 100, to a and b (N, 2, H, W) or RGB (N, 3, H, W).

    a and b are 110 tanh, -110 to 110. RGB is a sigmoid, 0 to 1. The decoder has the name `to_ab` or
    `to_rgb`, which distinguishes the files. `widths` are the channels of the stages of the encoder.
    Weights are initialized as in `ConvNet`.
    """

    def __init__(self, target: Target = "ab", *, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.target = target
        self.encoder = Encoder(1, widths)
        self.add_module(f"to_{target}", Decoder(widths, 2 if target == "ab" else 3))

    @property
    def decoder(self) -> Decoder:
        """Decoder, independent of its name."""
        decoder = self.get_submodule(f"to_{self.target}")
        assert isinstance(decoder, Decoder)
        return decoder

    def forward(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        """Predict for any height and width. `self_attention` has no effect."""
        height, width = lightness.shape[-2:]
        x = lightness.to(self.decoder.head.weight.dtype) / L_UNIT - 1
        y = self.decoder(self.encoder(x))[..., :height, :width]
        return torch.tanh(y) * AB_UNIT if self.target == "ab" else torch.sigmoid(y)


def build_autoencoder(state: Mapping[str, Tensor]) -> LabAutoencoder:
    """Build a network with the keys and shapes of a state dict."""
    target: Target = "ab" if "to_ab.head.weight" in state else "rgb"
    return LabAutoencoder(target, widths=encoder_widths(state))
