"""The Fine-tune panel, operated by its buttons; the training process is a fake one except in the
slow test."""

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

from napari_colorize.extras import install_command
from napari_colorize.finetune import form
from napari_colorize.finetune.form import ALREADY_RUNNING
from napari_colorize.finetune.training_curves import ERROR_COLOR, LOSS_COLOR
from napari_colorize.finetune.training_run import State, TrainingRun, runs
from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.finetune import FinetuneWidget
from napari_colorize.napari.finetune.preview import NAME as PREVIEW
from napari_colorize.napari.finetune.training_data import corrections

CHILD = Path(__file__).parents[1] / "finetune" / "finetune_child.py"
PROGRAM = Path(__file__).with_name("finetune_viewer.py")
TIMEOUT = 60_000  # ms
SLIDE = data.immunohistochemistry()[256:, 256:]

Panel = Callable[[], FinetuneWidget]


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> Iterator[Path]:
    """Use an empty folder in place of the user's models; runs are killed after the test."""
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "own"))
    command = TrainingRun.command.fget
    monkeypatch.setattr(
        TrainingRun,
        "command",
        property(
            lambda self: [
                sys.executable,
                str(CHILD),
                *command(self)[3:5],
                base(),
                *command(self)[6:],
            ]
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
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (48, 40), (200, 90, 40 * number)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def notices(monkeypatch) -> list[str]:
    """Messages that napari would show."""
    seen: list[str] = []
    for module in ("panel", "data_list"):
        monkeypatch.setattr(f"napari_colorize.napari.finetune.{module}.show_error", seen.append)
    monkeypatch.setattr("napari_colorize.napari.finetune.panel.show_info", seen.append)
    return seen


@pytest.fixture
def started(panel, images, qtbot) -> FinetuneWidget:
    """A panel with a run that has finished its first steps."""
    widget = panel()
    widget.setup.data.add_folder(images)
    qtbot.mouseClick(widget.setup.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: bool(widget.monitor and len(widget.monitor.curves.losses) > 3), timeout=TIMEOUT
    )
    return widget


def click(qtbot, button) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_training_cannot_start_without_data(panel, images):
    widget = panel()
    assert not widget.setup.start.isEnabled() and not widget.setup.hint.isHidden()

    widget.setup.data.add_folder(images)

    assert widget.setup.start.isEnabled() and widget.setup.hint.isHidden()


def test_a_run_is_started_paused_resumed_and_finished_with_a_model(started, own, qtbot):
    page, added = started.training, []
    started.model_added.connect(added.append)

    click(qtbot, page.buttons["pause"])
    qtbot.waitUntil(lambda: started.monitor.status.is_paused, timeout=TIMEOUT)
    assert page.buttons["pause"].text() == "Resume" and "Paused at step" in page.text
    curves = started.monitor.curves
    reached = curves.losses[-1][0]
    click(qtbot, page.buttons["pause"])
    qtbot.waitUntil(lambda: curves.losses[-1][0] > reached, timeout=TIMEOUT)
    click(qtbot, page.buttons["finish"])

    with qtbot.waitSignal(started.model_added, timeout=TIMEOUT):
        pass
    assert added == [own / "my-model.safetensors"] and added[0].is_file()
    assert "my-model is better than its base." in page.text
    assert not page.buttons["use"].isHidden() and page.buttons["stop"].isHidden()


def test_the_new_model_colorizes_and_can_be_a_base_model(viewer, started, own, qtbot):
    click(qtbot, started.training.buttons["finish"])
    with qtbot.waitSignal(started.model_added, timeout=TIMEOUT):
        pass

    click(qtbot, started.training.buttons["use"])
    click(qtbot, started.training.buttons["new"])

    controller, model = get_controller(viewer), str(own / "my-model.safetensors")
    assert controller.session.model == model
    assert started.setup.base.findData(model) > 0 and not started.setup.isHidden()
    controller.close()


def test_both_curves_are_painted(started, qtbot):
    curves = started.monitor.curves
    assert curves.errors[0] == (0, 20.0) and curves.gray_error == 12.0
    click(qtbot, started.training.buttons["finish"])
    qtbot.waitUntil(lambda: len(curves.errors) == 2, timeout=TIMEOUT)

    image = started.training.curve.grab().toImage()

    assert curves.best == curves.errors[1]
    colors = {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(200)}
    assert {ERROR_COLOR, LOSS_COLOR} <= colors


def test_a_stopped_run_is_listed_and_resumed(started, qtbot):
    click(qtbot, started.training.buttons["stop"])
    setup = started.setup
    qtbot.waitUntil(lambda: not setup.isHidden(), timeout=TIMEOUT)
    assert "was stopped" in setup.message.text()
    (run,) = setup.unfinished.runs
    assert run.state is State.STOPPED

    click(qtbot, setup.unfinished.resume)

    qtbot.waitUntil(lambda: run.is_running and setup.isHidden(), timeout=TIMEOUT)
    click(qtbot, started.training.buttons["finish"])
    with qtbot.waitSignal(started.model_added, timeout=TIMEOUT):
        pass


def test_closing_the_panel_does_not_end_the_run_and_the_next_panel_displays_it(
    started, panel, qtbot
):
    run = started.run
    losses = started.monitor.curves.losses[:3]

    started.close()
    later = panel()

    assert run.is_running
    qtbot.waitUntil(lambda: later.monitor.curves.losses[:3] == losses, timeout=TIMEOUT)
    click(qtbot, later.training.buttons["finish"])
    with qtbot.waitSignal(later.model_added, timeout=TIMEOUT):
        pass


def test_a_run_that_ended_without_a_panel_is_displayed_by_the_next(started, panel, qtbot):
    run = started.run
    started.close()
    run.control("finish")
    qtbot.waitUntil(lambda: run.state is State.DONE, timeout=TIMEOUT)

    later = panel()

    qtbot.waitUntil(lambda: "is better" in later.training.text, timeout=TIMEOUT)
    qtbot.waitUntil(lambda: not run.is_complete, timeout=TIMEOUT)
    assert panel().training.isHidden()  # only once


def test_a_killed_run_can_be_resumed(started, notices, qtbot):
    started.run.kill()

    qtbot.waitUntil(lambda: not started.setup.isHidden(), timeout=TIMEOUT)
    assert "ended from outside" in notices[0]
    assert [run.state for run in started.setup.unfinished.runs] == [State.INTERRUPTED]


def test_an_unfinished_run_is_deleted_after_confirmation(started, monkeypatch, qtbot):
    click(qtbot, started.training.buttons["stop"])
    qtbot.waitUntil(lambda: not started.setup.isHidden(), timeout=TIMEOUT)
    unfinished = started.setup.unfinished
    for answer, left in ((QMessageBox.StandardButton.No, 1), (QMessageBox.StandardButton.Yes, 0)):
        monkeypatch.setattr(QMessageBox, "question", lambda *_, answer=answer: answer)

        click(qtbot, unfinished.delete)

        assert len(runs()) == len(unfinished.runs) == left


def test_only_one_run_is_active(started, panel, images, notices):
    other = panel()
    other.show_setup()
    other.setup.data.add_folder(images)

    other.start()

    assert notices == [ALREADY_RUNNING]


def test_layers_are_written_as_displayed_at_the_start(viewer, panel, qtbot):
    stack = np.zeros((2, 40, 40, 3), np.uint8) + np.array([[[[200]]], [[[90]]]], np.uint8)
    viewer.add_image(stack, rgb=True, name="colors")
    widget = panel()
    widget.setup.data.add_layers()
    stack[0, ..., 2] = 7

    widget.start()

    qtbot.waitUntil(lambda: widget.run is not None, timeout=TIMEOUT)
    (folder,) = widget.run.request.data
    first, second = (np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir()))
    np.testing.assert_array_equal(first, stack[0])
    np.testing.assert_array_equal(second, stack[1])


def test_selected_layers_are_added_in_the_order_of_the_layer_list(viewer, panel):
    names = [f"photo {number}" for number in range(9)]
    added = [viewer.add_image(np.zeros((40, 40, 3), np.uint8), rgb=True, name=n) for n in names]
    viewer.layers.selection = added[::-1]
    widget = panel()

    widget.setup.data.add_layers()

    assert [stack.name for stack in widget.setup.data.selection.layers] == names


def test_a_removed_layer_is_removed_from_the_data(viewer, panel):
    layer = viewer.add_image(np.zeros((40, 40, 3), np.uint8), rgb=True)
    widget = panel()
    widget.setup.data.add_layers()
    assert len(widget.setup.data.selection.layers) == 1

    viewer.layers.remove(layer)

    assert not widget.setup.data.selection


def test_grayscale_layers_are_refused(viewer, panel, notices):
    viewer.add_image(np.zeros((40, 40)), name="cells")
    widget = panel()

    widget.setup.data.add_layers()
    widget.correct()

    assert notices == ["cells is not a color layer. Select an RGB layer."] * 2


def test_a_correction_is_kept_checked_and_used(viewer, panel, notices, qtbot):
    stack = np.zeros((3, 40, 40, 3), np.uint8) + np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    viewer.add_image(stack, rgb=True, name="colors")
    viewer.dims.set_current_step(0, 2)
    widget = panel()

    click(qtbot, widget.correction)

    (path,) = corrections()
    np.testing.assert_array_equal(np.asarray(Image.open(path)), stack[2])
    assert widget.setup.data.selection.corrections == (path,)
    assert "added to your corrections" in notices[0]
    widget.start()
    qtbot.waitUntil(lambda: widget.run is not None, timeout=TIMEOUT)
    assert [each.name for each in Path(widget.run.request.data[0]).iterdir()] == [path.name]


def test_options_reach_the_command(started):
    command = started.run.command
    assert "--augment" not in command and "--steps" not in command  # automatic

    started.setup.options.steps.setValue(50)
    started.setup.options.group.setChecked(True)

    assert started.setup.options.values == {
        "augment": None,
        "degrade": None,
        "steps": 50,
        "group": "folder",
    }


def test_the_preview_is_one_layer_beside_the_others_and_is_not_added_again_if_deleted(
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


def test_without_the_training_extra_a_message_names_the_package(
    panel, images, notices, monkeypatch
):
    monkeypatch.setattr(form, "missing_packages", lambda: ["accelerate"])
    widget = panel()
    widget.setup.data.add_folder(images)

    widget.start()

    assert "Training needs accelerate" in notices[0]
    assert install_command("training") in notices[0]


def test_a_layer_that_cannot_be_read_is_reported(viewer, panel, notices, qtbot):
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

    qtbot.waitUntil(lambda: bool(notices), timeout=TIMEOUT)
    assert notices == ["The training images could not be written: no such scanner"]
    assert not widget.setup.isHidden()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform == "win32", reason="Kills with a signal.")
def test_real_training_survives_its_viewer_and_gives_a_model(own, tmp_path):
    """The first viewer is killed while training is paused; the second one resumes it."""
    first = viewer_process("begin", tmp_path)
    paused = last_line(first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    (run,) = runs()
    assert run.is_running and run.last_event()["event"] == "paused"

    second = viewer_process("resume", tmp_path)
    end = last_line(second)
    second.communicate(timeout=300)

    assert end["losses_before"] == paused["losses"]  # the second panel displays the same curve
    assert end["steps"] > paused["losses"] >= 4
    assert Path(end["model"]) == own / "slides.safetensors" and Path(end["model"]).is_file()
    assert end["seconds"] + paused["seconds"] > 60
    assert "slides is better than its base" in end["text"]
    with np.load(tmp_path / "colors.npz") as colors:
        assert error_of(colors["rgb"]) < 0.75 * error_of(base_colors())


def base_colors() -> np.ndarray:
    from napari_colorize import colorize

    return colorize(SLIDE.mean(-1).astype(np.uint8)).pixels


def error_of(rgb: np.ndarray) -> float:
    """Mean CIEDE2000 of the image that the second viewer colorizes."""
    return float(deltaE_ciede2000(rgb2lab(rgb), rgb2lab(SLIDE)).mean())


def viewer_process(command: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), command, str(folder)], stdout=subprocess.PIPE, text=True
    )


def last_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the JSON line that the process writes."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise AssertionError(f"The viewer ended with {process.wait()}.")
