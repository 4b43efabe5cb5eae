"""The loop: a recipe and pictures in, a checkpoint out; stopped anywhere, it goes on from there.

A run is a sequence of legs (`plan`). In each, one or two players (`player`) learn from batches of
crops (`data`, `pictures`): the generator from its content loss (`objective`), the critic from
photographs and colorized ones, or both against each other (`game`). Devices, precision and other
processes are Accelerate's business. What is random follows from the seed and the step alone, so
that a run that was killed needs only its last state (`rundir`) to go on as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_colorize.errors import OutOfMemoryError, SettingsError
from napari_colorize.runtime.devices import choose_device, choose_dtype
from napari_colorize.runtime.memory import is_exhausted
from napari_colorize_training.data import CropBatch, Crops, ImageCache
from napari_colorize_training.data.batch import TrainingBatch, prepare_batch
from napari_colorize_training.errors import TrainingError
from napari_colorize_training.loop import losses
from napari_colorize_training.loop.adversarial import (
    AdversarialLoss,
    critic_channels,
    refuse_too_small,
)
from napari_colorize_training.loop.initialize import build_network, class_weights_from
from napari_colorize_training.loop.objective import ContentLoss, GeneratorWrapper
from napari_colorize_training.loop.optimization import OptimizedModule, ParameterGroup
from napari_colorize_training.loop.progress import Clock, NoProgress, ProgressReporter, RunControl
from napari_colorize_training.loop.run_folder import Row, RunFolder
from napari_colorize_training.loop.stages import StageRun, epoch_ends, expand_stages
from napari_colorize_training.loop.validation import ValidationFigures, measure, save_preview
from napari_colorize_training.models import adapt
from napari_colorize_training.models.critics import build_critic
from napari_colorize_training.models.export import export_model, plain_state
from napari_colorize_training.recipe import Recipe, Stage
from napari_colorize_training.rng import uniform
from napari_colorize_training.schedule import Plateau, cyclic_momentum, rate_at

if TYPE_CHECKING:
    from accelerate import Accelerator

    from napari_colorize.networks import Architecture
    from napari_colorize.networks.compact import Sample

SAVE_EVERY = 60.0  # seconds, at least
LOG_EVERY = 25  # steps
VALIDATE_EVERY = 500  # steps, and at the end of every leg
VALIDATION_PICTURES = 48
PREVIEW_EVERY = 30.0  # seconds, at least: the epochs of a small set take less
WAIT_FOR_DATA = timedelta(hours=6)  # other processes, while one decodes all pictures
SEEDS_PER_STEP = 4096  # more than there are processes
AHEAD = 3  # batches that are cut while one trains
Losses = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a run depends on beside its recipe.

    Parameters
    ----------
    folder : Path
        Of the run: log, state, previews, model.
    cache : Path
        Of decoded pictures, from `data.prepare`.
    encoder, features : Path, optional
        Local files instead of the published encoder and feature network.
    untrained : bool
        Begin with random weights where the recipe names a published encoder.
    base : tuple of (nn.Module, Architecture), optional
        A network to go on from.
    base_name : str
        What that is called, in the model's metadata.
    steps : int, optional
        Of the whole run, instead of the recipe's epochs.
    precision : {"auto", "float32", "bfloat16"}
        What is computed in.
    save_every : float
        Seconds between states, at least.
    """

    folder: Path
    cache: Path
    encoder: Path | None = None
    untrained: bool = False
    features: Path | None = None
    base: tuple[nn.Module, Architecture] | None = None
    base_name: str = ""
    steps: int | None = None
    precision: str = "auto"
    save_every: float = SAVE_EVERY


@dataclass
class Best:
    """The checkpoint of a leg that validated best, and how many have failed to be since."""

    measure: float = math.inf
    step: int = 0
    failures: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)


