"""Fine-tuning from a notebook; the training process is a fake one except in the slow test."""

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
    """Use an empty folder in place of the user's models and runs."""
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def fake_process(monkeypatch) -> None:
    command = TrainingRun.command.fget
    monkeypatch.setattr(
        TrainingRun,
        "command",
        property(lambda self: [sys.executable, str(CHILD), *command(self)[3:]]),
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    """Folder with one color image."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 40), (200, 90, 30)).save(tmp_path / "images" / "one.png")
    return tmp_path / "images"


@pytest.fixture
def box_of():
    boxes = []

    def opened(*data, **options) -> FinetuneBox:
        boxes.append(FinetuneBox(*data, **options))
        return boxes[-1]

    yield opened
    for box in boxes:
        if box.run is not None:
            box.run.kill()
        box.close()


def wait_until(box: FinetuneBox, condition: Callable[[], bool]) -> bool:
    """Poll like the kernel's event loop until a condition holds."""
    end = time.monotonic() + SOON
    while not condition() and time.monotonic() < end:
        box.wait(0)
    return condition()


@pytest.mark.usefixtures("fake_process")
def test_a_run_is_displayed_and_ends_with_a_model(box_of, folder):
    box = box_of(folder, base=embedded(), name="mine")
    box._start_button.click()
    assert wait_until(box, lambda: "Step" in box._message.value)
    assert "polyline" in box._curve.value and 'class="bar"' in box._bar.value

    box._buttons["finish"].click()

    assert box.wait(SOON)
    assert Path(box.model).name == "mine.safetensors" and Path(box.model).is_file()
    assert "mine is ready" in box._title.value
    assert "mine is better than its base" in box._message.value


@pytest.mark.usefixtures("fake_process")
def test_a_run_is_paused_stopped_and_resumed(box_of, folder):
    box = box_of(folder, base=embedded())
    box.start()
    assert wait_until(box, lambda: "Step" in box._message.value)
    box._buttons["pause"].click()
    assert (
        wait_until(box, lambda: "Paused" in box._message.value)
        and box._buttons["pause"].description == "Resume"
    )
    box._buttons["stop"].click()

    assert box.wait(SOON)
    assert box.run.state is State.STOPPED and box.model is None
    box._buttons["resume"].click()
    assert wait_until(box, lambda: box.run.is_running and "Step" in box._message.value)
    box.finish()
    assert box.wait(SOON) and box.model is not None


@pytest.mark.usefixtures("fake_process")
def test_a_later_box_displays_the_active_run(box_of, folder):
    first = box_of(folder, base=embedded())
    first.start()
    first.close()

    later = box_of()
    assert later.run.request == first.run.request
    assert wait_until(later, lambda: "Step" in later._message.value)

    again = box_of(folder)  # also displays it
    again._show_form()
    again.start()
    assert "already active" in again._message.value


@pytest.mark.usefixtures("fake_process")
def test_errors_are_reported_in_one_sentence(box_of, tmp_path):
    box = box_of()
    box.start()
    assert (
        "Choose training data first" in box._message.value and 'class="error"' in box._message.value
    )
    (tmp_path / "empty").mkdir()
    box._data.value = str(tmp_path / "empty")

    box.start()
    assert box.wait(SOON)

    assert "ended early: There are no training images." in box._message.value
    box._buttons["new"].click()
    assert box._form in box.children


@pytest.mark.slow
def test_real_training_gives_a_model_that_colorizes(box_of, tmp_path):
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    image = data.immunohistochemistry()
    for number in range(16):
        top, left = 128 * (number // 4), 128 * (number % 4)
        Image.fromarray(image[top : top + 128, left : left + 128]).save(tiles / f"{number}.png")
    box = box_of(tiles, name="stain")

    box.start()
    start = time.monotonic()
    assert wait_until(
        box, lambda: bool(box.monitor.curves.losses) and time.monotonic() - start > 60
    )
    box.finish()
    assert box.wait(600)

    assert len(box.monitor.curves.errors) >= 2
    colored = ColorizeBox(image[..., 1], model=box.model)
    assert colored.wait(SOON)
    assert colored.result.record["model"] == "stain"
    assert np.ptp(colored.result.pixels.astype(int), axis=-1).mean() > 5
    colored.close()


def embedded() -> str:
    from napari_colorize.zoo import CATALOGUE, local_path

    return str(local_path(CATALOGUE["embedded"]))
