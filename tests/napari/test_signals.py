"""Qt objects of the plugin are deleted in the thread of the window."""

from __future__ import annotations

import gc
import threading

from qtpy.QtCore import Qt

from napari_colorize.napari.signals import SingleShotTimer


def test_a_timer_that_a_worker_collects_is_deleted_in_the_main_thread(qtbot):
    deleted_in: list[int] = []
    timer = SingleShotTimer(print, 1000)
    timer._timer.destroyed.connect(
        lambda: deleted_in.append(threading.get_ident()), Qt.ConnectionType.DirectConnection
    )
    timer.cycle = timer
    del timer

    worker = threading.Thread(target=gc.collect)
    worker.start()
    worker.join()

    assert not deleted_in
    qtbot.waitUntil(lambda: deleted_in == [threading.get_ident()])
