"""One optimization step on a batch: content loss, critic, or both networks against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_colorize_training.data import CropBatch
from napari_colorize_training.data.batch import TrainingBatch, prepare_batch
from napari_colorize_training.loop import losses
from napari_colorize_training.loop.stages import StageRun
from napari_colorize_training.loop.trained_models import TrainedModels
from napari_colorize_training.models import adapt
from napari_colorize_training.recipe import Recipe, Stage
from napari_colorize_training.rng import uniform
from napari_colorize_training.schedule import cyclic_momentum, rate_factor

if TYPE_CHECKING:
    from accelerate import Accelerator

    from napari_colorize.networks.compact import Sample

SEEDS_PER_STEP = 4096  # more than the number of processes


class TrainingSteps:
    """The optimization steps of a run, which change the networks of `models`.

    `turn` is "critic" or "generator": the network that is trained next in stages with
    `critic_loss_threshold`.
    """

    def __init__(self, recipe: Recipe, models: TrainedModels, accelerator: Accelerator) -> None:
        self._recipe, self._models, self._accelerator = recipe, models, accelerator
        self.turn = "critic"

    def run(
        self,
        run: StageRun,
        position: int,
        batch: CropBatch,
        *,
        step: int,
        plateau_factor: float,
    ) -> dict[str, float]:
        """Train with this process's crops; returns the losses by their names in the log.

        `position` is the step within the stage and `step` that within the run, both from 0.
        `plateau_factor` is the factor of the learning rate for the schedule "plateau".
        """
        stage, models, share = run.stage, self._models, position / run.steps
        self._seed(step)
        factor = plateau_factor
        if stage.schedule != "plateau":
            factor = rate_factor(stage.schedule, share, warmup=stage.warmup)
        beta1 = None
        if self._recipe.optimizer.cyclic_momentum:
            beta1 = cyclic_momentum(share, stage.warmup)
        lr = models.generator_optimizer.set_rates(factor, beta1)
        if stage.trainable == "gradual":
            adapt.unfreeze_at(models.network, share, batch_norm=stage.batch_norm)
        adapt.set_training(models.network, stage.batch_norm)
        if stage.train == "critic":
            models.network.eval()  # the generator is frozen, its running statistics included
        data = prepare_batch(batch, self._recipe.data, self._accelerator.device, training=True)
        if stage.train == "generator":
            terms = self._pretrain_step(stage, data, step)
        else:
            assert models.critic is not None  # the recipe was checked
            critic_lr = models.critic.set_rates(factor)
            terms = self._adversarial_step(stage, data, step)
            lr = critic_lr if stage.train == "critic" else lr
        models.all_reduce_buffers()
        return {name: float(value.detach()) for name, value in terms.items()} | {"lr": lr}

    def _seed(self, step: int) -> None:
        """Seed torch from recipe, step and process, so that a resumed run repeats dropout."""
        seed = self._recipe.seed * 1_000_003 + step
        torch.manual_seed(seed * SEEDS_PER_STEP + self._accelerator.process_index)

    def _forward(self, gray: Tensor, sample: Sample | None = None) -> Tensor:
        with self._accelerator.autocast():
            output: Tensor = self._models.generator(gray, sample)
        return output

    def _content_terms(
        self, stage: Stage, output: Tensor, data: TrainingBatch, sample: Sample | None = None
    ) -> dict[str, Tensor]:
        terms = self._models.content.terms(
            self._models.generator,
            output,
            data.rgb,
            data.clean,
            sample=sample,
            features=stage.feature_loss,
        )
        config = self._recipe.loss
        if stage.noise_consistency and config.noise_weight:
            low, high = config.noise_probability
            probability = uniform(data.random, data.gray, 1, 1, 1, low=low, high=high)
            noisy = losses.add_noise(data.gray, probability, config.noise_amplitude, data.random)
            difference = losses.noise_consistency(output, self._forward(noisy))
            terms["G_noise"] = config.noise_weight * difference
            terms["content"] = terms["content"] + terms["G_noise"]
        if config.distillation_weight:
            terms["G_distillation"] = config.distillation_weight * self._distillation(
                output, data, sample
            )
            terms["content"] = terms["content"] + terms["G_distillation"]
        return terms

    def _distillation(self, output: Tensor, data: TrainingBatch, sample: Sample | None) -> Tensor:
        """Compare an output with what the base predicts for the undegraded gray."""
        teacher = self._models.teacher
        assert teacher is not None  # made before training
        with torch.no_grad(), self._accelerator.autocast():
            wanted = teacher(data.clean, sample)
        if teacher.classes:
            return losses.distillation_loss(output, wanted)
        unit = teacher.architecture.unit
        return losses.distance(output / unit, wanted / unit, "l1")

    def _needs_whole_images(self, stage: Stage) -> bool:
        """Whether a loss of the stage needs all pixels of the output."""
        config = self._recipe.loss
        features = config.feature_weights and stage.feature_loss
        return bool(features or config.colorfulness_weight or stage.noise_consistency)

    def _pretrain_step(self, stage: Stage, data: TrainingBatch, step: int) -> dict[str, Tensor]:
        """Train the generator with its content loss."""
        sample = None if self._needs_whole_images(stage) else self._models.content.sample()
        terms = self._content_terms(stage, self._forward(data.gray, sample), data, sample)
        loss = terms.pop("content")
        self._models.generator_optimizer.step(loss)
        self._models.update_ema(step)
        return {"G": loss, **terms}

    def _adversarial_step(self, stage: Stage, data: TrainingBatch, step: int) -> dict[str, Tensor]:
        """Train the critic, the generator, or both, as the stage and the turn require."""
        models, threshold = self._models, stage.critic_loss_threshold
        train_generator = stage.train == "gan" and (threshold is None or self.turn == "generator")
        train_critic = stage.train == "critic" or threshold is None or self.turn == "critic"
        assert models.critic is not None  # the recipe was checked
        assert models.adversarial is not None
        with torch.set_grad_enabled(train_generator):
            output = self._forward(data.gray)
        terms: dict[str, Tensor] = {}
        if train_critic:
            models.critic.network.train().requires_grad_(True)
            with self._accelerator.autocast():
                terms |= models.adversarial.critic_terms(output.detach(), data)
            models.critic.step(terms["D"])
        if train_generator:
            terms |= self._generator_step(stage, output, data, step)
        if threshold is not None:
            self.turn = self._next_turn(terms, threshold)
        return terms

    def _generator_step(
        self, stage: Stage, output: Tensor, data: TrainingBatch, step: int
    ) -> dict[str, Tensor]:
        models = self._models
        assert models.critic is not None  # the recipe was checked
        assert models.adversarial is not None
        models.critic.network.requires_grad_(False)
        terms = self._content_terms(stage, output, data)
        with self._accelerator.autocast():
            adversarial = stage.gan_weight * models.adversarial.generator_loss(output, data)
        loss = stage.content_weight * terms.pop("content") + adversarial
        models.generator_optimizer.step(loss)
        models.update_ema(step)
        return {"G": loss, "G_GAN": adversarial, **terms}

    def _next_turn(self, terms: dict[str, Tensor], threshold: float) -> str:
        """Return who is trained next: the generator once the critic's loss is below the threshold.

        This is DeOldify's rule; after the generator it is always the critic.
        """
        if "D" not in terms:
            return "critic"
        loss = self._accelerator.reduce(terms["D"].detach(), reduction="mean")
        return "generator" if float(loss) < threshold else "critic"
