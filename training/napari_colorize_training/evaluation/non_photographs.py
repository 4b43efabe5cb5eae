"""Images that are no photographs, drawn by code: `non_photograph`.

They imitate what users of microscopes and scanners open: noise, patterns, documents, drawings,
fluorescence, stained tissue, electron micrographs, X-rays and textures. A classifier learns from
them what is unlike photographs (`calibration`); no image of these kinds is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_colorize.array_types import Float64Array, UInt8Array

if TYPE_CHECKING:
    from collections.abc import Sequence

Shape = tuple[int, int]
LETTERS = "etaoinsrhldcumfpgwybvk" * 2 + "ETAOINSR0123456789.,()-"
SIDES = (160, 400)  # range of the sides in pixels


def non_photograph(rng: np.random.Generator, photographs: Sequence[UInt8Array]) -> UInt8Array:
    """Draw one gray image `(Y, X)` of a random kind; textures are cut from gray photographs."""
    height, width = (int(side) for side in rng.integers(*SIDES, 2))
    kind = KINDS[rng.integers(len(KINDS))]
    if kind in (texture, luggage):
        image = kind(rng, (height, width), photographs[int(rng.integers(len(photographs)))])
    else:
        image = kind(rng, (height, width))
    if rng.random() < 0.3:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.5))
    low, high = np.percentile(image, (0.5, 99.5))
    image = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    black, white = rng.uniform(0, 0.25), rng.uniform(0.75, 1)
    image = black + (white - black) * image ** rng.uniform(0.6, 1.6)
    image = image + rng.normal(0, rng.choice([0, 0, 0.01, 0.04]), image.shape)
    return (255 * image.clip(0, 1) + 0.5).astype(np.uint8)


def clouds(rng: np.random.Generator, shape: Shape, power: float | None = None) -> Float64Array:
    """Noise with a spectrum 1 / f^power, anisotropic now and then; mean 0, deviation 1."""
    power = rng.uniform(0, 2.5) if power is None else power
    stretch = rng.uniform(1, 4) if rng.random() < 0.3 else 1.0
    rows, columns = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    frequency = np.hypot(rows * stretch, columns / stretch)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=shape)) * frequency**-power
    image: Float64Array = np.fft.irfft2(spectrum, shape)
    return image / image.std()


def noise(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Noise, band-limited noise or its level sets."""
    image = clouds(rng, shape)
    if rng.random() < 0.4:
        fine = rng.uniform(1, 8)
        image = ndimage.gaussian_filter(image, fine) - ndimage.gaussian_filter(image, 2 * fine)
    if rng.random() < 0.4:
        image = (image > np.quantile(image, rng.uniform(0.2, 0.8))).astype(np.float64)
    return image


