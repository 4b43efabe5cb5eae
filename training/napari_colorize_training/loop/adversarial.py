"""Adversarial loss of generator and critic on one batch (Isola et al. 2017, eq. 1)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from napari_colorize.errors import SettingsError
from napari_colorize.imaging.resample import area_mean
from napari_colorize_training.data.batch import TrainingBatch
from napari_colorize_training.loop import losses
from napari_colorize_training.loop.content_loss import GeneratorWrapper
from napari_colorize_training.recipe import CriticConfig


class AdversarialLoss:
    """Losses of generator and critic.

    `generator` converts outputs and true colors to the input of the critic, which is made by
    `build_critic`.
    """

    def __init__(
        self, config: CriticConfig, generator: GeneratorWrapper, critic: nn.Module
    ) -> None:
        self._config, self._generator, self._critic = config, generator, critic

    def critic_terms(self, output: Tensor, data: TrainingBatch) -> dict[str, Tensor]:
        """Return the critic's losses D, D_real and D_fake for an output of the generator."""
        with torch.no_grad():
            fake = self._generator.critic_input(output, data.clean)
            real = area_mean(self._generator.critic_truth(data.rgb), fake.shape[-2:])
        real_logits = self._logits(real, data.clean)
        fake_logits = self._logits(fake, data.clean)
        d_real, d_fake = losses.critic_loss(
            real_logits, fake_logits, self._config.loss, smoothing=self._config.label_smoothing
        )
        return {"D": (d_real + d_fake) / 2, "D_real": d_real, "D_fake": d_fake}

    def generator_loss(self, output: Tensor, data: TrainingBatch) -> Tensor:
        """Return the generator's adversarial loss."""
        fake = self._generator.critic_input(output, data.clean)
        logits = self._logits(fake, data.clean)
        return losses.generator_loss(logits, self._config.loss, saturating=self._config.saturating)

    def _logits(self, colors: Tensor, gray: Tensor) -> Tensor:
        if self._config.conditional:
            small = area_mean(gray, colors.shape[-2:])
            colors = torch.cat([2 * small - 1, colors], dim=1)
        return self._critic(colors.contiguous(memory_format=torch.channels_last)).float()


def critic_channels(config: CriticConfig, generator: GeneratorWrapper) -> int:
    """Return the critic's number of input channels: colors, and gray if it is conditional."""
    colors = 2 if generator.architecture.output_space == "ab" else 3
    return colors + int(config.conditional)


@torch.no_grad()
def refuse_too_small(critic: nn.Module, name: str, channels: int, side: int) -> None:
    """Raise `SettingsError` if the critic has no output for images of this side, px."""
    trial = copy.deepcopy(critic).to("meta").eval()  # shapes only, without memory or computation
    try:
        trial(torch.empty(1, channels, side, side, device="meta"))
    except RuntimeError as error:
        raise SettingsError(
            f"The critic {name!r} has no output for images of {side} px: give larger images, or "
            "set a larger side for the stages with a critic."
        ) from error
