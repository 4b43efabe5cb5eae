"""Generator against critic: what each of them wants, on one batch (Isola et al. 2017, eq. 1)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from napari_colorize.errors import SettingsError
from napari_colorize_training.data.batch import TrainingBatch
from napari_colorize_training.loop import losses
from napari_colorize_training.loop.objective import GeneratorWrapper
from napari_colorize_training.recipe import CriticPlan


class AdversarialLoss:
    """The rules of a recipe's critic.

    Parameters
    ----------
    plan : CriticPlan
        The recipe's.
    painter : Painter
        The generator.
    critic : nn.Module
        From `build_critic`.
    """

    def __init__(self, plan: CriticPlan, painter: GeneratorWrapper, critic: nn.Module) -> None:
        self._plan, self._painter, self._critic = plan, painter, critic

    def critic_terms(self, output: Tensor, pictures: TrainingBatch) -> dict[str, Tensor]:
        """How badly the critic tells a generator's output from the truth: D, D_real, D_fake."""
        with torch.no_grad():
            fake = self._painter.shown_to_critic(output, pictures.clean)
            real = self._shrunk(self._painter.truth_for_critic(pictures.rgb), fake)
        real_says = self._ask(real, pictures.clean)
        fake_says = self._ask(fake, pictures.clean)
        d_real, d_fake = losses.critic_loss(
            real_says, fake_says, self._plan.loss, smoothing=self._plan.smoothing
        )
        return {"D": (d_real + d_fake) / 2, "D_real": d_real, "D_fake": d_fake}

    def generator_loss(self, output: Tensor, pictures: TrainingBatch) -> Tensor:
        """How badly the generator deceives the critic."""
        fake = self._painter.shown_to_critic(output, pictures.clean)
        says = self._ask(fake, pictures.clean)
        return losses.generator_loss(says, self._plan.loss, saturating=self._plan.saturating)

    def _ask(self, colors: Tensor, gray: Tensor) -> Tensor:
        if self._plan.conditional:
            colors = torch.cat([2 * self._shrunk(gray, colors) - 1, colors], dim=1)
        return self._critic(colors.contiguous(memory_format=torch.channels_last)).float()

    @staticmethod
    def _shrunk(x: Tensor, like: Tensor) -> Tensor:
        if x.shape[-2:] == like.shape[-2:]:
            return x
        return nn.functional.interpolate(x, like.shape[-2:], mode="area")


def critic_channels(plan: CriticPlan, painter: GeneratorWrapper) -> int:
    """How many channels the critic sees: colours, and the gray if it is conditional."""
    colors = 2 if painter.architecture.output_space == "ab" else 3
    return colors + int(plan.conditional)


@torch.no_grad()
def refuse_too_small(critic: nn.Module, name: str, channels: int, side: int) -> None:
    """Raise `SettingsError` if the critic has nothing left to judge of pictures of this side."""
    trial = copy.deepcopy(critic).to("meta").eval()  # shapes alone, whatever its size
    try:
        trial(torch.empty(1, channels, side, side, device="meta"))
    except RuntimeError as error:
        raise SettingsError(
            f"The critic {name!r} cannot judge pictures of {side} px: give larger ones, or set a "
            "larger side for the stages that have a critic."
        ) from error
