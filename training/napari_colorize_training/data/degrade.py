"""Random degradation of gray images, which simulates old or poor photographs.

It is applied to the network's input only; the target colors are those of the clean image. The order
is that of the physical processes: spectral sensitivity of the emulsion, blur of the lens, contrast
of the print, fading, grain, stains and vignetting, scratches and dust, a small scan, JPEG
compression. Sizes are in pixels of the network's input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize_training.rng import Random, normal, uniform

# Sensitivity of emulsions to R, G and B: Luo et al., Time-Travel Rephotography (arXiv 2012.12261).
BLUE_SENSITIVE = (0.0, 0.1, 0.9)  # until about 1880
ORTHOCHROMATIC = (0.0, 0.5, 0.5)  # until the 1920s; later film is panchromatic
MAX_EXPOSURE = 4.0  # relative to the original image
UNEVEN_CELLS = 3  # cells per side of the grid on which brightness varies, so that it is smooth
DUST_SCALE = (0.7, 1.8)  # px, standard deviation of the blurred noise whose peaks are specks
DUST_PEAK = (2.7, 3.6)  # threshold of the peaks in standard deviations
MAX_SCRATCHES = 3  # per image
MIN_SCAN_SIDE = 8  # px


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """Limits of random degradation, which differs for each image. Default: none."""

    # Probability that gray is computed from the colors with the sensitivity of another emulsion:
    # orthochromatic, blue-sensitive or a random mix, a third each. Not for data sets whose gray
    # images are not luminance.
    spectrum: float = 0.0
    # Largest standard deviation of a Gaussian blur, px; half of the images are not blurred
    blur: float = 0.0
    # Largest logarithm of the contrast factor about the image's mean, as in a hard print with
    # clipped highlights and shadows. The smallest is minus half of it.
    contrast: float = 0.0
    tone: float = 0.0  # largest |log gamma|
    fade: float = 0.0  # largest share of the range that is lost at each end
    # Largest standard deviation of noise, for gray in [0, 1]; half of the images have none
    grain: float = 0.0
    # Largest standard deviation, px, of the Gaussian that correlates neighboring pixels of the
    # noise. 0: sensor noise, which is the same for all gray values.
    grain_size: float = 0.0
    uneven: float = 0.0  # largest relative change of brightness by stained paper and by vignetting
    scratches: float = 0.0  # probability of one to three scratches or hairs, light or dark
    dust: float = 0.0  # probability of specks, light or dark
    small: float = 0.0  # probability of reduction, down to `scan` of the side, and enlargement
    scan: float = 0.4  # smallest factor of this reduction
    jpeg: float = 0.0  # probability of JPEG compression with quality `quality` to 95
    quality: float = 25.0  # lowest JPEG quality


NONE = Degradation()
TONE_AND_GRAIN = Degradation(tone=0.35, fade=0.25, grain=0.05)
# Chosen by comparison with photographs of 1850 to 1940: scans of good prints have high contrast.
OLD_PHOTOGRAPH = Degradation(
    spectrum=0.7,
    blur=1.3,
    contrast=0.6,
    tone=0.3,
    fade=0.15,
    grain=0.05,
    grain_size=0.8,
    uneven=0.2,
    scratches=0.2,
    dust=0.25,
    small=0.25,
    jpeg=0.4,
)
# Old photographs that were scanned with several times the network's resolution: tone and spectrum
# are those of old prints, but the reduction removes most blur, grain and damage.
OLD_SCAN = replace(
    OLD_PHOTOGRAPH,
    blur=0.6,
    grain=0.03,
    grain_size=0.4,
    dust=0.15,
    scratches=0.1,
    small=0.0,
    jpeg=0.0,
)
# All traces of age, but slight: for networks that get modern gray images, too.
SLIGHTLY_OLD = Degradation(
    blur=0.9,
    contrast=0.35,
    tone=0.3,
    fade=0.2,
    grain=0.045,
    grain_size=0.7,
    uneven=0.1,
    scratches=0.05,
    dust=0.12,
    jpeg=0.2,
)
PRESETS = {
    "none": NONE,
    "tone-and-grain": TONE_AND_GRAIN,
    "slightly-old": SLIGHTLY_OLD,
    "old-photograph": OLD_PHOTOGRAPH,
    "old-scan": OLD_SCAN,
}


def degrade(rgb: Tensor, gray: Tensor, degradation: Degradation, random: Random) -> Tensor:
    """Degrade the gray of each image at random.

    Parameters
    ----------
    rgb : Tensor, shape (N, 3, H, W)
        In [0, 1]; used by `spectrum` only.
    gray : Tensor, shape (N, 1, H, W)
        In [0, 1].
    degradation : Degradation
        Limits of the degradation.
    random : torch.Generator or sequence of N of them
        On any device.

    Returns
    -------
    Tensor, shape (N, 1, H, W)
        Degraded gray in [0, 1].
    """
    if degradation.spectrum:
        gray = _change_spectrum(rgb, gray, degradation.spectrum, random)
    if degradation.blur:
        sigma = uniform(random, gray, low=-degradation.blur, high=degradation.blur).clamp_min(0)
        gray = blur(gray, sigma, degradation.blur)
    if degradation.contrast:
        gray = _change_contrast(gray, degradation.contrast, random)
    if degradation.tone:
        gray = _tone(gray, degradation.tone, random)
    if degradation.fade:
        gray = _fade(gray, degradation.fade, random)
    if degradation.grain:
        gray = _grain(gray, degradation, random)
    if degradation.uneven:
        gray = _stain(gray, degradation.uneven, random)
    if degradation.dust:
        gray = _dust(gray, degradation.dust, random)
    if degradation.scratches:
        gray = _scratch(gray, degradation.scratches, random)
    if degradation.small:
        gray = _scan_small(gray, degradation, random)
    if degradation.jpeg:
        quality = uniform(random, gray, low=degradation.quality, high=95.0)
        gray = torch.where(_chance(gray, degradation.jpeg, random), jpeg(gray, quality), gray)
    return gray.clamp(0, 1)


def tone_and_grain(gray: Tensor, random: Random) -> Tensor:
    """Apply random tone, fading and grain to gray `(N, 1, H, W)` in [0, 1]."""
    return degrade(gray.expand(-1, 3, -1, -1), gray, TONE_AND_GRAIN, random)


def blur(gray: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Blur `(N, 1, H, W)` with a Gaussian of standard deviation `sigma`, px, `(N,)`.

    Borders are replicated; a sigma of 0 does not change an image. `largest` is the upper limit of
    sigma: kernels end at three times that, so that images do not depend on others in the batch.
    """
    radius = max(1, math.ceil(3 * largest))
    offsets = torch.arange(-radius, radius + 1, device=gray.device, dtype=gray.dtype)
    # 0.05 px is numerically a kernel of one pixel; 0 would be a division by zero.
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp_min(0.05)[:, None]).square())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    count, _, height, width = gray.shape
    images = gray.view(
        1, count, height, width
    )  # one channel per image, because each image has its own kernel
    padded = F.pad(images, (radius, radius, radius, radius), mode="replicate")
    across = F.conv2d(padded, kernel[:, None, None, :], groups=count)
    return F.conv2d(across, kernel[:, None, :, None], groups=count).view_as(gray)


