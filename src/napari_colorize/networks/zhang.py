"""eccv16 (Zhang et al. 2016): probability of 313 color classes at 1/4 of the size.

Seven groups of convolutions reduce L to 1/8 of its size, two of them with dilated filters. An
eighth group upsamples to 1/4 and ends in the class logits. The classes are points of a grid over
CIELAB a and b with a step of 10. The result is their annealed mean (section 2.3 of the paper).

Parameters have the names of the published file. Richard Zhang, Phillip Isola, Alexei A. Efros,
"Colorful image colorization", European Conference on Computer Vision 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
