"""A viewer with the Fine-tune panel as a separate process, for a test that kills it.

`begin FOLDER` starts a run, trains for a while and pauses it. `resume FOLDER` resumes and finishes
it, and colorizes with the new model. Each writes one line of JSON at its end.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from PIL import Image
from qtpy.QtTest import QTest
from skimage import data

from napari_colorize import Colorizer
from napari_colorize.napari.finetune import FinetuneWidget

TRAINING_SECONDS = 40.0  # minimum in each process
MIN_STEPS = 4


def main(command: str, folder: Path) -> None:
    viewer = napari.Viewer(show=False)
    panel = FinetuneWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Fine-tune")
    if command == "begin":
        begin(panel, write_tiles(folder / "images"))
    else:
        resume(panel, folder)
        viewer.close()


def begin(panel: FinetuneWidget, images: Path) -> None:
    panel.setup.data.add_folder(images)
    panel.setup.name.setText("slides")
    panel.setup.start.click()
    wait(lambda: bool(panel.monitor and panel.monitor.curves.losses))
    curves = panel.monitor.curves
    seconds = train(panel)
    panel.training.buttons["pause"].click()
    wait(lambda: panel.monitor.status.is_paused)
    report(losses=len(curves.losses), seconds=seconds)
    wait(lambda: False)  # until this process is killed


def resume(panel: FinetuneWidget, folder: Path) -> None:
    wait(lambda: panel.monitor.status.is_paused)
    models: list[Path] = []
    panel.model_added.connect(models.append)
    curves = panel.monitor.curves
    before = len(curves.losses)
    panel.training.buttons["pause"].click()
    wait(lambda: len(curves.losses) > before)
    seconds = train(panel)
    panel.training.buttons["finish"].click()
    wait(lambda: bool(models))
    gray = data.immunohistochemistry()[256:, 256:].mean(-1).astype(np.uint8)
    np.savez(folder / "colors.npz", rgb=Colorizer.from_pretrained(models[0])(gray).pixels)
    steps = len(curves.losses)
    report(
        model=str(models[0]),
        text=panel.training.text,
        losses_before=before,
        steps=steps,
        seconds=seconds,
    )


def train(panel: FinetuneWidget) -> float:
    start, curves = time.monotonic(), panel.monitor.curves
    enough = len(curves.losses) + MIN_STEPS
    wait(lambda: time.monotonic() - start > TRAINING_SECONDS and len(curves.losses) >= enough)
    return time.monotonic() - start


def write_tiles(folder: Path) -> Path:
    """Write tiles of a stained slide."""
    folder.mkdir()
    slide = data.immunohistochemistry()
    for row in range(4):
        for column in range(4):
            tile = slide[128 * row :, 128 * column :][:128, :128]
            Image.fromarray(tile).save(folder / f"{row}{column}.png")
    return folder


def wait(condition: Callable[[], bool]) -> None:
    while not condition():
        QTest.qWait(50)


def report(**facts: object) -> None:
    print(json.dumps(facts), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
