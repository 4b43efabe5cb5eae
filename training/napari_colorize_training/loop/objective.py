"""What a recipe asks of a network: targets in its own space, and the content loss.

The engine shows a network gray and gets an output in the network's own terms (normalised RGB, U
and V, a and b, or scores of colour classes). Here that output meets the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.imaging.color import rgb_to_lab, rgb_to_yuv
from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD, Architecture
from napari_colorize.networks.compact import CLASS_GRID, Sample
from napari_colorize.pipeline import network_input, to_rgb
from napari_colorize_training.loop import losses
from napari_colorize_training.recipe import LossPlan

QUARTER = 4  # what class networks make of a picture's sides
GAUSSIAN_NEIGHBOURS = 10  # Zhang et al.'s program; their text says 5
Terms = dict[str, Tensor]


class GeneratorWrapper(nn.Module):
    """A network as training needs it: gray `(N, 1, H, W)` in [0, 1] to its raw output.

    Parameters
    ----------
    network : nn.Module
        Of the core.
    architecture : Architecture
        Its passport.
    classes : bool
        The output is scores of colour classes, not the colour expected from them.
    """

    def __init__(self, network: nn.Module, architecture: Architecture, *, classes: bool) -> None:
        super().__init__()
        self.network, self.architecture, self.classes = network, architecture, classes

    def forward(self, gray: Tensor, sample: Sample | None = None) -> Tensor:
        """The network's output, float32: colours in its own space, or scores of classes.

        With a `sample`, scores of some of its pixels alone.
        """
        x = network_input(self.architecture, gray)
        x = x.contiguous(memory_format=torch.channels_last)
        if not self.classes:
            return self.network(x).float()
        chosen = {} if sample is None else {"sample": sample}
        return self.network.logits(x, **chosen).float()  # type: ignore[operator]

    def colors(self, output: Tensor) -> Tensor:
        """The raw output as the network's colours, in its output space."""
        return self.network.expected(output) if self.classes else output  # type: ignore[operator]

    def rgb(self, output: Tensor, gray: Tensor) -> Tensor:
        """RGB `(N, 3, H, W)` of an output, not clipped; smaller U, V, a and b are enlarged."""
        colors = self.colors(output)
        if self.architecture.output_space != "rgb":
            colors = F.interpolate(colors, gray.shape[-2:], mode="bilinear")
        return to_rgb(self.architecture, colors, gray)

    def shown_to_critic(self, output: Tensor, gray: Tensor) -> Tensor:
        """Colours as a critic sees them, around 0 and of about unit size.

        a and b over their unit, as published; RGB normalised as the network's own.
        """
        if self.architecture.output_space == "rgb":
            return output if self.architecture.normalized else 2 * output - 1
        if self.architecture.output_space == "ab":
            return self.colors(output) / self.architecture.unit
        return 2 * self.rgb(output, gray) - 1

    def truth_for_critic(self, rgb: Tensor) -> Tensor:
        """The same of a photograph."""
        if self.architecture.output_space == "uv":
            return 2 * rgb - 1
        truth = target(self.architecture, rgb)
        if self.architecture.output_space == "ab":
            return truth / self.architecture.unit
        return truth if self.architecture.normalized else 2 * truth - 1


