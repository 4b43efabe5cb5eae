"""The two plain routes from lightness to color: to a and b of CIELAB, or straight to RGB.

Convolutions of stride 2 down to a sixteenth, enlarged ones back up, no skips: what colorizing
reviews compare under the names of Lab and RGB autoencoder. Both routes share all but the last
layer, so that they can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from napari_colorize.networks.convnet import Decoder, Encoder, encoder_widths

Target = Literal["ab", "rgb"]

WIDTHS = (64, 128, 256, 512)  # ours, twice as many at each half of the size
AB_UNIT = 110.0  # tanh ends at 1; a and b of sRGB end at 98 and -108
L_UNIT = 50.0  # L is 0 to 100


class LabAutoencoder(nn.Module):
    """CIELAB L (N, 1, H, W), 0 to 100, to a and b (N, 2, H, W) or to RGB (N, 3, H, W).

    Settled: a and b are 110 tanh, within 110 of zero; RGB is a sigmoid, in [0, 1]. The weights
    start as `ConvNet`'s.

    Parameters
    ----------
    target : {"ab", "rgb"}
        What comes out. The decoder is called `to_ab` or `to_rgb`, which tells the two apart.
    widths : sequence of int
        Channels of the encoder's stages.
    """

    def __init__(self, target: Target = "ab", *, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.target = target
        self.encoder = Encoder(1, widths)
        self.add_module(f"to_{target}", Decoder(widths, 2 if target == "ab" else 3))

    @property
    def decoder(self) -> Decoder:
        """The way up, whatever its name."""
        decoder = self.get_submodule(f"to_{self.target}")
        assert isinstance(decoder, Decoder)
        return decoder

    def forward(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        """As the class says, for any H and W; there is no attention to switch."""
        height, width = lightness.shape[-2:]
        x = lightness.to(self.decoder.head.weight.dtype) / L_UNIT - 1
        y = self.decoder(self.encoder(x))[..., :height, :width]
        return torch.tanh(y) * AB_UNIT if self.target == "ab" else torch.sigmoid(y)


def autoencoder_of(state: Mapping[str, Tensor]) -> LabAutoencoder:
    """The network that a state dict is of."""
    return LabAutoencoder("ab" if is_ab_autoencoder(state) else "rgb", widths=encoder_widths(state))


def is_ab_autoencoder(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of the network that ends in a and b."""
    return "encoder.stages.0.0.weight" in state and "to_ab.head.weight" in state


def is_rgb_autoencoder(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of the network that ends in RGB."""
    return "encoder.stages.0.0.weight" in state and "to_rgb.head.weight" in state