class Trainer:
    """One run of one recipe.

    Parameters
    ----------
    recipe : Recipe
        What is trained, and how.
    options : RunOptions
        Where and with what.
    progress : Progress
        Who is told.
    control : Control
        Who may stop it.

    Raises
    ------
    SettingsError
        If recipe, network and files do not go together, or the run was begun with others.
    OutputError
        If nothing can be written.
    """

    def __init__(
        self,
        recipe: Recipe,
        options: RunOptions,
        progress: ProgressReporter | None = None,
        control: RunControl | None = None,
    ) -> None:
        self.recipe, self.options = recipe, options
        self._accelerator = make_accelerator(options.precision)
        self._device = self._accelerator.device
        told = progress if self._accelerator.is_main_process else None
        self._progress, self._control = told or NoProgress(), control or RunControl()
        self.train_set = ImageCache(options.cache, validation=False)
        self.validation_set = ImageCache(options.cache, validation=True)
        self.legs = expand_stages(
            recipe,
            len(self.train_set),
            largest_side=self.train_set.short_side,
            steps=options.steps,
        )
        self._check_batches()
        self.steps = sum(leg.steps for leg in self.legs)
        self._epoch_ends = epoch_ends(self.legs, len(self.train_set))
        self.folder = RunFolder(
            options.folder, self._run_identity(), writes=self._accelerator.is_main_process
        )
        torch.manual_seed(recipe.seed)
        self._make_players()
        self.best, self._plateau = Best(), Plateau()
        self.step, self._turn = 0, "critic"
        self._rows: list[Losses] = []  # since the last line of the log
        self._state = self.folder.load()
        if self._state is not None:
            self._resume(self._state)
        self._check_state()
        self.folder.begin_log(self.step)

    def train(self) -> Path | None:
        """Run every step that is left; returns the path of the model, or None if stopped.

        Raises
        ------
        TrainingError, OutputError
            If the loss diverges, or nothing can be written; the last state stays.
        """
        names = [leg.name for leg in self.legs]
        folder = str(self.folder.path)
        self._progress.report("start", steps=self.steps, step=self.step, stages=names, run=folder)
        for note in self._notes():
            self._progress.report("note", text=note)
        for leg in self.legs:
            if self.step < leg.first + leg.steps and not self._run(leg):
                self._progress.report("stopped", step=self.step)
                return None
        path = self._export("model")
        self._progress.report("done", model=str(path))
        return path

    # What is made before the first step

    def _run_identity(self) -> dict[str, Any]:
        """A state may only be continued with the same recipe, length and pictures."""
        return {
            "recipe": self.recipe.as_table(),
            "steps": self.steps,
            "pictures": [len(self.train_set), _digest(self.train_set.names)],
            "base": self.options.base_name,
        }

    def _check_batches(self) -> None:
        processes = self._accelerator.num_processes
        for leg in self.legs:
            if leg.stage.batch % processes:
                raise SettingsError(
                    f"A batch of {leg.stage.batch} cannot be shared by {processes} processes; "
                    f"set stages.{leg.number}.batch to a multiple of {processes}."
                )

    def _check_state(self) -> None:
        """Processes on several machines must have read one and the same state."""
        if self._all_reduce_mean({"step": self.step})["step"] != self.step:
            raise SettingsError(
                f"The processes do not find the same state in {self.folder.path}: choose a --run "
                "folder that all machines share."
            )

    def _make_players(self) -> None:
        recipe, options = self.recipe, self.options
        network, architecture, note = build_network(
            recipe.network, encoder=options.encoder, untrained=options.untrained, base=options.base
        )
        self._note = note
        if recipe.optimizer.lora:
            adapt.add_lora(network, recipe.optimizer.lora, alpha=float(recipe.optimizer.lora))
        if self._accelerator.num_processes > 1 and self._device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        classes = recipe.loss.pixel == "classes"
        self.generator_wrapper = GeneratorWrapper(network, architecture, classes=classes)
        self.generator = OptimizedModule(network, self._accelerator)
        self.average = (
            adapt.EMA(network, recipe.optimizer.average) if recipe.optimizer.average else None
        )
        self.critic, self._game = self._make_critic()
        self.content = ContentLoss(recipe.loss, self._features(), self._class_weights())

    def _make_critic(self) -> tuple[OptimizedModule | None, AdversarialLoss | None]:
        plan = self.recipe.critic
        sides = [leg.side for leg in self.legs if leg.stage.train != "generator"]
        if plan is None or not sides:
            return None, None
        channels = critic_channels(plan, self.generator_wrapper)
        options = dict(plan.options)
        if plan.name == "features":
            options["features"] = self._feature_network(plan.maps)
        critic = build_critic(plan.name, in_channels=channels, **options)
        refuse_too_small(critic, plan.name, channels, min(sides))
        critic = critic.to(self._device)
        return OptimizedModule(critic, self._accelerator), AdversarialLoss(
            plan, self.generator_wrapper, critic
        )

    def _feature_network(self, maps: int) -> nn.Module:
        from napari_colorize_training.models.backbones import feature_network

        source = self.options.features or self.recipe.loss.feature_network
        return feature_network(source, layers=maps).to(self._device)

    def _features(self) -> Callable[[Tensor], list[Tensor]] | None:
        """What the feature loss compares, seen in the precision of the run."""
        plan = self.recipe.loss
        if not plan.features:
            return None
        network = self._feature_network(len(plan.features))

        def see(rgb: Tensor) -> list[Tensor]:
            with self._accelerator.autocast():
                maps = network(rgb)
            return [part.float() for part in maps]

        return see

    def _class_weights(self) -> Tensor | None:
        if self.recipe.loss.pixel != "classes":
            return None
        return class_weights_from(self.recipe, self.generator_wrapper, self.train_set).to(
            self._device
        )

    def _notes(self) -> Iterator[str]:
        """What someone should know who sees only the recipe."""
        yield self._note
        for leg in self.legs:
            if leg.side < leg.stage.side:
                yield (
                    f"Stage {leg.number + 1} runs at {leg.side} instead of {leg.stage.side} px: "
                    "the pictures are no larger."
                )

    # One leg

    def _run(self, leg: StageRun) -> bool:
        """What is left of a leg; False if it was stopped."""
        self._begin(leg)
        snapshots, epochs = self._snapshot_steps(), set(self._epoch_ends)
        end = leg.first + leg.steps
        clock, saved, previewed = Clock(), time.monotonic(), -math.inf
        for place, batch, wait in self._batches(leg):
            with _fitting(leg):
                row = self._learn(leg, place, batch)
            row = self._all_reduce_mean(row | self._control_flags())
            stopped, finished = row.pop("stopped") > 0, row.pop("finished") > 0
            self._check(row)
            self.step += 1
            per_step = clock.tick()
            speed = {"seconds": per_step, "pictures_per_second": leg.stage.batch / per_step}
            self._rows.append(row | speed | {"waiting": wait / per_step})
            self._tell_step(leg, row, per_step)
            if self.step in snapshots:
                self._export(f"epoch-{snapshots[self.step]:g}")
            if self.step % LOG_EVERY == 0 or self.step == end or finished:
                self._log(leg, self._validate(leg, end, finished=finished))
                if finished or self._has_converged(leg):
                    self.step = end
                clock.skip()
            if (self.step in epochs or self.step == end) and (
                time.monotonic() - previewed > PREVIEW_EVERY
            ):
                self._preview()
                previewed = time.monotonic()
                clock.skip()
            if self.step == end:
                self._take_best(leg)
                if self._meets_critic_next(leg):
                    self._export("without-critic")
            if stopped or self.step == end or time.monotonic() - saved > self.options.save_every:
                self._save()
                saved = time.monotonic()
                clock.skip()
            if self.step == end:
                break
            if stopped:
                return False
            self._pause(clock)
        return True

    def _begin(self, leg: StageRun) -> None:
        """New optimizers and the layers that may learn; their memory, if the leg goes on."""
        plan, stage = self.recipe.optimizer, leg.stage
        network = self.generator_wrapper.network
        if not plan.lora:  # else only the additions learn
            adapt.freeze(network, stage.unfrozen, statistics=stage.norm_statistics)
        lr = plan.lr if stage.lr is None else stage.lr
        groups = adapt.groups_of(network)
        low = lr if stage.encoder_lr is None else stage.encoder_lr
        rates = adapt.discriminative_rates(low, lr, len(groups))
        self.generator.begin(
            [ParameterGroup(items, rate) for items, rate in zip(groups, rates, strict=True)],
            name=plan.name,
            betas=stage.betas or plan.betas,
            weight_decay=plan.weight_decay,
            clip=plan.clip,
        )
        critic = self.recipe.critic
        if self.critic is not None and critic is not None:
            self.critic.network.requires_grad_(True)  # the generator's last turn has left it still
            own = stage.lr if stage.train == "critic" else stage.critic_lr
            self.critic.begin(
                [ParameterGroup(list(self.critic.network.parameters()), own or critic.lr)],
                name=plan.name,
                betas=critic.betas,
                weight_decay=critic.weight_decay,
            )
        if self.step > leg.first and self._state is not None:
            self.generator.load_optimizer(self._state["generator"])
            if self.critic is not None:
                self.critic.load_optimizer(self._state["critic"])
        elif self.step == leg.first:
            self.best, self._turn, self._plateau = Best(), "critic", Plateau()
            if self.options.base is not None and stage.keep_every:
                with self._kept_weights():
                    figures = self._measure()
                    self._compare(figures)  # a base that nothing surpasses is what is kept
                self._progress.report("validation", step=self.step, **figures.as_row())
        self._state = None

    def _batches(self, leg: StageRun) -> Iterator[tuple[int, CropBatch, float]]:
        """What is left of a leg, with the seconds that each batch kept us waiting."""
        crops = self._crops(self.train_set, leg)
        ahead: list[Future[CropBatch]] = []
        with ThreadPoolExecutor(2) as pool:
            for place in range(self.step - leg.first, leg.steps):
                until = min(place + AHEAD, leg.steps)
                ahead += [pool.submit(crops.at, n) for n in range(place + len(ahead), until)]
                begun = time.monotonic()
                batch = ahead.pop(0).result()
                yield place, batch, time.monotonic() - begun

    def _crops(self, photographs: ImageCache, leg: StageRun) -> Crops:
        data = self.recipe.data
        return Crops(
            photographs,
            side=leg.side,
            batch=leg.stage.batch,
            shrink=data.shrink,
            mirror=data.mirror,
            seed=self.recipe.seed + 1000 * leg.number,
            rank=self._accelerator.process_index,
            ranks=self._accelerator.num_processes,
        )

    # One step

    def _learn(self, leg: StageRun, place: int, batch: CropBatch) -> Losses:
        """One batch: the losses by their names in the log."""
        stage, share = leg.stage, place / leg.steps
        self._seed_step()
        factor = self._factor(leg, share)
        beta1 = None
        if self.recipe.optimizer.cyclic_momentum:
            beta1 = cyclic_momentum(share, stage.warmup)
        lr = self.generator.set_rates(factor, beta1)
        if stage.unfrozen == "gradual":
            adapt.unfreeze_at(
                self.generator_wrapper.network, share, statistics=stage.norm_statistics
            )
        adapt.set_training(self.generator_wrapper.network, stage.norm_statistics)
        if stage.train == "critic":
            self.generator_wrapper.network.eval()  # frozen, with its statistics
        pictures = prepare_batch(batch, self.recipe.data, self._device, training=True)
        if stage.train == "generator":
            terms = self._pretrain_step(leg, pictures)
        else:
            assert self.critic is not None  # the recipe has been checked
            critic_lr = self.critic.set_rates(factor)
            terms = self._adversarial_step(leg, pictures)
            lr = critic_lr if stage.train == "critic" else lr
        for player in (self.generator, self.critic):
            if player is not None:
                player.all_reduce_gradients()
        return {name: float(value.detach()) for name, value in terms.items()} | {"lr": lr}

    def _factor(self, leg: StageRun, share: float) -> float:
        """The rate as a share of its peak."""
        if leg.stage.schedule == "plateau":
            return self._plateau.factor
        return rate_at(leg.stage.schedule, share, warmup=leg.stage.warmup)

    def _seed_step(self) -> None:
        """Dropout follows from seed, step and process, so that a resumed run repeats it."""
        seed = self.recipe.seed * 1_000_003 + self.step
        torch.manual_seed(seed * SEEDS_PER_STEP + self._accelerator.process_index)

    def _forward(self, gray: Tensor, sample: Sample | None = None) -> Tensor:
        with self._accelerator.autocast():
            return self.generator_wrapper(gray, sample)

    def _content(
        self, leg: StageRun, output: Tensor, pictures: TrainingBatch, sample: Sample | None = None
    ) -> Any:
        terms = self.content.terms(
            self.generator_wrapper,
            output,
            pictures.rgb,
            pictures.clean,
            sample=sample,
            features=leg.stage.features,
        )
        plan = self.recipe.loss
        if leg.stage.noise and plan.noise:
            low, high = plan.noise_probability
            gray, random = pictures.gray, pictures.random
            probability = uniform(random, gray, 1, 1, 1, low=low, high=high)
            noisy = losses.add_noise(gray, probability, plan.noise_amplitude, random)
            apart = losses.noise_consistency(output, self._forward(noisy))
            terms["G_noise"] = plan.noise * apart
            terms["content"] = terms["content"] + terms["G_noise"]
        return terms

    def _sees_pictures(self, stage: Stage) -> bool:
        """Whether losses want whole pictures, not some of their pixels."""
        plan = self.recipe.loss
        return bool((plan.features and stage.features) or plan.colorfulness or stage.noise)

    def _pretrain_step(self, leg: StageRun, pictures: TrainingBatch) -> Any:
        sample = None if self._sees_pictures(leg.stage) else self.content.sample()
        terms = self._content(leg, self._forward(pictures.gray, sample), pictures, sample)
        loss = terms.pop("content")
        self.generator.step(loss)
        self._update_ema()
        return {"G": loss, **terms}

    def _adversarial_step(self, leg: StageRun, pictures: TrainingBatch) -> Any:
        """One batch of the game: the critic's turn, the generator's, or both."""
        stage = leg.stage
        in_turns = stage.critic_until is not None
        generator_learns = stage.train == "gan" and (not in_turns or self._turn == "generator")
        critic_learns = stage.train == "critic" or not in_turns or self._turn == "critic"
        assert self.critic is not None  # the recipe has been checked
        assert self._game is not None
        with torch.set_grad_enabled(generator_learns):
            output = self._forward(pictures.gray)
        terms: dict[str, Tensor] = {}
        if critic_learns:
            self.critic.network.train().requires_grad_(True)
            with self._accelerator.autocast():
                terms |= self._game.critic_terms(output.detach(), pictures)
            self.critic.step(terms["D"])
        if generator_learns:
            terms |= self._generator_step(leg, output, pictures)
        if in_turns:
            self._turn = self._next_turn(terms, stage.critic_until or 0.0)
        return terms

    def _generator_step(
        self, leg: StageRun, output: Tensor, pictures: TrainingBatch
    ) -> dict[str, Tensor]:
        assert self.critic is not None  # `_play` has looked
        assert self._game is not None
        self.critic.network.requires_grad_(False)
        terms: dict[str, Tensor] = self._content(leg, output, pictures)
        with self._accelerator.autocast():
            opinion = leg.stage.gan_weight * self._game.generator_loss(output, pictures)
        loss = leg.stage.content_weight * terms.pop("content") + opinion
        self.generator.step(loss)
        self._update_ema()
        return {"G": loss, "G_GAN": opinion, **terms}

    def _next_turn(self, terms: dict[str, Tensor], until: float) -> str:
        """DeOldify's rule: the generator waits until the critic is good enough."""
        if "D" not in terms:
            return "critic"
        loss = self._accelerator.reduce(terms["D"].detach(), reduction="mean")
        return "generator" if float(loss) < until else "critic"

    def _update_ema(self) -> None:
        if self.average is not None:
            self.average.update(self.generator_wrapper.network, self.step)

    def _check(self, values: Losses) -> None:
        """Raise `TrainingError` if what was measured is no number."""
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name} is {value} at step {self.step}: the training diverges. Lower "
                    "the rate (--set optimizer.lr=..., or stages.0.lr) and begin anew in another "
                    "--run folder."
                )

    def _all_reduce_mean(self, values: Losses) -> Losses:
        """Means over all processes, so that all come to the same decisions."""
        if self._accelerator.num_processes == 1:
            return values
        flat = torch.tensor(list(values.values()), dtype=torch.float32, device=self._device)
        means = self._accelerator.reduce(flat, reduction="mean").tolist()
        return dict(zip(values, means, strict=True))

    # Between steps

    def _meets_critic_next(self, leg: StageRun) -> bool:
        """Whether this is the generator that NoGAN, or any GAN, begins with: worth comparing."""
        stages = [other.stage.train for other in self.legs[: leg.number + 2]]
        return stages.count("generator") == leg.number + 1 < len(stages)

    def _has_converged(self, leg: StageRun) -> bool:
        return 0 < leg.stage.patience <= self.best.failures

    def _control_flags(self) -> Losses:
        """As numbers, so that all processes can agree on them."""
        control = self._control
        return {"stopped": float(control.is_stopped), "finished": float(control.is_finished)}

    def _validate(
        self, leg: StageRun, end: int, *, finished: bool = False
    ) -> ValidationFigures | None:
        """Validate where it is due, and keep what is best."""
        if leg.stage.train == "critic":
            return None  # the generator stands still
        keep, last = leg.stage.keep_every, finished or self.step == end
        kept = bool(keep) and ((self.step - leg.first) % keep < LOG_EVERY or last)
        if not (last or kept or self.step % VALIDATE_EVERY == 0):
            return None
        with self._kept_weights():
            figures = self._measure()
            if kept:
                self._compare(figures)
        if self._plateau.update(figures.measure):
            self._progress.report("note", text="Validation no longer improves: a plateau.")
        self._progress.report("validation", step=self.step, **figures.as_row())
        return figures

    def _measure(self) -> ValidationFigures:
        figures = measure(self.generator_wrapper, self._validation)
        figures = ValidationFigures(**self._all_reduce_mean(asdict(figures)))
        self._check(asdict(figures))
        return figures

    def _compare(self, figures: ValidationFigures) -> None:
        """Keep the weights of now if they are the best."""
        if figures.measure < self.best.measure:
            state = self.generator_wrapper.network.state_dict()
            copy = {key: value.detach().cpu().clone() for key, value in state.items()}
            self.best = Best(figures.measure, self.step, 0, copy)
        else:
            self.best.failures += 1

    @cached_property
    def _validation(self) -> list[TrainingBatch]:
        """The same pictures every time, as large as those of the last leg."""
        side = self.legs[-1].side
        count = min(VALIDATION_PICTURES, len(self.validation_set))
        batch = min(count, 12)
        crops = Crops(
            self.validation_set, side=side, batch=batch, shrink=(1.0, 1.0), seed=0, mirror=False
        )
        return [
            prepare_batch(crops.at(step), self.recipe.data, self._device, training=False)
            for step in range(math.ceil(count / batch))
        ]

    def _kept_weights(self) -> adapt.Applied:
        """The weights that would be exported, in evaluation mode, while the block runs."""
        return adapt.Applied(self.generator_wrapper.network, self.average)

    def _take_best(self, leg: StageRun) -> None:
        """Go back to the best checkpoint of a leg that keeps several."""
        if not leg.stage.keep_every or not self.best.state:
            return
        self.generator_wrapper.network.load_state_dict(self.best.state)
        if self.average is not None:
            self.average.restart(self.generator_wrapper.network)
        text = f"{leg.name}: of its checkpoints, that of step {self.best.step} is the best."
        self._progress.report("note", text=text)

    def _preview(self) -> None:
        if not self._accelerator.is_main_process:
            return
        path = self.folder.path / "preview.png"
        pictures = self._validation[0]
        with self._kept_weights():
            save_preview(path, self.generator_wrapper, pictures)
        self._progress.report("preview", step=self.step, path=str(path))

    def _tell_step(self, leg: StageRun, row: Losses, per_step: float) -> None:
        self._progress.report(
            "step",
            step=self.step,
            steps=self.steps,
            stage=leg.name,
            losses={name: value for name, value in row.items() if name != "lr"},
            seconds_left=per_step * (self.steps - self.step),
        )

    def _log(self, leg: StageRun, figures: ValidationFigures | None) -> None:
        """A line: the means since the last one, and what was validated."""
        names = {name for row in self._rows for name in row}
        means = {
            name: _mean([row[name] for row in self._rows if name in row]) for name in sorted(names)
        }
        row: Row = {"step": self.step, "time": round(time.time()), "stage": leg.name, **means}
        if figures is not None:
            row.update(figures.as_row())
        self.folder.append(row)
        self._rows = []

    def _pause(self, clock: Clock) -> None:
        if self._control.is_paused:
            self._save()  # who pauses may also switch the computer off
            self._progress.report("paused", step=self.step)
            self._control.wait()
            self._progress.report("resumed", step=self.step)
            clock.skip()

    def _snapshot_steps(self) -> dict[int, float]:
        """The steps after which a model is written, and the epochs they end."""
        ends = self._epoch_ends
        return {
            ends[round(epoch) - 1]: epoch
            for epoch in self.recipe.snapshots
            if 1 <= epoch <= len(ends)
        }

    # What stays

    def _save(self) -> None:
        self.folder.save(
            {
                "step": self.step,
                "turn": self._turn,
                "rows": self._rows,
                "generator": self.generator.state_dict(),
                "critic": None if self.critic is None else self.critic.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "best": vars(self.best),
                "plateau": self._plateau.state_dict(),
            }
        )

    def _resume(self, state: dict[str, Any]) -> None:
        self.step, self._turn, self._rows = state["step"], state["turn"], state["rows"]
        self.best = Best(**state["best"])
        self._plateau.load_state_dict(state["plateau"])
        self.generator.load_network(state["generator"])
        if self.critic is not None:
            self.critic.load_network(state["critic"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def _export(self, name: str) -> Path:
        path = self.folder.path / f"{name}.safetensors"
        if self._accelerator.is_main_process:
            with self._kept_weights():
                export_model(
                    path,
                    plain_state(self.generator_wrapper.network),
                    self.recipe,
                    self.generator_wrapper.architecture,
                    step=self.step,
                    base=self.options.base_name,
                )
        self._accelerator.wait_for_everyone()
        return path


def make_accelerator(precision: str) -> Accelerator:
    """Accelerate on the best device that is here, in the precision that suits it."""
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # a session of Python may train again, in another precision
    device = choose_device("auto")
    dtype = choose_dtype(precision, device)
    patience = InitProcessGroupKwargs(timeout=WAIT_FOR_DATA)
    mixed = "bf16" if dtype == torch.bfloat16 else "no"
    return Accelerator(mixed_precision=mixed, cpu=device.type == "cpu", kwargs_handlers=[patience])


@contextmanager
def _fitting(leg: StageRun) -> Iterator[None]:
    """Say in a sentence what to do where memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_exhausted(error):
            raise
        stage = leg.stage
        raise OutOfMemoryError(
            f"{stage.batch} pictures of {leg.side} px do not fit into memory at once: take fewer "
            f"(--set stages.N.batch={max(1, stage.batch // 2)}) or smaller ones (stages.N.side), "
            "with N the stage's number from 0."
        ) from error


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
