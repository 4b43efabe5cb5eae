from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stand_ins import TintNetwork, colorizer_of, tint_spec

from napari_colorize.colorizer import Colorizer
from napari_colorize.model_spec import ModelSpec

TESTS = Path(__file__).parents[1]
PROGRAM = Path(__file__).with_name("program.py")

RunProgram = Callable[..., subprocess.CompletedProcess[Any]]


@pytest.fixture
def run_program(tmp_path: Path) -> RunProgram:
    """Run the command line as a process in an empty folder; see `program.py`."""
    folders = [str(TESTS.parent / "src"), str(TESTS), os.environ.get("PYTHONPATH", "")]

    def run(*arguments: str | bytes, **options: Any) -> subprocess.CompletedProcess[Any]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
        return subprocess.run(
            [sys.executable, PROGRAM, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))},
            check=False,
            **{**pipes, **options},
        )

    return run


@pytest.fixture
def fast_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a fast network in place of the real one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Colorizer, "from_pretrained", lambda *_, **__: colorizer_of(TintNetwork()))
    monkeypatch.setattr(ModelSpec, "from_model", tint_spec)
    return tmp_path
