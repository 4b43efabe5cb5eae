"""ICC profiles: which may stay beside RGB pixels, and what becomes of the others.

A scanner's gray picture often carries a gray profile ("Dot Gain 20%", "Gray Gamma 2.2"). Beside
RGB pixels such a profile is invalid; without it the picture would look lighter or darker than it
is, though its numbers are the same. So it becomes an RGB profile with the same tone curve and
sRGB's primaries: neutral pixels look as before, to the last bit of the numbers.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_HEADER = 128
_CURVES = (b"rTRC", b"gTRC", b"bTRC")
_PRIMARIES = (b"rXYZ", b"gXYZ", b"bXYZ")
_NAMES = (b"desc", b"cprt", b"wtpt", b"chad")

DROPPED = "Its colour profile does not fit RGB pixels and was left out."
CONVERTED = "It was converted to sRGB from the colour space {space}."


def for_rgb(profile: bytes | None) -> tuple[bytes | None, tuple[str, ...]]:
    """The profile that RGB pixels may carry in place of the source's, and notes if it is none."""
    if not profile:
        return None, ()
    space = profile[16:20]
    if space == b"RGB " and len(profile) > _HEADER:
        return profile, ()
    promoted = _gray_as_rgb(profile) if space == b"GRAY" else None
    return promoted, () if promoted else (DROPPED,)


def to_srgb(image: Image.Image) -> Image.Image:
    """CMYK or Lab to sRGB, through the picture's own profile if it has one that works."""
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
        return image.convert("RGB")  # no profile, or a broken one: Pillow's plain formula
    return converted or image


def _gray_as_rgb(profile: bytes) -> bytes | None:
    """An RGB profile of the gray one's tone curve; None if that curve is not given over XYZ."""
    from PIL import ImageCms

    tags = _tags(profile)
    curve = tags.get(b"kTRC")
    if curve is None or profile[20:24] != b"XYZ ":
        return None
    srgb = _tags(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    wanted = {name: tags[name] for name in _NAMES if name in tags}
    wanted |= {name: srgb[name] for name in _PRIMARIES}
    wanted |= dict.fromkeys(_CURVES, curve)
    return _assembled(profile[:_HEADER], wanted)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Name -> content of every tag that lies within the profile."""
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


def _assembled(header: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of these tags: header, table, contents (equal ones once), padded to 4 bytes."""
    table, body = b"", b""
    start = _HEADER + 4 + 12 * len(tags)
    placed: dict[bytes, int] = {}
    for name, content in tags.items():
        if content not in placed:
            placed[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, placed[content], len(content))
    size = struct.pack(">I", start + len(body))
    # A monitor's profile ("mntr") in RGB over XYZ; bytes 84 to 100 are a checksum that may be 0.
    described = header[4:12] + b"mntrRGB XYZ " + header[24:84] + bytes(16) + header[100:]
    return size + described + struct.pack(">I", len(tags)) + table + body
