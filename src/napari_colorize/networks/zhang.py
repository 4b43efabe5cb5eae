"""eccv16 and siggraph17, the networks of Zhang et al. 2016 and 2017.

eccv16 predicts the probability of 313 color classes. Seven groups of convolutions reduce L to 1/8
of its size, two of them with dilated filters. An eighth group upsamples to 1/4 and ends in the
class logits. The classes are points of a grid over CIELAB a and b with a step of 10. The result is
their annealed mean (section 2.3 of the paper).

siggraph17 predicts a and b from L and optional color hints at some pixels. It has the convolution
groups of eccv16; its input is L, hinted a and b and their mask. Subsampling takes every second
pixel, and three transposed convolutions with skip connections restore the full size.

Parameters have the names of the published files. Richard Zhang, Phillip Isola, Alexei A. Efros,
"Colorful image colorization", European Conference on Computer Vision 2016. Richard Zhang, Jun-Yan
Zhu, Phillip Isola et al., "Real-time user-guided image colorization with learned deep priors", ACM
Transactions on Graphics 36 (SIGGRAPH), 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks.layers import Unused

GRID = 10  # step of the grid in CIELAB units
MIN_A = -90
# First and last b of the classes of each a from -90 to 100: the 313 classes of the release. They
# are the corners of all grid cells with an sRGB color (309), and four more.
B_RANGES = (
    *((50, 90), (20, 90), (0, 90), (-20, 90), (-30, 100)),
    *((-40, 100), (-50, 100), (-50, 100), (-60, 100), (-70, 100)),
    *((-80, 90), (-80, 90), (-90, 90), (-100, 90), (-100, 80)),
    *((-110, 80), (-110, 80), (-110, 70), (-110, 70), (-90, 0)),
)
TEMPERATURE = 1 / 2.606  # the published program multiplies by 2.606; the paper rounds to 0.38
UNIT = 110.0  # CIELAB units of 1 in the last layer of the published file
L_MIDDLE, L_RANGE = 50.0, 100.0
HEAD_STD = 0.01  # standard deviation of initial class weights: equal probabilities
AUXILIARY_CLASSES = 529  # color classes of a head for training only: a 23 x 23 grid of a and b
SLOPE = 0.2  # of the last leaky ReLU
Hints = tuple[Tensor, Tensor]


def bin_centers() -> Tensor:
    """a and b of every class, shape (313, 2), in the published order: b varying fastest."""
    points = [
        (MIN_A + GRID * row, b)
        for row, (first, last) in enumerate(B_RANGES)
        for b in range(first, last + 1, GRID)
    ]
    return torch.tensor(points, dtype=torch.float32)


class BinMean(nn.Module):
    """Probabilities `(N, K, h, w)` to their mean color `(N, 2, h, w)`, in units of 110.

    The class centers are the weight of a 1x1 convolution in the published file. They are not
    learned.
    """

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", bin_centers().T[..., None, None] / UNIT)  # (2, K, 1, 1)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Return the mean color."""
        return F.conv2d(probabilities, self.weight.to(probabilities.dtype))


