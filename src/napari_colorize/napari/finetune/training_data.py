"""Training images from color layers and corrections; no Qt.

A layer is written as displayed (contrast limits and gamma applied, alpha dropped), plane by plane,
in 8 bits. Training reduces images to a short side of 160 px, so large images are reduced here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from napari_colorize.array_types import AnyArray, Limits, PlaneIndex, UInt8Array
from napari_colorize.errors import ImageError
from napari_colorize.finetune.training_run import TrainingRequest, TrainingRun
from napari_colorize.imaging.color import to_uint8
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.zoo.user_models import user_models_folder

if TYPE_CHECKING:
    from napari.layers import Layer

SIDE = 640  # px, smallest short side of a reduced image: four times what training uses


class CancelledError(Exception):
    """The run was stopped while its images were written."""


@dataclass(frozen=True)
class ColorStack:
    """Displayed content of a color layer; made in the GUI thread, read in any thread.

    `data` has the shape (..., Y, X, 3 or 4) and may be lazy; `gamma` is applied after the limits.
    """

    name: str
    data: Any
    limits: Limits
    gamma: float = 1.0

    @property
    def planes(self) -> list[PlaneIndex]:
        """Indices of all planes."""
        return list(np.ndindex(*self.data.shape[:-3]))

    def image(self, index: PlaneIndex) -> UInt8Array:
        """One plane as displayed, `(Y, X, 3)`, reduced if it is large."""
        plane = self.data[index] if index else self.data
        step = max(1, min(plane.shape[:2]) // (2 * SIDE))  # reads no more pixels than needed
        rgb = np.asarray(plane[::step, ::step, :3])
        return _reduced(_as_displayed(rgb, self.limits, self.gamma))


@dataclass(frozen=True)
class TrainingData:
    """Selected training data: absolute paths of folders and files, layers, and corrections.

    Layers are written to files, and corrections are copied, before training.
    """

    folders: tuple[str, ...] = ()
    layers: tuple[ColorStack, ...] = ()
    corrections: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.folders or self.layers or self.corrections)

    def prepare_run(
        self, request: TrainingRequest, folder: Path, cancelled: threading.Event
    ) -> TrainingRun:
        """Write layers and corrections into the folder of a new run.

        Raises `CancelledError` if the event was set meanwhile, `OutputError` if writing fails.
        """

        def check(*_: int) -> None:
            if cancelled.is_set():
                raise CancelledError

        data = list(request.data)
        if self.layers:
            images = folder / "pictures" / "layers"
            write_images(self.layers, images, check)
            data.append(str(images))
        if self.corrections:
            copies = folder / "pictures" / "corrections"
            copies.mkdir(parents=True, exist_ok=True)
            for path in self.corrections:
                check()
                copyfile(path, copies / path.name)
            data.append(str(copies))
        return TrainingRun.create(replace(request, data=tuple(data)), folder)


def reason_not_usable(layer: Layer | None) -> str | None:
    """Why a layer cannot be used for training, in a sentence; None if it can."""
    if layer is None:
        return "No layer is selected. Select a color layer in the layer list."
    if not getattr(layer, "rgb", False):
        return f"{layer.name} is not a color layer. Select an RGB layer."
    return None


def colors_of(layer: Layer | None) -> ColorStack:
    """Displayed content of a layer; raises `ImageError` if it is not a color layer."""
    reason = reason_not_usable(layer)
    if reason is not None or layer is None:
        raise ImageError(reason or "")
    data = _smallest_sufficient(layer.data) if layer.multiscale else layer.data
    low, high = layer.contrast_limits
    return ColorStack(layer.name, data, (float(low), float(high)), float(layer.gamma))


def write_images(
    stacks: Sequence[ColorStack], folder: Path, check: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Write every plane of every stack as a PNG, or raise `OutputError`; returns the paths.

    `check` is called before each image with the number written and the total; it may raise.
    """
    planes = [(stack, index) for stack in stacks for index in stack.planes]
    written: list[Path] = []
    for number, (stack, index) in enumerate(planes):
        if check is not None:
            check(number, len(planes))
        written.append(_save(stack.image(index), folder / f"{number:05}.png"))
    return written


def corrections_folder() -> Path:
    """Folder with the corrections, used by all later training runs."""
    return user_models_folder() / "corrections"


def corrections() -> list[Path]:
    """Files of the corrections, oldest first."""
    return sorted(corrections_folder().glob("*.png"), key=lambda path: path.stem)


def add_correction(stack: ColorStack, index: PlaneIndex) -> Path:
    """Keep one plane of a corrected layer for later training runs, or raise `OutputError`."""
    moment = time.strftime("%Y-%m-%d %H-%M-%S")
    name = "".join(letter if letter.isalnum() or letter in " -_" else "-" for letter in stack.name)
    taken = {path.stem for path in corrections()}
    names = (f"{moment} {name[:60].strip()}{suffix}" for suffix in _suffixes())
    return _save(
        stack.image(index),
        corrections_folder() / f"{next(name for name in names if name not in taken)}.png",
    )


def _suffixes() -> Iterator[str]:
    yield ""
    number = 2
    while True:
        yield f" {number}"
        number += 1


def _save(pixels: UInt8Array, path: Path) -> Path:
    with new_file(path, overwrite=True) as part, write_errors(path):
        Image.fromarray(pixels).save(part, format="PNG", compress_level=1)
    return path


def _smallest_sufficient(levels: Sequence[Any]) -> Any:
    """The smallest pyramid level that is not smaller than the written image."""
    fine = [level for level in levels if min(level.shape[-3:-1]) >= SIDE]
    return fine[-1] if fine else levels[0]


def _as_displayed(rgb: AnyArray, limits: Limits, gamma: float) -> UInt8Array:
    low, high = limits
    if rgb.dtype == np.uint8 and (low, high, gamma) == (0, 255, 1):
        return rgb
    unit = (rgb.astype(np.float32) - low) / ((high - low) or 1)
    return to_uint8(np.nan_to_num(unit).clip(0, 1) ** gamma)


def _reduced(pixels: UInt8Array) -> UInt8Array:
    factor = min(pixels.shape[:2]) // SIDE
    if factor < 2:
        return np.ascontiguousarray(pixels)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor))
