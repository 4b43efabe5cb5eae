"""Short videos whose truth is known: photographs under a moving camera, subjects, grain, a cut.

A shot is a photograph that the camera pans over, zooms into or stands before, hand-held or not,
with one or two subjects before it: pieces of other photographs, cut out by a soft mask, that go
their own ways. A sequence is two shots with a hard cut between them, or a dissolve. All of it has
the grain and the unsteady exposure of old video. As every layer is moved by a known similarity, so
is where each pixel was in the frame before, and whether it was seen there.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from napari_colorize_training.evaluation.metrics import OpticalFlow
from numpy.typing import NDArray
from PIL import Image

from napari_colorize.array_types import UInt8Array

Floats = NDArray[np.float64]

FRAME = 256, 320  # pixels
SHORT_SIDE = 384  # of a photograph, so that there is room to pan in
LENGTH = 24  # frames of a shot, a second of cinema
GRAIN = 2.5 / 255  # standard deviation
EXPOSURE = 0.015  # standard deviation of the gain from frame to frame
SOLID = 0.02  # how near to 0 or 1 a mask must be for a pixel to count as of one layer
SOFTNESS = 1.5  # pixels from inside to outside of a mask

# Pixels a frame of the camera, factor of the zoom over the shot, shake in pixels.
CAMERAS = {
    "slow pan": (1.2, 1.0, 0.0),
    "pan": (3.0, 1.0, 0.0),
    "zoom in": (0.0, 1.35, 0.0),
    "zoom out": (0.0, 1 / 1.35, 0.0),
    "hand-held": (0.5, 1.0, 1.2),
    "standing": (0.0, 1.0, 0.0),
}
SEQUENCES = {
    "slow pan, standing": ("slow pan", "standing"),
    "pan, zoom in": ("pan", "zoom in"),
    "zoom out, pan": ("zoom out", "pan"),
    "hand-held, slow pan": ("hand-held", "slow pan"),
    "standing, hand-held": ("standing", "hand-held"),
    "zoom in, zoom out": ("zoom in", "zoom out"),
    "pan, pan": ("pan", "pan"),
    "hand-held, pan": ("hand-held", "pan"),
}


@dataclass(frozen=True)
class Layer:
    """An image and how it lies in each frame.

    Parameters
    ----------
    rgb : ndarray, float64, shape (Y, X, 3)
        In [0, 1].
    mask : ndarray, float64, shape (Y, X)
        1 where there is something, 0 where one sees through.
    turns, shifts : ndarray, shapes (T, 2, 2) and (T, 2)
        Row and column of the image at a frame's pixel: `turn @ pixel + shift`.
    """

    rgb: Floats
    mask: Floats
    turns: Floats
    shifts: Floats


@dataclass(frozen=True)
class Frame:
    """What was before the camera, and where it was a frame ago.

    Parameters
    ----------
    rgb : ndarray, uint8, shape (Y, X, 3)
        With its grain; the gray video is its luminance.
    motion : Motion or None
        The true one; None for the first frame of a sequence or after a cut.
    is_cut : bool
        Whether a new scene starts here.
    """

    rgb: UInt8Array
    motion: OpticalFlow | None
    is_cut: bool


def photographs(tar: Path, number: int, seed: int) -> list[Floats]:
    """A random few images of a tar, their short sides 384 pixels, in [0, 1]."""
    with tarfile.open(tar) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name)
        chosen = np.random.default_rng(seed).permutation(len(members))[:number]
        files = [archive.extractfile(members[place]) for place in chosen]
        return [_opened(file.read()) for file in files if file is not None]


def sequences(tar: Path, seed: int, *, dissolve: int = 0) -> Iterator[tuple[str, list[Frame]]]:
    """Name and frames of each of `SEQUENCES`, from photographs that no two of them share.

    Parameters
    ----------
    tar : Path
        Of photographs.
    seed : int
        For the choice of photographs, ways, subjects and grain.
    dissolve : int
        Frames over which one shot gives way to the next, instead of a cut.
    """
    pictures = iter(photographs(tar, 6 * len(SEQUENCES), seed))
    for place, (name, cameras) in enumerate(SEQUENCES.items()):
        random = np.random.default_rng((seed, place))
        shots = [
            shot(camera, next(pictures), [next(pictures), next(pictures)], random)
            for camera in cameras
        ]
        yield name, list(film(shots, random, dissolve=dissolve))


def shot(
    camera: str, scene: Floats, others: list[Floats], random: np.random.Generator
) -> list[Layer]:
    """A scene under a moving camera, and subjects before it, the nearest last."""
    speed, zoom, shake = CAMERAS[camera]
    time = np.linspace(0, 1, LENGTH)
    room = np.array(scene.shape[:2]) - FRAME
    way = np.zeros(2)
    way[int(room.argmax())] = random.choice([-1, 1]) * min(speed * LENGTH, 0.9 * room.max())
    zooms = max(1.0, 1 / zoom) * zoom**time  # never beyond the photograph
    centers = np.array(scene.shape[:2]) / 2 + np.outer(time - 0.5, way)
    centers = centers + shake * _wander(random, 2)
    angles = 0.004 * shake * _wander(random, 1)[:, 0]
    middle = np.broadcast_to(np.array(FRAME) / 2, (LENGTH, 2))
    behind = _layer(scene, np.ones(scene.shape[:2]), centers, middle, zooms, angles)
    return [behind, *(_subject(other, random) for other in others[: random.integers(1, 3)])]


def film(
    shots: list[list[Layer]], random: np.random.Generator, *, dissolve: int = 0
) -> Iterator[Frame]:
    """Shots one after the other, with grain and unsteady exposure."""
    for number, layers in enumerate(shots):
        for time in range(dissolve if number else 0, LENGTH):
            rgb = picture(layers, time)
            motion = motion_of(layers, time) if time else None
            ahead = dissolve - (LENGTH - time)
            if ahead >= 0 and number + 1 < len(shots):
                share = (ahead + 1) / (dissolve + 1)
                rgb = (1 - share) * rgb + share * picture(shots[number + 1], ahead)
            gain = 1 + EXPOSURE * random.standard_normal()
            grain = GRAIN * random.standard_normal((*FRAME, 1))
            levels = np.rint((gain * rgb + grain).clip(0, 1) * 255).astype(np.uint8)
            yield Frame(levels, motion, number > 0 and time == 0)


def picture(layers: list[Layer], time: int) -> Floats:
    """What is seen at a time, `(Y, X, 3)` in [0, 1], without flaws."""
    rgb = np.zeros((*FRAME, 3))
    for layer in layers:
        mask = _masked(layer, time)[..., None]
        rgb = (1 - mask) * rgb + mask * _looked_up(layer.rgb, _places(layer, time), "bicubic")
    return rgb.clip(0, 1)


def motion_of(layers: list[Layer], time: int) -> OpticalFlow:
    """Where each pixel was a frame before, and whether it was seen there."""
    now, before = (_owners(layers, moment) for moment in (time, time - 1))
    pixels = np.moveaxis(np.indices(FRAME), 0, -1).astype(float)
    last = pixels.copy()
    for number, layer in enumerate(layers):
        inverse = np.linalg.inv(layer.turns[time - 1])
        came = (_places(layer, time) - layer.shifts[time - 1]) @ inverse.T
        last = np.where((now == number)[..., None], came, last)
    inside = ((last >= 0) & (last <= np.array(FRAME) - 1)).all(-1)
    rows, columns = np.moveaxis(np.rint(last).astype(int).clip(0, np.array(FRAME) - 1), -1, 0)
    same = (now >= 0) & (before[rows, columns] == now)
    return OpticalFlow(np.moveaxis(last - pixels, -1, 0), inside & same)


def _owners(layers: list[Layer], time: int) -> NDArray[np.int_]:
    """Which layer a pixel shows; -1 where it shows two."""
    owners = np.zeros(FRAME, int)
    for number, layer in enumerate(layers[1:], 1):
        mask = _masked(layer, time)
        owners[mask > SOLID] = -1
        owners[mask > 1 - SOLID] = number
    return owners


def _subject(rgb: Floats, random: np.random.Generator) -> Layer:
    """A round piece of a photograph that crosses the frame, growing or shrinking a little."""
    height, width = rgb.shape[:2]
    center = np.array([height, width]) * random.uniform(0.35, 0.65, 2)
    rows, columns = np.moveaxis(np.moveaxis(np.indices((height, width)), 0, -1) - center, -1, 0)
    angle, radius = np.arctan2(rows, columns), np.hypot(rows, columns)
    outline = random.uniform(35, 55) * np.ones_like(angle)
    for waves in range(2, 6):
        outline += random.normal(0, 9 / waves) * np.cos(waves * angle + random.uniform(0, 7))
    mask = (0.5 + (outline - radius) / SOFTNESS).clip(0, 1)
    start = np.array(FRAME) * random.uniform(0.25, 0.75, 2)
    heading = random.uniform(0, 2 * np.pi)
    way = random.uniform(1.5, 4) * LENGTH * np.array([0.4 * np.sin(heading), np.cos(heading)])
    way *= np.sign((np.array(FRAME) / 2 - start) * way + 1e-9)  # into the frame, not out of it
    time = np.linspace(0, 1, LENGTH)
    positions = start + np.outer(time, way)
    zooms = random.uniform(0.85, 1.2) ** time
    angles = random.normal(0, 0.15) * time
    return _layer(rgb, mask, center, positions, zooms, angles)


def _layer(
    rgb: Floats, mask: Floats, centers: Floats, positions: Floats, zooms: Floats, angles: Floats
) -> Layer:
    """The center of the image lies at the position in the frame, magnified and turned."""
    cosine, sine = np.cos(angles) / zooms, np.sin(angles) / zooms
    turns = np.moveaxis(np.array([[cosine, -sine], [sine, cosine]]), -1, 0)
    shifts = centers - (turns @ positions[..., None])[..., 0]
    return Layer(rgb, mask, turns, shifts)


def _wander(random: np.random.Generator, axes: int) -> Floats:
    """How a hand shakes: (T, axes), of a standard deviation near 1, each step from the last."""
    steps = random.standard_normal((LENGTH, axes))
    place = np.zeros((LENGTH, axes))
    for time in range(1, LENGTH):
        place[time] = 0.8 * place[time - 1] + 0.6 * steps[time]
    return place


def _places(layer: Layer, time: int) -> Floats:
    """Row and column of the layer's image at every pixel of the frame, (Y, X, 2)."""
    pixels = np.moveaxis(np.indices(FRAME), 0, -1)
    places: Floats = pixels @ layer.turns[time].T + layer.shifts[time]
    return places


def _masked(layer: Layer, time: int) -> Floats:
    if layer.mask.min() == 1:
        return np.ones(FRAME)
    return _looked_up(layer.mask[..., None], _places(layer, time), "bilinear")[..., 0]


def _looked_up(picture: Floats, places: Floats, mode: str) -> Floats:
    """An image (Y, X, C) at places (y, x, 2)."""
    size = np.array(picture.shape[:2])
    grid = torch.from_numpy((2 * places + 1) / size - 1).flip(-1)[None]
    channels = torch.from_numpy(picture).movedim(-1, 0)[None]
    found = F.grid_sample(channels, grid, mode, padding_mode="border", align_corners=False)
    looked_up: Floats = found[0].movedim(0, -1).numpy()
    return looked_up


def _opened(content: bytes) -> Floats:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    scale = SHORT_SIDE / min(image.size)
    size = round(image.width * scale), round(image.height * scale)
    rgb: Floats = np.asarray(image.resize(size, Image.Resampling.BICUBIC)) / 255
    return rgb
