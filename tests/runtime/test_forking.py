"""Processes: forked ones, and programs that end while a session works."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile

TIMEOUT = 300  # seconds; far more than needed, also on a busy machine

FORKED = """
import multiprocessing
import numpy as np
import torch
import napari_colorize as nc
from napari_colorize.errors import ColorizeError
from napari_colorize.session import ColorizeSession
from skimage.data import camera

image = camera()[::4, ::4]

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

# The package is imported, but torch is used by the program itself; then it forks.
OWN_TORCH = """
import multiprocessing
{before}
import torch
from skimage.data import camera

image = camera()[::4, ::4]

def colorized(_):
    import napari_colorize as nc
    return nc.colorize(image).rgb.shape

torch.set_num_threads(2)
torch.nn.functional.conv2d(torch.ones(1, 8, 256, 256), torch.ones(8, 8, 3, 3))
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(colorized, range(2)).get(timeout=200) == [(128, 128, 3)] * 2
"""

# Planes are read by parent and child, while a thread of the parent holds the lock.
STACKS = """
import multiprocessing
import sys
import numpy as np
import napari_colorize as nc
from napari_colorize.io import tiff_reader

tiff_reader._MEMMAP_BYTES = 1
stacks = [{opened}]
expected = [[np.array(plane) for plane in stack] for stack in stacks]

def read(number):
    for stack, planes in zip(stacks, expected):
        getattr(stack, "_cache", {{}}).clear()
        for each in [*range(number, len(stack)), *range(number)]:
            np.testing.assert_array_equal(stack[each], planes[each])
    return number

for stack in stacks:
    stack[1]
    stack._lock.acquire()
with multiprocessing.get_context("fork").Pool(2) as pool:
    for stack in stacks:
        stack._lock.release()
    found = pool.map_async(read, range(4), chunksize=1)
    read(0)
    assert found.get(timeout=120) == [*range(4)]
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("before", ["import napari_colorize", ""])
def test_a_program_may_use_torch_before_it_forks(before: str) -> None:
    done = run(OWN_TORCH.format(before=before))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_processes_read_stacks_and_videos_of_their_parent(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 256, (6, 40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, compression="zlib", photometric="minisblack")
    opened = [f"nc.read_image({str(tmp_path / 'a.tif')!r}).array"]
    if find_spec("av") is not None:
        from sample_videos import make_video

        make_video(tmp_path / "a.mp4", frames=6)
        opened.append(f"nc.open_video({str(tmp_path / 'a.mp4')!r})")
    done = run(STACKS.format(opened=", ".join(opened)))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_that_ends_leaves_the_session_of_its_parent() -> None:
    script = "import os, sys" + SESSION + "child = os.fork()\nif not child: sys.exit(0)\n"
    done = run(script + "assert os.waitpid(child, 0)[1] == 0\nassert session.wait(200)\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_ends_although_the_thread_of_its_parent_holds_the_lock() -> None:
    script = "import os, sys" + SESSION + "session.wait(200)\nsession._worker._changed.acquire()\n"
    done = run(
        script + "child = os.fork()\nif not child: session.close(); sys.exit(0)\n"
        "session._worker._changed.release()\nassert os.waitpid(child, 0)[1] == 0\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_exit_code_of_a_script_is_kept() -> None:
    assert run("import sys" + SESSION + "sys.exit(3)").returncode == 3


@pytest.mark.parametrize("script", [BOX, SESSION])
def test_a_script_that_ends_at_once_ends_quietly(script: str) -> None:
    if script is BOX:
        pytest.importorskip("ipywidgets")
    done = run(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
