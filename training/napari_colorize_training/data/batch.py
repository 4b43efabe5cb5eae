"""A batch of crops as the networks see it: augmented, its gray derived and, maybe, damaged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize_training.data import CropBatch
from napari_colorize_training.data.augment import PLANS as AUGMENTATIONS
from napari_colorize_training.data.augment import augment
from napari_colorize_training.data.degrade import PLANS as DEGRADATIONS
from napari_colorize_training.data.degrade import degrade
from napari_colorize_training.recipe import DataPlan


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """What a step of training works on.

    Parameters
    ----------
    rgb : Tensor, shape (N, 3, H, W)
        The truth, in [0, 1].
    gray : Tensor, shape (N, 1, H, W)
        What the network is shown: clean, or damaged as old photographs are.
    clean : Tensor, shape (N, 1, H, W)
        The gray that colours are joined with.
    random : list of torch.Generator
        One for each picture, for what else is drawn; empty in validation.
    """

    rgb: Tensor
    gray: Tensor
    clean: Tensor
    random: list[torch.Generator]


def prepare_batch(
    batch: CropBatch, plan: DataPlan, device: torch.device, *, training: bool
) -> TrainingBatch:
    """Put a batch on the device and do there what the plan says.

    Parameters
    ----------
    batch : Batch
        From `Crops`.
    plan : DataPlan
        Of the recipe.
    device : torch.device
        Where the networks are.
    training : bool
        Otherwise nothing is augmented, and nothing damaged unless the plan validates so. What is
        drawn follows from the batch's own seeds, so that several processes draw what one would.
    """
    rgb = batch.rgb.to(device, non_blocking=True)
    rgb = rgb.float() / 255 if rgb.dtype == torch.uint8 else rgb
    gray = None if batch.gray is None else batch.gray.to(device, non_blocking=True)
    damages = plan.degrade != "none" and (training or plan.validate_degraded)
    random = batch.generators(device) if training or damages else []
    if training and plan.augment != "none":
        rgb, gray = augment(rgb, gray, AUGMENTATIONS[plan.augment], random)
    if gray is None:
        gray = rgb_to_yuv(rgb.movedim(1, -1))[..., 0].unsqueeze(1)
    seen = gray
    if damages:
        seen = degrade(rgb, gray, DEGRADATIONS[plan.degrade], random)
    return TrainingBatch(rgb=rgb, gray=seen, clean=gray, random=random)
