"""Real processes that are interrupted or killed, and resumed by the same command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stand_ins import TintNetwork, colorizer_of
from typer.testing import CliRunner, Result

from napari_colorize.cli import app
from napari_colorize.colorizer import Colorizer
from napari_colorize.io.images import read_image

COMMAND = ["image", "in", "-o", "out"]
IMAGES = 7

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder `in` with images and, between them, a stack."""
    import tifffile

    random = np.random.default_rng(0)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "c.png", "m.png", "sub/y.png", "sub/z.jpg"):
        pixels = random.integers(0, 256, (40, 56)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    stack = random.integers(0, 256, (20, 24, 32)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in" / "d.tif", stack, photometric="minisblack")
    return tmp_path


def resume(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Run the same command again, without interruption."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(Colorizer, "from_pretrained", lambda *_, **__: colorizer_of(TintNetwork()))
    return CliRunner().invoke(app, COMMAND, catch_exceptions=False)


def results(folder: Path) -> dict[str, bytes]:
    """Contents of the results, after a check that each is complete."""
    found = [path for path in (folder / "out").rglob("*") if path.is_file()]
    results = [
        path
        for path in found
        if not path.name.startswith(".") and path.parent.suffix != ".part"  # unfinished stacks
    ]
    for path in results:
        shape = read_image(path).array.shape
        assert shape == ((20, 24, 32, 3) if path.suffix == ".tif" else (40, 56, 3))
    return {path.name: path.read_bytes() for path in results}


def temporary_files(folder: Path) -> list[Path]:
    return list((folder / "out").rglob(".*"))


@pytest.mark.parametrize(
    ("name", "moment", "number"),
    [
        ("SIGINT", "network", 1),
        ("SIGINT", "network", 4),
        ("SIGTERM", "network", 3),
        pytest.param(
            "SIGHUP",
            "network",
            2,
            marks=pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here"),
        ),
        ("SIGINT", "publish", 1),
        ("SIGINT", "publish", 2),
    ],
)
def test_an_interrupted_run_leaves_no_partial_result_and_is_resumed(
    folder: Path,
    run_program: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    moment: str,
    number: int,
) -> None:
    first = run_program("--signal", name, moment, str(number), *COMMAND)

    finished = results(folder)
    assert first.returncode == 130, first.stderr
    assert "Interrupted." in first.stderr
    assert "Traceback" not in first.stderr
    assert len(finished) < IMAGES
    assert not temporary_files(folder)
    # Also those that were written while the program stopped.
    assert {Path(line).name for line in first.stdout.splitlines()} == finished.keys()
    assert f"{IMAGES - len(finished)} not done" in first.stderr

    second = resume(folder, monkeypatch)

    assert second.exit_code == 0, second.stderr
    assert len(second.stdout.splitlines()) == IMAGES - len(finished)
    assert not finished or f"{len(finished)} already exist" in second.stderr
    assert results(folder).items() >= finished.items()  # unchanged
    assert len(results(folder)) == IMAGES


@pytest.mark.parametrize(("moment", "number"), [("network", 5), ("publish", 2), ("publish", 4)])
def test_a_killed_run_leaves_only_temporary_files_and_is_resumed(
    folder: Path,
    run_program: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    number: int,
) -> None:
    first = run_program("--signal", "SIGKILL", moment, str(number), *COMMAND)

    finished = results(folder)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert len(finished) < IMAGES
    for path in temporary_files(folder):
        os.utime(path, (0, 0))  # old files are removed as abandoned

    second = resume(folder, monkeypatch)

    assert second.exit_code == 0, second.stderr
    assert results(folder).items() >= finished.items()
    assert len(results(folder)) == IMAGES
    assert not temporary_files(folder)
