"""siggraph17 (Zhang et al. 2017): a and b from L and optional color hints at some pixels.

The network has the convolution groups of `Eccv16`; its input is L, hinted a and b and their mask.
Subsampling takes every second pixel, and three transposed convolutions with skip connections
restore the full size.

Parameters have the names of the published file. Richard Zhang, Jun-Yan Zhu, Phillip Isola et al.,
"Real-time user-guided image colorization with learned deep priors", ACM Transactions on Graphics 36
(SIGGRAPH), 2017.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from napari_colorize.networks.layers import Unused
from napari_colorize.networks.zhang import (
    L_MIDDLE,
    L_RANGE,
    UNIT,
    convolutions,
    group,
    initialize_convolutions,
)

CLASSES = 529  # color classes of the auxiliary head for training: a 23 x 23 grid of a and b
SLOPE = 0.2  # of the last leaky ReLU
Hints = tuple[Tensor, Tensor]


class Siggraph17(nn.Module):
    """CIELAB L `(N, 1, H, W)` to a and b of that size, -110 to 110.

    Height and width must be multiples of 8. The first group has `width` channels, the others up to
    eight times as many.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        one, two, four, eight = (width * times for times in (1, 2, 4, 8))
        self.model1 = group(4, one, one)
        self.model2 = group(one, two, two)
        self.model3 = group(two, four, four, four)
        self.model4 = group(four, eight, eight, eight)
        self.model5 = group(eight, eight, eight, eight, dilation=2)
        self.model6 = group(eight, eight, eight, eight, dilation=2)
        self.model7 = group(eight, eight, eight, eight)
        self.model8up = _upsample(eight, four)
        self.model8 = nn.Sequential(nn.ReLU(inplace=True), *group(four, four, four))
        self.model9up = _upsample(four, two)
        self.model9 = nn.Sequential(nn.ReLU(inplace=True), *group(two, two))
        self.model10up = _upsample(two, two)
        conv, _ = convolutions(two, two)
        self.model10 = nn.Sequential(nn.ReLU(inplace=True), conv, nn.LeakyReLU(SLOPE, inplace=True))
        self.model3short8 = _skip(four, four)
        self.model2short9 = _skip(two, two)
        self.model1short10 = _skip(one, two)
        self.model_class = nn.Sequential(Unused(weight=(CLASSES, four, 1, 1), bias=(CLASSES,)))
        self.model_out = nn.Sequential(nn.Conv2d(two, 2, 1), nn.Tanh())
        initialize_convolutions(self)
        nn.init.xavier_normal_(self.get_parameter("model_out.0.weight"))

    def forward(
        self, lightness: Tensor, self_attention: bool = True, hints: Hints | None = None
    ) -> Tensor:
        """Predict a and b.

        Parameters
        ----------
        lightness : Tensor, shape (N, 1, H, W)
            CIELAB L, 0 to 100.
        self_attention : bool
            No effect.
        hints : tuple of Tensor, optional
            CIELAB a and b `(N, 2, H, W)`, 0 where unknown, and a mask `(N, 1, H, W)` of 0 and 1.
            The network was trained with patches of 1 to 9 pixels at 256 x 256. Its output at hinted
            pixels can differ from the hints.

        Returns
        -------
        Tensor, shape (N, 2, H, W)
            a and b in float32 or wider.
        """
        first = self.model1(self._network_input(lightness, hints))  # 1/1
        second = self.model2(_subsample(first))  # 1/2
        third = self.model3(_subsample(second))  # 1/4
        x = self.model7(self.model6(self.model5(self.model4(_subsample(third)))))  # 1/8
        x = self.model8(self.model8up(x) + self.model3short8(third))
        x = self.model9(self.model9up(x) + self.model2short9(second))
        x = self.model10(self.model10up(x) + self.model1short10(first))
        conv, tanh = self.model_out
        ab = conv(x)  # the rest in float32 or wider: bfloat16 would be visible in the image
        return tanh(ab.to(torch.promote_types(ab.dtype, torch.float32))) * UNIT

    def _network_input(self, lightness: Tensor, hints: Hints | None) -> Tensor:
        """Concatenate L, hints and mask to one input `(N, 4, H, W)` of about -1 to 1."""
        x = (lightness - L_MIDDLE) / L_RANGE
        if hints is None:
            hints_and_mask = x.new_zeros(len(x), 3, *x.shape[2:])
        else:
            ab, mask = hints
            hints_and_mask = torch.cat([ab / UNIT, mask], dim=1)
        return torch.cat([x, hints_and_mask.to(x)], dim=1).to(next(self.parameters()).dtype)


def _subsample(x: Tensor) -> Tensor:
    """Take every second pixel, as the published program does."""
    return x[..., ::2, ::2]


def _upsample(inputs: int, outputs: int) -> nn.Sequential:
    """Transposed convolution that doubles the size."""
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1))


def _skip(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution of a skip connection."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1))


def build_siggraph17(state: Mapping[str, Tensor]) -> Siggraph17:
    """Build a network with the width of a state dict."""
    return Siggraph17(len(state["model1.0.weight"]))
