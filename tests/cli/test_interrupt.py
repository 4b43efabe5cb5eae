"""Real processes that end before they are done; then the same command goes on."""

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
PICTURES = 7

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`in` with pictures and, in the middle of them, a stack."""
    import tifffile

    random = np.random.default_rng(0)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "c.png", "m.png", "sub/y.png", "sub/z.jpg"):
        pixels = random.integers(0, 256, (40, 56)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    stack = random.integers(0, 256, (20, 24, 32)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in" / "d.tif", stack, photometric="minisblack")
    return tmp_path


def continued(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    """The same command, undisturbed."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(Colorizer, "from_pretrained", lambda *_, **__: colorizer_of(TintNetwork()))
    return CliRunner().invoke(app, COMMAND, catch_exceptions=False)


def results(folder: Path) -> dict[str, bytes]:
    """Results that are there, after a look that each is whole."""
    found = [path for path in (folder / "out").rglob("*") if path.is_file()]
    whole = [path for path in found if not path.name.startswith(".")]
    for path in whole:
        shape = read_image(path).array.shape
        assert shape == ((20, 24, 32, 3) if path.suffix == ".tif" else (40, 56, 3))
    return {path.name: path.read_bytes() for path in whole}


def pieces(folder: Path) -> list[Path]:
    return list((folder / "out").rglob(".*"))


@pytest.mark.parametrize(("name", "number"), [("SIGINT", 1), ("SIGINT", 4), ("SIGTERM", 3)])
def test_an_interrupted_run_leaves_nothing_partial_and_is_continued(
    folder: Path,
    tinted: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int,
) -> None:
    first = tinted("--strike", name, "network", str(number), *COMMAND)

    there = results(folder)
    assert first.returncode == 130, first.stderr
    assert "Interrupted." in first.stderr
    assert "Traceback" not in first.stderr
    assert len(there) < PICTURES
    assert not pieces(folder)

    second = continued(folder, monkeypatch)

    assert second.exit_code == 0, second.stderr
    assert len(second.stdout.splitlines()) == PICTURES - len(there)
    assert not there or f"{len(there)} already there" in second.stderr
    assert results(folder).items() >= there.items()  # what was there has not been touched
    assert len(results(folder)) == PICTURES


@pytest.mark.parametrize(("moment", "number"), [("network", 5), ("publish", 2), ("publish", 4)])
def test_a_killed_run_leaves_nothing_that_looks_like_a_result(
    folder: Path,
    tinted: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    number: int,
) -> None:
    first = tinted("--strike", "SIGKILL", moment, str(number), *COMMAND)

    there = results(folder)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert len(there) < PICTURES
    for piece in pieces(folder):
        os.utime(piece, (0, 0))  # it happened long ago

    second = continued(folder, monkeypatch)

    assert second.exit_code == 0, second.stderr
    assert results(folder).items() >= there.items()
    assert len(results(folder)) == PICTURES
    assert not pieces(folder)
