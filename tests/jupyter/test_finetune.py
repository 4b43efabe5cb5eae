"""Fine-tuning from a notebook; the training is a stand-in, but for one that really learns."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recorder import SOON
from skimage import data

from napari_colorize.finetune.training_run import State, TrainingRun
from napari_colorize.jupyter import ColorizeBox, FinetuneBox

CHILD = next(Path(__file__).parents[1].rglob("finetune_child.py"))


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> Path:
    """None of the user's own models and runs."""
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def stand_in(monkeypatch) -> None:
    whole = TrainingRun.command.fget
    monkeypatch.setattr(
        TrainingRun,
        "command",
        property(lambda self: [sys.executable, str(CHILD), *whole(self)[3:]]),
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    """One picture to learn from."""
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 40), (200, 90, 30)).save(tmp_path / "pictures" / "one.png")
    return tmp_path / "pictures"


@pytest.fixture
def box_of():
    boxes = []

    def opened(*data, **wanted) -> FinetuneBox:
        boxes.append(FinetuneBox(*data, **wanted))
        return boxes[-1]

    yield opened
    for box in boxes:
        if box.run is not None:
            box.run.kill()
        box.close()


def until(box: FinetuneBox, claim: Callable[[], bool]) -> bool:
    """Look now and then, as the kernel's loop does."""
    end = time.monotonic() + SOON
    while not claim() and time.monotonic() < end:
        box.wait(0)
    return claim()


@pytest.mark.usefixtures("stand_in")
def test_it_shows_what_is_learned_and_ends_with_a_model(box_of, folder):
    box = box_of(folder, base=embedded(), name="mine")
    box._go.click()
    assert until(box, lambda: "Step" in box._word.value)
    assert "polyline" in box._curve.value and 'class="bar"' in box._bar.value

    box._finish.click()

    assert box.wait(SOON)
    assert Path(box.model).name == "mine.safetensors" and Path(box.model).is_file()
    assert "mine is ready" in box._title.value
    assert "from 20.0 to 8.0" in box._word.value


@pytest.mark.usefixtures("stand_in")
def test_it_pauses_stops_and_goes_on(box_of, folder):
    box = box_of(folder, base=embedded())
    box.start()
    assert until(box, lambda: "Step" in box._word.value)
    box._pause.click()
    assert until(box, lambda: "Paused" in box._word.value) and box._pause.description == "Resume"
    box._stop.click()

    assert box.wait(SOON)
    assert box.run.state is State.STOPPED and box.model is None
    box._on.click()
    assert until(box, lambda: box.run.is_running and "Step" in box._word.value)
    box.finish()
    assert box.wait(SOON) and box.model is not None


@pytest.mark.usefixtures("stand_in")
def test_a_later_box_finds_the_training(box_of, folder):
    first = box_of(folder, base=embedded())
    first.start()
    first.close()

    later = box_of()
    assert later.run.asked == first.run.asked
    assert until(later, lambda: "Step" in later._word.value)

    again = box_of(folder)  # and follows it, too
    again._begin_anew()
    again.start()
    assert "at work already" in again._word.value


@pytest.mark.usefixtures("stand_in")
def test_what_goes_wrong_is_told_in_one_sentence(box_of, tmp_path):
    box = box_of()
    box.start()
    assert "Name a folder" in box._word.value and 'class="error"' in box._word.value
    (tmp_path / "empty").mkdir()
    box._data.value = str(tmp_path / "empty")

    box.start()
    assert box.wait(SOON)

    assert "ended early: There is nothing to learn from." in box._word.value
    box._again.click()
    assert box._setup in box.children


@pytest.mark.slow
def test_it_really_learns_and_colorizes_with_the_result(box_of, tmp_path):
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    picture = data.immunohistochemistry()
    for number in range(16):
        top, left = 128 * (number // 4), 128 * (number % 4)
        Image.fromarray(picture[top : top + 128, left : left + 128]).save(tiles / f"{number}.png")
    box = box_of(tiles, name="stain")

    box.start()
    began = time.monotonic()
    assert until(box, lambda: bool(box._curves.losses) and time.monotonic() - began > 60)
    box.finish()
    assert box.wait(600)

    assert len(box._curves.errors) >= 2
    colored = ColorizeBox(picture[..., 1], model=box.model)
    assert colored.wait(SOON)
    assert colored.result.record["model"] == "stain"
    assert np.ptp(colored.result.pixels.astype(int), axis=-1).mean() > 5
    colored.close()


def embedded() -> str:
    from napari_colorize.zoo import CATALOGUE, local_path

    return str(local_path(CATALOGUE["embedded"]))
