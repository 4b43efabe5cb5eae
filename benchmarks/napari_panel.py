"""Responsiveness of the napari panel: first image, longest pauses, saturation slider, hints.

    xvfb-run -a -s "-screen 0 1400x1000x24" python benchmarks/napari_panel.py

A pause is the time between two consecutive timer events of the event loop, during which the window
does not react. Each round is a new process, because torch is imported once per process.
"""

from __future__ import annotations

import itertools
import time

from machine import print_rounds

SIDE = 1024  # of the image: a megapixel
CHANGES = 12  # changes of each control
REST_MS = 150  # between two changes
POINTS = [(100 + 90 * number, 200 + 77 * number) for number in range(9)]  # rows and columns


def main() -> None:
    """Print medians and spreads over some rounds."""
    print_rounds(__file__, __doc__, measure, rounds=5)


def measure() -> dict[str, float]:
    """Measure one viewer with an image of one megapixel; seconds."""
    import napari
    import numpy as np
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication
    from skimage import data
    from skimage.transform import resize

    image = (resize(data.camera(), (SIDE, SIDE)) * 255).astype(np.uint8)
    viewer = napari.Viewer()
    app = QApplication.instance()
    viewer.add_image(image, name="camera")
    ticks = [time.perf_counter()]
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(0)

    def until(condition, seconds: float = 120.0) -> None:
        end = time.perf_counter() + seconds
        while not condition() and time.perf_counter() < end:
            app.processEvents()

    def longest_pause(since: float) -> float:
        late = [tick for tick in ticks if tick >= since]
        return max(b - a for a, b in itertools.pairwise(late))

    until(lambda: len(ticks) > 1000)
    began = time.perf_counter()
    from napari_colorize.napari.widget import ColorizeWidget

    panel = ColorizeWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Colorize")
    opened = time.perf_counter()
    until(lambda: panel.controller.result_layer is not None)
    first = time.perf_counter()
    until(lambda: time.perf_counter() > first + 1)
    seconds_of = {
        "opening the panel, in the GUI thread": opened - began,
        "from opening to the first colored plane": first - began,
        "longest pause while torch and the model are loaded": longest_pause(opened),
    }
    predicted, pause = _change_setting(panel, "render_factor", range(8, 8 + CHANGES), ticks)
    seconds_of["from render factor to image, median"] = predicted
    seconds_of["longest pause while render factors are predicted"] = pause
    timer.stop()  # the timer competes with the worker for the interpreter lock
    saturations = np.linspace(0.5, 1.6, CHANGES)
    seconds_of["from saturation slider to image, median"] = _change_setting(
        panel, "saturation", saturations
    )[0]
    timer.start(0)
    seconds_of["longest pause while saturation is dragged"] = _change_setting(
        panel, "saturation", saturations[:-1][::-1], ticks
    )[1]
    timer.stop()
    seconds_of["from a hint to image, median"] = _add_points(panel, POINTS)[0]
    timer.start(0)
    seconds_of["longest pause while hints are added"] = _add_points(panel, POINTS[::-1], ticks)[1]
    panel.controller.close()
    viewer.close()
    return seconds_of


def _add_points(panel, positions, ticks=None) -> tuple[float, float]:
    """Return the median seconds from each hint to its image, and the longest pause."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, controller, before = QEventLoop(), panel.controller, []

    def quit_when_displayed(result) -> None:
        if result.guides.hints is not None and result.guides is not before[-1]:
            loop.quit()

    hints = controller.add_hints()
    since, seconds = time.perf_counter(), []
    for position in positions:
        QTimer.singleShot(REST_MS, loop.quit)
        loop.exec()
        before.append(controller.result.guides)
        controller.shown.connect(quit_when_displayed)
        began = time.perf_counter()
        hints.add([position])
        loop.exec()
        seconds.append(time.perf_counter() - began)
        controller.shown.disconnect(quit_when_displayed)
    controller.viewer.layers.remove(hints)
    late = [tick for tick in ticks or () if tick >= since]
    pause = max((b - a for a, b in itertools.pairwise(late)), default=0.0)
    return sorted(seconds)[len(seconds) // 2], pause


def _change_setting(panel, name, values, ticks=None) -> tuple[float, float]:
    """Return the median seconds from a change of a control to its image, and the longest pause."""
    from qtpy.QtCore import QEventLoop, QTimer

    slider = panel.main_settings.controls[name].slider
    loop = QEventLoop()
    requested: list[float] = []

    def quit_when_displayed(result) -> None:
        if getattr(result.settings, name) == requested[-1]:
            loop.quit()

    panel.controller.shown.connect(quit_when_displayed)
    since, seconds = time.perf_counter(), []
    for value in values:
        QTimer.singleShot(REST_MS, loop.quit)  # wait until the last image is painted
        loop.exec()
        began = time.perf_counter()
        slider.setValue(value)
        requested.append(getattr(panel.controller.presenter.settings, name))
        loop.exec()
        seconds.append(time.perf_counter() - began)
    panel.controller.shown.disconnect(quit_when_displayed)
    late = [tick for tick in ticks or () if tick >= since]
    pause = max((b - a for a, b in itertools.pairwise(late)), default=0.0)
    return sorted(seconds)[len(seconds) // 2], pause


if __name__ == "__main__":
    main()
