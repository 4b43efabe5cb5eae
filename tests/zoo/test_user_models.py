"""The user's own models: folder, names and metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from napari_colorize.errors import CheckpointError, UnknownModelError
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo import load, resolve
from napari_colorize.zoo.user_models import (
    MODELS_VARIABLE,
    new_model_path,
    user_checkpoint,
    user_models,
    user_models_folder,
)
from napari_colorize.zoo.weights import write_weights


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    return tmp_path


def write_model(path: Path, age: float = 0.0, **metadata: str) -> Path:
    torch.manual_seed(0)
    network = ARCHITECTURES["convnet"].create(widths=(8, 8, 16, 16, 32, 32))
    write_weights(path, network.state_dict(), {"architecture": "convnet", **metadata})
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def test_the_default_folder_is_in_the_user_data(monkeypatch):
    monkeypatch.delenv(MODELS_VARIABLE)

    assert user_models_folder().name == "models" and "napari-colorize" in user_models_folder().parts


def test_the_newest_is_first_and_incomplete_files_are_skipped(folder):
    old, new = (write_model(folder / f"{age}.safetensors", age) for age in (50, 5))
    write_model(folder / ".0123456789ab.safetensors")

    assert user_models() == [new, old]


def test_without_a_folder_there_are_no_models(folder, monkeypatch):
    monkeypatch.setenv(MODELS_VARIABLE, str(folder / "missing"))

    assert user_models() == []


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("slides", "slides-2"),
        ("embedded", "embedded-2"),
        ("a/b: c?.safetensors", "a-b- c-"),
        (" .. ", "model"),
        ("NUL", "NUL-model"),
        ("Würfel 3", "Würfel 3"),
    ],
)
def test_new_names_are_unused_and_valid_on_every_file_system(folder, requested, expected):
    write_model(folder / "slides.safetensors")

    assert new_model_path(requested) == folder / f"{expected.strip('-') or expected}.safetensors"


def test_a_user_model_is_loaded_by_its_name(folder):
    path = write_model(folder / "slides.safetensors")

    assert resolve("slides") == path
    assert load("slides")[0].architecture == "convnet"


def test_the_error_for_an_unknown_name_lists_user_models(folder):
    write_model(folder / "slides.safetensors")

    with pytest.raises(UnknownModelError, match="embedded.*slides"):
        resolve("nothing like it")
    with pytest.raises(UnknownModelError, match="Did you mean 'slides'"):
        resolve("slide")


def test_metadata_are_read_without_weights(folder):
    recipe = json.dumps({"title": "embedded, fine-tuned on 19 pictures"})
    path = write_model(
        folder / "xray.safetensors", recipe=recipe, base="embedded", render_factor="9"
    )

    described, loaded = user_checkpoint(path), load(path)[0]

    assert described.title == "embedded, fine-tuned on 19 pictures"
    assert described.origin == "yours; fine-tuned from embedded"
    assert (described.name, described.render_factor) == ("xray", 9)
    same = ("name", "architecture", "size", "render_factor", "saturation", "fit", "license")
    assert [getattr(described, name) for name in same] == [getattr(loaded, name) for name in same]


@pytest.mark.parametrize("content", [b"", b"no safetensors at all"])
def test_a_damaged_file_gives_one_sentence(folder, content):
    path = folder / "broken.safetensors"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match="broken.safetensors cannot be read"):
        user_checkpoint(path)
