"""The run folder holds the last state and a consistent log, whenever the run was killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from napari_colorize_training.loop.run_folder import RunFolder, sole_trainer
from tiny_training import tiny, tiny_table

from napari_colorize.errors import OutputError, SettingsError


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


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "garbage": lambda data: bytes(range(250)) * 4,
    "changed": lambda data: data.replace(WEIGHT, WEIGHT[:-1] + b"\1"),
}
WEIGHT = torch.full((64,), 1.5).numpy().tobytes()


def damage(path, how):
    data = path.read_bytes()
    damaged = DAMAGES[how](data)
    assert damaged != data
    path.write_bytes(damaged)


def save_two(folder):
    for step in (3, 4):
        folder.save({"step": step, "weight": torch.full((64,), 1.5)})


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_state_is_replaced_by_the_one_before(folder, how):
    save_two(folder)
    damage(folder.state_path, how)

    assert folder.load()["step"] == 3
    assert folder.notes == [f"{folder.state_path} is damaged; the state before it was used."]


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_states_give_one_sentence(folder, how):
    save_two(folder)
    for path in (folder.state_path, folder.previous_path):
        damage(path, how)

    with pytest.raises(SettingsError, match="Delete state.pt and state-previous.pt there") as error:
        folder.load()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[1, 2], "text", {"identity": 5}, {"rows": 3}, torch.ones(2)])
def test_a_state_of_another_program_gives_one_sentence(folder, content):
    torch.save(content, folder.state_path)

    with pytest.raises(SettingsError):
        folder.load()


def test_a_state_that_is_not_published_leaves_the_one_before(folder, monkeypatch):
    folder.save({"step": 3})

    def fail(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OutputError):
            folder.save({"step": 4})

    assert folder.load()["step"] == 3
    assert not list(folder.path.glob(".*"))


def test_other_held_back_images_are_another_run(tmp_path):
    RunFolder(tmp_path, {"validation": [3, "abc"]}).save({"step": 3})

    with pytest.raises(SettingsError, match="other data"):
        RunFolder(tmp_path, {"validation": [2, "abd"]}).load()


def test_a_state_of_a_version_that_did_not_record_them_is_loaded(tmp_path):
    RunFolder(tmp_path, {"steps": 5}).save({"step": 3})

    assert RunFolder(tmp_path, {"steps": 5, "validation": [2, "abd"]}).load()["step"] == 3


def test_a_damaged_log_does_not_end_a_run(folder):
    folder.begin_log(0)
    folder.append({"step": 2, "G": 0.5})
    with folder.log_path.open("ab") as file:
        file.write(b"\xff\xfe,1\nabc\n,,\n")

    folder.begin_log(4)

    assert len(folder.log_path.read_text().splitlines()) == 2


TRAIN = """
import sys
from pathlib import Path
from napari_colorize_training.loop.run_folder import sole_trainer
with sole_trainer(Path(sys.argv[1])):
    print("trains", flush=True)
    sys.stdin.read()
"""


def test_two_processes_cannot_train_in_one_folder(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", TRAIN, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"trains\n"
        claim = sole_trainer(folder)
        with pytest.raises(SettingsError, match="Another process is training in"):
            claim.__enter__()
        process.kill()  # it leaves its lock file behind
    with sole_trainer(folder):
        (folder / "log.csv").touch()
    assert [path.name for path in folder.iterdir()] == ["log.csv"]
