"""Fixtures for tests of the plugin: images, a viewer with the panel, and waiting for results."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data

from napari_colorize.result import Colorized
from napari_colorize.session import messages

TIMEOUT = 60_000  # milliseconds; generous, because test machines are slow and busy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all tests of this folder if there is no display."""
    if sys.platform != "linux" or os.environ.get("DISPLAY"):
        return
    folder = Path(__file__).parent
    skip = pytest.mark.skip(reason="Windows need a display: run `make test`, which brings one.")
    for item in items:
        if folder in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="module")
def frozen_heap() -> None:
    """Exclude existing objects from garbage collection, which napari's fixture runs per window."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def isolated_folders(tmp_path, monkeypatch) -> None:
    """Do not use the models and runs of the user who runs the tests, and download nothing."""
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(autouse=True)
def accepted(request, monkeypatch) -> None:
    """Let small crops and patterns pass as photographs, except with the fixture `judged`."""
    if "judged" in request.fixturenames:
        return
    monkeypatch.setattr(Colorized, "is_unlike_photographs", False)
    monkeypatch.setattr(messages, "HIGHEST_ERROR", float("inf"))


@pytest.fixture
def judged() -> None:
    """The model judges the images of this test."""


@pytest.fixture
def photo() -> np.ndarray:
    """A gray photograph, uint8 (256, 256)."""
    return data.astronaut()[:256, 128:384, 1].copy()


@pytest.fixture
def stack(photo) -> np.ndarray:
    """Five different planes of the photograph, uint8 (5, 128, 96)."""
    return np.stack([np.roll(photo, 20 * k, axis=1)[:128, :96] for k in range(5)])


@pytest.fixture
def panel_of(qtbot) -> Iterator[Callable[[Any], Any]]:
    """Opens the panel in a viewer, as the menu does."""
    from napari_colorize.napari.widget import ColorizeWidget

    opened = []

    def panel(viewer: Any) -> ColorizeWidget:
        widget = ColorizeWidget(viewer)
        viewer.window.add_dock_widget(widget, name="Colorize")
        opened.append(widget)
        return widget

    yield panel
    for widget in opened:
        widget.controller.close()


@pytest.fixture
def settle(qtbot) -> Callable[[Any], None]:
    """Waits until a controller has nothing left to do and the viewer shows its result."""

    def wait(controller: Any) -> None:
        def is_settled() -> bool:
            result = controller.session.result
            layer = controller.result_layer
            return (
                controller.session.status == "idle"
                and controller.session.wait(0)
                and result is not None
                and layer is not None
                and layer.metadata["napari-colorize"] == result.provenance
            )

        qtbot.waitUntil(is_settled, timeout=TIMEOUT)
        qtbot.wait(1)  # a last result may be emitted but not delivered yet
        qtbot.waitUntil(is_settled, timeout=TIMEOUT)

    return wait
