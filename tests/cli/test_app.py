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

SLOW_IMPORTS = {"torch", "rich", "skimage", "napari", "qtpy", "PIL", "numpy"}
PRINT_MODULES = """
import sys
from napari_colorize.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
runner = CliRunner()


def environment() -> dict[str, str]:
    """Environment in which a process in another folder finds this package."""
    source = str(Path(napari_colorize.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": source}


@pytest.mark.parametrize("arguments", [["--help"], ["image", "--help"], ["models"], ["--version"]])
def test_help_and_lists_import_nothing_slow(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout
    assert not SLOW_IMPORTS & set(done.stderr.split())


def test_colorizing_imports_torch_but_no_other_slow_package(tmp_path: Path) -> None:
    """The import of each of these takes from 0.1 s to several seconds."""
    torch.manual_seed(0)
    write_weights(tmp_path / "random.safetensors", CompactUNet().state_dict(), {})
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (48, 1))).save(tmp_path / "a.png")
    run = ["image", "a.png", "-m", "random.safetensors"]
    done = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES, *run],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "a-colorized.png\n"
    slow = {"torchvision", "timm", "torch._dynamo", "sympy", "rich", "requests", "scipy.ndimage"}
    assert not slow & set(done.stderr.split())


def test_the_version_is_printed() -> None:
    assert runner.invoke(app, ["--version"]).stdout.strip() == napari_colorize.__version__


def test_help_lists_exactly_the_commands() -> None:
    output = runner.invoke(app, ["-h"]).stdout

    (_, table) = output.split("Commands:")
    commands = [line.split()[0] for line in table.splitlines() if line[:3].strip()]
    assert commands == ["image", "video", "models"]


def test_an_unexpected_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("napari_colorize.batch.naming.plan_batch", fail)
    outcome = runner.invoke(app, ["image", "a.png"])
    assert isinstance(outcome.exception, ZeroDivisionError)
