"""What goes wrong is a napari notification of one sentence, and the panel goes on."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from loopback import serving
from napari.utils.notifications import notification_manager

from napari_colorize.napari import commands
from napari_colorize.runtime import memory
from napari_colorize.zoo import CATALOGUE, download, local_path


@pytest.fixture
def notices():
    """Every notification, its text only."""
    messages: list[str] = []

    def note(event) -> None:
        messages.append(str(event.value.message) if hasattr(event, "value") else str(event.message))

    notification_manager.notification_ready.connect(note)
    yield messages
    notification_manager.notification_ready.disconnect(note)


@pytest.fixture
def served(monkeypatch):
    """A catalogue whose artistic model is the embedded one, behind a server on loopback."""
    content = local_path(CATALOGUE["embedded"]).read_bytes()
    with serving() as server:
        server.content = content
        checkpoint = replace(
            CATALOGUE["deoldify-artistic"],
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
        )

        def at(path: str) -> None:
            urls = (f"{server.address}/{path}",)
            monkeypatch.setitem(CATALOGUE, "deoldify-artistic", replace(checkpoint, urls=urls))

        at.requests = server.requests
        yield at


def choose(panel, model: str) -> None:
    panel.models.refresh()
    panel.models.show_model(model)
    panel.models._download.click()


def is_one_sentence(text: str) -> bool:
    return text.endswith(".") and "\n" not in text and "Traceback" not in text


def test_an_empty_viewer(make_napari_viewer, panel_of, notices):
    viewer = make_napari_viewer()

    commands.colorize_selected(viewer)

    assert notices == ["There is no image to colorize: open an image, or choose its layer."]


def test_a_labels_layer(make_napari_viewer, panel_of, notices):
    viewer = make_napari_viewer()
    viewer.add_labels(np.zeros((8, 8), int), name="cells")

    commands.colorize_selected(viewer)

    assert len(notices) == 1 and is_one_sentence(notices[0]) and "cells" in notices[0]


def test_a_model_is_downloaded_after_its_size_is_shown(
    make_napari_viewer, panel_of, settle, photo, served, notices
):
    served("good")
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.models.refresh()
    panel.models.show_model("deoldify-artistic")
    assert panel.models._download.text() == "Download 8 MB"
    panel.models._download.click()
    settle(panel.controller)

    assert panel.controller.result.record["model"] == "deoldify-artistic" and not notices
    assert not panel.models._download.isVisibleTo(panel.models)


@pytest.mark.parametrize("answer", ["missing", "page", "wrong", "cut"])
def test_a_failed_or_damaged_download(
    make_napari_viewer, panel_of, settle, photo, served, notices, qtbot, answer
):
    served(answer)
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)
    before = panel.controller.result_layer.data.copy()

    choose(panel, "deoldify-artistic")
    qtbot.waitUntil(lambda: bool(notices), timeout=60_000)
    attempts = len(served.requests)

    assert "deoldify-artistic could not be downloaded" in notices[0] and is_one_sentence(notices[0])
    np.testing.assert_array_equal(panel.controller.result_layer.data, before)  # it stays
    assert len(panel.state.text()) < 100 and is_one_sentence(panel.state.text())
    assert panel.details.toPlainText() == notices[0]  # with the address and the folder
    assert panel.details_section.isVisibleTo(panel)
    qtbot.wait(500)  # the typical error of the image before would have been asked for by now
    settle(panel.controller)
    assert len(notices) == 1 and len(served.requests) == attempts  # it is not tried again
    panel.controller.use_model("embedded")
    settle(panel.controller)
    assert not panel.details_section.isVisibleTo(panel)


def test_a_download_can_be_cancelled(
    make_napari_viewer, panel_of, settle, photo, served, notices, qtbot, monkeypatch
):
    monkeypatch.setattr(download, "_TIMEOUT", (10.0, 1.0))  # after which Stop is heard
    served("stuck")
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)

    choose(panel, "deoldify-artistic")
    qtbot.waitUntil(
        lambda: panel.stop.isVisibleTo(panel) and "MB" in panel.state.text(), timeout=60_000
    )
    panel.stop.click()
    qtbot.waitUntil(lambda: panel.controller.session.status == "idle", timeout=60_000)

    folder = local_path(CATALOGUE["deoldify-artistic"]).parent
    assert not list(folder.glob("*.pth")) and not notices
    assert panel.controller.result_layer is not None


def test_a_corrupt_checkpoint(
    make_napari_viewer, panel_of, settle, photo, notices, qtbot, tmp_path
):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a model at all")
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.controller.use_model(broken)
    qtbot.waitUntil(lambda: bool(notices), timeout=60_000)

    assert "broken.safetensors" in notices[0] and is_one_sentence(notices[0])
    assert panel.state.text() == notices[0]


def test_exhausted_memory(make_napari_viewer, panel_of, settle, photo, notices, qtbot, monkeypatch):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)

    monkeypatch.setattr(memory, "available", lambda: 1000)
    panel.main_settings.controls["render_factor"].value = 20
    qtbot.waitUntil(lambda: bool(notices), timeout=60_000)

    assert "does not fit into memory" in notices[0] and is_one_sentence(notices[0])


def test_a_stack_whose_colors_do_not_fit_into_memory(
    make_napari_viewer, panel_of, settle, stack, notices, qtbot, monkeypatch
):
    viewer = make_napari_viewer()
    viewer.add_image(stack)
    panel = panel_of(viewer)
    settle(panel.controller)

    monkeypatch.setattr(memory, "available", lambda: 1000)
    panel._guarded(panel.controller.colorize_all)()

    assert len(notices) == 1 and "GB" in notices[0] and is_one_sentence(notices[0])
    assert not panel.controller.presenter.is_running


def test_a_full_disk(
    make_napari_viewer, panel_of, settle, photo, served, notices, qtbot, monkeypatch
):
    def refuse(file, piece) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    served("good")
    monkeypatch.setattr(download, "_write_all", refuse)
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)

    choose(panel, "deoldify-artistic")
    qtbot.waitUntil(lambda: bool(notices), timeout=60_000)

    assert "No space left" in notices[0] and is_one_sentence(notices[0])
    assert not list(local_path(CATALOGUE["deoldify-artistic"]).parent.glob("*.pth"))
