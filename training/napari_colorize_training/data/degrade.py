"""What old or poor photographs do to gray, so that a network trained on good ones can read them.

Applied to the network's input only; the colours to be learned stay those of the clean picture. The
order is that of a photograph's life: what the emulsion sees, how sharp the lens was, the print,
years of fading, grain, stains and vignetting, scratches and dust, a small scan, a JPEG. Sizes are
in pixels of the network's input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize_training.rng import Random, normal, uniform

# What emulsions see of R, G and B: Luo et al., Time-Travel Rephotography (arXiv 2012.12261).
BLUE_SENSITIVE = (0.0, 0.1, 0.9)  # until about 1880
ORTHOCHROMATIC = (0.0, 0.5, 0.5)  # until the 1920s; later film is panchromatic
LONGEST = 4.0  # exposure against the plain picture's
UNEVEN_CELLS = 3  # brightness varies on a grid of so many cells a side: stains, not texture
DUST_SCALE = (0.7, 1.8)  # px, of the Gaussian on the noise whose peaks are specks
DUST_PEAK = (2.7, 3.6)  # standard deviations: many specks, or few
SCRATCHES = 3  # at most, on one picture
SMALLEST_SCAN = 8  # px


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How strong each kind of damage may be; every picture draws its own. Default: none.

    Parameters
    ----------
    spectrum : float
        Share of pictures whose gray is made anew, as another emulsion would have seen the
        colours: orthochromatic, blue-sensitive or any mix, each for a third. Not for pairs whose
        gray is no luminance.
    blur : float
        Largest standard deviation of a Gaussian, px; half of the pictures stay sharp.
    contrast : float
        Largest logarithm of a factor on the distance from the picture's mean, as a hard print has
        it: highlights burn out, shadows drown. Softer prints by half of it occur too.
    tone : float
        Largest |log gamma|.
    fade : float
        Largest share of the range lost at either end.
    grain : float
        Largest standard deviation of noise (gray spans 0 to 1); half of the pictures have none.
    grain_size : float
        Largest standard deviation, px, of the Gaussian that makes neighbouring grains alike; the
        noise keeps its strength. 0 is the noise of a sensor: the same in light and dark.
    uneven : float
        Largest change of brightness by stained or tinted paper and by vignetting, as a share.
    scratches : float
        Share of pictures with one to three scratches or hairs, light or dark.
    dust : float
        Share of pictures with specks, light or dark.
    small : float
        Share of pictures scanned smaller, down to `scan` of their side, and enlarged again.
    scan : float
        Smallest such scan.
    jpeg : float
        Share of pictures saved as a JPEG of quality `quality` to 95.
    quality : float
        The lowest.
    """

    spectrum: float = 0.0
    blur: float = 0.0
    contrast: float = 0.0
    tone: float = 0.0
    fade: float = 0.0
    grain: float = 0.0
    grain_size: float = 0.0
    uneven: float = 0.0
    scratches: float = 0.0
    dust: float = 0.0
    small: float = 0.0
    scan: float = 0.4
    jpeg: float = 0.0
    quality: float = 25.0


NONE = Degradation()
TONE_AND_GRAIN = Degradation(tone=0.35, fade=0.25, grain=0.05)
# Chosen by eye beside real photographs of 1850 to 1940: scans of good prints are hard and sharp.
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
PLANS = {"none": NONE, "tone-and-grain": TONE_AND_GRAIN, "old-photograph": OLD_PHOTOGRAPH}