class ContentLoss:
    """The content loss of a recipe, term by term, for one architecture.

    Parameters
    ----------
    plan : LossPlan
        What counts.
    features : callable or None
        Pictures to feature maps, as a `FeatureNetwork` does, if the plan has a feature loss.
    weights : Tensor or None
        Of colour classes, if the plan has classes.
    """

    def __init__(
        self,
        plan: LossPlan,
        features: Callable[[Tensor], Sequence[Tensor]] | None,
        weights: Tensor | None,
    ) -> None:
        self.plan, self.features, self.weights = plan, features, weights

    def sample(self) -> Sample | None:
        """Which pixels of the output will be compared, drawn anew; None for all of them."""
        every = self.plan.classes.every
        if self.plan.pixel != "classes" or every == 1:
            return None
        row, column = torch.randint(every, (2,)).tolist()
        return every, row, column

    def terms(
        self,
        painter: GeneratorWrapper,
        output: Tensor,
        rgb: Tensor,
        gray: Tensor,
        *,
        sample: Sample | None = None,
        features: bool = True,
    ) -> Terms:
        """Every term by its name in the log, each with its weight, and their sum as `content`.

        `sample` is what the output was asked for with. Without `features` the feature loss does
        not count.
        """
        plan = self.plan
        truth = self._truth(painter, output, rgb, sample)
        if plan.pixel == "classes":
            terms = self._classes(painter, output, truth)
        else:
            name = "G_L2" if plan.pixel == "l2" else "G_L1"
            unit = painter.architecture.unit
            distance = losses.distance(output / unit, truth / unit, plan.pixel)
            terms = {name: plan.weight * distance}
        if (plan.features and features) or plan.colorfulness:
            terms |= self._pictures(painter.rgb(output, gray), rgb, features)
        terms["content"] = torch.stack(list(terms.values())).sum()
        return terms

    def _truth(
        self, painter: GeneratorWrapper, output: Tensor, rgb: Tensor, sample: Sample | None
    ) -> Tensor:
        if sample is None:
            return target(painter.architecture, rgb, output.shape[-2:], self.plan.sampling)
        every, row, column = sample
        size = [side // QUARTER for side in rgb.shape[-2:]]
        whole = target(painter.architecture, rgb, (size[0], size[1]), self.plan.sampling)
        return whole[..., row::every, column::every]

    def _classes(self, painter: GeneratorWrapper, output: Tensor, truth: Tensor) -> Terms:
        plan, network = self.plan.classes, painter.network
        classes, shares = encode(plan.coding, truth, network)
        assert self.weights is not None  # the engine counts colours before it trains on classes
        if plan.weighing == "mixture":
            entropy = losses.strongest_cross_entropy(
                output, classes, shares, self.weights, losses.is_colored(truth)
            )
        else:
            entropy = losses.soft_cross_entropy(output, classes, shares, self.weights)
        terms = {"G_classes": self.plan.weight * entropy}
        if plan.regression:
            unit = painter.architecture.unit
            distance = F.smooth_l1_loss(painter.colors(output) / unit, truth / unit, beta=0.05)
            terms["G_L1"] = plan.regression * distance
        return terms

    def _pictures(self, painted: Tensor, rgb: Tensor, features: bool) -> Terms:
        plan, terms = self.plan, {}
        rgb = F.interpolate(rgb, painted.shape[-2:], mode="area")
        if plan.features and features:
            assert self.features is not None  # the engine loads it before it trains
            norm = plan.feature_norm
            terms["G_features"] = losses.feature_loss(
                self.features, painted, rgb, plan.features, norm
            )
        if plan.colorfulness:
            terms["G_colorfulness"] = plan.colorfulness * losses.colorfulness_loss(painted)
        return terms


def encode(coding: str, truth: Tensor, network: nn.Module) -> tuple[Tensor, Tensor]:
    """Colours `(N, 2, h, w)` as classes and their shares, both `(N, K, h, w)`."""
    if coding == "bilinear":
        grid, device = CLASS_GRID, truth.device
        steps, origin = (torch.tensor(part, device=device) for part in (grid.steps, grid.origin))
        return losses.encode_softly(truth, steps, origin, grid.shape)
    centers = network.centers
    assert isinstance(centers, Tensor)
    return losses.encode_nearest(truth, centers, GAUSSIAN_NEIGHBOURS)


def target(
    architecture: Architecture,
    rgb: Tensor,
    size: tuple[int, int] | torch.Size | None = None,
    sampling: str = "mean",
) -> Tensor:
    """What a perfect network would give for a photograph, in the architecture's output space.

    Parameters
    ----------
    architecture : Architecture
        Whose space.
    rgb : Tensor, shape (N, 3, H, W)
        In [0, 1].
    size : tuple of int, optional
        Of the output, if it is smaller.
    sampling : {"mean", "point"}
        How it is made smaller.

    Returns
    -------
    Tensor, shape (N, C, h, w)
        float32.
    """
    last = rgb.movedim(1, -1)
    if architecture.output_space == "uv":
        truth = rgb_to_yuv(last)[..., 1:].movedim(-1, 1)
    elif architecture.output_space == "ab":
        truth = rgb_to_lab(last)[..., 1:].movedim(-1, 1)
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
    return F.interpolate(truth, tuple(size), mode="area")
