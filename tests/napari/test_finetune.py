"""The fine-tune dock, driven as a person would; but in the last test, its child only pretends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_colorize.finetune.status import TrainingStatus
from napari_colorize.finetune.training_run import State, TrainingRun, runs
from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.finetune import FinetuneWidget
from napari_colorize.napari.finetune.pictures import corrections
from napari_colorize.napari.finetune.preview import NAME as PREVIEW

CHILD = Path(__file__).with_name("finetune_child.py")
PROGRAM = Path(__file__).with_name("finetune_viewer.py")
PATIENCE = 60_000  # ms
SLIDE = data.immunohistochemistry()[256:, 256:]

Panel = Callable[[], FinetuneWidget]


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> Iterator[Path]:
    """The user's models, in a folder of the test; what still runs at its end is ended."""
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "own"))
    whole = TrainingRun.command.fget
    monkeypatch.setattr(
        TrainingRun,
        "command",
        property(
            lambda self: [sys.executable, str(CHILD), *whole(self)[3:5], base(), *whole(self)[6:]]
        ),
    )
    yield tmp_path / "own"
    for run in runs():
        run.kill()


def base() -> str:
    from napari_colorize.zoo import CATALOGUE, local_path

    return str(local_path(CATALOGUE["embedded"]))


@pytest.fixture
def viewer(make_napari_viewer) -> Any:
    return make_napari_viewer()


@pytest.fixture
def panel(viewer, qtbot) -> Iterator[Panel]:
    opened = []

    def open_panel() -> FinetuneWidget:
        widget = FinetuneWidget(viewer)
        viewer.window.add_dock_widget(widget, name="Fine-tune")
        opened.append(widget)
        return widget

    yield open_panel
    for widget in opened:
        widget.close()


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (48, 40), (200, 90, 40 * number)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def notices(monkeypatch) -> list[str]:
    """What napari would show."""
    seen: list[str] = []
    for module in ("panel", "data"):
        monkeypatch.setattr(f"napari_colorize.napari.finetune.{module}.show_error", seen.append)
    monkeypatch.setattr("napari_colorize.napari.finetune.panel.show_info", seen.append)
    return seen


@pytest.fixture
def started(panel, pictures, qtbot) -> FinetuneWidget:
    """A panel with a training that has taken its first steps."""
    widget = panel()
    widget.setup.data.add_folder(pictures)
    qtbot.mouseClick(widget.setup.go, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(widget.training.curve.losses) > 3, timeout=PATIENCE)
    return widget


def click(qtbot, button) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_there_is_nothing_to_start_before_there_is_something_to_learn_from(panel, pictures):
    widget = panel()
    assert not widget.setup.go.isEnabled() and not widget.setup.hint.isHidden()

    widget.setup.data.add_folder(pictures)

    assert widget.setup.go.isEnabled() and widget.setup.hint.isHidden()


def test_start_learns_pauses_goes_on_and_finishes_with_a_model(started, own, qtbot):
    page, added = started.training, []
    started.model_added.connect(added.append)

    click(qtbot, page.pause)
    qtbot.waitUntil(lambda: page.is_paused, timeout=PATIENCE)
    assert page.pause.text() == "Resume" and "Paused at step" in page.text
    reached = page.curve.losses[-1][0]
    click(qtbot, page.pause)
    qtbot.waitUntil(lambda: page.curve.losses[-1][0] > reached, timeout=PATIENCE)
    click(qtbot, page.finish)

    with qtbot.waitSignal(started.model_added, timeout=PATIENCE):
        pass
    assert added == [own / "my-model.safetensors"] and added[0].is_file()
    assert "my-model is better than its base" in page.text and "20.0 to 8.0" in page.text
    assert not page.use.isHidden() and page.stop.isHidden()


def test_the_new_model_colorizes_and_can_be_gone_on_from(viewer, started, own, qtbot):
    click(qtbot, started.training.finish)
    with qtbot.waitSignal(started.model_added, timeout=PATIENCE):
        pass

    click(qtbot, started.training.use)
    click(qtbot, started.training.again)

    controller, model = get_controller(viewer), str(own / "my-model.safetensors")
    assert controller.session.model == model
    assert started.setup.base.findData(model) > 0 and not started.setup.isHidden()
    controller.close()


def test_the_curve_has_both_lines_and_the_best_point(started, qtbot):
    curve = started.training.curve
    assert curve.errors[0] == (0, 20.0) and curve.gray == 12.0
    click(qtbot, started.training.finish)
    qtbot.waitUntil(lambda: len(curve.errors) == 2, timeout=PATIENCE)

    seen = curve.grab().toImage()

    assert curve.best == curve.errors[1]
    colors = {seen.pixelColor(x, y).name() for x in range(seen.width()) for y in range(200)}
    assert {"#e8833a", "#4aa3df"} <= colors  # both are painted