def degrade(rgb: Tensor, gray: Tensor, plan: Degradation, random: Random) -> Tensor:
    """Damage the gray of each picture at random, as far as the plan allows.

    Parameters
    ----------
    rgb : Tensor, shape (N, 3, H, W)
        In [0, 1]; only `spectrum` looks at it.
    gray : Tensor, shape (N, 1, H, W)
        In [0, 1].
    plan : Degradation
        What may happen.
    random : torch.Generator or sequence of N of them
        On any device; decides everything.

    Returns
    -------
    Tensor, shape (N, 1, H, W)
        Gray in [0, 1].
    """
    if plan.spectrum:
        gray = _see_otherwise(rgb, gray, plan.spectrum, random)
    if plan.blur:
        sigma = uniform(random, gray, low=-plan.blur, high=plan.blur).clamp_min(0)
        gray = blur(gray, sigma, plan.blur)
    if plan.contrast:
        gray = _print_harder(gray, plan.contrast, random)
    if plan.tone:
        gray = _tone(gray, plan.tone, random)
    if plan.fade:
        gray = _fade(gray, plan.fade, random)
    if plan.grain:
        gray = _grain(gray, plan, random)
    if plan.uneven:
        gray = _stain(gray, plan.uneven, random)
    if plan.dust:
        gray = _dust(gray, plan.dust, random)
    if plan.scratches:
        gray = _scratch(gray, plan.scratches, random)
    if plan.small:
        gray = _scan_small(gray, plan, random)
    if plan.jpeg:
        quality = uniform(random, gray, low=plan.quality, high=95.0)
        gray = torch.where(_chance(gray, plan.jpeg, random), jpeg(gray, quality), gray)
    return gray.clamp(0, 1)


def tone_and_grain(gray: Tensor, random: Random) -> Tensor:
    """Tone, fading and grain of gray `(N, 1, H, W)` in [0, 1], drawn for each picture."""
    return degrade(gray.expand(-1, 3, -1, -1), gray, TONE_AND_GRAIN, random)


def blur(gray: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """A Gaussian blur of `(N, 1, H, W)` with a standard deviation, px, for each picture `(N,)`.

    The border is continued; a sigma of 0 leaves a picture as it is. None may be above `largest`:
    kernels end at three times that, whatever else is in the batch.
    """
    radius = max(1, math.ceil(3 * largest))
    offsets = torch.arange(-radius, radius + 1, device=gray.device, dtype=gray.dtype)
    # 0.05 px: a kernel of one pixel to all digits, where 0 would divide by zero.
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp_min(0.05)[:, None]).square())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    count, _, height, width = gray.shape
    pictures = gray.view(1, count, height, width)  # a channel each, so that each has its kernel
    padded = F.pad(pictures, (radius, radius, radius, radius), mode="replicate")
    across = F.conv2d(padded, kernel[:, None, None, :], groups=count)
    return F.conv2d(across, kernel[:, None, :, None], groups=count).view_as(gray)


