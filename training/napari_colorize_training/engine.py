"""The loop: a recipe and photographs in, a checkpoint out; stopped anywhere, it goes on from there.

A run lives in a folder of its own: `log.csv` (a line every `LOG_EVERY` steps), `state.pt`
(everything needed to go on, replaced atomically with a line of the log, about once a minute) and,
when it is done, `model.safetensors`.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from napari_colorize.atomic import new_file, remove_abandoned
from napari_colorize.color import rgb_to_yuv
from napari_colorize.errors import SettingsError
from napari_colorize.networks.compact import CLASS_GRID, CompactUNet
from napari_colorize.networks.mobilenet import for_gray
from napari_colorize.provenance import STATEMENT
from napari_colorize.zoo.weights import write_weights
from napari_colorize_training.data import Crops, Photographs, Pixels
from napari_colorize_training.degrade import tone_and_grain
from napari_colorize_training.losses import class_weights, encode_softly, soft_cross_entropy
from napari_colorize_training.recipe import Recipe, Stage

SAVE_EVERY = 60.0  # seconds, at least
LOG_EVERY = 50  # steps
VALIDATE_EVERY = 500  # steps
VALIDATION_BATCHES = 6
FREQUENCY_PICTURES = 2000  # enough for the frequencies of colour classes
Row = dict[str, float]
COLUMNS = (
    *("step", "time", "loss", "cross_entropy", "regression", "rate_share"),
    *("validation_loss", "validation_gray", "validation_uv"),
)


class Trainer:
    """One run of one recipe.

    Raises
    ------
    SettingsError
        If the recipe's architecture cannot be trained, or the run was begun with another recipe.
    """

    def __init__(self, recipe: Recipe, cache: Path, run: Path, encoder: Path | None) -> None:
        if recipe.architecture != "compact":
            raise SettingsError(
                f"The recipe {recipe.name!r} is for the architecture {recipe.architecture!r}; "
                "only 'compact' can be trained."
            )
        self.recipe, self.run = recipe, run
        run.mkdir(parents=True, exist_ok=True)
        remove_abandoned(run)
        torch.manual_seed(recipe.seed)
        self.train_set = Photographs(cache, validation=False)
        self.validation_set = Photographs(cache, validation=True)
        self.network = CompactUNet(temperature=recipe.temperature)
        if encoder is not None:
            # Only the counters of batches are not in the file; anything else would raise.
            self.network.encoder.load_state_dict(_with_counters(self.network.encoder, encoder))
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {key: value.clone() for key, value in self.network.state_dict().items()}
        self.optimizer = self._make_optimizer()
        self.step = 0
        self._resume()
        self.weights = self._class_weights()

    def train(self) -> Path:
        """Run every step that is left; returns the path of the finished checkpoint."""
        total = sum(stage.steps for stage in self.recipe.stages)
        saved, rows = time.monotonic(), []
        bar = tqdm(total=total, initial=self.step, unit="step", desc=self.recipe.name)
        for stage, step_in_stage, pixels in self._batches():
            rows.append(self._train_step(stage, step_in_stage, pixels))
            self.step += 1
            bar.update()
            if self.step % LOG_EVERY == 0 or self.step == total:
                self._log(rows)
                rows = []
                # Only here, or a run that goes on would log the mean of half an interval.
                if time.monotonic() - saved > SAVE_EVERY or self.step == total:
                    self._save()
                    saved = time.monotonic()
        return self._export()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        encoder = list(self.network.encoder.parameters())
        known = {id(parameter) for parameter in encoder}
        rest = [item for item in self.network.parameters() if id(item) not in known]
        groups = [{"params": encoder}, {"params": rest}]
        return torch.optim.AdamW(groups, weight_decay=self.recipe.weight_decay)

    def _class_weights(self) -> Tensor:
        crops = Crops(self.train_set, side=64, batch=50, shrink=(1.0, 1.0), seed=self.recipe.seed)
        frequency = torch.zeros(CLASS_GRID.count)
        for step in range(math.ceil(min(FREQUENCY_PICTURES, len(self.train_set)) / 50)):
            classes, shares = _soft_classes(_target(_to_float(crops.at(step))))
            frequency.index_add_(0, classes.flatten(), shares.flatten())
        loss = self.recipe.loss
        return class_weights(frequency / frequency.sum(), loss.rebalance, loss.heaviest)

    def _batches(self) -> Iterator[tuple[Stage, int, Pixels]]:
        """What is left of each stage; the next batch is cut while the last one trains."""
        begun = 0
        with ThreadPoolExecutor(1) as pool:
            for number, stage in enumerate(self.recipe.stages):
                crops = self._crops(self.train_set, stage, number)
                steps = range(max(self.step - begun, 0), stage.steps)
                ahead: Future[Pixels] | None = None
                for step in steps:
                    now = ahead or pool.submit(crops.at, step)
                    ahead = pool.submit(crops.at, step + 1)
                    yield stage, step, now.result()
                begun += stage.steps

    def _crops(self, photographs: Photographs, stage: Stage, number: int) -> Crops:
        return Crops(
            photographs,
            side=stage.side,
            batch=stage.batch,
            shrink=self.recipe.shrink,
            seed=self.recipe.seed + 1000 * number,
        )

    def _train_step(self, stage: Stage, step: int, pixels: Pixels) -> Row:
        self.network.train_decoder()
        share = one_cycle(step / stage.steps, stage.warmup)
        for group, peak in zip(
            self.optimizer.param_groups, (stage.encoder_rate, stage.rate), strict=True
        ):
            group["lr"] = peak * share
        random = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        losses = self._losses(pixels, random)
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self._update_average()
        return {name: float(value.detach()) for name, value in losses.items()} | {
            "rate_share": share
        }

    def _losses(self, pixels: Pixels, random: torch.Generator | None) -> dict[str, Tensor]:
        rgb = _to_float(pixels)
        uv = _target(rgb)
        gray = rgb_to_yuv(rgb.movedim(1, -1))[..., 0].unsqueeze(1)
        if random is not None:
            gray = tone_and_grain(gray, random)
        gray = gray.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.network.logits(gray)
        classes, shares = _soft_classes(uv)
        entropy = soft_cross_entropy(logits, classes, shares, self.weights)
        regression = F.smooth_l1_loss(self.network.expected(logits.float()), uv, beta=0.05)
        loss = entropy + self.recipe.loss.regression * regression
        return {"loss": loss, "cross_entropy": entropy, "regression": regression}

    def _update_average(self) -> None:
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - decay)

    def _log(self, rows: list[Row]) -> None:
        row = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        row = {"step": self.step, "time": round(time.time()), **row}
        if self.step % VALIDATE_EVERY == 0:
            row |= self._validate()
        path = self.run / "log.csv"
        is_new = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            if is_new:
                writer.writeheader()
            writer.writerow(
                {
                    key: f"{value:.6g}" if isinstance(value, float) else value
                    for key, value in row.items()
                }
            )

    @torch.no_grad()
    def _validate(self) -> Row:
        """Loss, and root mean square error of U and V: gray's and the averaged network's."""
        network = CompactUNet(temperature=self.recipe.temperature)
        network.load_state_dict(self.average)
        kept, self.network = self.network, network.eval()
        stage = self.recipe.stages[-1]
        crops = self._crops(self.validation_set, stage, 0)
        losses, grays, errors = [], [], []
        for step in range(VALIDATION_BATCHES):
            pixels = crops.at(step)
            losses.append(float(self._losses(pixels, None)["loss"]))
            rgb = _to_float(pixels)
            uv, gray = _target(rgb), rgb_to_yuv(rgb.movedim(1, -1))[..., 0].unsqueeze(1)
            errors.append(float((network(gray) - uv).square().mean()))
            grays.append(float(uv.square().mean()))
        self.network = kept
        count = len(losses)
        return {
            "validation_loss": sum(losses) / count,
            "validation_gray": math.sqrt(sum(grays) / count),
            "validation_uv": math.sqrt(sum(errors) / count),
        }

    def _save(self) -> None:
        state = {
            "recipe": json.dumps(asdict(self.recipe)),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        with new_file(self.run / "state.pt", overwrite=True) as part:
            torch.save(state, part)

    def _resume(self) -> None:
        path = self.run / "state.pt"
        if path.is_file():
            state: dict[str, Any] = torch.load(path, weights_only=True)
            if state.get("recipe") != json.dumps(asdict(self.recipe)):
                raise SettingsError(
                    f"The run in {self.run} was begun with another recipe; choose another --run "
                    "or delete it."
                )
            self.step, self.average = state["step"], state["average"]
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
        self._shorten_log()

    def _shorten_log(self) -> None:
        """Drop what a run that was killed had logged after its last state."""
        path = self.run / "log.csv"
        if not path.is_file():
            return
        with path.open(newline="") as file:
            header, *lines = file.readlines() or [""]
        kept = [
            line for line in lines if line.endswith("\n") and int(line.split(",")[0]) <= self.step
        ]
        if not kept:
            path.unlink()  # the next line brings its header
            return
        with new_file(path, overwrite=True) as part, part.open("w", newline="") as file:
            file.writelines([header, *kept])

    def _export(self) -> Path:
        """The averaged weights as fp16, without what only training needs."""
        kept = {
            key: value.half() if value.is_floating_point() else value
            for key, value in self.average.items()
        }
        kept["temperature"] = torch.tensor(self.recipe.shown_temperature).half()
        path = self.run / "model.safetensors"
        metadata = {
            "recipe": json.dumps(asdict(self.recipe)),
            "steps": str(self.step),
            "license": self.recipe.license,
            "statement": STATEMENT,
        }
        write_weights(path, kept, metadata)
        return path


def one_cycle(share: float, warmup: float) -> float:
    """The rate as a share of its peak: a linear rise, then half a cosine down to zero."""
    if share < warmup:
        return max(share / warmup, 0.01)
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def _with_counters(encoder: nn.Module, path: Path) -> dict[str, Tensor]:
    counters = {k: v for k, v in encoder.state_dict().items() if k.endswith("num_batches_tracked")}
    return for_gray(load_file(path)) | counters


def _to_float(pixels: Pixels) -> Tensor:
    """Pixels `(N, H, W, 3)` to RGB in [0, 1], `(N, 3, H, W)`."""
    return torch.from_numpy(pixels).movedim(-1, 1).float() / 255


def _target(rgb: Tensor) -> Tensor:
    """U and V at a quarter of the size, averaged over each 4 x 4 pixels."""
    uv = rgb_to_yuv(rgb.movedim(1, -1))[..., 1:].movedim(-1, 1)
    return F.avg_pool2d(uv, 4)


def _soft_classes(uv: Tensor) -> tuple[Tensor, Tensor]:
    grid = CLASS_GRID
    return encode_softly(uv, torch.tensor(grid.steps), torch.tensor(grid.origin), grid.shape)