def test_what_was_stopped_is_listed_and_goes_on(started, qtbot):
    click(qtbot, started.training.stop)
    setup = started.setup
    qtbot.waitUntil(lambda: not setup.isHidden(), timeout=PATIENCE)
    assert "was stopped" in setup.word.text()
    (run,) = setup.unfinished.runs
    assert run.state is State.STOPPED

    click(qtbot, setup.unfinished.go_on)

    qtbot.waitUntil(lambda: run.is_running and setup.isHidden(), timeout=PATIENCE)
    click(qtbot, started.training.finish)
    with qtbot.waitSignal(started.model_added, timeout=PATIENCE):
        pass


def test_a_panel_that_is_closed_ends_nothing_and_the_next_one_finds_it(started, panel, qtbot):
    run = started.run
    shown = started.training.curve.losses[:3]

    started.close()
    later = panel()

    assert run.is_running
    qtbot.waitUntil(lambda: later.training.curve.losses[:3] == shown, timeout=PATIENCE)
    click(qtbot, later.training.finish)
    with qtbot.waitSignal(later.model_added, timeout=PATIENCE):
        pass


def test_what_ended_while_no_panel_was_open_is_told_by_the_next(started, panel, qtbot):
    run = started.run
    started.close()
    run.order("finish")
    qtbot.waitUntil(lambda: run.state is State.DONE, timeout=PATIENCE)

    later = panel()

    qtbot.waitUntil(lambda: "is better" in later.training.text, timeout=PATIENCE)
    qtbot.waitUntil(lambda: not run.is_whole, timeout=PATIENCE)
    assert panel().training.isHidden()  # once is enough


def test_killed_from_outside_it_can_go_on(started, notices, qtbot):
    started.run.kill()

    qtbot.waitUntil(lambda: not started.setup.isHidden(), timeout=PATIENCE)
    assert "ended from outside" in notices[0]
    assert [run.state for run in started.setup.unfinished.runs] == [State.INTERRUPTED]


def test_an_unfinished_training_is_deleted_only_if_that_is_meant(started, monkeypatch, qtbot):
    click(qtbot, started.training.stop)
    qtbot.waitUntil(lambda: not started.setup.isHidden(), timeout=PATIENCE)
    unfinished = started.setup.unfinished
    for answer, left in ((QMessageBox.StandardButton.No, 1), (QMessageBox.StandardButton.Yes, 0)):
        monkeypatch.setattr(QMessageBox, "question", lambda *_, answer=answer: answer)

        click(qtbot, unfinished.delete)

        assert len(runs()) == len(unfinished.runs) == left


def test_only_one_training_at_a_time(started, panel, pictures, notices):
    other = panel()
    other.show_setup()
    other.setup.data.add_folder(pictures)

    other.start()

    assert notices == ["A training is at work already: let it end, or stop it, first."]


def test_layers_are_written_as_they_are_when_it_starts(viewer, panel, qtbot):
    stack = np.zeros((2, 40, 40, 3), np.uint8) + np.array([[[[200]]], [[[90]]]], np.uint8)
    viewer.add_image(stack, rgb=True, name="colours")
    widget = panel()
    widget.setup.data.add_layers()
    stack[0, ..., 2] = 7

    widget.start()

    qtbot.waitUntil(lambda: widget.run is not None, timeout=PATIENCE)
    (folder,) = widget.run.asked.data
    first, second = (np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir()))
    np.testing.assert_array_equal(first, stack[0])
    np.testing.assert_array_equal(second, stack[1])


def test_a_layer_that_goes_away_is_learned_from_no_more(viewer, panel):
    layer = viewer.add_image(np.zeros((40, 40, 3), np.uint8), rgb=True)
    widget = panel()
    widget.setup.data.add_layers()
    assert len(widget.setup.data.chosen.layers) == 1

    viewer.layers.remove(layer)

    assert not widget.setup.data.chosen


def test_gray_layers_are_refused_in_a_sentence(viewer, panel, notices):
    viewer.add_image(np.zeros((40, 40)), name="cells")
    widget = panel()

    widget.setup.data.add_layers()
    widget.correct()

    assert notices == ["cells has no colours to learn from: choose an RGB layer."] * 2


def test_a_correction_is_kept_ticked_and_learned_from(viewer, panel, notices, qtbot):
    stack = np.zeros((3, 40, 40, 3), np.uint8) + np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    viewer.add_image(stack, rgb=True, name="colours")
    viewer.dims.set_current_step(0, 2)
    widget = panel()

    click(qtbot, widget.correction)

    (path,) = corrections()
    np.testing.assert_array_equal(np.asarray(Image.open(path)), stack[2])
    assert widget.setup.data.chosen.corrections == (path,)
    assert "kept among your corrections" in notices[0]
    widget.start()
    qtbot.waitUntil(lambda: widget.run is not None, timeout=PATIENCE)
    assert [each.name for each in Path(widget.run.asked.data[0]).iterdir()] == [path.name]


