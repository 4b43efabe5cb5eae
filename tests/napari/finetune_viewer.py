"""A viewer with the fine-tune dock in a process of its own, for a test that kills it.

`begin FOLDER` starts a training, lets it learn for a while and pauses it; `go-on FOLDER` finds it
paused, lets it go on, finishes it and colorizes with what came out. Each writes one line of JSON
when it is there.
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

LEARN = 40.0  # seconds in each process, at least
STEPS_AT_LEAST = 4


def main(word: str, folder: Path) -> None:
    viewer = napari.Viewer(show=False)
    panel = FinetuneWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Fine-tune")
    if word == "begin":
        begin(panel, draw(folder / "pictures"))
    else:
        go_on(panel, folder)
        viewer.close()


def begin(panel: FinetuneWidget, pictures: Path) -> None:
    panel.setup.data.add_folder(pictures)
    panel.setup.name.setText("slides")
    panel.setup.go.click()
    curve = panel.training.curve
    wait(lambda: bool(curve.losses))
    seconds = learn(panel)
    panel.training.pause.click()
    wait(lambda: panel.training.is_paused)
    say(losses=len(curve.losses), seconds=seconds)
    wait(lambda: False)  # to be killed


def go_on(panel: FinetuneWidget, folder: Path) -> None:
    wait(lambda: panel.training.is_paused)
    models: list[Path] = []
    panel.model_added.connect(models.append)
    curve = panel.training.curve
    before = len(curve.losses)
    panel.training.pause.click()
    wait(lambda: len(curve.losses) > before)
    seconds = learn(panel)
    panel.training.finish.click()
    wait(lambda: bool(models))
    gray = data.immunohistochemistry()[256:, 256:].mean(-1).astype(np.uint8)
    np.savez(folder / "colours.npz", rgb=Colorizer.from_pretrained(models[0])(gray).pixels)
    steps = len(curve.losses)
    say(
        model=str(models[0]),
        text=panel.training.text,
        losses_before=before,
        steps=steps,
        seconds=seconds,
    )


def learn(panel: FinetuneWidget) -> float:
    start, curve = time.monotonic(), panel.training.curve
    enough = len(curve.losses) + STEPS_AT_LEAST
    wait(lambda: time.monotonic() - start > LEARN and len(curve.losses) >= enough)
    return time.monotonic() - start


def draw(folder: Path) -> Path:
    """Tiles of a stained slide."""
    folder.mkdir()
    slide = data.immunohistochemistry()
    for row in range(4):
        for column in range(4):
            tile = slide[128 * row :, 128 * column :][:128, :128]
            Image.fromarray(tile).save(folder / f"{row}{column}.png")
    return folder


def wait(claim: Callable[[], bool]) -> None:
    while not claim():
        QTest.qWait(50)


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
