from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import napari_colorize
from napari_colorize.cli import app
from napari_colorize.networks.compact import CompactUNet
from napari_colorize.zoo.weights import write_weights

HEAVY = {"torch", "rich", "skimage", "napari", "qtpy", "PIL", "numpy"}
SHOW_MODULES = """
import sys
from napari_colorize.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
runner = CliRunner()


def environment() -> dict[str, str]:
    """Lets a process in another folder find this package, installed or not."""
    source = str(Path(napari_colorize.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": source}


@pytest.mark.parametrize("arguments", [["--help"], ["image", "--help"], ["models"], ["--version"]])
def test_what_needs_no_network_does_not_wait_for_one(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_a_picture_waits_for_torch_and_for_little_else(tmp_path: Path) -> None:
    """Each of these costs from a tenth of a second to several."""
    torch.manual_seed(0)
    write_weights(tmp_path / "random.safetensors", CompactUNet().state_dict(), {})
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (48, 1))).save(tmp_path / "a.png")
    run = ["image", "a.png", "-m", "random.safetensors"]
    done = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES, *run],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "a-colorized.png\n"
    slow = {"torchvision", "timm", "torch._dynamo", "sympy", "rich", "requests", "scipy.ndimage"}
    assert not slow & set(done.stderr.split())


def test_the_version_is_that_of_the_package() -> None:
    assert runner.invoke(app, ["--version"]).stdout.strip() == napari_colorize.__version__


def test_help_lists_the_commands() -> None:
    shown = runner.invoke(app, ["-h"]).stdout
    assert "image" in shown
    assert "models" in shown


def test_an_unexpected_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("napari_colorize.batch.naming.plan_batch", fail)
    outcome = runner.invoke(app, ["image", "a.png"])
    assert isinstance(outcome.exception, ZeroDivisionError)
