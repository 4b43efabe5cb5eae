from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import pytest
from typer.testing import CliRunner

from napari_colorize.cli import app
from napari_colorize.cli import models as command
from napari_colorize.zoo import CATALOGUE, Checkpoint, local_path

runner = CliRunner()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", str(tmp_path))
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "own"))
    return tmp_path


def add_downloaded(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a small file in place of a downloaded checkpoint."""
    content = b"weights"
    local_path(checkpoint).write_bytes(content)
    downloaded = replace(checkpoint, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(CATALOGUE, checkpoint.name, downloaded)


def test_every_model_is_listed_with_its_facts() -> None:
    output = runner.invoke(app, ["models"]).stdout
    for checkpoint in CATALOGUE.values():
        for fact in (checkpoint.name, checkpoint.title, checkpoint.license, checkpoint.origin):
            assert fact in output
    (artistic,) = (line for line in output.splitlines() if line.startswith("deoldify-artistic"))
    assert artistic.split()[1:5] == ["255", "MB", "no", "35"]


def test_a_downloaded_model_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    add_downloaded(CATALOGUE["deoldify-video"], monkeypatch)
    output = runner.invoke(app, ["models", "--json"]).stdout
    cached = {each["name"]: each["cached"] for each in json.loads(output)}
    assert cached["deoldify-video"]
    assert not cached["deoldify-artistic"]


def test_without_access_to_the_cache_no_model_is_downloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A name that is too long raises the same errors as a folder without permissions.
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", "/" + 300 * "x")
    listed = runner.invoke(app, ["models", "--json"], catch_exceptions=False)
    assert [each["name"] for each in json.loads(listed.stdout) if each["cached"]] == ["embedded"]
    failed = runner.invoke(app, ["models", "fetch", "eccv16"], catch_exceptions=False)
    assert failed.exit_code == 1
    assert failed.stderr.startswith("Error: eccv16 could not be saved in ")


def test_json_has_every_field(cache: Path) -> None:
    (*_, last) = json.loads(runner.invoke(app, ["models", "--json"]).stdout)
    checkpoint = list(CATALOGUE.values())[-1]
    assert last["sha256"] == checkpoint.sha256
    assert last["size"] == checkpoint.size
    assert last["urls"] == list(checkpoint.urls)
    assert last["path"] == str(cache / checkpoint.file)


def test_own_models_are_listed_last(cache: Path) -> None:
    (cache / "own").mkdir()
    copyfile(local_path(CATALOGUE["embedded"]), cache / "own" / "slides.safetensors")

    lines = runner.invoke(app, ["models"]).stdout.splitlines()
    (*_, last) = json.loads(runner.invoke(app, ["models", "--json"]).stdout)

    assert lines[-2].split()[:5] == ["slides", "8", "MB", "yes", "12"]
    assert (last["name"], last["cached"]) == ("slides", True)
    assert last["path"] == str(cache / "own" / "slides.safetensors")


def test_a_damaged_own_model_is_reported_and_skipped(cache: Path) -> None:
    (cache / "own").mkdir()
    (cache / "own" / "broken.safetensors").write_bytes(b"nothing")

    output = runner.invoke(app, ["models"])

    assert output.exit_code == 0 and "broken" not in output.stdout
    assert "broken.safetensors cannot be read" in output.stderr


def test_fetch_prints_the_path_of_the_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_downloaded(CATALOGUE["deoldify-stable"], monkeypatch)
    outcome = runner.invoke(app, ["models", "fetch", "deoldify-stable"])
    assert outcome.exit_code == 0
    assert outcome.stdout.strip() == str(cache / "ColorizeStable_gen.pth")


def test_a_failed_download_does_not_stop_the_others(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_downloaded(CATALOGUE["deoldify-stable"], monkeypatch)
    unreachable = replace(CATALOGUE["deoldify-video"], urls=("http://127.0.0.1:9/video.pth",))
    monkeypatch.setitem(CATALOGUE, "deoldify-video", unreachable)

    outcome = runner.invoke(app, ["models", "fetch", "deoldify-video", "deoldify-stable"])

    assert outcome.exit_code == 1
    assert "deoldify-video could not be downloaded" in outcome.stderr
    assert outcome.stdout.strip() == str(cache / "ColorizeStable_gen.pth")


@pytest.mark.parametrize("name", ["deoldify-grandiose", "some/file.pth"])
def test_only_models_of_the_catalogue_are_downloaded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(command, "fetch", lambda *_, **__: fetched.append(name))
    outcome = runner.invoke(app, ["models", "fetch", "embedded", name])
    assert outcome.exit_code == 1
    assert "deoldify-artistic" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert not fetched  # all names are checked before the first download
