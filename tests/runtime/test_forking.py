"""Processes: forked ones, and programs that end while a session works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TIMEOUT = 300  # seconds; far more than needed, also on a busy machine

FORKED = """
import multiprocessing
import numpy as np
import torch
import napari_colorize as nc
from napari_colorize.errors import ColorizeError
from napari_colorize.session import ColorizeSession

image = (np.arange(64 * 64) % 251).astype(np.uint8).reshape(64, 64)

def colorized(_):
    return nc.colorize(image).rgb

def refused(_):
    try:
        session.set_settings(saturation=2.0)
    except ColorizeError as error:
        return str(error)

torch.set_num_threads(2)
expected = colorized(0)
session = ColorizeSession()
session.update(source=image)
session.wait(60)
with multiprocessing.get_context("fork").Pool(2) as pool:
    for result in pool.map_async(colorized, range(2)).get(timeout=120):
        assert np.array_equal(result, expected)
    sentence, = pool.map_async(refused, range(1)).get(timeout=60)
    assert "before the process was forked" in sentence, sentence
session.close()
assert torch.get_num_threads() == 2
"""

BOX = """
import numpy as np
from napari_colorize.jupyter import ColorizeBox
ColorizeBox(np.zeros((64, 64), np.uint8))
"""

SESSION = """
import numpy as np
from napari_colorize.session import ColorizeSession
session = ColorizeSession()
session.update(source=np.zeros((64, 64), np.uint8))
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a program."""
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_colorizes_and_refuses_sessions_of_its_parent() -> None:
    done = run(FORKED)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", [BOX, SESSION])
def test_a_script_that_ends_at_once_ends_quietly(script: str) -> None:
    if script is BOX:
        pytest.importorskip("ipywidgets")
    done = run(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
