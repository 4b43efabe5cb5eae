"""Longest pauses of the napari window with the plugin, against the same actions of napari alone.

    xvfb-run -a -s "-screen 0 1400x1000x24" python benchmarks/napari_pauses.py

A pause is the time between two events of a timer in the event loop, during which the window does
not react. Both columns are measured in one process: first napari alone with layers of the same
sizes, then the plugin. Each round is a new process, because the first time of an action is the
slowest. The last lines are about pictures that arrive while a control is dragged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from machine import print_rounds

SIDE = 1024  # of the image: a megapixel
BEAT_MS = 1
REST = 0.3  # seconds after an action that belong to it
STEPS = 15  # of a drag
STEP = 0.04  # seconds between two of them
LONG_DRAG = 75  # steps of a drag during which pictures are counted
TIMEOUT = 120.0


def main() -> None:
    """Print medians and spreads over some rounds."""
    print_rounds(__file__, __doc__, measure, rounds=3)


class Window:
    """A viewer whose event loop is watched."""

    def __init__(self, viewer: Any) -> None:
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication

        self.viewer = viewer
        self._app = QApplication.instance()
        self._last = time.perf_counter()
        self._longest = 0.0
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT_MS)

    def _beat(self) -> None:
        now = time.perf_counter()
        self._longest, self._last = max(self._longest, now - self._last), now

    def wait(self, condition: Callable[[], bool], timeout: float = TIMEOUT) -> None:
        """Handle events until a condition holds."""
        end = time.perf_counter() + timeout
        while not condition():
            if time.perf_counter() > end:
                raise TimeoutError("The benchmark waits in vain.")
            self._app.processEvents()
            time.sleep(0.0005)  # lets the worker thread in, as waiting in Qt's own loop does

    def rest(self, seconds: float = REST) -> None:
        """Handle events for some time."""
        end = time.perf_counter() + seconds
        self.wait(lambda: time.perf_counter() > end)

    def pause(
        self, action: Callable[[], object], until: Callable[[], bool] = lambda: True
    ) -> float:
        """Longest pause in seconds from an action until a condition holds and all is drawn."""
        self.rest()
        self._longest, self._last = 0.0, time.perf_counter()
        action()
        self._beat()
        self.wait(until)
        self.rest()
        return self._longest

    def drag(self, move: Callable[[Any], object], values: Iterable[Any]) -> Callable[[], None]:
        """An action that moves something in steps."""

        def action() -> None:
            for value in values:
                move(value)
                self._beat()
                self.rest(STEP)

        return action

    def mouse_drag(
        self, start: tuple[float, float], end: tuple[float, float]
    ) -> Callable[[], None]:
        """An action that drags on the canvas; positions as shares of its width and height."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        canvas = self.viewer.window._qt_viewer.canvas.native
        size = np.array([canvas.width(), canvas.height()])

        def at(share: float) -> QPoint:
            return QPoint(*map(int, np.rint(size * np.add(start, share * np.subtract(end, start)))))

        left = Qt.MouseButton.LeftButton

        def action() -> None:
            QTest.mouseMove(canvas, at(0))
            QTest.mousePress(canvas, left, pos=at(0))
            self.drag(lambda share: QTest.mouseMove(canvas, at(share)), np.linspace(0, 1, STEPS))()
            QTest.mouseRelease(canvas, left, pos=at(1))

        return action


def measure() -> dict[str, float]:
    """Measure one viewer with an image of one megapixel; seconds."""
    import napari
    from skimage import data
    from skimage.transform import resize

    image = (resize(data.camera(), (SIDE, SIDE)) * 255).astype(np.uint8)
    viewer = napari.Viewer()
    viewer.add_image(image, name="camera")
    window = Window(viewer)
    window.rest(1.0)
    alone = measure_napari(window, image)
    window.rest(1.0)
    plugin, pictures = measure_plugin(window)
    found = {}
    for name, pause in plugin.items():
        found[f"{name}, plugin"], found[f"{name}, napari"] = pause, alone[name]
    viewer.close()
    return {**found, **pictures}


def contrast_limits() -> list[tuple[float, float]]:
    """The values of a drag of contrast limits."""
    return [(float(low), 255.0) for low in np.linspace(0, 90, STEPS)]


