from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from napari_colorize_training import engine
from napari_colorize_training.__main__ import app
from napari_colorize_training.data import build_cache
from napari_colorize_training.degrade import tone_and_grain
from napari_colorize_training.engine import Trainer, one_cycle
from napari_colorize_training.evaluate import ciede2000, colorfulness, evaluate, psnr
from napari_colorize_training.recipe import Stage, read_recipe
from PIL import Image
from typer.testing import CliRunner

from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import SettingsError

STAGE = Stage(side=32, steps=3, batch=2, rate=1e-3, encoder_rate=1e-4)
RECIPE = replace(read_recipe("embedded"), stages=(STAGE, replace(STAGE, side=48)))


class Interrupted(Exception):
    """What stops a run in a test."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for index in range(12):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((170, 180), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index}.png")
    build_cache(folder, folder / "cache")
    return folder / "cache"


def rows_of(run) -> list[dict[str, str]]:
    """The log, but for the time of day."""
    with (run / "log.csv").open() as file:
        return [{**row, "time": ""} for row in csv.DictReader(file)]


def interrupt(trainer, monkeypatch, step: int) -> None:
    """Train until `step`, then no further."""
    train_step = trainer._train_step

    def stop(*batch):
        if trainer.step == step:
            raise Interrupted
        return train_step(*batch)

    monkeypatch.setattr(trainer, "_train_step", stop)
    with pytest.raises(Interrupted):
        trainer.train()


@pytest.mark.parametrize(
    ("save_every", "surplus"),
    [(0.0, ""), (0.0, "4,1,,,,,,,\r\n"), (0.0, "1"), (1e9, "")],
    ids=["between lines", "after a line", "in a line", "before any state"],
)
def test_a_run_that_was_stopped_goes_on_with_the_same_log(
    cache, tmp_path, monkeypatch, save_every, surplus
):
    monkeypatch.setattr(engine, "LOG_EVERY", 2)
    monkeypatch.setattr(engine, "VALIDATE_EVERY", 4)
    monkeypatch.setattr(engine, "VALIDATION_BATCHES", 1)
    monkeypatch.setattr(engine, "SAVE_EVERY", save_every)
    Trainer(RECIPE, cache, tmp_path / "whole", None).train()

    interrupt(Trainer(RECIPE, cache, tmp_path / "parts", None), monkeypatch, 3)
    with (tmp_path / "parts" / "log.csv").open("a", newline="") as log:
        # A state is saved after its line: a kill may leave lines, or a part of one, too many.
        log.write(surplus)
    Trainer(RECIPE, cache, tmp_path / "parts", None).train()

    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "whole")
    assert [row["step"] for row in rows_of(tmp_path / "whole")] == ["2", "4", "6"]
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_of_another_recipe_is_not_gone_on_with(cache, tmp_path):
    Trainer(RECIPE, cache, tmp_path / "run", None)._save()

    with pytest.raises(SettingsError, match="begun with another recipe; choose another --run"):
        Trainer(replace(RECIPE, seed=1), cache, tmp_path / "run", None)


def test_a_state_that_does_not_tell_its_recipe_is_not_gone_on_with(cache, tmp_path):
    Trainer(RECIPE, cache, tmp_path / "run", None)._save()
    path = tmp_path / "run" / "state.pt"
    state = torch.load(path, weights_only=True)
    del state["recipe"]
    torch.save(state, path)

    with pytest.raises(SettingsError, match="begun with another recipe"):
        Trainer(RECIPE, cache, tmp_path / "run", None)


def test_an_architecture_that_cannot_be_trained_is_refused_before_all_else(tmp_path):
    recipe = replace(RECIPE, architecture="deoldify-wide")

    with pytest.raises(SettingsError, match="only 'compact' can be trained"):
        Trainer(recipe, tmp_path / "cache", tmp_path / "run", None)

    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "nosuch", "."], "No recipe is called 'nosuch'"),
        (["train", "embedded", "."], "holds no photographs"),
        (["evaluate", ".", "--model", "nosuch"], "nosuch"),
        (["evaluate", "."], "no pictures to measure on"),
    ],
)
def test_the_command_line_ends_in_one_sentence(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ") and sentence in result.stderr
    assert result.stderr.count("\n") == 1


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
