"""Outputs meet the truth in the network's own space and unit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from napari_colorize_training.loop.objective import ContentLoss, GeneratorWrapper, target
from napari_colorize_training.recipe import ClassPlan, LossPlan
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
    """A network that knows the answer."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _: Tensor) -> Tensor:
        return self.answer


def gray_of(rgb: Tensor) -> Tensor:
    return torch.einsum("c,nchw->nhw", torch.tensor([0.299, 0.587, 0.114]), rgb)[:, None]


def last(x: Tensor) -> np.ndarray:
    return x.movedim(1, -1).numpy()


def test_the_target_is_what_scikit_image_says(rgb):
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    wanted = {
        LAB: rgb2lab(last(rgb))[..., 1:],
        UV: rgb2yuv(last(rgb))[..., 1:],
        RGB: last(rgb),
        NORMALIZED: (last(rgb) - mean) / std,
    }

    for known, value in wanted.items():
        np.testing.assert_allclose(last(target(known, rgb)), value, atol=1e-2)


def test_a_smaller_output_is_compared_with_means_or_with_points(rgb):
    full = target(UV, rgb)

    mean = target(UV, rgb, (4, 6))
    point = target(UV, rgb, (4, 6), "point")

    blocks = full.reshape(2, 2, 4, 4, 6, 4).mean((3, 5))
    torch.testing.assert_close(mean, blocks)
    torch.testing.assert_close(point, full[..., ::4, ::4])


@pytest.mark.parametrize("known", [LAB, UV, RGB, NORMALIZED], ids=lambda known: known.name)
@pytest.mark.parametrize("pixel", ["l1", "l2", "smooth-l1"])
def test_the_truth_costs_nothing_and_anything_else_does(known, pixel, rgb):
    truth = target(known, rgb)
    painter = GeneratorWrapper(Truthful(truth), known, classes=False)
    features = () if known is LAB else (20, 70, 10)  # L of the gray is not quite that of the truth
    content = ContentLoss(LossPlan(pixel=pixel, features=features), small_features(), None)

    right = content.terms(painter, painter(gray_of(rgb)), rgb, gray_of(rgb))
    wrong = content.terms(painter, truth + 0.1 * known.unit, rgb, gray_of(rgb))

    assert float(right["content"]) == pytest.approx(0, abs=2e-3)
    assert float(wrong["content"]) > 1e-3
    name = "G_L2" if pixel == "l2" else "G_L1"
    wanted = {"l1": 0.1, "l2": 0.01, "smooth-l1": 0.005}[pixel]
    assert float(wrong[name]) == pytest.approx(wanted, rel=1e-3)


def test_the_content_is_the_sum_of_its_terms(rgb):
    painter = GeneratorWrapper(Truthful(torch.zeros(2, 2, 16, 24)), UV, classes=False)
    plan = LossPlan(weight=3, features=(1, 2, 3), colorfulness=0.5)
    content = ContentLoss(plan, small_features(), None)

    terms = content.terms(painter, painter(gray_of(rgb)), rgb, gray_of(rgb))

    assert terms.keys() == {"G_L1", "G_features", "G_colorfulness", "content"}
    total = terms.pop("content")
    torch.testing.assert_close(total, sum(terms.values()))
    torch.testing.assert_close(terms["G_L1"], 3 * target(UV, rgb).abs().mean())


@pytest.mark.parametrize("known", [LAB, UV, RGB, NORMALIZED], ids=lambda known: known.name)
def test_a_critic_sees_the_truth_and_a_true_output_alike(known, rgb):
    painter = GeneratorWrapper(nn.Identity(), known, classes=False)

    shown = painter.shown_to_critic(target(known, rgb), gray_of(rgb))

    torch.testing.assert_close(shown, painter.truth_for_critic(rgb), atol=5e-3, rtol=0)
    assert float(shown.abs().max()) < 3


def test_some_of_the_pixels_are_compared_with_their_own_truth(rgb):
    torch.manual_seed(0)
    rgb = torch.nn.functional.interpolate(rgb, (64, 64))
    network = CompactUNet(upsampled=(8, 8, 8), widths=(8, 8, 8)).eval()
    painter = GeneratorWrapper(network, UV, classes=True)
    content = ContentLoss(
        LossPlan(pixel="classes", classes=ClassPlan(every=2)), None, torch.ones(CLASS_GRID.count)
    )
    gray = gray_of(rgb)

    every, row, column = content.sample()
    parts = [
        content.terms(painter, painter(gray, sample), rgb, gray, sample=sample)["G_classes"]
        for sample in ((2, 0, 0), (2, 0, 1), (2, 1, 0), (2, 1, 1))
    ]
    whole = content.terms(painter, painter(gray), rgb, gray)["G_classes"]

    assert every == 2 and row in (0, 1) and column in (0, 1)
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
    assert ContentLoss(LossPlan(), None, None).sample() is None


def test_small_colors_become_a_picture_of_the_grays_size(rgb):
    small = torch.zeros(2, 2, 4, 6)
    painter = GeneratorWrapper(Truthful(small), UV, classes=False)

    painted = painter.rgb(painter(gray_of(rgb)), gray_of(rgb))

    torch.testing.assert_close(painted, gray_of(rgb).expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


def test_a_stage_may_leave_the_feature_loss_out(rgb):
    painter = GeneratorWrapper(Truthful(torch.zeros(2, 2, 16, 24)), UV, classes=False)
    content = ContentLoss(LossPlan(features=(1, 2, 3)), small_features(), None)

    terms = content.terms(painter, painter(gray_of(rgb)), rgb, gray_of(rgb), features=False)

    assert "G_features" not in terms