def measure_napari(window: Window, image: np.ndarray) -> dict[str, float]:
    """The layer operations of each action, without the plugin."""
    viewer, layers = window.viewer, window.viewer.layers
    camera_layer = layers[0]
    rgb = np.stack([image] * 3, axis=-1)
    errors = (image / 8).astype(np.float32)
    found = {}

    def add_colors() -> None:
        viewer.add_image(rgb, name="a")

    found["first image"] = window.pause(add_colors)
    found["contrast limits dragged"] = window.pause(
        window.drag(
            lambda limits: setattr(camera_layer, "contrast_limits", limits), contrast_limits()
        )
    )
    camera_layer.contrast_limits = 0, 255
    found["curtain dragged on the canvas"] = window.pause(
        window.mouse_drag((0.5, 0.5), (0.35, 0.5))
    )
    viewer.reset_view()

    def side_by_side() -> None:
        added = viewer.add_image(rgb, name="b")
        layers.move(0, len(layers))
        for layer in layers:
            if hasattr(layer, "name_overlay"):
                layer.name_overlay.visible = True
        grid = getattr(viewer, "canvas", viewer).grid
        grid.shape, grid.stride, grid.enabled = (1, 3), 1, True
        viewer.reset_view()
        assert added in layers

    found["side by side"] = window.pause(side_by_side)
    getattr(viewer, "canvas", viewer).grid.enabled = False
    layers.remove("b")
    layers.move(layers.index(camera_layer), 0)
    viewer.reset_view()

    def map_over(name: str) -> None:
        layers.selection.active = camera_layer
        layer = viewer.add_image(errors[::8, ::8], name=name, scale=(8, 8), colormap="viridis")
        layer.contrast_limits = 0, 30
        layers.selection.active = camera_layer

    def attention() -> None:
        map_over("map")
        viewer.add_image(np.ones((41, 41), np.float32), name="marker")
        layers.selection.active = camera_layer

    found["expected error"] = window.pause(lambda: map_over("errors"))
    found["attention, first click"] = window.pause(attention)
    for name in ("errors", "map", "marker", "a"):
        layers.remove(name)
    return found


def measure_plugin(window: Window) -> tuple[dict[str, float], dict[str, float]]:
    """The actions with the plugin: pauses, and times between pictures during a drag."""
    from napari_colorize.napari.explore import ExploreWidget
    from napari_colorize.napari.widget import ColorizeWidget

    viewer = window.viewer
    panel = ColorizeWidget(viewer)
    controller = panel.controller
    viewer.window.add_dock_widget(panel, name="Colorize", area="right")
    explore = ExploreWidget(viewer)
    viewer.window.add_dock_widget(explore, name="Explore", area="left")
    found: dict[str, float] = {}
    shown: list[float] = []
    controller.shown.connect(lambda _: shown.append(time.perf_counter()))

    def settled() -> bool:
        return controller.session.status == "idle" and not controller.session.is_pending

    found["first image"] = window.pause(
        lambda: None, lambda: controller.result_layer is not None and settled()
    )
    window.rest(1.0)
    found["side by side"] = window.pause(
        lambda: explore.comparison_button.setChecked(True),
        lambda: explore.comparison.layer is not None,
    )
    explore.comparison_button.setChecked(False)
    window.rest(1.0)
    found["expected error"] = window.pause(
        lambda: explore.expected_error_button.setChecked(True),
        lambda: explore.expected_error.layer is not None,
    )
    explore.expected_error_button.setChecked(False)
    explore.attention_button.setChecked(True)
    found["attention, first click"] = window.pause(
        lambda: explore.attention.request(np.array([300.0, 400.0])),
        lambda: explore.attention.layer is not None,
    )
    explore.attention_button.setChecked(False)
    explore.curtain_button.setChecked(True)
    window.rest()
    found["curtain dragged on the canvas"] = window.pause(
        window.mouse_drag((0.5, 0.5), (0.35, 0.5))
    )
    assert explore.curtain.share < 0.5, "the line was not dragged"
    explore.curtain_button.setChecked(False)
    window.rest()

    layer, pictures = controller.layer, {}

    def set_limits(limits: tuple[float, float]) -> None:
        layer.contrast_limits = limits

    found["contrast limits dragged"] = window.pause(window.drag(set_limits, contrast_limits()))
    window.wait(settled)
    factors = panel.main_settings.controls["render_factor"].slider
    lows = [(float(low), 255.0) for low in np.linspace(1, 75, LONG_DRAG)]
    for name, move, values in (
        ("contrast limits are", set_limits, lows),
        (
            "the render factor is",
            factors.setValue,
            np.linspace(12, 40, LONG_DRAG, dtype=int).tolist(),
        ),
    ):
        shown.clear()
        began = time.perf_counter()
        window.drag(move, values)()
        ended = time.perf_counter()
        mean = (ended - began) / max(1, len(shown))
        pictures[f"between two pictures while {name} dragged"] = mean
        window.wait(settled)
        pictures[f"from there to the final image, {name} dragged"] = time.perf_counter() - ended
    controller.close()
    return found, pictures


if __name__ == "__main__":
    main()