class Eccv16(nn.Module):
    """CIELAB L `(N, 1, H, W)` to a and b of that size.

    Height and width must be multiples of 8. The first group has `width` channels, the others up to
    eight times as many. `temperature` divides the logits before the softmax and is stored with the
    weights. None, which is not stored, is for the published file: the release does not divide.
    """

    temperature: Tensor | None

    def __init__(self, width: int = 64, temperature: float | None = TEMPERATURE) -> None:
        super().__init__()
        one, two, four, eight = (width * times for times in (1, 2, 4, 8))
        self.model1 = group(1, one, one, stride=2)
        self.model2 = group(one, two, two, stride=2)
        self.model3 = group(two, four, four, four, stride=2)
        self.model4 = group(four, eight, eight, eight)
        self.model5 = group(eight, eight, eight, eight, dilation=2)
        self.model6 = group(eight, eight, eight, eight, dilation=2)
        self.model7 = group(eight, eight, eight, eight)
        self.model8 = nn.Sequential(
            nn.ConvTranspose2d(eight, four, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            *convolutions(four, four, four),
            nn.Conv2d(four, sum((last - first) // GRID + 1 for first, last in B_RANGES), 1),
        )
        self.model_out = BinMean()
        self.register_buffer(
            "temperature", None if temperature is None else torch.tensor(temperature)
        )
        initialize_convolutions(self)
        nn.init.normal_(self.get_parameter("model8.6.weight"), std=HEAD_STD)

    @property
    def centers(self) -> Tensor:
        """a and b of every class, shape (K, 2), in CIELAB units."""
        return self.model_out.weight[:, :, 0, 0].T.float() * UNIT

    def forward(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        """Predict a and b. `self_attention` has no effect."""
        ab = self.expected(self.logits(lightness, self_attention))
        return F.interpolate(ab, scale_factor=4, mode="bilinear", align_corners=False)

    def logits(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        """Class logits `(N, K, H / 4, W / 4)`, before temperature and softmax."""
        x = ((lightness - L_MIDDLE) / L_RANGE).to(next(self.parameters()).dtype)
        x = self.model3(self.model2(self.model1(x)))  # 1/8
        x = self.model7(self.model6(self.model5(self.model4(x))))
        return self.model8(x)

    def expected(self, logits: Tensor) -> Tensor:
        """Annealed mean of the classes, a and b `(N, 2, H / 4, W / 4)`."""
        logits = logits.float()
        if self.temperature is not None:
            logits = logits / self.temperature.float()
        return self.model_out(torch.softmax(logits, dim=1)) * UNIT


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
        self.model_class = nn.Sequential(
            Unused(weight=(AUXILIARY_CLASSES, four, 1, 1), bias=(AUXILIARY_CLASSES,))
        )
        self.model_out = nn.Sequential(nn.Conv2d(two, 2, 1), nn.Tanh())
        initialize_convolutions(self)
        nn.init.xavier_normal_(self.get_parameter("model_out.0.weight"))

    def forward(
        self, lightness: Tensor, self_attention: bool = True, hints: Hints | None = None
    ) -> Tensor:
        """Predict a and b `(N, 2, H, W)` in float32 or wider, from L `(N, 1, H, W)`, 0 to 100.

        `hints` are CIELAB a and b `(N, 2, H, W)`, 0 where unknown, and a mask `(N, 1, H, W)` of 0
        and 1. The network was trained with patches of 1 to 9 pixels at 256 x 256. Its output at
        hinted pixels can differ from the hints. `self_attention` has no effect.
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


def group(*channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolutions with batch norm at the end; the last convolution has the stride."""
    parts = convolutions(*channels, stride=stride, dilation=dilation)
    return nn.Sequential(*parts, nn.BatchNorm2d(channels[-1]))


def convolutions(*channels: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """3x3 convolutions from each number of channels to the next, each with a ReLU.

    The last convolution has the stride.
    """
    pairs = list(pairwise(channels))
    strides = [1] * (len(pairs) - 1) + [stride]
    parts: list[nn.Module] = []
    for (inputs, outputs), step in zip(pairs, strides, strict=True):
        parts += [nn.Conv2d(inputs, outputs, 3, step, dilation, dilation), nn.ReLU(inplace=True)]
    return parts


def initialize_convolutions(network: nn.Module) -> None:
    """Initialize weights for ReLUs (He et al. 2015) and biases with 0."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            nn.init.zeros_(part.get_parameter("bias"))


def build_eccv16(state: Mapping[str, Tensor]) -> Eccv16:
    """Build a network with the width of a state dict, with or without a temperature."""
    temperature = TEMPERATURE if "temperature" in state else None
    return Eccv16(len(state["model1.0.weight"]), temperature)


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
