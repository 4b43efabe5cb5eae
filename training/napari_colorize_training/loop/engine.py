"""Training loop: a recipe and an image cache in, a checkpoint out; it can be resumed at any step.

A run is a sequence of stages (`stages`). `Trainer` runs them and delegates: networks and their
optimizers (`models`), one step on a batch of crops (`steps`), validation and the best checkpoint
(`checkpoints`), the log (`run_log`), and the run folder with the saved state (`run_folder`). All
random numbers follow from seed and step, so that the last saved state suffices to continue a run
that was killed as if it had not been interrupted.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_colorize.errors import OutOfMemoryError, SettingsError
from napari_colorize.runtime.memory import is_exhausted
from napari_colorize_training.data import Crops
from napari_colorize_training.data.cache import THREADS, ImageCache
from napari_colorize_training.data.crops import prefetch
from napari_colorize_training.data.stream import ImageStream, open_images
from napari_colorize_training.loop import run_log
from napari_colorize_training.loop.accelerator import all_reduce_mean, make_accelerator
from napari_colorize_training.loop.checkpoint_selection import VALIDATION_IMAGES, Validator
from napari_colorize_training.loop.options import RunOptions
from napari_colorize_training.loop.progress import Clock, NoProgress, ProgressReporter, RunControl
from napari_colorize_training.loop.run_folder import RunFolder
from napari_colorize_training.loop.run_log import RunLog, check_finite
from napari_colorize_training.loop.stages import StageRun, epoch_ends, expand_stages
from napari_colorize_training.loop.steps import TrainingSteps
from napari_colorize_training.loop.trained_models import TrainedModels
from napari_colorize_training.loop.validation import ValidationFigures
from napari_colorize_training.models.export import export_model, plain_state
from napari_colorize_training.recipe import Recipe

PREVIEW_EVERY = 30.0  # seconds; epochs of a small data set are shorter


class Trainer:
    """One run of one recipe.

    Parameters
    ----------
    recipe : Recipe
        Network, data, losses, optimizer and stages.
    options : RunOptions
        Folders, files and machine settings.
    progress : ProgressReporter, optional
        Receives the events of the run.
    control : RunControl, optional
        Pauses, finishes or stops the run.

    Raises
    ------
    SettingsError
        If recipe, network and files do not match, or the folder holds another run.
    OutputError
        If the run folder cannot be written to.
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
        is_main = self._accelerator.is_main_process
        self._progress = (progress if is_main else None) or NoProgress()
        self._control = control or RunControl()
        self.train_set = open_images(options.cache, validation=False)
        self._validation_set = open_images(options.cache, validation=True)
        self.stages = expand_stages(
            recipe,
            len(self.train_set),
            largest_side=self.train_set.short_side,
            steps=options.steps,
            first=options.first_stage,
        )
        self._check_batches()
        self.steps = sum(run.steps for run in self.stages)
        self._epoch_ends = epoch_ends(self.stages, len(self.train_set))
        self.folder = RunFolder(options.folder, self._identity(), writes=is_main)
        torch.manual_seed(recipe.seed)
        self.models = TrainedModels(recipe, options, self._accelerator, self.stages, self.train_set)
        self.validator = Validator(
            self.models,
            self._validation_set,
            recipe.data,
            self.stages[-1].side,
            self._accelerator.device,
            self._all_reduce_mean,
        )
        self._steps = TrainingSteps(recipe, self.models, self._accelerator)
        self._log = RunLog(self.folder)
        self.step = 0
        # Optimizer states in it are loaded when the stage begins that was interrupted.
        self._state = self.folder.load()
        if self._state is not None:
            try:
                self._load_state(self._state)
            except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                raise self.folder.damaged() from error
        self._check_same_state()
        self.folder.begin_log(self.step)

    def train(self) -> Path | None:
        """Run all remaining steps; returns the path of the model, or None if stopped.

        Raises
        ------
        TrainingError, OutputError
            If the loss diverges, or a file cannot be written; the last saved state remains.
        """
        self._progress.report(
            "start",
            steps=self.steps,
            step=self.step,
            stages=[run.name for run in self.stages],
            run=str(self.folder.path),
        )
        for note in self._notes():
            self._progress.report("note", text=note)
        for run in self.stages:
            if self.step < run.end_step and not self._run_stage(run):
                self._progress.report("stopped", step=self.step)
                return None
        path = self._export("model")
        self._progress.report("done", model=str(path))
        return path

    # Before the first step

    def _identity(self) -> dict[str, Any]:
        """Return what must be the same for a saved state to be resumed."""
        return {
            "recipe": self.recipe.to_dict(),
            "steps": self.steps,
            "images": [len(self.train_set), _digest(self.train_set.names)],
            "validation": [len(self._validation_set), _content_digest(self._validation_set)],
            "base": self.options.base_name,
            **({"first_stage": first} if (first := self.options.first_stage) else {}),
        }

    def _check_batches(self) -> None:
        processes = self._accelerator.num_processes
        for run in self.stages:
            if run.stage.batch % processes:
                raise SettingsError(
                    f"A batch of {run.stage.batch} cannot be divided among {processes} processes; "
                    f"set stages.{run.index}.batch to a multiple of {processes}."
                )

    def _check_same_state(self) -> None:
        """Raise `SettingsError` if processes on several machines have read different states."""
        if self._all_reduce_mean({"step": self.step})["step"] != self.step:
            raise SettingsError(
                f"The processes find different states in {self.folder.path}: choose a --run "
                "folder that all machines share."
            )

    def _notes(self) -> Iterator[str]:
        """Yield facts about the run that are not in the recipe."""
        yield from self.folder.notes
        yield self.models.note
        for run in self.stages:
            stage, images = run.stage, len(self.train_set)
            if run.side < stage.side:
                reason = (
                    f"the cache was made with {self.train_set.side} px"
                    if self.train_set.short_side >= self.train_set.side
                    else f"half of the images are no larger than {self.train_set.short_side} px"
                )
                yield (
                    f"Stage {run.index + 1} runs at {run.side} instead of {stage.side} px: "
                    f"{reason}."
                )
            of_set = round(stage.epochs * images / stage.batch)
            if stage.steps is None and self.options.steps is None and of_set < stage.min_steps:
                yield (
                    f"Stage {run.index + 1} runs for {run.steps} steps, the minimum of the recipe: "
                    f"its {stage.epochs:g} epochs of {images} images are {of_set} steps."
                )

    # One stage

    def _run_stage(self, run: StageRun) -> bool:
        """Run the remaining steps of a stage; returns False if the run was stopped."""
        self._begin_stage(run)
        snapshots, epochs = self._snapshot_steps(), set(self._epoch_ends)
        clock, saved, previewed = Clock(), time.monotonic(), -math.inf
        crops, start = self._crops(run), self.step - run.first_step
        for position, batch, waiting in prefetch(crops, start, run.steps):
            with _explain_memory(run):
                values = self._steps.run(
                    run,
                    position,
                    batch,
                    step=self.step,
                    plateau_factor=self.validator.plateau.factor,
                )
            values = self._all_reduce_mean(values | self._control_flags())
            stopped, finished = values.pop("stopped") > 0, values.pop("finished") > 0
            check_finite(values, self.step)
            self.step += 1
            seconds = clock.tick()
            self._log.add(values, seconds=seconds, batch=run.stage.batch, waiting=waiting)
            self._report_step(run, values, seconds)
            if self.step in snapshots:
                self._export(f"epoch-{snapshots[self.step]:g}")
            last = finished or self.step == run.end_step
            if last or self.step % run_log.LOG_EVERY == 0:
                self._log.write(run, self.step, self._validate(run, last=last))
                if finished or self.validator.has_converged(run):
                    self.step = run.end_step
                clock.skip()
            ended = self.step == run.end_step
            if (ended or self.step in epochs) and time.monotonic() - previewed > PREVIEW_EVERY:
                self._preview()
                previewed = time.monotonic()
                clock.skip()
            if ended:
                self._end_stage(run)
            if stopped or ended or time.monotonic() - saved > self.options.save_every:
                self._save()
                saved = time.monotonic()
                clock.skip()
            if ended:
                break
            if stopped:
                return False
            if self._control.wait_while_paused(self._save_before_pause):
                self._progress.report("resumed", step=self.step)
                clock.skip()
        return True

    def _begin_stage(self, run: StageRun) -> None:
        """Make new optimizers; restore their states if the stage is resumed."""
        self.models.begin_stage(run.stage)
        if self.step > run.first_step and self._state is not None:
            self.models.load_optimizers(self._state)
        elif self.step == run.first_step:
            self.validator.begin_stage()
            self._steps.turn = "critic"
            has_candidate = self.options.base is not None or run.stage.train == "gan"
            if has_candidate and run.stage.checkpoint_every:
                figures = self.validator.add_base(run, self.step)
                self._progress.report("validation", step=self.step, **figures.as_row())
        self._state = None

    def _crops(self, run: StageRun) -> Crops:
        data = self.recipe.data
        return Crops(
            self.train_set,
            side=run.side,
            batch=run.stage.batch,
            crop_scale=data.crop_scale,
            horizontal_flip=data.horizontal_flip,
            squeeze=data.squeeze,
            seed=self.recipe.seed + 1000 * run.index,
            rank=self._accelerator.process_index,
            ranks=self._accelerator.num_processes,
            threads=THREADS if isinstance(self.train_set, ImageStream) else 1,
        )

    def _validate(self, run: StageRun, *, last: bool) -> ValidationFigures | None:
        if not self.validator.is_due(run, self.step, last=last):
            return None
        figures, on_plateau = self.validator.validate(run, self.step, last=last)
        if on_plateau:
            text = "Validation no longer improves: the learning rate was reduced."
            self._progress.report("note", text=text)
        self._progress.report("validation", step=self.step, **figures.as_row())
        return figures

    def _end_stage(self, run: StageRun) -> None:
        """Restore the best checkpoint; export the generator before stages with a critic."""
        if self.validator.restore_best(run):
            step = self.validator.best.step
            text = f"{run.name}: the best checkpoint is that of step {step}."
            if step == run.first_step:
                text = f"{run.name}: no checkpoint is better than the weights before; these stay."
            self._progress.report("note", text=text)
        parts = [other.stage.train for other in self.stages[: run.index + 2]]
        if parts.count("generator") == run.index + 1 < len(parts):
            self._export("without-critic")

    def _control_flags(self) -> dict[str, float]:
        """Return the requests as numbers, so that all processes can agree on them."""
        control = self._control
        return {"stopped": float(control.is_stopped), "finished": float(control.is_finished)}

    def _all_reduce_mean(self, values: dict[str, float]) -> dict[str, float]:
        return all_reduce_mean(self._accelerator, values)

    def _report_step(self, run: StageRun, values: dict[str, float], seconds: float) -> None:
        self._progress.report(
            "step",
            step=self.step,
            steps=self.steps,
            stage=run.name,
            losses={name: value for name, value in values.items() if name != "lr"},
            seconds_left=seconds * (self.steps - self.step),
        )

    def _snapshot_steps(self) -> dict[int, float]:
        """Return the steps after which a model is exported, with the epochs that they complete."""
        ends = self._epoch_ends
        return {
            ends[round(epoch) - 1]: epoch
            for epoch in self.recipe.snapshot_epochs
            if 1 <= epoch <= len(ends)
        }

    # Files

    def _preview(self) -> None:
        if self._accelerator.is_main_process:
            path = self.folder.path / "preview.png"
            self.validator.save_preview(path)
            self._progress.report("preview", step=self.step, path=str(path))

    def _save_before_pause(self) -> None:
        self._save()  # the computer may be switched off during the pause
        self._progress.report("paused", step=self.step)

    def _save(self) -> None:
        self.folder.save(
            {
                "step": self.step,
                "turn": self._steps.turn,
                "rows": self._log.rows,
                **self.models.state_dict(),
                **self.validator.state_dict(),
            }
        )

    def _load_state(self, state: dict[str, Any]) -> None:
        self.step, self._steps.turn, self._log.rows = state["step"], state["turn"], state["rows"]
        self.validator.load_state_dict(state)
        self.models.load_weights(state)

    def _export(self, name: str) -> Path:
        path = self.folder.path / f"{name}.safetensors"
        if self._accelerator.is_main_process:
            with self.models.evaluation_weights() as network:
                export_model(
                    path,
                    plain_state(network),
                    self.recipe,
                    self.models.generator.architecture,
                    step=self.step,
                    base=self.options.base_name,
                )
        self._accelerator.wait_for_everyone()
        return path


@contextmanager
def _explain_memory(run: StageRun) -> Iterator[None]:
    """Convert an exhausted memory to `OutOfMemoryError` with a remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_exhausted(error):
            raise
        stage = run.stage
        raise OutOfMemoryError(
            f"{stage.batch} images of {run.side} px do not fit into memory: use a smaller batch "
            f"(--set stages.N.batch={max(1, stage.batch // 2)}) or smaller crops (stages.N.side); "
            "N is the number of the stage, from 0."
        ) from error


def _content_digest(images: ImageCache | ImageStream) -> str:
    """Return a digest of names, and of the pixels that are measured if they are in a cache."""
    digest = hashlib.sha256("\n".join(images.names).encode())
    if isinstance(images, ImageCache):
        for index in range(min(VALIDATION_IMAGES, len(images))):
            digest.update(np.ascontiguousarray(images[index].rgb).data)
    return digest.hexdigest()


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
