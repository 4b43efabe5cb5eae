"""How quick the panel is in napari: first colors, longest pauses, a saturation slider, hints.

    xvfb-run -a -s "-screen 0 1400x1000x24" python benchmarks/napari_panel.py

A pause is the time between two events that are posted one after the other: what a person feels
when the window does not move. Each round is a process of its own, for torch is imported only once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time

from machine import describe_machine, spread

SIDE = 1024  # of the image: a megapixel
TURNS = 12  # of each knob
REST = 150  # milliseconds between two turns
DOTS = [(100 + 90 * number, 200 + 77 * number) for number in range(9)]  # rows and columns


def main() -> None:
    """Print medians and spreads over some rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", action="store_true", help="One round in this process, as JSON.")
    chosen = parser.parse_args()
    if chosen.once:
        print(json.dumps(measure()))
        return
    command = [sys.executable, __file__, "--once"]
    rounds = [
        json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
        for _ in range(chosen.rounds)
    ]
    print(describe_machine())
    for name in rounds[0]:
        print(f"{name}: {spread([each[name] for each in rounds])}")


def measure() -> dict[str, float]:
    """One viewer, one image of a megapixel; seconds."""
    import napari
    import numpy as np
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication
    from skimage import data
    from skimage.transform import resize

    picture = (resize(data.camera(), (SIDE, SIDE)) * 255).astype(np.uint8)
    viewer = napari.Viewer()
    app = QApplication.instance()
    viewer.add_image(picture, name="camera")
    beats = [time.perf_counter()]
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(0)

    def until(condition, seconds: float = 120.0) -> None:
        end = time.perf_counter() + seconds
        while not condition() and time.perf_counter() < end:
            app.processEvents()

    def longest_pause(since: float) -> float:
        late = [beat for beat in beats if beat >= since]
        return max(b - a for a, b in itertools.pairwise(late))

    until(lambda: len(beats) > 1000)
    began = time.perf_counter()
    from napari_colorize.napari.widget import ColorizeWidget

    panel = ColorizeWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Colorize")
    opened = time.perf_counter()
    until(lambda: panel.controller.result_layer is not None)
    first = time.perf_counter()
    until(lambda: time.perf_counter() > first + 1)
    found = {
        "opening the panel, in the GUI thread": opened - began,
        "from opening to the first colored plane": first - began,
        "longest pause while torch and the model come": longest_pause(opened),
    }
    predicted, pause = _turn(panel, "render_factor", range(8, 8 + TURNS), beats)
    found["from render factor to image, median"] = predicted
    found["longest pause while render factors are predicted"] = pause
    timer.stop()  # beats take the interpreter from the worker: what is timed goes without
    saturations = np.linspace(0.5, 1.6, TURNS)
    found["from saturation slider to image, median"] = _turn(panel, "saturation", saturations)[0]
    timer.start(0)
    found["longest pause while saturation is dragged"] = _turn(
        panel, "saturation", saturations[:-1][::-1], beats
    )[1]
    timer.stop()
    found["from a hint's dot to image, median"] = _click(panel, DOTS)[0]
    timer.start(0)
    found["longest pause while dots are clicked"] = _click(panel, DOTS[::-1], beats)[1]
    panel.controller.close()
    viewer.close()
    return found


def _click(panel, places, beats=None) -> tuple[float, float]:
    """Median seconds from each dot of hints to its image, and the longest pause."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, controller, before = QEventLoop(), panel.controller, []

    def look(result) -> None:
        if result.guides.hints is not None and result.guides is not before[-1]:
            loop.quit()

    hints = controller.add_hints()
    since, seconds = time.perf_counter(), []
    for place in places:
        QTimer.singleShot(REST, loop.quit)
        loop.exec()
        before.append(controller.result.guides)
        controller.shown.connect(look)
        began = time.perf_counter()
        hints.add([place])
        loop.exec()
        seconds.append(time.perf_counter() - began)
        controller.shown.disconnect(look)
    controller.viewer.layers.remove(hints)
    late = [beat for beat in beats or () if beat >= since]
    pause = max((b - a for a, b in itertools.pairwise(late)), default=0.0)
    return sorted(seconds)[len(seconds) // 2], pause


def _turn(panel, name, values, beats=None) -> tuple[float, float]:
    """Median seconds from each turn of a knob to its image, and the longest pause."""
    from qtpy.QtCore import QEventLoop, QTimer

    slider = panel.main_settings.controls[name].slider
    loop = QEventLoop()
    wanted: list[float] = []

    def look(result) -> None:
        if getattr(result.settings, name) == wanted[-1]:
            loop.quit()

    panel.controller.shown.connect(look)
    since, seconds = time.perf_counter(), []
    for value in values:
        QTimer.singleShot(REST, loop.quit)  # the last image is still being painted
        loop.exec()
        began = time.perf_counter()
        slider.setValue(value)
        wanted.append(getattr(panel.controller.settings, name))
        loop.exec()
        seconds.append(time.perf_counter() - began)
    panel.controller.shown.disconnect(look)
    late = [beat for beat in beats or () if beat >= since]
    pause = max((b - a for a, b in itertools.pairwise(late)), default=0.0)
    return sorted(seconds)[len(seconds) // 2], pause


if __name__ == "__main__":
    main()
