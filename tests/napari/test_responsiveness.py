"""The window never freezes: events posted while colours are made are worked off at once."""

from __future__ import annotations

import time

import numpy as np
from qtpy.QtCore import QTimer
from skimage import data

BLOCKED = 0.05  # seconds
TRIES = 5  # other programs may take the processor from us; nobody else gives it to us


class Pulse:
    """Beats as often as the event loop lets it, and remembers its longest pause."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(0)

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, now - self._last), now

    def pauses(self) -> float:
        """Seconds of the longest pause since the last question."""
        self._beat()
        longest, self.longest = self.longest, 0.0
        return longest


def megapixel() -> np.ndarray:
    return np.ascontiguousarray(np.tile(data.camera(), (2, 2)))


def test_predictions_block_nobody(make_napari_viewer, panel_of, settle, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(megapixel())
    panel = panel_of(viewer)
    settle(panel.controller)
    pulse, pauses = Pulse(), []

    for render_factor in range(8, 8 + TRIES):
        pulse.pauses()
        panel.knobs.controls["render_factor"].value = render_factor
        settle(panel.controller)
        pauses.append(pulse.pauses())

    assert min(pauses) < BLOCKED, pauses


def test_saturation_follows_the_slider(make_napari_viewer, panel_of, settle, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(megapixel())
    panel = panel_of(viewer)
    settle(panel.controller)
    shown, took = [], []
    panel.controller.shown.connect(lambda result: shown.append(result.settings.saturation))

    for saturation in np.linspace(0.5, 1.5, TRIES):
        began = time.perf_counter()
        panel.knobs.controls["saturation"].value = saturation
        qtbot.waitUntil(lambda: bool(shown) and shown[-1] == panel.controller.settings.saturation)
        took.append(time.perf_counter() - began)

    assert min(took) < BLOCKED, took


def test_a_run_over_a_stack_blocks_nobody(make_napari_viewer, panel_of, settle, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(np.stack([data.camera()] * 8))
    panel = panel_of(viewer)
    settle(panel.controller)
    pulse, pauses = Pulse(), []

    for _ in range(TRIES):
        pulse.pauses()
        panel.controller.colorize_all()
        qtbot.waitUntil(lambda: not panel.controller.is_running, timeout=60_000)
        pauses.append(pulse.pauses())

    assert min(pauses) < BLOCKED, pauses
