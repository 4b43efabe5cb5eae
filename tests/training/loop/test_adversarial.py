"""Adversarial loss with a critic of known output."""

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
from napari_colorize_training.loop.content_loss import GeneratorWrapper, target
from napari_colorize_training.models.critics import build_critic
from napari_colorize_training.recipe import CriticConfig
from torch import Tensor, nn

from napari_colorize.errors import SettingsError
from napari_colorize.networks import ARCHITECTURES

LAB, CONVNET, COMPACT = (ARCHITECTURES[name] for name in ("lab-autoencoder", "convnet", "compact"))


class FixedCritic(nn.Module):
    """A critic that records its input and returns the mean of it, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor, self.inputs = factor, []

    def forward(self, x: Tensor) -> Tensor:
        self.inputs.append(x)
        return self.factor * x.mean((1, 2, 3)).view(-1, 1)


@pytest.fixture
def images():
    rgb = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    gray = torch.einsum("c,nchw->nhw", torch.tensor([0.299, 0.587, 0.114]), rgb)[:, None]
    return TrainingBatch(rgb=rgb, gray=gray, clean=gray, random=[])


def adversarial_loss(known, critic, **plan) -> AdversarialLoss:
    return AdversarialLoss(
        CriticConfig(name="patch", **plan),
        GeneratorWrapper(nn.Identity(), known, classes=False),
        critic,
    )


def test_an_undecided_critic_has_a_loss_of_log_2(images):
    terms = adversarial_loss(LAB, FixedCritic(0)).critic_terms(target(LAB, images.rgb), images)

    assert terms.keys() == {"D", "D_real", "D_fake"}
    assert all(float(term) == pytest.approx(math.log(2)) for term in terms.values())


def test_gray_is_the_first_channel_of_a_conditional_critic(images):
    for conditional in (True, False):
        critic = FixedCritic()
        adversarial = adversarial_loss(LAB, critic, conditional=conditional)
        adversarial.critic_terms(target(LAB, images.rgb), images)

        real, fake = critic.inputs
        assert real.shape[1] == 2 + conditional
        torch.testing.assert_close(real, fake, atol=5e-3, rtol=0)  # the output was the truth
        if conditional:
            torch.testing.assert_close(real[:, :1], 2 * images.clean - 1)


def test_the_number_of_channels_agrees_with_the_input():
    generator = {
        k: GeneratorWrapper(nn.Identity(), k, classes=False) for k in (LAB, CONVNET, COMPACT)
    }
    counts = {
        (known.name, conditional): critic_channels(
            CriticConfig(name="patch", conditional=conditional), generator[known]
        )
        for known in generator
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


def test_small_uv_outputs_are_compared_at_full_size(images):
    critic = FixedCritic()
    output = target(COMPACT, images.rgb, (4, 4))

    adversarial_loss(COMPACT, critic).critic_terms(output, images)

    size = images.rgb.shape[-2:]
    assert [inputs.shape for inputs in critic.inputs] == [(2, 4, *size)] * 2


@pytest.mark.parametrize("loss", ["bce", "hinge"])
def test_only_the_generators_loss_reaches_the_generator(images, loss):
    output = target(LAB, images.rgb).requires_grad_()
    adversarial = adversarial_loss(LAB, FixedCritic(), loss=loss)

    assert not adversarial.critic_terms(output, images)["D"].requires_grad
    adversarial.generator_loss(output, images).backward()

    assert output.grad is not None and output.grad.abs().sum() > 0
    assert (output.grad < 0).all()  # more of what this critic likes


def test_a_critic_without_output_is_refused():
    critic = build_critic("dcgan", in_channels=3, width=8)

    refuse_too_small(critic, "dcgan", 3, 64)
    with pytest.raises(SettingsError, match="has no output for images of 32 px"):
        refuse_too_small(critic, "dcgan", 3, 32)
