from __future__ import annotations

import pytest
import torch
from napari_colorize_training.data import CropBatch
from napari_colorize_training.data.batch import prepare_batch
from napari_colorize_training.recipe import DataConfig

from napari_colorize.errors import SettingsError

CPU = torch.device("cpu")


@pytest.fixture
def batch() -> CropBatch:
    colors = torch.randint(256, (200, 3, 8, 8), dtype=torch.uint8)
    return CropBatch(colors, None, torch.arange(200))


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_a_share_of_the_images_is_degraded(batch, share):
    config = DataConfig(degrade="slightly-old", degraded_share=share)

    data = prepare_batch(batch, config, CPU, training=True)

    degraded = (data.gray != data.clean).flatten(1).any(1).float().mean()
    assert degraded == pytest.approx(share, abs=0.12)


def test_validation_degrades_all_images_or_none(batch):
    config = DataConfig(degrade="slightly-old", degraded_share=0.0, validate_degraded=True)

    data = prepare_batch(batch, config, CPU, training=False)

    assert (data.gray != data.clean).flatten(1).any(1).all()


def test_a_share_above_one_is_refused():
    with pytest.raises(SettingsError, match="from 0 to 1"):
        DataConfig(degraded_share=1.5)
