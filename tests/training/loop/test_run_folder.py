"""The run folder holds the last state and a consistent log, whenever the run was killed."""

from __future__ import annotations

import json

import pytest
import torch
from napari_colorize_training.loop.run_folder import RunFolder
from tiny_training import tiny, tiny_table

from napari_colorize.errors import SettingsError


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path, {"recipe": "a"})


def test_a_saved_state_is_loaded(folder):
    assert folder.load() is None

    folder.save({"step": 3, "weight": torch.ones(2)})

    state = folder.load()
    assert state["step"] == 3 and torch.equal(state["weight"], torch.ones(2))


def test_a_state_of_another_run_is_refused(folder):
    folder.save({"step": 3})

    with pytest.raises(SettingsError, match="started with another recipe"):
        RunFolder(folder.path, {"recipe": "b"}).load()


def test_a_state_with_keys_of_an_earlier_version_is_loaded(tmp_path):
    recipe = {**tiny_table(keep_every=25), "optimizer": {"average": 0.9}}
    passport = json.dumps({"recipe": recipe, "steps": 12, "pictures": [8, "abc"], "base": ""})
    rows = [{"G": 0.5, "pictures_per_second": 2.0}]
    torch.save(
        {"passport": passport, "step": 3, "average": {"w": 1.0}, "rows": rows},
        tmp_path / "state.pt",
    )
    present = tiny(checkpoint_every=25).to_dict()
    present["optimizer"] |= {"lr": 1e-3, "ema_decay": 0.9}
    identity = {"recipe": present, "steps": 12, "images": [8, "abc"], "base": ""}

    state = RunFolder(tmp_path, identity).load()

    assert state["step"] == 3 and state["ema"] == {"w": 1.0}
    assert state["rows"] == [{"G": 0.5, "images_per_second": 2.0}]
    with pytest.raises(SettingsError, match="started with another recipe"):
        RunFolder(tmp_path, identity | {"steps": 13}).load()


def test_a_log_of_an_earlier_version_gets_the_present_columns(folder):
    folder.begin_log(0)
    folder.append({"step": 2, "images_per_second": 3.0})
    text = folder.log_path.read_text()
    folder.log_path.write_text(text.replace("images_per_second", "pictures_per_second"))

    folder.begin_log(2)

    assert folder.log_path.read_text() == text


@pytest.mark.parametrize(
    "extra",
    ["", "6,1,1: generator\r\n", "6", "6,1", "10,1,x\r\n12,"],
    ids=["nothing", "a line", "a digit", "part of a line", "more"],
)
def test_rows_after_the_state_are_removed(folder, extra):
    folder.begin_log(0)
    for step in (2, 4):
        folder.append({"step": step, "G": 0.5})
    before = folder.log_path.read_text()
    with folder.log_path.open("a", newline="") as file:
        file.write(extra)

    folder.begin_log(4)

    assert folder.log_path.read_text() == before


@pytest.mark.parametrize("rest", ["", "st", "step,time\r\n", "step,time\r\n2"])
def test_a_log_without_a_complete_row_is_replaced(folder, rest):
    folder.log_path.write_text(rest)
    folder.begin_log(0)

    folder.append({"step": 2, "G": 0.5})

    lines = folder.log_path.read_text().splitlines()
    assert lines[0].startswith("step,time,stage,lr") and lines[1].startswith("2,")
    assert len(lines) == 2


def test_temporary_files_of_a_killed_process_are_removed(folder):
    part = folder.path / ".0123456789ab.part"
    part.touch()

    RunFolder(folder.path, {"recipe": "a"})

    assert not part.exists()


def test_only_one_process_writes(tmp_path):
    other = RunFolder(tmp_path / "run", {}, writes=False)

    other.save({"step": 1})
    other.begin_log(0)
    other.append({"step": 1})

    assert not (tmp_path / "run").exists()
