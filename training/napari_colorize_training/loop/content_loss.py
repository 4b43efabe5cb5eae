"""Targets in the color space of a network, and the content loss.

A network predicts normalized RGB, U and V, a and b, or scores of color classes. `target` converts
true colors to that space, and `ContentLoss` compares both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.imaging.color import rgb_to_lab, rgb_to_yuv
from napari_colorize.imaging.resample import area_mean
from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD, Architecture
from napari_colorize.networks.compact import CLASS_GRID, Sample
from napari_colorize.pipeline import network_input, to_rgb
from napari_colorize_training.loop import losses
from napari_colorize_training.recipe import LossConfig

OUTPUT_STRIDE = 4  # of networks with color classes
GAUSSIAN_NEIGHBORS = 10  # Zhang et al.'s program; 5 in their text
Terms = dict[str, Tensor]


class GeneratorWrapper(nn.Module):
    """A network with preprocessing: gray `(N, 1, H, W)` in [0, 1] to the raw output.

    Parameters
    ----------
    network : nn.Module
        Network of the core package.
    architecture : Architecture
        Its metadata: input and output spaces.
    classes : bool
        Return scores of color classes instead of the expected color.
    """

    def __init__(self, network: nn.Module, architecture: Architecture, *, classes: bool) -> None:
        super().__init__()
        self.network, self.architecture, self.classes = network, architecture, classes

    def forward(self, gray: Tensor, sample: Sample | None = None) -> Tensor:
        """Return the output as float32: colors in the network's own space, or scores of classes.

        With a `sample`, scores are computed for these pixels only.
        """
        x = network_input(self.architecture, gray)
        x = x.contiguous(memory_format=torch.channels_last)
        if not self.classes:
            return self.network(x).float()
        chosen = {} if sample is None else {"sample": sample}
        return self.network.logits(x, **chosen).float()  # type: ignore[operator]

    def colors(self, output: Tensor) -> Tensor:
        """Convert the raw output to colors in the network's output space."""
        return self.network.expected(output) if self.classes else output  # type: ignore[operator]

    def rgb(self, output: Tensor, gray: Tensor) -> Tensor:
        """Convert an output to RGB `(N, 3, H, W)`, not clipped; small outputs are enlarged."""
        colors = self.colors(output)
        if self.architecture.output_space != "rgb":
            colors = F.interpolate(colors, gray.shape[-2:], mode="bilinear")
        return to_rgb(self.architecture, colors, gray)

    def critic_input(self, output: Tensor, gray: Tensor) -> Tensor:
        """Convert an output to the critic's input, with values around 0 and of about unit size.

        a and b are divided by their unit, as published; RGB is normalized as in the network.
        """
        if self.architecture.output_space == "rgb":
            return output if self.architecture.normalized else 2 * output - 1
        if self.architecture.output_space == "ab":
            return self.colors(output) / self.architecture.unit
        return 2 * self.rgb(output, gray) - 1

    def critic_truth(self, rgb: Tensor) -> Tensor:
        """Convert true colors `(N, 3, H, W)` to the critic's input."""
        if self.architecture.output_space == "uv":
            return 2 * rgb - 1
        truth = target(self.architecture, rgb)
        if self.architecture.output_space == "ab":
            return truth / self.architecture.unit
        return truth if self.architecture.normalized else 2 * truth - 1


