"""Colour layers of a viewer as files to learn from, and the corrections that are kept for good.

A layer is written as it is seen (contrast limits and gamma applied, alpha left out), plane by
plane, in 8 bits. Training looks at pictures with a short side of 160 px; much more is not written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_colorize.errors import ImageError
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.zoo.user_models import user_models_folder

if TYPE_CHECKING:
    from napari.layers import Layer

SIDE = 640  # px, of the short side in a file: four times what training looks at
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ColorStack:
    """What is seen of a colour layer; taken in the GUI thread, read in any.

    Parameters
    ----------
    name : str
        Of the layer.
    data : array
        `(..., Y, X, 3 or 4)`, perhaps lazy.
    limits : tuple of float
        Values that are shown black and white.
    gamma : float
        Exponent after that.
    """

    name: str
    data: Any
    limits: tuple[float, float]
    gamma: float = 1.0

    @property
    def planes(self) -> list[tuple[int, ...]]:
        """Indices of all pictures."""
        return list(np.ndindex(*self.data.shape[:-3]))

    def picture(self, index: tuple[int, ...]) -> Pixels:
        """One of them, `(Y, X, 3)` as it is seen, shrunk if it is large."""
        plane = self.data[index] if index else self.data
        step = max(1, min(plane.shape[:2]) // (2 * SIDE))  # read no more than is needed
        rgb = np.asarray(plane[::step, ::step, :3])
        return _shrunk(_as_seen(rgb, self.limits, self.gamma))


def reason_not_usable(layer: Layer | None) -> str | None:
    """Why this layer cannot be learned from, in a sentence; None if it can."""
    if layer is None:
        return "No layer is selected: choose a colour layer in the list of layers."
    if not getattr(layer, "rgb", False):
        return f"{layer.name} has no colours to learn from: choose an RGB layer."
    return None


def colors_of(layer: Layer | None) -> ColorStack:
    """What is seen of a layer.

    Raises
    ------
    ImageError
        If it is no colour layer.
    """
    reason = reason_not_usable(layer)
    if reason is not None or layer is None:
        raise ImageError(reason or "")
    data = _sharp_enough(layer.data) if layer.multiscale else layer.data
    low, high = layer.contrast_limits
    return ColorStack(layer.name, data, (float(low), float(high)), float(layer.gamma))


def write_pictures(
    stacks: Sequence[ColorStack], folder: Path, check: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Write every picture of every stack as a PNG; returns their paths.

    Parameters
    ----------
    stacks : sequence of ColorStack
        As `colors_of` gives them.
    folder : Path
        Made if missing.
    check : callable, optional
        Told before each how many are written, and of how many; may raise to end it.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    every = [(stack, index) for stack in stacks for index in stack.planes]
    written: list[Path] = []
    for number, (stack, index) in enumerate(every):
        if check is not None:
            check(number, len(every))
        written.append(_save(stack.picture(index), folder / f"{number:05}.png"))
    return written


def corrections_folder() -> Path:
    """Where corrections are kept, for all trainings to come."""
    return user_models_folder() / "corrections"


def corrections() -> list[Path]:
    """Their files, in the order in which they were made."""
    return sorted(corrections_folder().glob("*.png"), key=lambda path: path.stem)


def add_correction(stack: ColorStack, index: tuple[int, ...]) -> Path:
    """Keep one picture of a layer, corrected by hand, among what is learned from.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    moment = time.strftime("%Y-%m-%d %H-%M-%S")
    name = "".join(letter if letter.isalnum() or letter in " -_" else "-" for letter in stack.name)
    taken = {path.stem for path in corrections()}
    names = (f"{moment} {name[:60].strip()}{more}" for more in _numbers())
    return _save(
        stack.picture(index),
        corrections_folder() / f"{next(name for name in names if name not in taken)}.png",
    )


def _numbers() -> Iterator[str]:
    yield ""
    number = 2
    while True:
        yield f" {number}"
        number += 1


def _save(pixels: Pixels, path: Path) -> Path:
    with new_file(path, overwrite=True) as part, write_errors(path):
        Image.fromarray(pixels).save(part, format="PNG", compress_level=1)
    return path


def _sharp_enough(levels: Sequence[Any]) -> Any:
    """The coarsest level that is no smaller than what is written."""
    fine = [level for level in levels if min(level.shape[-3:-1]) >= SIDE]
    return fine[-1] if fine else levels[0]


def _as_seen(rgb: NDArray[Any], limits: tuple[float, float], gamma: float) -> Pixels:
    low, high = limits
    if rgb.dtype == np.uint8 and (low, high, gamma) == (0, 255, 1):
        return rgb
    unit = (rgb.astype(np.float32) - low) / ((high - low) or 1)
    seen: Pixels = np.rint(np.nan_to_num(unit).clip(0, 1) ** gamma * 255).astype(np.uint8)
    return seen


def _shrunk(pixels: Pixels) -> Pixels:
    factor = min(pixels.shape[:2]) // SIDE
    if factor < 2:
        return np.ascontiguousarray(pixels)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor))
