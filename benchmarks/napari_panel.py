"""How quick the panel is in napari: first colours, longest pauses, a saturation slider.

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

SIDE = 1024  # of the picture: a megapixel
TURNS = 12  # of each knob


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
    """One viewer, one picture of a megapixel; seconds."""
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
    from napari_colorize.napari.dock import ColorizeWidget

    panel = ColorizeWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Colorize")
    opened = time.perf_counter()
    until(lambda: panel.desk.result_layer is not None)
    first = time.perf_counter()
    until(lambda: time.perf_counter() > first + 1)
    found = {
        "opening the panel, in the GUI thread": opened - began,
        "from opening to the first coloured plane": first - began,
        "longest pause while torch and the model come": longest_pause(opened),
    }
    shown = []
    panel.desk.shown.connect(lambda result: shown.append(result.settings))
    found["longest pause while render factors are predicted"] = _turn(
        panel, "render_factor", range(8, 8 + TURNS), shown, until, longest_pause
    )[1]
    seconds, pause = _turn(
        panel, "saturation", np.linspace(0.5, 1.6, TURNS), shown, until, longest_pause
    )
    found["from saturation slider to picture, median"] = sorted(seconds)[len(seconds) // 2]
    found["longest pause while saturation is dragged"] = pause
    panel.desk.close()
    viewer.close()
    return found


def _turn(panel, name, values, shown, until, longest_pause) -> tuple[list[float], float]:
    """Seconds from each turn of a knob to its picture, and the longest pause."""
    slider = panel.knobs.controls[name].slider
    since, seconds = time.perf_counter(), []
    for value in values:
        began = time.perf_counter()
        slider.setValue(value)
        wanted = getattr(panel.desk.settings, name)
        until(lambda wanted=wanted: bool(shown) and getattr(shown[-1], name) == wanted)
        seconds.append(time.perf_counter() - began)
    return seconds, longest_pause(since)


if __name__ == "__main__":
    main()