def test_choices_reach_the_command(started):
    command = started.run.command
    assert "--augment" not in command and "--steps" not in command  # automatic

    started.setup.recipe.steps.setValue(50)
    started.setup.recipe.together.setChecked(True)

    assert started.setup.recipe.chosen == {
        "augment": None,
        "degrade": None,
        "steps": 50,
        "group": "folder",
    }


def test_previews_come_as_one_layer_beside_the_others_and_stay_away_if_deleted(
    viewer, panel, tmp_path
):
    layer = viewer.add_image(np.zeros((50, 60)), scale=(2, 2), units=("um", "um"))
    Image.new("RGB", (30, 20), (9, 8, 7)).save(tmp_path / "preview.png")
    show = panel()._preview.show

    show(tmp_path / "preview.png")
    show(tmp_path / "preview.png")

    assert [each.name for each in viewer.layers] == [layer.name, PREVIEW]
    preview = viewer.layers[PREVIEW]
    assert preview.extent.world[0, 1] > layer.extent.world[1, 1]
    assert preview.units == layer.units and viewer.layers.selection == {layer}
    viewer.layers.remove(preview)
    show(tmp_path / "preview.png")
    assert len(viewer.layers) == 1


def test_without_the_training_extra_it_says_what_to_install(panel, pictures, notices, monkeypatch):
    module = "napari_colorize.napari.finetune.panel"
    monkeypatch.setattr(f"{module}.missing_packages", lambda: ["accelerate"])
    widget = panel()
    widget.setup.data.add_folder(pictures)

    widget.start()

    assert "Training needs accelerate" in notices[0]
    assert 'pip install "napari-colorize[training]"' in notices[0]


def test_a_layer_that_cannot_be_read_is_told_of(viewer, panel, notices, qtbot):
    da = pytest.importorskip("dask.array")

    def broken(block: np.ndarray) -> np.ndarray:
        if block.shape[0] > 1:
            raise RuntimeError("no such scanner")
        return block

    data = da.zeros((40, 40, 3), dtype=np.uint8, chunks=-1)
    viewer.add_image(data, rgb=True, name="lazy")
    widget = panel()
    widget.setup.data.add_layers()
    viewer.layers[0]._data = data.map_blocks(broken, dtype=np.uint8)

    widget.start()

    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE)
    assert notices == ["The pictures could not be written: no such scanner"]
    assert not widget.setup.isHidden()


def test_a_model_that_is_no_better_is_called_so():
    told = TrainingStatus("mine", "embedded")
    score = {"pictures": 3, "ciede2000": 9.0, "ciede2000_gray": 12.0}

    told.update({"event": "finetuned", "improved": False, "before": score, "after": score})

    assert not told.is_better
    assert "so mine is its base once more" in told.sentence and "Use the base" in told.sentence


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform == "win32", reason="Kills with a signal.")
def test_it_really_trains_is_paused_survives_its_viewer_and_colorizes(own, tmp_path):
    """One viewer begins and is killed in the pause; the next goes on, and uses the model."""
    first = viewer_process("begin", tmp_path)
    paused = last_line(first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    (run,) = runs()
    assert run.is_running and run.last_event()["event"] == "paused"

    second = viewer_process("go-on", tmp_path)
    end = last_line(second)
    second.communicate(timeout=60)

    assert end["losses_before"] == paused["losses"]  # the next panel shows the same curve
    assert end["steps"] > paused["losses"] >= 4
    assert Path(end["model"]) == own / "slides.safetensors" and Path(end["model"]).is_file()
    assert end["seconds"] + paused["seconds"] > 60
    assert "slides is better than its base" in end["text"]
    with np.load(tmp_path / "colours.npz") as colours:
        assert error_of(colours["rgb"]) < 0.7 * error_of(by_the_base())


def by_the_base() -> np.ndarray:
    from napari_colorize import colorize

    return colorize(SLIDE.mean(-1).astype(np.uint8)).pixels


def error_of(rgb: np.ndarray) -> float:
    """Mean CIEDE2000 of the picture that the second viewer colorizes."""
    return float(deltaE_ciede2000(rgb2lab(rgb), rgb2lab(SLIDE)).mean())


def viewer_process(word: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), word, str(folder)], stdout=subprocess.PIPE, text=True
    )


def last_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The object that it writes when it is where the test wants it."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise AssertionError(f"The viewer ended with {process.wait()}.")
