from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from napari_colorize_training import engine
from napari_colorize_training.data import build_cache
from napari_colorize_training.degrade import tone_and_grain
from napari_colorize_training.engine import Trainer, one_cycle
from napari_colorize_training.evaluate import ciede2000, colorfulness, evaluate, psnr
from napari_colorize_training.recipe import Stage, read_recipe
from PIL import Image

from napari_colorize.colorizer import Colorizer

STAGE = Stage(side=32, steps=3, batch=2, rate=1e-3, encoder_rate=1e-4)
RECIPE = replace(read_recipe("embedded"), stages=(STAGE, replace(STAGE, side=48)))


class Interrupted(Exception):
    """What stops a run in a test."""


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(150):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((170, 180), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index}.png")
    build_cache(folder, tmp_path / "cache")
    return tmp_path / "cache"


def losses_of(run) -> list[str]:
    with (run / "log.csv").open() as file:
        return [row["loss"] for row in csv.DictReader(file)]


def test_a_run_that_was_stopped_goes_on_with_the_same_losses(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "LOG_EVERY", 1)
    monkeypatch.setattr(engine, "SAVE_EVERY", 0.0)
    Trainer(RECIPE, cache, tmp_path / "whole", None).train()

    stopped = Trainer(RECIPE, cache, tmp_path / "parts", None)
    step = stopped._train_step

    def stop_after_four(*batch):
        if stopped.step == 4:
            raise Interrupted
        return step(*batch)

    monkeypatch.setattr(stopped, "_train_step", stop_after_four)
    with pytest.raises(Interrupted):
        stopped.train()
    Trainer(RECIPE, cache, tmp_path / "parts", None).train()

    assert losses_of(tmp_path / "parts") == losses_of(tmp_path / "whole")
    assert len(losses_of(tmp_path / "whole")) == 6


def test_what_was_trained_opens_in_the_core(cache, tmp_path):
    path = Trainer(RECIPE, cache, tmp_path / "run", None).train()

    colorizer = Colorizer.from_pretrained(path)
    result = colorizer(np.random.default_rng(0).random((40, 60)), render_factor=2)

    assert colorizer.checkpoint.architecture == "compact"
    assert result.rgb.shape == (40, 60, 3)


def test_the_rate_rises_once_and_falls_to_nothing():
    rates = [one_cycle(step / 100, 0.1) for step in range(101)]

    assert rates[10] == pytest.approx(1.0)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0)


def test_old_photographs_are_gray_pictures_still():
    gray = torch.rand(5, 1, 16, 16)

    worn = tone_and_grain(gray, torch.Generator().manual_seed(0))

    assert worn.shape == gray.shape
    assert float(worn.min()) >= 0
    assert float(worn.max()) <= 1
    assert not torch.equal(worn, gray)
    torch.testing.assert_close(worn, tone_and_grain(gray, torch.Generator().manual_seed(0)))


def test_measures_of_known_pictures():
    truth = np.full((4, 4, 3), 100, np.uint8)

    assert psnr(truth, truth + 10) == pytest.approx(20 * np.log10(255 / 10))
    assert ciede2000(truth, truth) == 0
    assert colorfulness(truth) == 0
    assert colorfulness(np.full((4, 4, 3), (200, 100, 50), np.uint8)) == pytest.approx(
        0.3 * np.hypot(100, 100)
    )


def test_gray_has_no_lead_over_itself(tiny_colorizer):
    truths = [np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)]

    score = evaluate(tiny_colorizer, truths, saturation=0)

    assert score.psnr == score.psnr_gray
    assert score.ciede2000 == score.ciede2000_gray
    assert score.better == 0
