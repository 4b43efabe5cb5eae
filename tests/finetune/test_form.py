from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_colorize.errors import SettingsError
from napari_colorize.finetune import form


@pytest.fixture(autouse=True)
def own_models(tmp_path, monkeypatch) -> None:
    """Use an empty folder for the user's models and runs; all packages are installed."""
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "own"))
    monkeypatch.setattr(form, "missing_packages", list)


@pytest.mark.parametrize("field", [form.AUGMENTATION, form.DEGRADATION], ids=lambda f: f.label)
def test_the_first_choice_is_the_default_of_the_command(field):
    assert field.choices[0].value is None
    assert all(f"{choice.label}: {choice.help}" in field.tooltip for choice in field.choices)


def test_the_choices_are_the_presets_of_the_training_package():
    from napari_colorize_training.data import augment, degrade

    fields = ((form.AUGMENTATION, augment.PRESETS), (form.DEGRADATION, degrade.PRESETS))
    for field, presets in fields:
        values = {choice.value for choice in field.choices} - {None}
        assert values | {"none"} == set(presets)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(form, "missing_packages", lambda: ["accelerate"])
    with pytest.raises(SettingsError, match=r"needs accelerate.*pip install.*restart the kernel"):
        form.require_ready(True, restart="the kernel")


def test_without_data_nothing_is_started():
    with pytest.raises(SettingsError, match="Choose training data first"):
        form.require_ready(False, restart="napari")


@pytest.mark.parametrize("is_running", [True, False])
def test_a_second_run_is_refused_while_one_is_active(monkeypatch, is_running):
    monkeypatch.setattr(form, "runs", lambda: [SimpleNamespace(is_running=is_running)])
    if not is_running:
        form.require_ready(True, restart="napari")
        return
    with pytest.raises(SettingsError, match="already active"):
        form.require_ready(True, restart="napari")


def test_a_request_has_a_file_for_the_new_model_and_automatic_steps():
    request = form.training_request(["folder"], base="", name="slides", steps=0)

    assert request.base == "embedded" and request.steps is None
    assert request.name == "slides" and request.data == ("folder",)


def test_models_that_are_not_downloaded_are_listed_with_their_size():
    labels = {choice.value: choice.label for choice in form.base_models()}

    assert labels["embedded"] == "embedded"
    assert "MB download" in labels["deoldify-artistic"]
