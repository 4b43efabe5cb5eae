"""What tests of the plugin share: a viewer with the panel, pictures, a way to wait for colours."""

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

SECONDS = 60_000  # to wait at most, in milliseconds: machines that test are slow and shared


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a display there are no windows: say so once for all tests of this folder."""
    if sys.platform != "linux" or os.environ.get("DISPLAY"):
        return
    here = Path(__file__).parent
    skip = pytest.mark.skip(reason="Windows need a display: run `make test`, which brings one.")
    for item in items:
        if here in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="module")
def settled_heap() -> None:
    """napari's fixture collects garbage behind each window: not among all that was there before."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def quiet_home(tmp_path, monkeypatch) -> None:
    """Models and runs of the user who tests are not touched, and nothing is fetched from afar."""
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def photo() -> np.ndarray:
    """A gray photograph, uint8 (256, 256)."""
    return data.astronaut()[:256, 128:384, 1].copy()


@pytest.fixture
def stack(photo) -> np.ndarray:
    """Five different planes of it, uint8 (5, 128, 96)."""
    return np.stack([np.roll(photo, 20 * k, axis=1)[:128, :96] for k in range(5)])


@pytest.fixture
def panel_of(qtbot) -> Iterator[Callable[[Any], Any]]:
    """Opens the panel in a viewer, as its menu does, and waits until the model is ready."""
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
    """Waits until a desk has nothing left to do and the viewer shows it."""

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

        qtbot.waitUntil(is_settled, timeout=SECONDS)
        qtbot.wait(1)  # the last picture may be on its way, and be told as the one before it
        qtbot.waitUntil(is_settled, timeout=SECONDS)

    return wait