class ContentLoss:
    """Content loss of a recipe: pixel loss, feature loss and colorfulness loss.

    Parameters
    ----------
    config : LossPlan
        Kinds and weights of the losses.
    features : callable or None
        Images to feature maps, as in `FeatureNetwork`; None without a feature loss.
    weights : Tensor or None
        Weights of the color classes `(K,)`; None without classes.
    """

    def __init__(
        self,
        config: LossConfig,
        features: Callable[[Tensor], Sequence[Tensor]] | None,
        weights: Tensor | None,
    ) -> None:
        self.config, self.features, self.weights = config, features, weights

    def sample(self) -> Sample | None:
        """Return random pixels of the output for one step; None for all pixels."""
        stride = self.config.classes.pixel_stride
        if self.config.pixel != "classes" or stride == 1:
            return None
        row, column = torch.randint(stride, (2,)).tolist()
        return stride, row, column

    def terms(
        self,
        generator: GeneratorWrapper,
        output: Tensor,
        rgb: Tensor,
        gray: Tensor,
        *,
        sample: Sample | None = None,
        features: bool = True,
    ) -> Terms:
        """Return the weighted terms by their names in the log, and their sum as `content`.

        `sample` is the one with which the output was computed. `features` False leaves out the
        feature loss.
        """
        config = self.config
        truth = self._truth(generator, output, rgb, sample)
        if config.pixel == "classes":
            terms = self._class_terms(generator, output, truth)
        else:
            name = "G_L2" if config.pixel == "l2" else "G_L1"
            unit = generator.architecture.unit
            distance = losses.distance(output / unit, truth / unit, config.pixel)
            terms = {name: config.weight * distance}
        if (config.feature_weights and features) or config.colorfulness_weight:
            terms |= self._image_terms(generator.rgb(output, gray), rgb, features)
        terms["content"] = torch.stack(list(terms.values())).sum()
        return terms

    def _truth(
        self, generator: GeneratorWrapper, output: Tensor, rgb: Tensor, sample: Sample | None
    ) -> Tensor:
        if sample is None:
            return target(generator.architecture, rgb, output.shape[-2:], self.config.sampling)
        stride, row, column = sample
        size = [side // OUTPUT_STRIDE for side in rgb.shape[-2:]]
        whole = target(generator.architecture, rgb, (size[0], size[1]), self.config.sampling)
        return whole[..., row::stride, column::stride]

    def _class_terms(self, generator: GeneratorWrapper, output: Tensor, truth: Tensor) -> Terms:
        config, network = self.config.classes, generator.network
        classes, shares = encode(config.encoding, truth, network)
        assert self.weights is not None  # counted before training
        if config.weighting == "mixture":
            entropy = losses.strongest_cross_entropy(
                output, classes, shares, self.weights, losses.is_colored(truth)
            )
        else:
            entropy = losses.soft_cross_entropy(output, classes, shares, self.weights)
        terms = {"G_classes": self.config.weight * entropy}
        if config.regression_weight:
            unit = generator.architecture.unit
            distance = F.smooth_l1_loss(generator.colors(output) / unit, truth / unit, beta=0.05)
            terms["G_L1"] = config.regression_weight * distance
        return terms

    def _image_terms(self, predicted: Tensor, rgb: Tensor, features: bool) -> Terms:
        config, terms = self.config, {}
        rgb = area_mean(rgb, predicted.shape[-2:])
        if config.feature_weights and features:
            assert self.features is not None  # loaded before training
            norm = config.feature_norm
            terms["G_features"] = losses.feature_loss(
                self.features, predicted, rgb, config.feature_weights, norm
            )
        if config.colorfulness_weight:
            terms["G_colorfulness"] = config.colorfulness_weight * losses.colorfulness_loss(
                predicted
            )
        return terms


def encode(encoding: str, truth: Tensor, network: nn.Module) -> tuple[Tensor, Tensor]:
    """Encode colors `(N, 2, h, w)` as classes and their shares, both `(N, K, h, w)`."""
    if encoding == "bilinear":
        grid, device = CLASS_GRID, truth.device
        steps, origin = (torch.tensor(part, device=device) for part in (grid.steps, grid.origin))
        return losses.encode_softly(truth, steps, origin, grid.shape)
    centers = network.centers
    assert isinstance(centers, Tensor)
    return losses.encode_nearest(truth, centers, GAUSSIAN_NEIGHBORS)


def target(
    architecture: Architecture,
    rgb: Tensor,
    size: tuple[int, int] | torch.Size | None = None,
    sampling: str = "mean",
) -> Tensor:
    """Convert true colors to the output space of an architecture.

    Parameters
    ----------
    architecture : Architecture
        Architecture with the output space.
    rgb : Tensor, shape (N, 3, H, W)
        True colors in [0, 1].
    size : tuple of int, optional
        Height and width of the output, if it is smaller than the image.
    sampling : {"mean", "point"}
        Mean over the area of each output pixel, or its first pixel.

    Returns
    -------
    Tensor, shape (N, C, h, w)
        Target, float32.
    """
    channels_last = rgb.movedim(1, -1)
    if architecture.output_space == "uv":
        truth = rgb_to_yuv(channels_last)[..., 1:].movedim(-1, 1)
    elif architecture.output_space == "ab":
        truth = rgb_to_lab(channels_last)[..., 1:].movedim(-1, 1)
    elif architecture.normalized:
        mean, std = (
            rgb.new_tensor(part).view(1, 3, 1, 1) for part in (IMAGENET_MEAN, IMAGENET_STD)
        )
        truth = (rgb - mean) / std
    else:
        truth = rgb
    if size is None or tuple(size) == tuple(truth.shape[-2:]):
        return truth
    if sampling == "point":
        return truth[..., :: truth.shape[-2] // size[0], :: truth.shape[-1] // size[1]]
    return area_mean(truth, size)
