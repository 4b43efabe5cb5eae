"""A run's folder says what was reached, whenever the run was killed."""

from __future__ import annotations

import pytest
import torch
from napari_colorize_training.loop.run_folder import RunFolder

from napari_colorize.errors import SettingsError


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path, {"recipe": "a"})


def test_a_state_comes_back(folder):
    assert folder.load() is None

    folder.save({"step": 3, "weight": torch.ones(2)})

    state = folder.load()
    assert state["step"] == 3 and torch.equal(state["weight"], torch.ones(2))


def test_a_state_of_something_else_does_not(folder):
    folder.save({"step": 3})

    with pytest.raises(SettingsError, match="begun with another recipe"):
        RunFolder(folder.path, {"recipe": "b"}).load()


@pytest.mark.parametrize(
    "surplus",
    ["", "6,1,1: generator\r\n", "6", "6,1", "10,1,x\r\n12,"],
    ids=["nothing", "a line", "a digit", "part of a line", "more"],
)
def test_what_was_logged_behind_the_state_is_dropped(folder, surplus):
    folder.begin_log(0)
    for step in (2, 4):
        folder.append({"step": step, "G": 0.5})
    before = folder.log_path.read_text()
    with folder.log_path.open("a", newline="") as file:
        file.write(surplus)

    folder.begin_log(4)

    assert folder.log_path.read_text() == before


@pytest.mark.parametrize("rest", ["", "st", "step,time\r\n", "step,time\r\n2"])
def test_a_log_that_was_hardly_begun_is_begun_anew(folder, rest):
    folder.log_path.write_text(rest)
    folder.begin_log(0)

    folder.append({"step": 2, "G": 0.5})

    lines = folder.log_path.read_text().splitlines()
    assert lines[0].startswith("step,time,stage,lr") and lines[1].startswith("2,")
    assert len(lines) == 2


def test_pieces_of_a_killed_process_are_removed(folder):
    piece = folder.path / ".0123456789ab.part"
    piece.touch()

    RunFolder(folder.path, {"recipe": "a"})

    assert not piece.exists()


def test_only_one_process_writes(tmp_path):
    other = RunFolder(tmp_path / "run", {}, writes=False)

    other.save({"step": 1})
    other.begin_log(0)
    other.append({"step": 1})

    assert not (tmp_path / "run").exists()