def pattern(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Gratings, checkerboards, rings, ramps."""
    y, x = np.mgrid[: shape[0], : shape[1]] - rng.uniform(0, 150, (2, 1, 1))
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 80)
    along = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period
    across = (y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period
    rings = np.hypot(x, y) * 2 * np.pi / period
    waves = [np.sin(along), np.sin(along) * np.sin(across), np.sin(rings), along, rings]
    image = waves[rng.integers(len(waves))]
    if rng.random() < 0.5:
        image = np.sign(np.sin(image))
    return image + rng.choice([0.0, 0.2]) * clouds(rng, shape)


def document(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Lines of text in columns, with rules, boxes and uneven light."""
    height, width = shape
    page = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(page)
    size = int(rng.integers(8, 40))
    font = ImageFont.load_default(size)
    left = int(rng.integers(0, 30))
    for top in range(int(rng.integers(0, 30)), height, int(size * rng.uniform(1.1, 1.8))):
        if rng.random() < 0.12:
            continue
        words = "".join(rng.choice([*LETTERS, *"     "], 3 + 2 * width // size))
        draw.text((left + 20 * (rng.random() < 0.1), top), words, int(rng.integers(0, 90)), font)
    for _ in range(rng.integers(0, 4)):
        box = np.sort(rng.integers(0, (width, height), (2, 2)), axis=0).ravel().tolist()
        fill = [None, 255, 200][rng.integers(3)]
        draw.rectangle(box, fill, outline=0, width=int(rng.integers(1, 3)))
    image = np.asarray(page, np.float64) / 255
    image = image + rng.choice([0.0, 0.1]) * clouds(rng, shape, 2)
    return ndimage.rotate(image, rng.normal(0, 2), reshape=False, mode="nearest", order=1)


def drawing(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Curves, polygons, ellipses and bars on paper: sketches, diagrams, logos, charts."""
    height, width = shape
    page = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(page)
    thickness = int(rng.integers(1, 8))
    is_filled = rng.random() < 0.4
    for _ in range(rng.integers(1, 40)):
        fill = int(rng.integers(0, 255)) if is_filled else None
        points = rng.normal(rng.uniform(0, (width, height)), rng.uniform(10, 120), (5, 2))
        box = [*points[:2].min(0), *points[:2].max(0)]
        kind = rng.integers(4)
        if kind == 0:
            steps = np.cumsum(rng.normal(0, 8, (60, 2)).cumsum(0) / 4, 0) + points[0]
            draw.line([tuple(point) for point in steps], 0, thickness)
        elif kind == 1:
            draw.polygon([tuple(point) for point in points], fill, 0, thickness)
        elif kind == 2:
            draw.ellipse(box, fill, 0, thickness)
        else:
            draw.rectangle(box, fill, 0, thickness)
    image = np.asarray(page, np.float64) / 255
    return 1 - image if rng.random() < 0.2 else image


def spots(rng: np.random.Generator, shape: Shape, count: int, radius: float) -> Float64Array:
    """Soft or hard ellipses of similar size in [0, 1], each with its own brightness."""
    image = np.zeros(shape)
    softness = rng.uniform(0.5, 8)
    for _ in range(count):
        center = rng.uniform(0, shape)
        axes = radius * rng.uniform(0.6, 1.5, 2)
        reach = int(axes.max() * 1.6) + 2
        top, left = (max(0, int(place) - reach) for place in center)
        part = image[top : int(center[0]) + reach, left : int(center[1]) + reach]
        y, x = np.mgrid[: part.shape[0], : part.shape[1]]
        y, x, angle = y + top - center[0], x + left - center[1], rng.uniform(0, np.pi)
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        spot = 1 / (1 + np.exp(softness * (np.hypot(u / axes[0], v / axes[1]) - 1) * 2))
        np.maximum(part, spot * rng.uniform(0.3, 1), out=part)
    return image


def _crowd(rng: np.random.Generator, shape: Shape, radii: tuple[float, float]) -> Float64Array:
    radius = np.exp(rng.uniform(*np.log(radii)))
    cover = rng.uniform(0.1, 1.0)
    count = int(min(500, 1 + cover * shape[0] * shape[1] / (4 * radius**2)))
    return spots(rng, shape, count, radius)


def fluorescence(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Bright cells, spots or filaments on a dark ground, with photon noise."""
    image = _crowd(rng, shape, (2, 40))
    if rng.random() < 0.5:
        image = image * (1 + 0.3 * clouds(rng, shape, rng.uniform(0.5, 1.5)))
    if rng.random() < 0.4:
        field = clouds(rng, shape, rng.uniform(1, 2))
        image = image + 0.7 * np.exp(-((field / rng.uniform(0.05, 0.2)) ** 2))
    image = ndimage.gaussian_filter(image, rng.uniform(0, 2.5)).clip(0) + rng.uniform(0, 0.1)
    photons = rng.choice([20, 100, 1000])
    return rng.poisson(image * photons) / photons


def tissue(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Dark nuclei in a bright or gray matrix of fibers, with white gaps."""
    ground = 0.7 + rng.uniform(0.02, 0.12) * clouds(rng, shape, rng.uniform(0.8, 1.6))
    gaps = ndimage.gaussian_filter(clouds(rng, shape, rng.uniform(1, 2)), rng.uniform(0.5, 2))
    gaps = 1 / (1 + np.exp(-8 * (gaps / gaps.std() - rng.uniform(0.3, 3))))
    fibers = np.sin(clouds(rng, shape, rng.uniform(1.3, 2)) * rng.uniform(3, 12))
    nuclei = _crowd(rng, shape, (3, 16)) * (1 + 0.2 * clouds(rng, shape, 0.8))
    image = ground + rng.uniform(0, 0.08) * fibers
    image = image * (1 - gaps) + 0.95 * gaps
    return image * (1 - rng.uniform(0.3, 0.7) * nuclei * (1 - 0.7 * gaps))


def micrograph(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Membranes around cells of random size, with organelles and grain."""
    count = int(rng.integers(8, 200))
    y, x = np.mgrid[: shape[0], : shape[1]] + 6 * np.array([clouds(rng, shape, 1.8) for _ in "yx"])
    seeds = rng.uniform(0, shape, (count, 2))
    (near, far), place = (
        part.T for part in cKDTree(seeds).query(np.stack([y.ravel(), x.ravel()], 1), 2)
    )
    image = 0.6 + 0.15 * rng.normal(size=count)[place[0]].reshape(shape)
    membrane = np.exp(-((far - near) / rng.uniform(2, 6))).reshape(shape)
    image = image - rng.uniform(0.2, 0.6) * membrane
    image = image - rng.uniform(0, 0.4) * _crowd(rng, shape, (2, 12))
    return image + rng.uniform(0.02, 0.15) * clouds(rng, shape, rng.uniform(0, 1))


def radiograph(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Overlapping translucent bodies, bright on dark or dark on bright; ribs or objects."""
    depth = np.zeros(shape)
    for _ in range(rng.integers(2, 10)):
        body = spots(rng, shape, 1, rng.uniform(0.1, 0.6) * min(shape))
        thick = body if rng.random() < 0.5 else np.sqrt(body)
        depth += rng.uniform(-0.3, 0.8) * ndimage.gaussian_filter(thick, rng.uniform(0, 8))
    if rng.random() < 0.6:
        y, x = np.mgrid[: shape[0], : shape[1]] / min(shape)
        bow = y + rng.uniform(0.2, 1) * (x - rng.uniform(0.3, 0.7)) ** 2
        ribs = np.sin(bow * 2 * np.pi * rng.uniform(5, 14)).clip(0) ** 0.5
        depth += rng.uniform(0.05, 0.3) * ribs
    for _ in range(rng.integers(0, 15)):
        angle, extent = rng.uniform(0, np.pi), rng.uniform(0.02, 0.2) * min(shape)
        y, x = np.mgrid[: shape[0], : shape[1]] - rng.uniform(0, shape)[:, None, None]
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        inside = (abs(u) < extent) & (abs(v) < extent * rng.uniform(0.1, 1))
        depth += rng.uniform(0.1, 0.5) * ndimage.gaussian_filter(inside.astype(float), 1)
    depth = depth + rng.uniform(0, 0.05) * clouds(rng, shape, 1.5)
    image: Float64Array = np.exp(-depth.clip(0))
    return image if rng.random() < 0.4 else -image


def texture(rng: np.random.Generator, shape: Shape, photograph: UInt8Array) -> Float64Array:
    """A small piece of a photograph that fills the image, or its spectrum with random phases."""
    image = photograph.astype(np.float64) / 255
    if rng.random() < 0.4:
        side = min(image.shape)
        spectrum = abs(np.fft.rfft2(image[:side, :side] - image.mean()))
        phases = np.fft.rfft2(rng.normal(size=(side, side)))
        tile = np.fft.irfft2(spectrum * phases, (side, side))
        if rng.random() < 0.5:
            tile = abs(tile - np.median(tile))
    else:
        side = min(int(rng.integers(16, 56)), *image.shape)
        top, left = (int(rng.integers(0, length - side + 1)) for length in image.shape)
        tile = image[top : top + side, left : left + side]
        tile = tile - ndimage.gaussian_filter(tile, side / 3)
        tile = np.block([[tile, tile[:, ::-1]], [tile[::-1], tile[::-1, ::-1]]])
    # Shifted copies at random places hide the period of the tiles.
    tile = ndimage.zoom(tile, rng.uniform(0.7, 1.8), order=1)
    repeats = [-(-length // extent) for length, extent in zip(shape, tile.shape, strict=True)]
    filled = np.tile(tile, repeats)[: shape[0], : shape[1]]
    waves = [rng.uniform(0, 25) * clouds(rng, shape, 1.8) for _ in range(2)]
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ndimage.map_coordinates(filled, [y + waves[0], x + waves[1]], order=1, mode="wrap")


def luggage(rng: np.random.Generator, shape: Shape, photograph: UInt8Array) -> Float64Array:
    """Translucent objects with dark outlines on a white ground, as in X-rays of luggage."""
    depth = np.zeros(shape)
    for _ in range(rng.integers(1, 4)):
        ink = ndimage.gaussian_filter(1 - drawing(rng, shape), rng.uniform(0.3, 2))
        depth += rng.uniform(0.1, 1.2) * ink.clip(0)
    zoom = [length / extent for length, extent in zip(shape, photograph.shape, strict=True)]
    scene = ndimage.zoom(photograph.astype(np.float64) / 255, zoom, order=1)
    outlines = ndimage.gaussian_gradient_magnitude(scene, rng.uniform(0.7, 2))
    depth += rng.uniform(0.5, 3) * (outlines / outlines.max()) + rng.uniform(0, 0.8) * (1 - scene)
    inside = spots(rng, shape, int(rng.integers(1, 4)), rng.uniform(0.3, 0.7) * min(shape))
    depth *= rng.uniform(0, 0.3) + inside
    image: Float64Array = np.exp(-depth - rng.uniform(0, 0.3) * inside)
    return 1 - image if rng.random() < 0.15 else image


KINDS: tuple[Callable[..., Float64Array], ...] = (
    noise,
    pattern,
    document,
    drawing,
    fluorescence,
    tissue,
    micrograph,
    radiograph,
    texture,
    luggage,
)
