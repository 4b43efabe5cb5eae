"""The plugin as its users start it: `napari photo.png -w napari-colorize`, a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from PIL import Image
from skimage import data

SECONDS = 120  # until the image is colorized, on a slow machine

# What `napari` on the command line runs, watched from inside its own event loop.
WATCHED = f"""
import json, time
import napari
from napari.__main__ import main

run = napari.run
began = time.monotonic()

def watched(**options):
    from qtpy.QtCore import QTimer
    viewer = napari.current_viewer()

    def look():
        names = [layer.name for layer in viewer.layers]
        if len(names) < 2 and time.monotonic() < began + {SECONDS}:
            return
        timer.stop()
        docks = {{
            name: [type(widget).__module__, type(widget).__name__, widget.isVisible()]
            for name, widget in viewer.window.dock_widgets.items()
        }}
        spread = [int((each.data.max(-1) - each.data.min(-1)).max()) for each in viewer.layers[1:]]
        print(json.dumps({{"layers": names, "docks": docks, "spread": spread}}))
        viewer.close()

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(100)
    run(**options)

napari.run = watched
main()
"""


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(data.coffee()[..., 1]).save(path)
    return path


def started(photo, *words, folder):
    """What is in the window once a second layer has come, and that the process ends well."""
    env = {**os.environ, "NAPARI_CONFIG": str(folder / "settings.yaml"), "NAPARI_ASYNC": "0"}
    command = [sys.executable, "-c", WATCHED, str(photo), *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=2 * SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_panel_opens_and_the_image_is_colorized(photo, tmp_path):
    found = started(photo, "-w", "napari-colorize", folder=tmp_path)

    assert found["layers"] == ["photo", "photo (colorized)"]
    assert found["docks"] == {
        "Colorize (napari-colorize)": ["napari_colorize.napari.widget", "ColorizeWidget", True]
    }
    assert found["spread"][0] > 20  # levels between R, G and B: not gray
