"""Every write of every writer fails in turn: one sentence, and no partial file."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_colorize.errors import ColorizeError
from napari_colorize.io.images import read_image, write_image
from napari_colorize.zoo.weights import read_weights, write_weights

ERRORS = [errno.ENOSPC, errno.EACCES, errno.EIO]
LIMIT = 60  # operations of one writer, far more than any has
RGB = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


class Faults:
    """Counts operations on files and makes one of them fail."""

    def __init__(self, number: int, error: int) -> None:
        self.left, self.error, self.has_failed = number, error, False

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.has_failed = True
            raise OSError(self.error, os.strerror(self.error))


@contextmanager
def failing(number: int, error: int) -> Iterator[Faults]:
    """Context manager: the operation of this number on a file that is written fails."""
    faults, real_open = Faults(number, error), io.open

    class Raw(io.FileIO):
        def write(self, data: Any) -> int:
            faults.count()
            return super().write(data)

        def truncate(self, size: int | None = None) -> int:
            faults.count()
            return super().truncate(size)

    def opened(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
        if not set(mode) & set("wxa+") or isinstance(file, int):
            return real_open(file, mode, buffering, *args, **options)
        faults.count()
        raw = Raw(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, **options)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            faults.count()
            return function(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        for name in ("fsync", "link", "replace", "rename", "mkdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield faults


def write_deep(path: Path) -> None:
    write_image(path, RGB.astype(np.uint16) * 257)


def write_model(path: Path) -> None:
    write_weights(path, {"weight": torch.ones(300)}, {"name": "x"})


def save_state(path: Path) -> None:
    from napari_colorize_training.loop.run_folder import RunFolder

    RunFolder(path.parent, {"steps": 3}).save({"step": 1})


def as_image(path: Path) -> None:
    assert read_image(path).array.shape[-3:] == RGB.shape


def as_model(path: Path) -> None:
    assert read_weights(path).state["weight"].shape == (300,)


def as_state(path: Path) -> None:
    from napari_colorize_training.loop.run_folder import RunFolder

    assert RunFolder(path.parent, {"steps": 3}).load() == {
        "identity": '{"steps": 3}',
        "step": 1,
        "rows": [],
    }


WRITERS = {
    "a.png": (lambda path: write_image(path, RGB), as_image),
    "a.jpg": (lambda path: write_image(path, RGB), as_image),
    "a.webp": (lambda path: write_image(path, RGB), as_image),
    "a.bmp": (lambda path: write_image(path, RGB), as_image),
    "a.tif": (lambda path: write_image(path, RGB), as_image),
    "a.ome.tif": (lambda path: write_image(path, np.stack([RGB] * 3)), as_image),
    "deep.png": (write_deep, as_image),
    "model.safetensors": (write_model, as_model),
    "state.pt": (save_state, as_state),
}


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeNote")
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", WRITERS)
def test_no_failing_operation_leaves_a_partial_file(tmp_path: Path, name: str, error: int) -> None:
    write, check = WRITERS[name]
    for number in range(1, LIMIT):
        folder = tmp_path / str(number) / "new"
        raised: ColorizeError | None = None
        with failing(number, error) as faults:
            try:
                write(folder / name)
            except ColorizeError as found:
                raised = found
        files = [path for path in (tmp_path / str(number)).rglob("*") if path.is_file()]
        if raised is not None:
            assert "\n" not in str(raised)
            assert not files
        else:  # complete, perhaps by another way: a rename instead of a link
            assert [path.name for path in files] == [name]
            check(folder / name)
        if not faults.has_failed:
            assert number > 2
            return
    pytest.fail(f"{name} takes more than {LIMIT} operations")
