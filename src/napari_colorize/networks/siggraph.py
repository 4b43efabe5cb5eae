"""Zhang et al. 2017: colors for a lightness and, if there are any, hints at some pixels.

The groups of `Eccv16`, with lightness, hinted a and b and a mask as input. Size is halved by
leaving out every second pixel, and three transposed convolutions lead back to all of it, joined by
what the way down saw at each size.

Parameters are named as in the published file. Richard Zhang, Jun-Yan Zhu, Phillip Isola et al.,
"Real-time user-guided image colorization with learned deep priors", ACM Transactions on Graphics
36 (SIGGRAPH), 2017.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from napari_colorize.networks.unused import Unused
from napari_colorize.networks.zhang import L_MIDDLE, L_RANGE, UNIT, convolutions, group

CLASSES = 529  # of its head for color classes, which helped its training: a 23 x 23 grid of a, b
SLOPE = 0.2  # of the last leaky ReLU
Hints = tuple[Tensor, Tensor]


class Siggraph17(nn.Module):
    """CIELAB L `(N, 1, H, W)` to a and b of that size, within 110; H and W multiples of 8.

    Parameters
    ----------
    width : int
        Channels of the first group; the others have up to eight times as many.
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
        self.model8up = _doubled(eight, four)
        self.model8 = nn.Sequential(nn.ReLU(inplace=True), *group(four, four, four))
        self.model9up = _doubled(four, two)
        self.model9 = nn.Sequential(nn.ReLU(inplace=True), *group(two, two))
        self.model10up = _doubled(two, two)
        conv, _ = convolutions(two, two)
        self.model10 = nn.Sequential(nn.ReLU(inplace=True), conv, nn.LeakyReLU(SLOPE, inplace=True))
        self.model3short8 = _skip(four, four)
        self.model2short9 = _skip(two, two)
        self.model1short10 = _skip(one, two)
        self.model_class = nn.Sequential(Unused(weight=(CLASSES, four, 1, 1), bias=(CLASSES,)))
        self.model_out = nn.Sequential(nn.Conv2d(two, 2, 1), nn.Tanh())
        self._start()

    def forward(
        self, lightness: Tensor, self_attention: bool = True, hints: Hints | None = None
    ) -> Tensor:
        """As the class says.

        Parameters
        ----------
        lightness : Tensor, shape (N, 1, H, W)
            0 to 100.
        self_attention : bool
            There is none to switch.
        hints : tuple of Tensor, optional
            CIELAB a and b `(N, 2, H, W)`, 0 where nothing is known, and a mask `(N, 1, H, W)`, 1
            where something is. The network was trained with patches of 1 to 9 pixels a side at
            256 x 256, and takes them as advice: its colors there need not be these.

        Returns
        -------
        Tensor, shape (N, 2, H, W)
            a and b, in float32 at least.
        """
        first = self.model1(self._joined(lightness, hints))  # 1/1
        second = self.model2(_halved(first))  # 1/2
        third = self.model3(_halved(second))  # 1/4
        x = self.model7(self.model6(self.model5(self.model4(_halved(third)))))  # 1/8
        x = self.model8(self.model8up(x) + self.model3short8(third))
        x = self.model9(self.model9up(x) + self.model2short9(second))
        x = self.model10(self.model10up(x) + self.model1short10(first))
        conv, tanh = self.model_out
        ab = conv(x)  # the rest in float32 at least: 8 bits of mantissa show in an image
        return tanh(ab.to(torch.promote_types(ab.dtype, torch.float32))) * UNIT

    def _joined(self, lightness: Tensor, hints: Hints | None) -> Tensor:
        """Lightness, hints and their mask as one input `(N, 4, H, W)` of about -1 to 1."""
        x = (lightness - L_MIDDLE) / L_RANGE
        if hints is None:
            known = x.new_zeros(len(x), 3, *x.shape[2:])
        else:
            ab, mask = hints
            known = torch.cat([ab / UNIT, mask], dim=1)
        return torch.cat([x, known.to(x)], dim=1).to(next(self.parameters()).dtype)

    def _start(self) -> None:
        """Start values for ReLUs (He et al. 2015)."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                assert part.bias is not None
                nn.init.zeros_(part.bias)
        nn.init.xavier_normal_(self.get_parameter("model_out.0.weight"))


def _halved(x: Tensor) -> Tensor:
    """Every second pixel, as the release does it."""
    return x[..., ::2, ::2]


def _doubled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1))


def _skip(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1))


def is_siggraph17(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of this network."""
    return "model1short10.0.weight" in state and "model_out.0.weight" in state


def siggraph17_of(state: Mapping[str, Tensor]) -> Siggraph17:
    """The network that a state dict fits: of its width."""
    return Siggraph17(len(state["model1.0.weight"]))
