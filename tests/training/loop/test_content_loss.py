"""Targets and content loss in the network's own color space and unit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from napari_colorize_training.loop.content_loss import ContentLoss, GeneratorWrapper, target
from napari_colorize_training.recipe import ClassConfig, LossConfig
from skimage.color import rgb2lab, rgb2yuv
from tiny_training import small_features
from torch import Tensor, nn

from napari_colorize.networks import ARCHITECTURES, IMAGENET_MEAN, IMAGENET_STD
from napari_colorize.networks.compact import CLASS_GRID, CompactUNet

LAB, UV, RGB, NORMALIZED = (
    ARCHITECTURES[name] for name in ("lab-autoencoder", "compact", "convnet", "deoldify-deep")
)


@pytest.fixture
def rgb():
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


class Truthful(nn.Module):
    """A network that returns a given output."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _: Tensor) -> Tensor:
        return self.answer


def gray_of(rgb: Tensor) -> Tensor:
    return torch.einsum("c,nchw->nhw", torch.tensor([0.299, 0.587, 0.114]), rgb)[:, None]


def last(x: Tensor) -> np.ndarray:
    return x.movedim(1, -1).numpy()


def test_the_target_agrees_with_scikit_image(rgb):
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    wanted = {
        LAB: rgb2lab(last(rgb))[..., 1:],
        UV: rgb2yuv(last(rgb))[..., 1:],
        RGB: last(rgb),
        NORMALIZED: (last(rgb) - mean) / std,
    }

    for known, value in wanted.items():
        np.testing.assert_allclose(last(target(known, rgb)), value, atol=1e-2)


def test_targets_of_small_outputs_are_means_or_points(rgb):
    full = target(UV, rgb)

    mean = target(UV, rgb, (4, 6))
    point = target(UV, rgb, (4, 6), "point")

    blocks = full.reshape(2, 2, 4, 4, 6, 4).mean((3, 5))
    torch.testing.assert_close(mean, blocks)
    torch.testing.assert_close(point, full[..., ::4, ::4])


@pytest.mark.parametrize("known", [LAB, UV, RGB, NORMALIZED], ids=lambda known: known.name)
@pytest.mark.parametrize("pixel", ["l1", "l2", "smooth-l1"])
def test_the_loss_is_zero_only_for_the_truth(known, pixel, rgb):
    truth = target(known, rgb)
    generator = GeneratorWrapper(Truthful(truth), known, classes=False)
    features = () if known is LAB else (20, 70, 10)  # L of the gray is not quite that of the truth
    content = ContentLoss(LossConfig(pixel=pixel, feature_weights=features), small_features(), None)

    right = content.terms(generator, generator(gray_of(rgb)), rgb, gray_of(rgb))
    wrong = content.terms(generator, truth + 0.1 * known.unit, rgb, gray_of(rgb))

    assert float(right["content"]) == pytest.approx(0, abs=2e-3)
    assert float(wrong["content"]) > 1e-3
    name = "G_L2" if pixel == "l2" else "G_L1"
    wanted = {"l1": 0.1, "l2": 0.01, "smooth-l1": 0.005}[pixel]
    assert float(wrong[name]) == pytest.approx(wanted, rel=1e-3)


def test_the_content_loss_is_the_sum_of_its_terms(rgb):
    generator = GeneratorWrapper(Truthful(torch.zeros(2, 2, 16, 24)), UV, classes=False)
    plan = LossConfig(weight=3, feature_weights=(1, 2, 3), colorfulness_weight=0.5)
    content = ContentLoss(plan, small_features(), None)

    terms = content.terms(generator, generator(gray_of(rgb)), rgb, gray_of(rgb))

    assert terms.keys() == {"G_L1", "G_features", "G_colorfulness", "content"}
    total = terms.pop("content")
    torch.testing.assert_close(total, sum(terms.values()))
    torch.testing.assert_close(terms["G_L1"], 3 * target(UV, rgb).abs().mean())


@pytest.mark.parametrize("known", [LAB, UV, RGB, NORMALIZED], ids=lambda known: known.name)
def test_a_perfect_output_and_the_truth_are_the_same_critic_input(known, rgb):
    generator = GeneratorWrapper(nn.Identity(), known, classes=False)

    converted = generator.critic_input(target(known, rgb), gray_of(rgb))

    torch.testing.assert_close(converted, generator.critic_truth(rgb), atol=5e-3, rtol=0)
    assert float(converted.abs().max()) < 3


def test_sampled_pixels_are_compared_with_their_own_target(rgb):
    torch.manual_seed(0)
    rgb = torch.nn.functional.interpolate(rgb, (64, 64))
    network = CompactUNet(upsampled=(8, 8, 8), widths=(8, 8, 8)).eval()
    generator = GeneratorWrapper(network, UV, classes=True)
    content = ContentLoss(
        LossConfig(pixel="classes", classes=ClassConfig(pixel_stride=2)),
        None,
        torch.ones(CLASS_GRID.count),
    )
    gray = gray_of(rgb)

    every, row, column = content.sample()
    parts = [
        content.terms(generator, generator(gray, sample), rgb, gray, sample=sample)["G_classes"]
        for sample in ((2, 0, 0), (2, 0, 1), (2, 1, 0), (2, 1, 1))
    ]
    whole = content.terms(generator, generator(gray), rgb, gray)["G_classes"]

    assert every == 2 and row in (0, 1) and column in (0, 1)
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
    assert ContentLoss(LossConfig(), None, None).sample() is None


def test_small_outputs_are_enlarged_to_the_size_of_gray(rgb):
    small = torch.zeros(2, 2, 4, 6)
    generator = GeneratorWrapper(Truthful(small), UV, classes=False)

    predicted = generator.rgb(generator(gray_of(rgb)), gray_of(rgb))

    torch.testing.assert_close(predicted, gray_of(rgb).expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


def test_a_stage_can_omit_the_feature_loss(rgb):
    generator = GeneratorWrapper(Truthful(torch.zeros(2, 2, 16, 24)), UV, classes=False)
    content = ContentLoss(LossConfig(feature_weights=(1, 2, 3)), small_features(), None)

    terms = content.terms(generator, generator(gray_of(rgb)), rgb, gray_of(rgb), features=False)

    assert "G_features" not in terms
