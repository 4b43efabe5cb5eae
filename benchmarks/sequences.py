"""Synthetic video with known motion and colors, for `temporal_smoothing.py`.

A shot is a photograph under a moving camera (pan, zoom or static, with or without shake) and one or
two subjects in front of it: soft-masked pieces of other photographs with their own motion. A
sequence is two shots with a cut or a dissolve between them. Film grain and exposure changes are
added. Every layer moves by a known similarity transform, so the true motion and occlusion of every
pixel are known.
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

from napari_colorize.array_types import Float64Array, UInt8Array
from napari_colorize.imaging.color import to_uint8

FRAME = 256, 320  # pixels
SHORT_SIDE = 384  # of a photograph; leaves a margin for pans
LENGTH = 24  # frames of a shot: one second at 24 frames per second
GRAIN = 2.5 / 255  # standard deviation
EXPOSURE = 0.015  # standard deviation of the gain from frame to frame
SOLID = 0.02  # largest distance of the opacity from 0 or 1 of a pixel that shows one layer
SOFTNESS = 1.5  # width of the mask's edge in pixels

# Camera speed in pixels per frame, zoom factor over the shot, shake in pixels.
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
    """An image and its position in each frame.

    Parameters
    ----------
    rgb : ndarray, float64, shape (Y, X, 3)
        Image in [0, 1].
    mask : ndarray, float64, shape (Y, X)
        Opacity, 0 to 1.
    rotations, shifts : ndarray, shapes (T, 2, 2) and (T, 2)
        Row and column of the image at a pixel of the frame: `turn @ pixel + shift`.
    """

    rgb: Float64Array
    mask: Float64Array
    rotations: Float64Array
    shifts: Float64Array


@dataclass(frozen=True)
class Frame:
    """A frame and its true motion.

    Parameters
    ----------
    rgb : ndarray, uint8, shape (Y, X, 3)
        Frame with grain; the gray video is its luminance.
    motion : OpticalFlow or None
        True motion from the previous frame; None for the first frame and after a cut.
    is_cut : bool
        Whether a new scene starts.
    """

    rgb: UInt8Array
    motion: OpticalFlow | None
    is_cut: bool


def photographs(tar: Path, number: int, seed: int) -> list[Float64Array]:
    """Return random images of a tar file, with a short side of 384 pixels, in [0, 1]."""
    with tarfile.open(tar) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name)
        chosen = np.random.default_rng(seed).permutation(len(members))[:number]
        files = [archive.extractfile(members[index]) for index in chosen]
        return [_decode(file.read()) for file in files if file is not None]


def sequences(tar: Path, seed: int, *, dissolve: int = 0) -> Iterator[tuple[str, list[Frame]]]:
    """Yield name and frames of each of `SEQUENCES`; every photograph is used once.

    Parameters
    ----------
    tar : Path
        Tar file of photographs.
    seed : int
        Seed of the choice of photographs, motion, subjects and grain.
    dissolve : int
        Number of frames of a dissolve between the shots; 0 for a cut.
    """
    images = iter(photographs(tar, 6 * len(SEQUENCES), seed))
    for index, (name, cameras) in enumerate(SEQUENCES.items()):
        random = np.random.default_rng((seed, index))
        shots = [
            shot(camera, next(images), [next(images), next(images)], random) for camera in cameras
        ]
        yield name, list(video_frames(shots, random, dissolve=dissolve))


def shot(
    camera: str, scene: Float64Array, others: list[Float64Array], random: np.random.Generator
) -> list[Layer]:
    """Create a scene under a moving camera, and subjects in front of it, nearest last."""
    speed, zoom, shake = CAMERAS[camera]
    time = np.linspace(0, 1, LENGTH)
    margin = np.array(scene.shape[:2]) - FRAME
    path = np.zeros(2)
    path[int(margin.argmax())] = random.choice([-1, 1]) * min(speed * LENGTH, 0.9 * margin.max())
    zooms = max(1.0, 1 / zoom) * zoom**time  # within the photograph
    centers = np.array(scene.shape[:2]) / 2 + np.outer(time - 0.5, path)
    centers = centers + shake * _shake(random, 2)
    angles = 0.004 * shake * _shake(random, 1)[:, 0]
    middle = np.broadcast_to(np.array(FRAME) / 2, (LENGTH, 2))
    background = _layer(scene, np.ones(scene.shape[:2]), centers, middle, zooms, angles)
    return [background, *(_subject(other, random) for other in others[: random.integers(1, 3)])]


def video_frames(
    shots: list[list[Layer]], random: np.random.Generator, *, dissolve: int = 0
) -> Iterator[Frame]:
    """Yield the frames of consecutive shots, with grain and exposure changes."""
    for number, layers in enumerate(shots):
        for time in range(dissolve if number else 0, LENGTH):
            rgb = render(layers, time)
            motion = motion_of(layers, time) if time else None
            ahead = dissolve - (LENGTH - time)
            if ahead >= 0 and number + 1 < len(shots):
                share = (ahead + 1) / (dissolve + 1)
                rgb = (1 - share) * rgb + share * render(shots[number + 1], ahead)
            gain = 1 + EXPOSURE * random.standard_normal()
            grain = GRAIN * random.standard_normal((*FRAME, 1))
            levels = to_uint8((gain * rgb + grain).clip(0, 1))
            yield Frame(levels, motion, number > 0 and time == 0)


def render(layers: list[Layer], time: int) -> Float64Array:
    """Render the layers at a time, `(Y, X, 3)` in [0, 1], without grain."""
    rgb = np.zeros((*FRAME, 3))
    for layer in layers:
        mask = _opacity(layer, time)[..., None]
        rgb = (1 - mask) * rgb + mask * _sample(layer.rgb, _positions(layer, time), "bicubic")
    return rgb.clip(0, 1)


def motion_of(layers: list[Layer], time: int) -> OpticalFlow:
    """True motion of each pixel from the previous frame, and whether it was visible there."""
    now, before = (_owners(layers, moment) for moment in (time, time - 1))
    pixels = np.moveaxis(np.indices(FRAME), 0, -1).astype(float)
    last = pixels.copy()
    for number, layer in enumerate(layers):
        inverse = np.linalg.inv(layer.rotations[time - 1])
        source = (_positions(layer, time) - layer.shifts[time - 1]) @ inverse.T
        last = np.where((now == number)[..., None], source, last)
    inside = ((last >= 0) & (last <= np.array(FRAME) - 1)).all(-1)
    rows, columns = np.moveaxis(np.rint(last).astype(int).clip(0, np.array(FRAME) - 1), -1, 0)
    same = (now >= 0) & (before[rows, columns] == now)
    return OpticalFlow(np.moveaxis(last - pixels, -1, 0), inside & same)


def _owners(layers: list[Layer], time: int) -> NDArray[np.int_]:
    """Index of the layer that each pixel shows; -1 where it shows two."""
    owners = np.zeros(FRAME, int)
    for number, layer in enumerate(layers[1:], 1):
        mask = _opacity(layer, time)
        owners[mask > SOLID] = -1
        owners[mask > 1 - SOLID] = number
    return owners


def _subject(rgb: Float64Array, random: np.random.Generator) -> Layer:
    """A round piece of a photograph that crosses the frame with a small change of size."""
    height, width = rgb.shape[:2]
    center = np.array([height, width]) * random.uniform(0.35, 0.65, 2)
    rows, columns = np.moveaxis(np.moveaxis(np.indices((height, width)), 0, -1) - center, -1, 0)
    angle, radius = np.arctan2(rows, columns), np.hypot(rows, columns)
    outline = random.uniform(35, 55) * np.ones_like(angle)
    for waves in range(2, 6):
        outline += random.normal(0, 9 / waves) * np.cos(waves * angle + random.uniform(0, 7))
    mask = (0.5 + (outline - radius) / SOFTNESS).clip(0, 1)
    start = np.array(FRAME) * random.uniform(0.25, 0.75, 2)
    direction = random.uniform(0, 2 * np.pi)
    path = random.uniform(1.5, 4) * LENGTH * np.array([0.4 * np.sin(direction), np.cos(direction)])
    path *= np.sign((np.array(FRAME) / 2 - start) * path + 1e-9)  # towards the center of the frame
    time = np.linspace(0, 1, LENGTH)
    positions = start + np.outer(time, path)
    zooms = random.uniform(0.85, 1.2) ** time
    angles = random.normal(0, 0.15) * time
    return _layer(rgb, mask, center, positions, zooms, angles)


def _layer(
    rgb: Float64Array,
    mask: Float64Array,
    centers: Float64Array,
    positions: Float64Array,
    zooms: Float64Array,
    angles: Float64Array,
) -> Layer:
    """Layer whose image center is at a position in the frame, scaled and rotated."""
    cosine, sine = np.cos(angles) / zooms, np.sin(angles) / zooms
    rotations = np.moveaxis(np.array([[cosine, -sine], [sine, cosine]]), -1, 0)
    shifts = centers - (rotations @ positions[..., None])[..., 0]
    return Layer(rgb, mask, rotations, shifts)


def _shake(random: np.random.Generator, axes: int) -> Float64Array:
    """Camera shake (T, axes): an autoregressive process with standard deviation near 1."""
    steps = random.standard_normal((LENGTH, axes))
    index = np.zeros((LENGTH, axes))
    for time in range(1, LENGTH):
        index[time] = 0.8 * index[time - 1] + 0.6 * steps[time]
    return index


def _positions(layer: Layer, time: int) -> Float64Array:
    """Row and column in the layer's image of every pixel of the frame, (Y, X, 2)."""
    pixels = np.moveaxis(np.indices(FRAME), 0, -1)
    positions: Float64Array = pixels @ layer.rotations[time].T + layer.shifts[time]
    return positions


def _opacity(layer: Layer, time: int) -> Float64Array:
    """Opacity of a layer in the frame."""
    if layer.mask.min() == 1:
        return np.ones(FRAME)
    return _sample(layer.mask[..., None], _positions(layer, time), "bilinear")[..., 0]


def _sample(render: Float64Array, positions: Float64Array, mode: str) -> Float64Array:
    """Sample an image (Y, X, C) at positions (y, x, 2)."""
    size = np.array(render.shape[:2])
    grid = torch.from_numpy((2 * positions + 1) / size - 1).flip(-1)[None]
    channels = torch.from_numpy(render).movedim(-1, 0)[None]
    found = F.grid_sample(channels, grid, mode, padding_mode="border", align_corners=False)
    sampled: Float64Array = found[0].movedim(0, -1).numpy()
    return sampled


def _decode(content: bytes) -> Float64Array:
    """Decode and resize a photograph."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    scale = SHORT_SIDE / min(image.size)
    size = round(image.width * scale), round(image.height * scale)
    rgb: Float64Array = np.asarray(image.resize(size, Image.Resampling.BICUBIC)) / 255
    return rgb
