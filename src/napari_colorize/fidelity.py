"""The 8-bit steps of DeOldify and of the IPOL review's program, bit for bit.

Both shrink the picture to a square, ask the network for RGB, enlarge what it says, and take only
its chrominance. They round to 8 bits after every step and clip what leaves the gamut, so luminance
is not kept exactly: use these paths to reproduce their pictures, and the exact path for all else.

`network` stands for any function of a normalised gray picture (1, 3, s, s), float32, and of whether
self-attention is on, that gives normalised RGB of the same shape; devices are its business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch import Tensor

from napari_colorize.imaging.planes import Limits, to_plane
from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD
from napari_colorize.pipeline import PIXELS_PER_RENDER_FACTOR

Pixels = NDArray[np.uint8]
Network = Callable[[Tensor, bool], Tensor]

MADE_8_BIT = "DeOldify and the IPOL program work with 8 bits: the image was rounded to 256 levels."
STRIP = 2**16  # pixels converted at a time, so that intermediate numbers stay in the cache


def deoldify(
    image: Pixels,
    network: Network,
    render_factor: int,
    *,
    self_attention: bool = True,
    saturation: float = 1.0,
    post_process: bool = True,
) -> Pixels:
    """Colorize as DeOldify does, without its watermark.

    Parameters
    ----------
    image : ndarray, shape (Y, X, 3)
        8-bit RGB. Its own colours only lend their luminance.
    network : callable
        See above.
    render_factor : int
        Sixteenths of the side of the square that the network sees.
    self_attention : bool
        Whether the layer is on.
    saturation : float
        As in the IPOL program; DeOldify has none, which is 1.
    post_process : bool
        Off: what the network said, enlarged, without the luminance of the picture.

    Returns
    -------
    ndarray, shape (Y, X, 3)
        8-bit RGB.
    """
    square = to_luma(resized(image, _square(render_factor)))
    colored = resized(paint(square, network, self_attention), image.shape[:2])
    if post_process:
        colored = merge(image, colored)
    return saturate(colored, saturation)


def ipol(
    image: Pixels,
    network: Network,
    render_factor: int,
    *,
    self_attention: bool = True,
    saturation: float = 2.0,
    post_process: bool = True,
) -> Pixels:
    """Colorize as the program of the IPOL review does; parameters as in `deoldify`.

    It differs in three ways: gray comes before the square, red and blue are exchanged while
    luminance is merged, and saturation is a parameter.
    """
    square = resized(to_luma(image), _square(render_factor))
    colored = resized(paint(square, network, self_attention), image.shape[:2])
    if post_process:
        colored = merge(image[..., ::-1], colored[..., ::-1])[..., ::-1]
    return saturate(colored, saturation)


def to_8bit_rgb(
    image: NDArray[Any], limits: Limits, gamma: float = 1.0
) -> tuple[Pixels, str | None]:
    """Any image as 8-bit RGB, and a note if that lost levels.

    Parameters
    ----------
    image : ndarray, shape (Y, X), (Y, X, 1), (Y, X, 3) or (Y, X, 4)
        Any real dtype; alpha is dropped, NaN becomes black.
    limits : tuple of float
        Values that become 0 and 255.
    gamma : float
        Exponent between them.
    """
    channels = image[..., None] if image.ndim == 2 else image[..., :3]
    if channels.dtype != np.uint8 or tuple(limits) != (0, 255) or gamma != 1:
        channels = np.stack(
            [_to_bytes(channels[..., i], limits, gamma) for i in range(channels.shape[-1])], -1
        )
    pixels = np.ascontiguousarray(np.broadcast_to(channels, (*channels.shape[:2], 3)))
    return pixels, MADE_8_BIT if image.dtype.itemsize > 1 else None


def _to_bytes(channel: NDArray[Any], limits: Limits, gamma: float) -> Pixels:
    unit = to_plane(channel, limits=limits, gamma=gamma, rgb=False).gray
    return unit.nan_to_num_(0).mul_(255).round_().to(torch.uint8).numpy()


def _square(render_factor: int) -> tuple[int, int]:
    side = PIXELS_PER_RENDER_FACTOR * render_factor
    return side, side


def resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Gray or RGB at another height and width, by Pillow's bilinear filter."""
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def to_luma(image: Pixels) -> Pixels:
    """RGB to gray (Y, X) as Pillow weighs them, in 16-bit fixed point."""
    return np.asarray(Image.fromarray(image).convert("L"))


@torch.inference_mode()
def paint(gray: Pixels, network: Network, self_attention: bool) -> Pixels:
    """A gray square (s, s) as the network sees it in colour, truncated to 8 bits."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    unit = torch.from_numpy(gray.astype(np.float32)) / 255
    rgb = network(((unit - mean) / std).unsqueeze(0), self_attention)[0].float().cpu()
    levels = (rgb * std + mean).clamp_(0, 1) * 255
    return levels.to(torch.uint8).movedim(0, -1).numpy()  # truncates, as both programs do


def saturate(image: Pixels, saturation: float) -> Pixels:
    """Blend with gray, or away from it: eq. (11) of the IPOL review in 8 bits, clipped."""
    return np.asarray(ImageEnhance.Color(Image.fromarray(image)).enhance(saturation))


def merge(image: Pixels, colored: Pixels) -> Pixels:
    """Luminance of one picture and chrominance of another, through 8-bit YUV; both RGB."""
    merged = np.empty_like(image)
    rows = max(1, STRIP // image.shape[1])
    for top in range(0, len(image), rows):
        strip = slice(top, top + rows)
        y = luma(_channels_first(image[strip]))
        rgb = yuv_to_rgb(y, *chroma(_channels_first(colored[strip])))
        merged[strip] = rgb.movedim(0, -1).to(torch.uint8).numpy()
    return merged


# OpenCV's 8-bit conversions, on int32: coefficients are in units of 2**-14, every result is rounded
# (by an arithmetic shift: halves go up) and clipped to 0..255. U and V are centred at 128.
def luma(rgb: Tensor) -> Tensor:
    """Y (...) of R, G and B (3, ...)."""
    red, green, blue = rgb
    return _rounded((red * 4899).add_(green, alpha=9617).add_(blue, alpha=1868))


def chroma(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """U and V (...) of R, G and B (3, ...), with their rounded Y taken off."""
    y = luma(rgb)
    u = _rounded((rgb[2] - y).mul_(8061).add_(128 << 14))
    v = _rounded((rgb[0] - y).mul_(14369).add_(128 << 14))
    return u.clamp_(0, 255), v.clamp_(0, 255)


def yuv_to_rgb(y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """R, G and B (3, ...) of Y, U and V (...)."""
    u, v = u - 128, v - 128
    red = _rounded(v * 18678)
    green = _rounded((u * -6472).add_(v, alpha=-9519))
    blue = _rounded(u * 33292)
    return torch.stack([red, green, blue]).add_(y).clamp_(0, 255)


def _rounded(number: Tensor) -> Tensor:
    return number.add_(1 << 13).bitwise_right_shift_(14)


def _channels_first(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.astype(np.int32)).movedim(-1, 0)
