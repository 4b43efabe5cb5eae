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


def test_mixed_images_are_the_last_of_the_batch_and_not_degraded(batch):
    config = DataConfig(degrade="slightly-old", mixup_share=0.25)

    data = prepare_batch(batch, config, CPU, training=True)
    plain = prepare_batch(batch, DataConfig(), CPU, training=True)

    assert data.mixed == 50
    torch.testing.assert_close(data.rgb, plain.rgb)
    torch.testing.assert_close(data.clean[:150], plain.clean[:150])
    torch.testing.assert_close(data.gray[150:], data.clean[150:])
    first, second = plain.clean[150:], plain.clean[:50].flip(-1)
    share = (data.clean[150:] - first) / (second - first)
    known = (second - first).abs() > 0.2
    for image, is_known in zip(share, known, strict=True):
        values = image[is_known]
        assert 0.15 <= values.mean() <= 0.5
        torch.testing.assert_close(values, values.mean().expand_as(values), atol=1e-4, rtol=0)


def test_validation_mixes_nothing(batch):
    data = prepare_batch(batch, DataConfig(mixup_share=0.25), CPU, training=False)

    assert data.mixed == 0


@pytest.mark.parametrize("change", [{"degraded_share": 1.5}, {"mixup_share": 0.6}])
def test_shares_outside_their_range_are_refused(change):
    (name,) = change
    with pytest.raises(SettingsError, match=rf"data.{name} is .*; choose from 0 to"):
        DataConfig(**change)
