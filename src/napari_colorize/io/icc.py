"""ICC profiles: which may be embedded in an RGB result, and the conversion of the others.

CMYK and Lab pixels are converted to sRGB. A PNG's gAMA and cHRM chunks become a profile.

A scanner's gray image often has a gray profile ("Dot Gain 20%", "Gray Gamma 2.2"). Such a profile
is invalid for RGB pixels; without it the same values would be displayed lighter or darker. It is
therefore converted to an RGB profile with the same tone curve and the primaries of sRGB, so
neutral pixels are displayed as before.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray

if TYPE_CHECKING:
    from PIL import Image

_HEADER = 128
_CURVES = (b"rTRC", b"gTRC", b"bTRC")
_PRIMARIES = (b"rXYZ", b"gXYZ", b"bXYZ")
_NAMES = (b"desc", b"cprt", b"wtpt", b"chad")

# White, red, green and blue of sRGB as x, y pairs (ITU-R BT.709).
SRGB_CHROMATICITY = (0.3127, 0.329, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)

DROPPED = "The color profile does not fit RGB pixels and was left out."
CONVERTED = "The image was converted to sRGB from the color space {space}."


def for_rgb(profile: bytes | None) -> tuple[bytes | None, tuple[str, ...]]:
    """The profile to embed in the RGB result, and a note if the source's profile was dropped."""
    if not profile:
        return None, ()
    space = profile[16:20]
    if space == b"RGB " and len(profile) > _HEADER:
        return profile, ()
    rgb_profile = _gray_to_rgb_profile(profile) if space == b"GRAY" else None
    return rgb_profile, () if rgb_profile else (DROPPED,)


def to_srgb(image: Image.Image) -> Image.Image:
    """CMYK or Lab converted to sRGB, with the image's own profile if it is valid."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    try:
        source = (
            ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if profile
            else ImageCms.createProfile("LAB")
        )
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")  # without a valid profile: Pillow's plain formula
    return converted or image


def _gray_to_rgb_profile(profile: bytes) -> bytes | None:
    """An RGB profile with the gray one's tone curve; None if its connection space is not XYZ."""
    from PIL import ImageCms

    tags = _tags(profile)
    curve = tags.get(b"kTRC")
    if curve is None or profile[20:24] != b"XYZ ":
        return None
    srgb = _tags(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    selected = {name: tags[name] for name in _NAMES if name in tags}
    selected |= {name: srgb[name] for name in _PRIMARIES}
    selected |= dict.fromkeys(_CURVES, curve)
    return _build_profile(profile[:_HEADER], selected)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Name -> content of every tag inside the profile."""
    try:
        (count,) = struct.unpack_from(">I", profile, _HEADER)
        entries = [
            struct.unpack_from(">4sII", profile, _HEADER + 4 + 12 * index)
            for index in range(min(count, 200))
        ]
    except struct.error:
        return {}
    return {
        name: profile[start : start + size]
        for name, start, size in entries
        if size and start + size <= len(profile)
    }


def _build_profile(header: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile with these tags: header, table, contents padded to 4 bytes, equal ones shared."""
    table, body = b"", b""
    start = _HEADER + 4 + 12 * len(tags)
    placed: dict[bytes, int] = {}
    for name, content in tags.items():
        if content not in placed:
            placed[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, placed[content], len(content))
    size = struct.pack(">I", start + len(body))
    # A display profile ("mntr") in RGB over XYZ; bytes 84 to 100 are a checksum that may be 0.
    described = header[4:12] + b"mntrRGB XYZ " + header[24:84] + bytes(16) + header[100:]
    return size + described + struct.pack(">I", len(tags)) + table + body


def from_png(info: Mapping[Any, Any]) -> bytes | None:
    """The profile of a PNG: embedded, or made from its sRGB, gAMA and cHRM chunks.

    Parameters
    ----------
    info : mapping
        Pillow's `info` of the image.
    """
    from PIL import ImageCms

    if "icc_profile" in info or not {"srgb", "gamma", "chromaticity"} & info.keys():
        return info.get("icc_profile")
    srgb = _undated(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    gamma, white = info.get("gamma"), info.get("chromaticity", SRGB_CHROMATICITY)
    if "srgb" in info or not gamma:
        return srgb
    import imagecodecs

    try:
        profile = imagecodecs.cms_profile(
            "rgb", whitepoint=white[:2], primaries=white[2:], gamma=1 / gamma
        )
    except (RuntimeError, ValueError):  # impossible chromaticities
        return None
    return _undated(bytes(profile))


def _undated(profile: bytes) -> bytes:
    """A new profile with a fixed date, so that equal inputs give equal files."""
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


def cmyk_to_rgb(cmyk: AnyArray, profile: bytes | None) -> AnyArray:
    """Ink `(..., 4)` as sRGB `(..., 3)` of the same dtype; the largest value is full ink.

    Parameters
    ----------
    cmyk : NDArray
        uint8 or uint16, or floats in [0, 1].
    profile : bytes, optional
        CMYK profile. Without a valid one, R is (1 - C)(1 - K), and so on.
    """
    import imagecodecs
    from PIL import ImageCms

    if profile and profile[16:20] == b"CMYK":
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        ink = _to_integers(cmyk)
        try:
            rgb = imagecodecs.cms_transform(
                ink.reshape(1, -1, 4), profile, srgb, colorspace="cmyk", outcolorspace="rgb"
            )
            return _to_dtype(rgb.reshape(*cmyk.shape[:-1], 3) / np.iinfo(ink.dtype).max, cmyk.dtype)
        except (RuntimeError, ValueError):  # a damaged profile
            pass
    full = 1 if cmyk.dtype.kind == "f" else np.iinfo(cmyk.dtype).max
    light = 1 - cmyk.astype(np.float64) / full
    return _to_dtype(light[..., :3] * light[..., 3:], cmyk.dtype)


def lab_to_rgb(lab: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """CIELAB (D50) `(..., 3)` as sRGB of `dtype`, with out-of-gamut colors clipped."""
    import imagecodecs
    from PIL import ImageCms

    source, srgb = (
        ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes() for name in ("LAB", "sRGB")
    )
    flat = np.ascontiguousarray(lab, np.float32).reshape(1, -1, 3)
    rgb = imagecodecs.cms_transform(flat, source, srgb, colorspace="lab", outcolorspace="rgb")
    return _to_dtype(rgb.reshape(lab.shape), dtype)


def _to_integers(array: AnyArray) -> AnyArray:
    if array.dtype.kind != "f":
        return np.ascontiguousarray(array)
    return np.rint(np.nan_to_num(array).clip(0, 1) * 65535).astype(np.uint16)


def _to_dtype(unit: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """Values in [0, 1] as floats, or as integers of the full range."""
    unit = unit.clip(0, 1)
    return (unit if dtype.kind == "f" else np.rint(unit * np.iinfo(dtype).max)).astype(dtype)