def jpeg(gray: Tensor, quality: Tensor) -> Tensor:
    """Compress gray as JPEG with this quality, and decompress it.

    ITU-T T.81: 8 x 8 cosine transform, quantization with the luminance table of its Annex K, scaled
    as in the Independent JPEG Group's library, rounding, and the inverse.

    Parameters
    ----------
    gray : Tensor, shape (N, 1, H, W)
        In [0, 1].
    quality : Tensor, shape (N,)
        JPEG quality, 1 to 100.

    Returns
    -------
    Tensor, shape (N, 1, H, W)
        In [0, 1].
    """
    height, width = gray.shape[-2:]
    padded = F.pad(gray, (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks = padded[:, 0].unfold(1, 8, 8).unfold(2, 8, 8) * 255 - 128  # (N, H/8, W/8, 8, 8)
    dct = _cosines().to(gray)
    table = _quantization(quality)[:, None, None]
    steps = torch.round(dct @ blocks @ dct.T / table)
    back = dct.T @ (steps * table) @ dct
    whole = ((back + 128) / 255).transpose(2, 3).reshape(len(gray), 1, *padded.shape[-2:])
    return whole[..., :height, :width].clamp(0, 1)


def _chance(gray: Tensor, share: float, random: Random) -> Tensor:
    """Return random booleans `(N, 1, 1, 1)`, true with this probability."""
    return uniform(random, gray, 1, 1, 1) < share


def _change_spectrum(rgb: Tensor, gray: Tensor, share: float, random: Random) -> Tensor:
    known = gray.new_tensor([ORTHOCHROMATIC, BLUE_SENSITIVE])
    # Normalized exponential variates are uniformly distributed mixes (Dirichlet).
    mix = -uniform(random, gray, 3, low=1e-6).log()
    mix = mix / mix.sum(dim=1, keepdim=True)
    kind = uniform(random, gray) * 3
    weights = torch.where(kind[:, None] < 2, known[(kind >= 1).long()], mix)
    exposed = (rgb * weights[:, :, None, None]).sum(dim=1, keepdim=True)
    # Insensitive emulsions were exposed for longer: skies are clipped, faces are not black.
    means = [part.mean(dim=(1, 2, 3), keepdim=True).clamp_min(0.02) for part in (gray, exposed)]
    exposed = (exposed * (means[0] / means[1]).clamp(1 / MAX_EXPOSURE, MAX_EXPOSURE)).clamp(0, 1)
    return torch.where(_chance(gray, share, random), exposed, gray)


def _change_contrast(gray: Tensor, strength: float, random: Random) -> Tensor:
    factor = uniform(random, gray, 1, 1, 1, low=-strength / 2, high=strength).exp()
    mean = gray.mean(dim=(1, 2, 3), keepdim=True)
    return (mean + factor * (gray - mean)).clamp(0, 1)


def _tone(gray: Tensor, strength: float, random: Random) -> Tensor:
    gamma = uniform(random, gray, 1, 1, 1, low=-strength, high=strength).exp()
    return gray.clamp_min(1e-4) ** gamma


def _fade(gray: Tensor, strength: float, random: Random) -> Tensor:
    """Lighten black and darken white; each of them is unchanged for one image in six."""
    low = -0.2 * strength
    black = uniform(random, gray, 1, 1, 1, low=low, high=strength).clamp_min(0)
    white = 1 - uniform(random, gray, 1, 1, 1, low=low, high=strength).clamp_min(0)
    return black + (white - black) * gray


def _grain(gray: Tensor, degradation: Degradation, random: Random) -> Tensor:
    amount = uniform(
        random, gray, 1, 1, 1, low=-degradation.grain, high=degradation.grain
    ).clamp_min(0)
    if not degradation.grain_size:
        return (gray + amount * normal(random, gray, *gray.shape[1:])).clamp(0, 1)
    sizes = uniform(random, gray, high=degradation.grain_size)
    noise = _smooth_noise(gray, sizes, degradation.grain_size, random)
    # Grain is invisible in black and white, where all silver is left, or none.
    visible = (4 * gray * (1 - gray)).clamp_min(0.05).sqrt()
    return (gray + amount * visible * noise).clamp(0, 1)


def _smooth_noise(gray: Tensor, sigma: Tensor, largest: float, random: Random) -> Tensor:
    """Return normal noise, blurred and scaled to standard deviation 1."""
    noise = blur(normal(random, gray, *gray.shape[1:]), sigma, largest)
    return noise / noise.std(dim=(1, 2, 3), correction=0, keepdim=True).clamp_min(1e-3)


def _stain(gray: Tensor, strength: float, random: Random) -> Tensor:
    """Change brightness slowly over the image, and darken the corners."""
    cells = normal(random, gray, 1, UNEVEN_CELLS + 1, UNEVEN_CELLS + 1)
    paper = F.interpolate(cells, gray.shape[-2:], mode="bicubic", align_corners=True)
    amount = uniform(random, gray, 1, 1, 1, low=-strength, high=strength).clamp_min(0)
    y, x = _unit_coordinates(gray)
    corner = (x.square() + y.square()) / 2  # 0 in the middle, 1 in the corners
    vignette = uniform(random, gray, 1, 1, 1, low=-strength, high=1.5 * strength).clamp_min(0)
    # Two standard deviations of the noise are the full strength.
    return gray * (1 + amount * paper / 2).clamp_min(0) * (1 - vignette * corner)


def _dust(gray: Tensor, share: float, random: Random) -> Tensor:
    """Add specks at peaks of smooth noise, light (dust on the negative) or dark."""
    sizes = uniform(random, gray, low=DUST_SCALE[0], high=DUST_SCALE[1])
    noise = _smooth_noise(gray, sizes, DUST_SCALE[1], random)
    peak = uniform(random, gray, 1, 1, 1, low=DUST_PEAK[0], high=DUST_PEAK[1])
    mask = torch.sigmoid(12 * (noise - peak)) * _chance(gray, share, random)
    color = _light_or_dark(gray, random)
    return torch.lerp(gray, color.expand_as(gray), 0.9 * mask)


def _scratch(gray: Tensor, share: float, random: Random) -> Tensor:
    """Add thin bent lines, most of them vertical."""
    is_changed = _chance(gray, share, random)
    y, x = (part.expand_as(gray) for part in _unit_coordinates(gray))
    is_horizontal = uniform(random, gray, 1, 1, 1) < 0.35
    along, across = torch.where(is_horizontal, x, y), torch.where(is_horizontal, y, x)
    pixel = 2 / max(gray.shape[-2:])
    for number in range(MAX_SCRATCHES):
        place, slope, bend, start, length, width = (
            uniform(random, gray, 6, 1, 1, 1) * 2 - 1
        ).unbind(1)
        line = place + 0.15 * slope * along + 0.1 * bend * along.square()
        half = 0.55 + 0.35 * width  # 0.2 to 0.9 px
        mask = (half + 0.5 - (across - line).abs() / pixel).clamp(0, 1)
        inside = (along - start).abs() < 0.4 + 0.8 * length.abs()
        strength = uniform(random, gray, 1, 1, 1, low=0.3, high=0.9)
        mask = mask * inside * strength * is_changed
        if number:
            mask = mask * (uniform(random, gray, 1, 1, 1) < 0.5)
        gray = torch.lerp(gray, _light_or_dark(gray, random).expand_as(gray), mask)
    return gray


def _light_or_dark(gray: Tensor, random: Random) -> Tensor:
    """Return the gray of dust and scratches: light for two thirds of the images, else dark."""
    return torch.where(_chance(gray, 2 / 3, random), 0.92, 0.06).to(gray)


def _scan_small(gray: Tensor, degradation: Degradation, random: Random) -> Tensor:
    is_changed = _chance(gray, degradation.small, random).flatten().tolist()
    scales = uniform(random, gray, low=degradation.scan, high=0.9).tolist()
    if not any(is_changed):
        return gray
    return torch.cat(
        [
            _rescanned(image, scale) if chosen else image
            for image, chosen, scale in zip(gray.split(1), is_changed, scales, strict=True)
        ]
    )


def _rescanned(image: Tensor, scale: float) -> Tensor:
    size = [max(min(side, MIN_SCAN_SIDE), round(side * scale)) for side in image.shape[-2:]]
    small = F.interpolate(image, size, mode="bilinear", antialias=True)
    return F.interpolate(small, image.shape[-2:], mode="bicubic").clamp(0, 1)


def _unit_coordinates(gray: Tensor) -> tuple[Tensor, Tensor]:
    """Return coordinates Y `(H, 1)` and X `(1, W)` from -1 to 1."""
    y, x = (
        torch.linspace(-1, 1, side, device=gray.device, dtype=gray.dtype)
        for side in gray.shape[-2:]
    )
    return y[:, None], x[None, :]


@cache
def _cosines() -> Tensor:
    """Return the matrix of the orthonormal 8-point cosine transform, frequencies first."""
    frequency, place = torch.arange(8.0)[:, None], torch.arange(8.0)[None, :]
    matrix = torch.cos(math.pi / 8 * frequency * (place + 0.5)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def _quantization(quality: Tensor) -> Tensor:
    """Return quantization steps `(N, 8, 8)` for qualities `(N,)`: 50 is the table, 100 is all 1."""
    quality = quality.round().clamp(1, 100)
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    table = torch.tensor(_LUMINANCE_TABLE).view(8, 8).to(quality)
    return ((table * percent[:, None, None] + 50) / 100).floor().clamp(1, 255)


# ITU-T T.81, table K.1.
_LUMINANCE_TABLE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
