"""User errors end with one line on standard error and exit code 1, and leave no partial files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from napari_colorize_training.__main__ import app
from PIL import Image
from tiny_training import command, draw_images, eventful_table, tiny_table, to_toml
from typer.testing import CliRunner

from napari_colorize.networks import ARCHITECTURES


@pytest.fixture
def recipe(tmp_path):
    return to_toml(tiny_table(steps=6), tmp_path / "tiny.toml")


def sentence_of(recipe, folder: Path, *more: str, code: int = 1) -> str:
    """Return the one line with which a failing command ends; `code` is 2 for usage errors."""
    result = CliRunner().invoke(app, command(recipe, folder, "--progress", "none", *more)[2:])
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert result.stderr.rstrip().endswith((".", ")"))
    assert not list(folder.rglob("*.safetensors")) and not list(folder.rglob("*.part"))
    return result.stderr


def test_an_empty_folder(recipe, tmp_path):
    (tmp_path / "images").mkdir()

    assert "has no readable images" in sentence_of(recipe, tmp_path)


def test_a_missing_folder(recipe, tmp_path):
    assert str(tmp_path / "images") in sentence_of(recipe, tmp_path)


def test_a_single_image(recipe, tmp_path):
    draw_images(tmp_path / "images", 1)

    assert "Give at least two" in sentence_of(recipe, tmp_path)


def test_only_gray_images(recipe, tmp_path):
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        gray = random.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(gray).save(tmp_path / "images" / f"{number}.png")

    assert "no images to train on" in sentence_of(recipe, tmp_path)


def test_images_of_different_sizes_are_accepted(recipe, tmp_path):
    for side in (33, 50, 64, 200):
        draw_images(tmp_path / "some", 3, side)
        for path in (tmp_path / "some").iterdir():
            path.rename(path.with_name(f"{side}-{path.name}"))
        (tmp_path / "images").mkdir(exist_ok=True)
        for path in (tmp_path / "some").iterdir():
            path.rename(tmp_path / "images" / path.name)
    Image.new("RGB", (300, 40), "red").save(tmp_path / "images" / "flat.png")

    result = CliRunner().invoke(app, command(recipe, tmp_path, "--progress", "none")[2:])

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("full", ["pixels", "state.pt", "log.csv", "preview.png", "model"])
def test_a_full_disk(recipe, tmp_path, monkeypatch, full):
    draw_images(tmp_path / "images")
    fail_for(full, monkeypatch)

    sentence = sentence_of(recipe, tmp_path)

    assert "could not be written" in sentence and "the disk is full" in sentence


def fail_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise "no space left" when a file of this name is opened or replaced."""
    replace, open_file = Path.replace, Path.open

    def no_space() -> OSError:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_replace(self, target):
        if Path(target).name.startswith(name):
            raise no_space()
        return replace(self, target)

    def full_open(self, *args, **options):
        if self.name == name:
            raise no_space()
        return open_file(self, *args, **options)

    monkeypatch.setattr(Path, "replace", full_replace)
    monkeypatch.setattr(Path, "open", full_open)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's full disk.")
def test_a_full_disk_while_the_state_is_saved(recipe, tmp_path, monkeypatch):
    draw_images(tmp_path / "images")
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, _: save(state, "/dev/full"))

    assert "the disk is probably full" in sentence_of(recipe, tmp_path)


@pytest.mark.parametrize("option", ["--run", "--cache"])
def test_an_unwritable_folder(recipe, tmp_path, option):
    draw_images(tmp_path / "images")

    assert "could not be written" in sentence_of(recipe, tmp_path, option, "/proc/here")


def test_a_run_folder_that_is_a_file(recipe, tmp_path):
    draw_images(tmp_path / "images")
    (tmp_path / "run").write_text("taken")

    assert str(tmp_path / "run") in sentence_of(recipe, tmp_path)


def test_a_base_of_another_architecture(recipe, tmp_path):
    draw_images(tmp_path / "images")

    sentence = sentence_of(recipe, tmp_path, "--base", "embedded", code=2)

    assert "'lab-autoencoder'" in sentence and "'region'" in sentence


def test_a_missing_base(recipe, tmp_path):
    draw_images(tmp_path / "images")

    assert "nosuch" in sentence_of(recipe, tmp_path, "--base", "nosuch.safetensors")


@pytest.mark.parametrize("steps", [1, 6])
def test_a_diverging_learning_rate(recipe, tmp_path, steps):
    draw_images(tmp_path / "images")
    changes = ("--set", "optimizer.lr=1e30", "--set", f"stages.0.steps={steps}")

    sentence = sentence_of(recipe, tmp_path, *changes, "--set", "stages.0.schedule=constant")

    assert "diverges. Lower the learning rate" in sentence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimizer.lr=-1", "rates must be above 0"),
        ("network.architecture=nosuch", "No architecture is named 'nosuch'"),
        ("network.options.nosuch=1", "nosuch"),
        ("stages.0.trainable=nosuch", "choose one of: all, except_first, decoder"),
        ("loss.pixel=classes", "has no color classes"),
    ],
)
def test_a_recipe_with_inconsistent_values(recipe, tmp_path, change, message):
    draw_images(tmp_path / "images")

    assert message in sentence_of(recipe, tmp_path, "--set", change, code=2)


def test_images_too_small_for_the_critic(tmp_path):
    draw_images(tmp_path / "images", side=40)
    recipe = to_toml(eventful_table(4, 4), tmp_path / "adversarial.toml")

    sentence = sentence_of(recipe, tmp_path, code=2)

    assert "critic" in sentence and "32 px" in sentence


def test_a_state_of_another_recipe(recipe, tmp_path):
    draw_images(tmp_path / "images")
    CliRunner().invoke(app, command(recipe, tmp_path, "--progress", "none")[2:])
    (tmp_path / "run" / "model.safetensors").unlink()

    assert "another --run folder" in sentence_of(recipe, tmp_path, "--set", "seed=1", code=2)


def test_exhausted_memory(recipe, tmp_path, monkeypatch):
    draw_images(tmp_path / "images")
    network = type(ARCHITECTURES["lab-autoencoder"].create(widths=(8, 8, 8, 8)))

    def exhausted(*_):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(network, "forward", exhausted)

    assert "4 images of 32 px do not fit into memory" in sentence_of(recipe, tmp_path)


def test_the_error_is_reported_as_an_event(recipe, tmp_path):
    result = CliRunner().invoke(app, command(recipe, tmp_path, "--progress", "json")[2:])

    assert result.exit_code == 1
    assert '{"event": "error", "text": "' in result.stdout
