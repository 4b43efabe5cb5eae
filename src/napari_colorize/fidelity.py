"""The 8-bit steps of DeOldify and of the IPOL review's program, bit for bit.

Both programs reduce the image to a square, predict RGB, enlarge it, and use only its chroma. They
round to 8 bits after every step and clip colors outside the gamut, so luminance is not preserved
exactly. These functions reproduce their images; `pipeline` is used for everything else.

Parameter `network` of the functions below is a callable: from a normalized gray image
(1, 3, s, s), float32, and the switch of self-attention, to normalized RGB of the same shape. It is
responsible for devices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from napari_colorize.array_types import AnyArray, Limits, UInt8Array
from napari_colorize.imaging.color import to_uint8
from napari_colorize.imaging.planes import to_plane
from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD
from napari_colorize.pipeline import PIXELS_PER_RENDER_FACTOR

Network = Callable[[Tensor, bool], Tensor]

MADE_8_BIT = "DeOldify and the IPOL program work with 8 bits: the image was rounded to 256 levels."
BLOCK = 2**16  # pixels converted at a time: the intermediate arrays fit into the CPU cache


def deoldify(
    image: UInt8Array,
    network: Network,
    render_factor: int,
    *,
    self_attention: bool = True,
    saturation: float = 1.0,
    post_process: bool = True,
) -> UInt8Array:
    """Colorize 8-bit RGB (Y, X, 3), of which only luminance is used, as DeOldify does.

    There is no watermark. `network` is described in the docstring of this module. `render_factor`
    is the side of the network input divided by 16. `saturation` is that of the IPOL program; 1
    reproduces DeOldify, which has no such parameter. Without `post_process` the enlarged output of
    the network is returned, without the luminance of the image.
    """
    square = to_luma(resize(image, _square(render_factor)))
    colored = resize(predict_rgb(square, network, self_attention), image.shape[:2])
    if post_process:
        colored = merge(image, colored)
    return saturate(colored, saturation)


def ipol(
    image: UInt8Array,
    network: Network,
    render_factor: int,
    *,
    self_attention: bool = True,
    saturation: float = 2.0,
    post_process: bool = True,
) -> UInt8Array:
    """Colorize as the program of the IPOL review does; parameters as in `deoldify`.

    It differs in three ways: the image is converted to gray before it is reduced, red and blue are
    exchanged while luminance is merged, and saturation is a parameter.
    """
    square = resize(to_luma(image), _square(render_factor))
    colored = resize(predict_rgb(square, network, self_attention), image.shape[:2])
    if post_process:
        colored = merge(image[..., ::-1], colored[..., ::-1])[..., ::-1]
    return saturate(colored, saturation)


def to_8bit_rgb(
    image: AnyArray, limits: Limits, gamma: float = 1.0
) -> tuple[UInt8Array, str | None]:
    """Convert any image to 8-bit RGB, with a note if gray levels were lost.

    Parameters
    ----------
    image : ndarray, shape (Y, X), (Y, X, 1), (Y, X, 3) or (Y, X, 4)
        Any real dtype; alpha is dropped, NaN becomes black.
    limits : tuple of float
        Values mapped to 0 and 255.
    gamma : float
        Exponent applied to the values between them.
    """
    channels = image[..., None] if image.ndim == 2 else image[..., :3]
    if channels.dtype != np.uint8 or tuple(limits) != (0, 255) or gamma != 1:
        channels = np.stack(
            [_plane_to_uint8(channels[..., i], limits, gamma) for i in range(channels.shape[-1])],
            -1,
        )
    pixels = np.ascontiguousarray(np.broadcast_to(channels, (*channels.shape[:2], 3)))
    return pixels, MADE_8_BIT if image.dtype.itemsize > 1 else None


def _plane_to_uint8(channel: AnyArray, limits: Limits, gamma: float) -> UInt8Array:
    unit = to_plane(channel, limits=limits, gamma=gamma, rgb=False).gray
    return to_uint8(unit.nan_to_num_(0)).numpy()


def _square(render_factor: int) -> tuple[int, int]:
    side = PIXELS_PER_RENDER_FACTOR * render_factor
    return side, side


def resize(image: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Resize gray or RGB to a height and width with Pillow's bilinear filter."""
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def to_luma(image: UInt8Array) -> UInt8Array:
    """Convert RGB to gray (Y, X) with Pillow's weights in 16-bit fixed point."""
    return np.asarray(Image.fromarray(image).convert("L"))


@torch.inference_mode()
def predict_rgb(gray: UInt8Array, network: Network, self_attention: bool) -> UInt8Array:
    """Predict RGB of a gray square (s, s), truncated to 8 bits as in both programs."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    unit = torch.from_numpy(gray.astype(np.float32)) / 255
    rgb = network(((unit - mean) / std).unsqueeze(0), self_attention)[0].float().cpu()
    levels = (rgb * std + mean).clamp_(0, 1) * 255
    return levels.to(torch.uint8).movedim(0, -1).numpy()  # truncates: no rounding


def saturate(image: UInt8Array, saturation: float) -> UInt8Array:
    """Scale saturation by eq. (11) of the IPOL review, in 8 bits and clipped."""
    return np.asarray(ImageEnhance.Color(Image.fromarray(image)).enhance(saturation))


def merge(image: UInt8Array, colored: UInt8Array) -> UInt8Array:
    """Join the luminance of one RGB image with the chroma of another in 8-bit YUV."""
    merged = np.empty_like(image)
    rows = max(1, BLOCK // image.shape[1])
    for top in range(0, len(image), rows):
        block = slice(top, top + rows)
        y = luma(_channels_first(image[block]))
        rgb = yuv_to_rgb(y, *chroma(_channels_first(colored[block])))
        merged[block] = rgb.movedim(0, -1).to(torch.uint8).numpy()
    return merged


# OpenCV's 8-bit conversions on int32. Coefficients are in units of 2**-14. Every result is rounded
# (an arithmetic shift rounds halves up) and clipped to 0..255. U and V are centered at 128.
def luma(rgb: Tensor) -> Tensor:
    """Luminance Y (...) of RGB (3, ...)."""
    red, green, blue = rgb
    return _rounded((red * 4899).add_(green, alpha=9617).add_(blue, alpha=1868))


def chroma(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """U and V (...) of RGB (3, ...), computed from differences to the rounded Y."""
    y = luma(rgb)
    u = _rounded((rgb[2] - y).mul_(8061).add_(128 << 14))
    v = _rounded((rgb[0] - y).mul_(14369).add_(128 << 14))
    return u.clamp_(0, 255), v.clamp_(0, 255)


def yuv_to_rgb(y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """RGB (3, ...) of Y, U and V (...)."""
    u, v = u - 128, v - 128
    red = _rounded(v * 18678)
    green = _rounded((u * -6472).add_(v, alpha=-9519))
    blue = _rounded(u * 33292)
    return torch.stack([red, green, blue]).add_(y).clamp_(0, 255)


def _rounded(number: Tensor) -> Tensor:
    return number.add_(1 << 13).bitwise_right_shift_(14)


def _channels_first(pixels: UInt8Array) -> Tensor:
    return torch.from_numpy(pixels.astype(np.int32)).movedim(-1, 0)
