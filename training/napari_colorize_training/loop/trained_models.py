"""Networks of a run: generator and critic with optimizers, EMA, and the losses that use them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_colorize.errors import SettingsError
from napari_colorize_training.data.cache import Images
from napari_colorize_training.loop.adversarial import (
    AdversarialLoss,
    critic_channels,
    refuse_too_small,
)
from napari_colorize_training.loop.content_loss import ContentLoss, GeneratorWrapper
from napari_colorize_training.loop.initialize import build_network, class_weights_from
from napari_colorize_training.loop.optimization import OptimizedModule, ParameterGroup
from napari_colorize_training.loop.options import RunOptions
from napari_colorize_training.loop.stages import StageRun
from napari_colorize_training.models import adapt
from napari_colorize_training.models.critics import build_critic
from napari_colorize_training.recipe import Recipe, Stage

if TYPE_CHECKING:
    from accelerate import Accelerator


class TrainedModels:
    """Generator, critic, EMA and losses of a recipe.

    A critic is built only if one of the stages trains it. Color classes are counted in `train_set`.

    Attributes
    ----------
    generator : GeneratorWrapper
        The network that is trained.
    generator_optimizer, critic : OptimizedModule
        Generator and critic with their optimizers; `critic` may be None.
    teacher : GeneratorWrapper or None
        Frozen copy of the base, for the distillation loss.
    content : ContentLoss
    adversarial : AdversarialLoss or None
    ema : EMA or None
    note : str
        Initial weights of the network, in a sentence.
    """

    def __init__(
        self,
        recipe: Recipe,
        options: RunOptions,
        accelerator: Accelerator,
        stages: Sequence[StageRun],
        train_set: Images,
    ) -> None:
        self._recipe, self._options, self._accelerator = recipe, options, accelerator
        network, architecture, self.note = build_network(
            recipe.network, encoder=options.encoder, untrained=options.untrained, base=options.base
        )
        optimizer, device = recipe.optimizer, accelerator.device
        classes = recipe.loss.pixel == "classes"
        self.teacher = None
        if recipe.loss.distillation_weight:
            if options.base is None:
                raise SettingsError(
                    "loss.distillation_weight needs a base model whose predictions are targets: "
                    "give one (--base), or set it to 0."
                )
            teacher = copy.deepcopy(network).eval().requires_grad_(False)
            teacher = teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.teacher = GeneratorWrapper(teacher, architecture, classes=classes)
        if optimizer.lora_rank:
            adapt.add_lora(network, optimizer.lora_rank, alpha=float(optimizer.lora_rank))
        if accelerator.num_processes > 1 and device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.generator = GeneratorWrapper(network, architecture, classes=classes)
        self.generator_optimizer = OptimizedModule(network, accelerator)
        self.ema = adapt.EMA(network, optimizer.ema_decay) if optimizer.ema_decay else None
        sides = [run.side for run in stages if run.stage.train != "generator"]
        self.critic, self.adversarial = self._build_critic(sides)
        weights = (
            class_weights_from(recipe, self.generator, train_set, new=options.base is None)
            if classes
            else None
        )
        self.content = ContentLoss(
            recipe.loss, self._features(), None if weights is None else weights.to(device)
        )

    def _build_critic(
        self, sides: Sequence[int]
    ) -> tuple[OptimizedModule | None, AdversarialLoss | None]:
        config = self._recipe.critic
        if config is None or not sides:
            return None, None
        channels = critic_channels(config, self.generator)
        options = dict(config.options)
        if config.name == "features":
            options["features"] = self._feature_network(config.feature_layers)
        critic = build_critic(config.name, in_channels=channels, **options)
        refuse_too_small(critic, config.name, channels, min(sides))
        critic = critic.to(self._accelerator.device)
        return (
            OptimizedModule(critic, self._accelerator),
            AdversarialLoss(config, self.generator, critic),
        )

    def _feature_network(self, layers: int) -> nn.Module:
        from napari_colorize_training.models import backbones

        source = self._options.features or self._recipe.loss.feature_network
        return backbones.feature_network(source, layers=layers).to(self._accelerator.device)

    def _features(self) -> Callable[[Tensor], list[Tensor]] | None:
        """Return the feature extractor of the feature loss, in the precision of the run."""
        weights = self._recipe.loss.feature_weights
        if not weights:
            return None
        network = self._feature_network(len(weights))

        def features(rgb: Tensor) -> list[Tensor]:
            with self._accelerator.autocast():
                maps = network(rgb)
            return [part.float() for part in maps]

        return features

    @property
    def network(self) -> nn.Module:
        """The generator's network, without the wrapper."""
        return self.generator.network

    def begin_stage(self, stage: Stage) -> None:
        """Select the trained layers, and make new optimizers."""
        config = self._recipe.optimizer
        if not config.lora_rank:  # with LoRA only the additions are trained
            adapt.freeze(self.network, stage.trainable, batch_norm=stage.batch_norm)
        lr = config.lr if stage.lr is None else stage.lr
        groups = adapt.parameter_groups(self.network)
        low = lr if stage.encoder_lr is None else stage.encoder_lr
        rates = adapt.discriminative_rates(low, lr, len(groups))
        self.generator_optimizer.begin(
            [ParameterGroup(items, rate) for items, rate in zip(groups, rates, strict=True)],
            name=config.name,
            betas=stage.betas or config.betas,
            weight_decay=config.weight_decay,
            decay_biases=config.decay_biases,
            clip=config.clip_grad_norm,
        )
        critic = self._recipe.critic
        if self.critic is not None and critic is not None:
            # A generator step has frozen it; an optimizer takes trainable parameters only.
            self.critic.network.requires_grad_(True)
            own = stage.lr if stage.train == "critic" else stage.critic_lr
            self.critic.begin(
                [ParameterGroup(list(self.critic.network.parameters()), own or critic.lr)],
                name=config.name,
                betas=critic.betas,
                weight_decay=critic.weight_decay,
            )

    def all_reduce_buffers(self) -> None:
        """Average the running statistics of both networks over all processes."""
        for module in (self.generator_optimizer, self.critic):
            if module is not None:
                module.all_reduce_buffers()

    def update_ema(self, step: int) -> None:
        """Update the moving average of the weights after `step` steps."""
        if self.ema is not None:
            self.ema.update(self.network, step)

    def evaluation_weights(self) -> adapt.EvaluationWeights:
        """Return a context with the weights that are exported, in evaluation mode."""
        return adapt.EvaluationWeights(self.network, self.ema)

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Replace the generator's weights, and restart the average from them."""
        self.network.load_state_dict(weights)
        if self.ema is not None:
            self.ema.restart(self.network)

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimizer states and the average."""
        return {
            "generator": self.generator_optimizer.state_dict(),
            "critic": None if self.critic is None else self.critic.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
        }

    def load_weights(self, state: dict[str, Any]) -> None:
        """Restore the weights and the average from `state_dict`."""
        self.generator_optimizer.load_network(state["generator"])
        if self.critic is not None:
            self.critic.load_network(state["critic"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])

    def load_optimizers(self, state: dict[str, Any]) -> None:
        """Restore the optimizer states from `state_dict`, after `begin_stage` of the same stage."""
        self.generator_optimizer.load_optimizer(state["generator"])
        if self.critic is not None:
            self.critic.load_optimizer(state["critic"])
