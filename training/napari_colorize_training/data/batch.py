"""Batches as the networks get them: augmented colors, and their gray, degraded or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize_training.data import CropBatch
from napari_colorize_training.data.augment import PRESETS as AUGMENTATIONS
from napari_colorize_training.data.augment import augment
from napari_colorize_training.data.degrade import PRESETS as DEGRADATIONS
from napari_colorize_training.data.degrade import degrade
from napari_colorize_training.recipe import DataConfig
from napari_colorize_training.rng import uniform


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """Images of one training step."""

    rgb: Tensor  # shape (N, 3, H, W): true colors in [0, 1]
    # Shape (N, 1, H, W): input of the network in [0, 1], degraded or not as in the recipe
    gray: Tensor
    # Shape (N, 1, H, W): undegraded luminance in [0, 1], with which predicted colors are combined
    clean: Tensor
    # One for each image, for further random numbers; empty in validation without degradation
    random: list[torch.Generator]


def prepare_batch(
    batch: CropBatch, config: DataConfig, device: torch.device, *, training: bool
) -> TrainingBatch:
    """Copy a batch to the device, then augment and degrade it there.

    In validation nothing is augmented, and gray is degraded only with `validate_degraded`. Random
    numbers follow from the batch's seeds, so that they do not depend on the number of processes.
    """
    rgb = batch.rgb.to(device, non_blocking=True)
    rgb = rgb.float() / 255 if rgb.dtype == torch.uint8 else rgb
    gray = None if batch.gray is None else batch.gray.to(device, non_blocking=True)
    degrades = config.degrade != "none" and (training or config.validate_degraded)
    random = batch.generators(device) if training or degrades else []
    if training and config.augment != "none":
        rgb, gray = augment(rgb, gray, AUGMENTATIONS[config.augment], random)
    if gray is None:
        gray = rgb_to_yuv(rgb.movedim(1, -1))[..., 0].unsqueeze(1)
    network_gray = gray
    if degrades:
        network_gray = degrade(rgb, gray, DEGRADATIONS[config.degrade], random)
        if training and config.degraded_share < 1:
            chosen = uniform(random, gray, 1, 1, 1) < config.degraded_share
            network_gray = torch.where(chosen, network_gray, gray)
    return TrainingBatch(rgb=rgb, gray=network_gray, clean=gray, random=random)