def jpeg(gray: Tensor, quality: Tensor) -> Tensor:
    """What a JPEG of this quality makes of gray.

    ITU-T T.81: 8 x 8 cosine transform, quantisation with the luminance table of its Annex K scaled
    as the Independent JPEG Group's library does, rounding, and back.

    Parameters
    ----------
    gray : Tensor, shape (N, 1, H, W)
        In [0, 1].
    quality : Tensor, shape (N,)
        1 to 100.

    Returns
    -------
    Tensor, shape (N, 1, H, W)
        In [0, 1].
    """
    height, width = gray.shape[-2:]
    padded = F.pad(gray, (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks = padded[:, 0].unfold(1, 8, 8).unfold(2, 8, 8) * 255 - 128  # (N, H/8, W/8, 8, 8)
    dct = _cosines().to(gray)
    table = _quantisation(quality)[:, None, None]
    steps = torch.round(dct @ blocks @ dct.T / table)
    back = dct.T @ (steps * table) @ dct
    whole = ((back + 128) / 255).transpose(2, 3).reshape(len(gray), 1, *padded.shape[-2:])
    return whole[..., :height, :width].clamp(0, 1)


def _chance(gray: Tensor, share: float, random: Random) -> Tensor:
    """For each picture, true with this probability, `(N, 1, 1, 1)`."""
    return uniform(random, gray, 1, 1, 1) < share


def _see_otherwise(rgb: Tensor, gray: Tensor, share: float, random: Random) -> Tensor:
    known = gray.new_tensor([ORTHOCHROMATIC, BLUE_SENSITIVE])
    # Minus the logarithm of uniform numbers, divided by their sum: all mixes are equally likely.
    mix = -uniform(random, gray, 3, low=1e-6).log()
    mix = mix / mix.sum(dim=1, keepdim=True)
    kind = uniform(random, gray) * 3
    weights = torch.where(kind[:, None] < 2, known[(kind >= 1).long()], mix)
    seen = (rgb * weights[:, :, None, None]).sum(dim=1, keepdim=True)
    # Who saw too little light exposed for longer: skies burn out, faces do not become black.
    means = [part.mean(dim=(1, 2, 3), keepdim=True).clamp_min(0.02) for part in (gray, seen)]
    seen = (seen * (means[0] / means[1]).clamp(1 / LONGEST, LONGEST)).clamp(0, 1)
    return torch.where(_chance(gray, share, random), seen, gray)


def _print_harder(gray: Tensor, strength: float, random: Random) -> Tensor:
    factor = uniform(random, gray, 1, 1, 1, low=-strength / 2, high=strength).exp()
    mean = gray.mean(dim=(1, 2, 3), keepdim=True)
    return (mean + factor * (gray - mean)).clamp(0, 1)


def _tone(gray: Tensor, strength: float, random: Random) -> Tensor:
    gamma = uniform(random, gray, 1, 1, 1, low=-strength, high=strength).exp()
    return gray.clamp_min(1e-4) ** gamma


def _fade(gray: Tensor, strength: float, random: Random) -> Tensor:
    """Black becomes lighter and white darker; one picture in six keeps either end."""
    low = -0.2 * strength
    black = uniform(random, gray, 1, 1, 1, low=low, high=strength).clamp_min(0)
    white = 1 - uniform(random, gray, 1, 1, 1, low=low, high=strength).clamp_min(0)
    return black + (white - black) * gray


def _grain(gray: Tensor, plan: Degradation, random: Random) -> Tensor:
    amount = uniform(random, gray, 1, 1, 1, low=-plan.grain, high=plan.grain).clamp_min(0)
    if not plan.grain_size:
        return (gray + amount * normal(random, gray, *gray.shape[1:])).clamp(0, 1)
    sizes = uniform(random, gray, high=plan.grain_size)
    noise = _smooth_noise(gray, sizes, plan.grain_size, random)
    # Where all silver is left, or none, there is nothing to see of single grains.
    visible = (4 * gray * (1 - gray)).clamp_min(0.05).sqrt()
    return (gray + amount * visible * noise).clamp(0, 1)


def _smooth_noise(gray: Tensor, sigma: Tensor, largest: float, random: Random) -> Tensor:
    """Normal noise, blurred and of standard deviation 1 again."""
    noise = blur(normal(random, gray, *gray.shape[1:]), sigma, largest)
    return noise / noise.std(dim=(1, 2, 3), correction=0, keepdim=True).clamp_min(1e-3)


def _stain(gray: Tensor, strength: float, random: Random) -> Tensor:
    """Uneven brightness: slow changes of the paper, and corners darker than the middle."""
    cells = normal(random, gray, 1, UNEVEN_CELLS + 1, UNEVEN_CELLS + 1)
    paper = F.interpolate(cells, gray.shape[-2:], mode="bicubic", align_corners=True)
    amount = uniform(random, gray, 1, 1, 1, low=-strength, high=strength).clamp_min(0)
    y, x = _unit_coordinates(gray)
    corner = (x.square() + y.square()) / 2  # 0 in the middle, 1 in the corners
    vignette = uniform(random, gray, 1, 1, 1, low=-strength, high=1.5 * strength).clamp_min(0)
    # Two standard deviations of a stain are its full strength.
    return gray * (1 + amount * paper / 2).clamp_min(0) * (1 - vignette * corner)


def _dust(gray: Tensor, share: float, random: Random) -> Tensor:
    """Specks where smooth noise peaks; light where dust lay on the negative, else dark."""
    sizes = uniform(random, gray, low=DUST_SCALE[0], high=DUST_SCALE[1])
    noise = _smooth_noise(gray, sizes, DUST_SCALE[1], random)
    peak = uniform(random, gray, 1, 1, 1, low=DUST_PEAK[0], high=DUST_PEAK[1])
    mask = torch.sigmoid(12 * (noise - peak)) * _chance(gray, share, random)
    color = _light_or_dark(gray, random)
    return torch.lerp(gray, color.expand_as(gray), 0.9 * mask)


def _scratch(gray: Tensor, share: float, random: Random) -> Tensor:
    """Thin bent lines, most of them along the film, which broke off somewhere."""
    happens = _chance(gray, share, random)
    y, x = (part.expand_as(gray) for part in _unit_coordinates(gray))
    turned = uniform(random, gray, 1, 1, 1) < 0.35
    along, across = torch.where(turned, x, y), torch.where(turned, y, x)
    pixel = 2 / max(gray.shape[-2:])
    for number in range(SCRATCHES):
        place, slope, bend, start, length, width = (
            uniform(random, gray, 6, 1, 1, 1) * 2 - 1
        ).unbind(1)
        line = place + 0.15 * slope * along + 0.1 * bend * along.square()
        half = 0.55 + 0.35 * width  # 0.2 to 0.9 px
        mask = (half + 0.5 - (across - line).abs() / pixel).clamp(0, 1)
        inside = (along - start).abs() < 0.4 + 0.8 * length.abs()
        strength = uniform(random, gray, 1, 1, 1, low=0.3, high=0.9)
        mask = mask * inside * strength * happens
        if number:
            mask = mask * (uniform(random, gray, 1, 1, 1) < 0.5)
        gray = torch.lerp(gray, _light_or_dark(gray, random).expand_as(gray), mask)
    return gray


def _light_or_dark(gray: Tensor, random: Random) -> Tensor:
    """The gray of what lies on a picture: two of three times nearly white, else nearly black."""
    return torch.where(_chance(gray, 2 / 3, random), 0.92, 0.06).to(gray)


def _scan_small(gray: Tensor, plan: Degradation, random: Random) -> Tensor:
    happens = _chance(gray, plan.small, random).flatten().tolist()
    scales = uniform(random, gray, low=plan.scan, high=0.9).tolist()
    if not any(happens):
        return gray
    return torch.cat(
        [
            _rescanned(picture, scale) if chosen else picture
            for picture, chosen, scale in zip(gray.split(1), happens, scales, strict=True)
        ]
    )


def _rescanned(picture: Tensor, scale: float) -> Tensor:
    size = [max(min(side, SMALLEST_SCAN), round(side * scale)) for side in picture.shape[-2:]]
    small = F.interpolate(picture, size, mode="bilinear", antialias=True)
    return F.interpolate(small, picture.shape[-2:], mode="bicubic").clamp(0, 1)


def _unit_coordinates(gray: Tensor) -> tuple[Tensor, Tensor]:
    """Y `(H, 1)` and X `(1, W)` from -1 to 1."""
    y, x = (
        torch.linspace(-1, 1, side, device=gray.device, dtype=gray.dtype)
        for side in gray.shape[-2:]
    )
    return y[:, None], x[None, :]


@cache
def _cosines() -> Tensor:
    """The orthonormal 8-point cosine transform, frequencies first."""
    frequency, place = torch.arange(8.0)[:, None], torch.arange(8.0)[None, :]
    matrix = torch.cos(math.pi / 8 * frequency * (place + 0.5)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def _quantisation(quality: Tensor) -> Tensor:
    """Steps `(N, 8, 8)` for qualities `(N,)`: 50 takes the table as it is, 100 is all ones."""
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
