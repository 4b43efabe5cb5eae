"""Serializable descriptions of models."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stand_ins import TintNetwork, colorizer_of

from napari_colorize import model_spec, zoo
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import CheckpointError, SettingsError, UnknownModelError
from napari_colorize.model_spec import ModelSpec, inference_lock
from napari_colorize.zoo import CATALOGUE


@pytest.fixture(autouse=True)
def nothing_loaded() -> None:
    model_spec._load.cache_clear()


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    """A user's model file."""
    return Path(shutil.copy(zoo.local_path(CATALOGUE["embedded"]), tmp_path / "mine.safetensors"))


def test_a_model_by_name_is_pickled_without_its_weights() -> None:
    model = ModelSpec.from_model("embedded", precision="float32")
    assert (model.source, model.precision) == ("embedded", "float32")
    assert len(pickle.dumps(model)) < 2000
    assert model.load().checkpoint.sha256 == model.checkpoint.sha256


def test_a_file_is_named_by_its_absolute_path(
    own_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own_file.parent)
    assert ModelSpec.from_model(own_file.name).source == str(own_file)


@pytest.mark.parametrize("has_name", [True, False])
def test_a_colorizer_is_described_by_its_source(has_name: bool, own_file: Path) -> None:
    colorizer = Colorizer.from_pretrained("embedded" if has_name else own_file, device="cpu")
    model = ModelSpec.from_model(colorizer)
    assert model.source == ("embedded" if has_name else str(own_file))
    assert (model.device, model.precision) == ("cpu", colorizer.precision)


def test_a_colorizer_without_a_file_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="tint exists in this process only"):
        ModelSpec.from_model(colorizer_of(TintNetwork()))


def test_settings_are_resolved_without_loading_weights() -> None:
    model = ModelSpec.from_model("embedded")
    assert model.resolve_settings({"gamma": 2}).render_factor == CATALOGUE["embedded"].render_factor
    with pytest.raises(SettingsError, match="fidelity"):
        model.resolve_settings({"fidelity": "ipol"})
    assert model_spec._load.cache_info().misses == 0


def test_errors_are_raised_before_tasks_are_sent() -> None:
    with pytest.raises(UnknownModelError, match="No model is named 'nobody'"):
        ModelSpec.from_model("nobody")
    with pytest.raises(SettingsError, match="precision"):
        ModelSpec.from_model("embedded", precision="float8")  # type: ignore[arg-type]


def test_threads_that_start_together_load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    load = Colorizer.from_pretrained
    monkeypatch.setattr(
        Colorizer, "from_pretrained", lambda *some, **more: begun.append(1) or load(*some, **more)
    )
    with ThreadPoolExecutor(8) as threads:
        models = [ModelSpec.from_model("embedded") for _ in range(8)]
        loaded = list(threads.map(ModelSpec.load, models))
    assert len(begun) == 1
    assert all(each is loaded[0] for each in loaded)


def test_other_weights_under_the_same_name_are_refused() -> None:
    model = ModelSpec.from_model("embedded")
    other = replace(model, checkpoint=replace(model.checkpoint, sha256="0" * 64))
    with pytest.raises(CheckpointError, match="has other weights on this machine"):
        other.load()


@pytest.mark.parametrize(("threads", "waits"), [(1, False), (2, True)])
def test_the_inference_lock_is_held_if_torch_has_several_threads(threads: int, waits: bool) -> None:
    before = torch.get_num_threads()
    colorizer = colorizer_of(TintNetwork())
    try:
        torch.set_num_threads(threads)
        with inference_lock(colorizer):
            assert model_spec._inference_lock.locked() is waits
        assert not model_spec._inference_lock.locked()
    finally:
        torch.set_num_threads(before)
