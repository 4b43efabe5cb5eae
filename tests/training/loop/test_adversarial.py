"""Generator against critic, by a critic whose opinion is known."""

from __future__ import annotations

import math

import pytest
import torch
from napari_colorize_training.data.batch import TrainingBatch
from napari_colorize_training.loop.adversarial import (
    AdversarialLoss,
    critic_channels,
    refuse_too_small,
)
from napari_colorize_training.loop.objective import GeneratorWrapper, target
from napari_colorize_training.models.critics import build_critic
from napari_colorize_training.recipe import CriticPlan
from torch import Tensor, nn

from napari_colorize.errors import SettingsError
from napari_colorize.networks import ARCHITECTURES

LAB, CONVNET, COMPACT = (ARCHITECTURES[name] for name in ("lab-autoencoder", "convnet", "compact"))


class Opinion(nn.Module):
    """A critic that remembers what it saw and says the mean of it, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor, self.seen = factor, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return self.factor * x.mean((1, 2, 3)).view(-1, 1)


@pytest.fixture
def pictures():
    rgb = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    gray = torch.einsum("c,nchw->nhw", torch.tensor([0.299, 0.587, 0.114]), rgb)[:, None]
    return TrainingBatch(rgb=rgb, gray=gray, clean=gray, random=[])


def game_of(known, critic, **plan) -> AdversarialLoss:
    return AdversarialLoss(
        CriticPlan(name="patch", **plan),
        GeneratorWrapper(nn.Identity(), known, classes=False),
        critic,
    )


def test_who_cannot_tell_says_log_2(pictures):
    terms = game_of(LAB, Opinion(0)).critic_terms(target(LAB, pictures.rgb), pictures)

    assert terms.keys() == {"D", "D_real", "D_fake"}
    assert all(float(term) == pytest.approx(math.log(2)) for term in terms.values())


def test_a_conditional_critic_sees_the_gray_first(pictures):
    for conditional in (True, False):
        critic = Opinion()
        game = game_of(LAB, critic, conditional=conditional)
        game.critic_terms(target(LAB, pictures.rgb), pictures)

        real, fake = critic.seen
        assert real.shape[1] == 2 + conditional
        torch.testing.assert_close(real, fake, atol=5e-3, rtol=0)  # the output was the truth
        if conditional:
            torch.testing.assert_close(real[:, :1], 2 * pictures.clean - 1)


def test_channels_are_counted_as_they_are_shown():
    painter = {
        k: GeneratorWrapper(nn.Identity(), k, classes=False) for k in (LAB, CONVNET, COMPACT)
    }
    counts = {
        (known.name, conditional): critic_channels(
            CriticPlan(name="patch", conditional=conditional), painter[known]
        )
        for known in painter
        for conditional in (True, False)
    }

    assert counts == {
        ("lab-autoencoder", True): 3,
        ("lab-autoencoder", False): 2,
        ("convnet", True): 4,
        ("convnet", False): 3,
        ("compact", True): 4,
        ("compact", False): 3,
    }


def test_small_colors_are_judged_on_the_whole_picture(pictures):
    critic = Opinion()
    output = target(COMPACT, pictures.rgb, (4, 4))

    game_of(COMPACT, critic).critic_terms(output, pictures)

    size = pictures.rgb.shape[-2:]
    assert [seen.shape for seen in critic.seen] == [(2, 4, *size)] * 2


@pytest.mark.parametrize("loss", ["bce", "hinge"])
def test_only_the_generators_loss_reaches_the_generator(pictures, loss):
    output = target(LAB, pictures.rgb).requires_grad_()
    game = game_of(LAB, Opinion(), loss=loss)

    assert not game.critic_terms(output, pictures)["D"].requires_grad
    game.generator_loss(output, pictures).backward()

    assert output.grad is not None and output.grad.abs().sum() > 0
    assert (output.grad < 0).all()  # more of what this critic likes


def test_a_critic_with_nothing_left_to_judge_is_refused():
    critic = build_critic("dcgan", in_channels=3, width=8)

    refuse_too_small(critic, "dcgan", 3, 64)
    with pytest.raises(SettingsError, match="cannot judge pictures of 32 px"):
        refuse_too_small(critic, "dcgan", 3, 32)
