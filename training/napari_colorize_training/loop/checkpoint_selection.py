"""Validation during a run, and the choice of the best checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, device

from napari_colorize_training.data import Crops
from napari_colorize_training.data.batch import TrainingBatch, prepare_batch
from napari_colorize_training.data.cache import Images
from napari_colorize_training.loop import run_log
from napari_colorize_training.loop.run_log import check_finite
from napari_colorize_training.loop.stages import StageRun
from napari_colorize_training.loop.trained_models import TrainedModels
from napari_colorize_training.loop.validation import ValidationFigures, measure, save_preview
from napari_colorize_training.recipe import DataConfig
from napari_colorize_training.schedule import Plateau

VALIDATE_EVERY = 500  # steps, and at the end of every stage
VALIDATION_IMAGES = 48
VALIDATION_BATCH = 12


@dataclass
class BestCheckpoint:
    """Best checkpoint of a stage, and the number of checkpoints since that were worse."""

    measure: float = math.inf
    step: int = 0
    failures: int = 0
    error_limit: float = math.inf  # of CIEDE2000, above which a checkpoint is not kept
    state: dict[str, Tensor] = field(default_factory=dict)


class Validator:
    """Measures the generator on validation images and keeps the best weights of a stage.

    The side of the crops is the same in all stages, so that figures are comparable.
    `all_reduce_mean` returns means of values over all processes.

    Attributes
    ----------
    best : BestCheckpoint
        Best checkpoint of the present stage.
    plateau : Plateau
        Learning-rate factor of the schedule "plateau".
    """

    def __init__(
        self,
        models: TrainedModels,
        images: Images,
        config: DataConfig,
        side: int,
        where: device,
        all_reduce_mean: Callable[[dict[str, float]], dict[str, float]],
    ) -> None:
        self._models, self._images, self._config = models, images, config
        self._side, self._device, self._all_reduce_mean = side, where, all_reduce_mean
        self.best, self.plateau = BestCheckpoint(), Plateau()

    @cached_property
    def _batches(self) -> list[TrainingBatch]:
        """The same crops of the same images in every validation."""
        count = min(VALIDATION_IMAGES, len(self._images))
        batch = min(count, VALIDATION_BATCH)
        crops = Crops(
            self._images,
            side=self._side,
            batch=batch,
            crop_scale=(1.0, 1.0),
            seed=0,
            horizontal_flip=False,
            squeeze=self._config.squeeze,
        )
        return [
            prepare_batch(crops.at(step), self._config, self._device, training=False)
            for step in range(math.ceil(count / batch))
        ]

    def begin_stage(self) -> None:
        """Forget the best checkpoint and the plateau of the stage before."""
        self.best, self.plateau = BestCheckpoint(), Plateau()

    def measure(self, step: int) -> ValidationFigures:
        """Return the figures of the weights that would be exported now."""
        with self._models.evaluation_weights():
            values = asdict(measure(self._models.generator, self._batches))
        figures = ValidationFigures(**self._all_reduce_mean(values))
        check_finite(asdict(figures), step)
        return figures

    def add_base(self, run: StageRun, step: int) -> ValidationFigures:
        """Measure the weights before the first step, so that they are kept if none are better."""
        figures = self.measure(step)
        if run.stage.select_by == "frechet":
            self.best.error_limit = run.stage.max_error_ratio * figures.ciede2000
        self.compare(run, figures, step)
        return figures

    def is_due(self, run: StageRun, step: int, *, last: bool) -> bool:
        """Whether the stage is to be validated after this step."""
        if run.stage.train == "critic":
            return False  # the generator does not change
        return last or self._is_checkpoint(run, step, last) or step % VALIDATE_EVERY == 0

    @staticmethod
    def _is_checkpoint(run: StageRun, step: int, last: bool) -> bool:
        every = run.stage.checkpoint_every
        # Validation takes place only at logged steps, which are LOG_EVERY steps apart.
        return bool(every) and ((step - run.first_step) % every < run_log.LOG_EVERY or last)

    def validate(self, run: StageRun, step: int, *, last: bool) -> tuple[ValidationFigures, bool]:
        """Measure and compare with the best; also returns whether a plateau was reached."""
        figures = self.measure(step)
        if self._is_checkpoint(run, step, last):
            self.compare(run, figures, step)
        return figures, self.plateau.update(figures.measure)

    def compare(self, run: StageRun, figures: ValidationFigures, step: int) -> None:
        """Keep a copy of the present weights if their figures are the best of the stage."""
        by_frechet = run.stage.select_by == "frechet"
        measure = figures.frechet if by_frechet else figures.measure
        limit = self.best.error_limit
        if measure < self.best.measure and figures.ciede2000 <= limit:
            with self._models.evaluation_weights() as network:
                state = network.state_dict()
                copy = {key: value.detach().cpu().clone() for key, value in state.items()}
            self.best = BestCheckpoint(measure, step, 0, limit, copy)
        else:
            self.best.failures += 1

    def has_converged(self, run: StageRun) -> bool:
        """Whether as many checkpoints in a row were worse as the stage allows."""
        return 0 < run.stage.patience <= self.best.failures

    def restore_best(self, run: StageRun) -> bool:
        """Restore the best weights of a stage with checkpoints; returns whether there are any."""
        if not run.stage.checkpoint_every or not self.best.state:
            return False
        self._models.restore(self.best.state)
        return True

    def save_preview(self, path: Path) -> None:
        """Write a sheet of input, prediction and truth."""
        with self._models.evaluation_weights():
            save_preview(path, self._models.generator, self._batches[0])

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to resume."""
        return {"best": vars(self.best), "plateau": self.plateau.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.best = BestCheckpoint(**state["best"])
        self.plateau.load_state_dict(state["plateau"])
