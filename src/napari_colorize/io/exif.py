"""EXIF: the fields that are copied from a gray source into a color result, and orientation.

The block is kept as bytes. Text that is not ASCII also keeps its bytes: EXIF does not declare its
encoding, and Pillow would write question marks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.io.image_record import Resolution, Unit
from napari_colorize.provenance import without_record

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION = 0x0112
DOCUMENT_NAME = 0x010D
DESCRIPTION = 0x010E
SOFTWARE = 0x0131
ARTIST = 0x013B
COPYRIGHT = 0x8298
EXIF_IFD = 0x8769
GPS_IFD = 0x8825
DIRECTORIES = frozenset({GPS_IFD, EXIF_IFD})
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
UNIT_CODES: Mapping[Unit, int] = {"none": 1, "inch": 2, "cm": 3}
_WIDTH, _HEIGHT = 0xA002, 0xA003  # PixelXDimension and PixelYDimension, in the EXIF IFD
_MAKER_NOTE = 0x927C
_INTEROPERABILITY = 0xA005  # an offset into the source file, invalid in a copy

WINDOWS_TAGS = frozenset({0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F})  # UTF-16 as bytes
# Document name, description, make, model, page name, software, date, artist, host computer,
# copyright, rating, and Windows' title, comment, author, keywords and subject. The other tags of
# the first IFD describe how the source's pixels were stored; the second IFD is the gray thumbnail.
TEXT_TAGS = frozenset(
    {
        DOCUMENT_NAME,
        DESCRIPTION,
        0x010F,
        0x0110,
        0x011D,
        SOFTWARE,
        0x0132,
        ARTIST,
        0x013C,
        COPYRIGHT,
    }
    | {0x4746}
    | WINDOWS_TAGS
)
# A JPEG segment has at most 65533 bytes.
_MAX_BLOCK = 65_000

# Orientation -> (swap rows with columns, then mirror vertically, mirror horizontally)
_ORIENTATIONS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


# Exceptions that Pillow's EXIF parser raises for damaged blocks.
_DAMAGE_ERRORS = (SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
           OSError, struct.error)  # fmt: skip


@dataclass(frozen=True)
class ExifFields:
    """Orientation and resolution of a source, and the EXIF block to copy (see `copied_block`)."""

    orientation: int = 1
    resolution: Resolution | None = None
    block: bytes | None = None
    notes: tuple[str, ...] = ()


def apply_orientation(array: AnyArray, orientation: int, *, rgb: bool) -> AnyArray:
    """`array` after the rotation and mirroring of EXIF orientation 1 to 8; otherwise unchanged."""
    swap, mirror_y, mirror_x = _ORIENTATIONS.get(orientation, _ORIENTATIONS[1])
    y, x = (-3, -2) if rgb else (-2, -1)
    if swap:
        array = np.swapaxes(array, y, x)
    mirrored = [axis for axis, is_mirrored in ((y, mirror_y), (x, mirror_x)) if is_mirrored]
    return np.flip(array, tuple(mirrored)) if mirrored else array


def read_exif(read: Callable[[], Image.Exif], extra: Mapping[int, str] | None = None) -> ExifFields:
    """All EXIF fields that a reader needs; empty with a note if the block is damaged.

    A damaged EXIF block never makes an image unreadable.

    Parameters
    ----------
    read : callable
        Returns the block. It may raise because of damage, and so may any later access.
    extra : mapping of tag to text, optional
        Values from another part of the file (a PNG's "Author"), used where EXIF has none.
    """
    try:
        found = read()
        return ExifFields(_orientation(found), _resolution(found), copied_block(found, extra))
    except _DAMAGE_ERRORS:
        return ExifFields(notes=("The EXIF block is damaged and was left out.",))


def _orientation(exif: Image.Exif) -> int:
    found = exif.get(ORIENTATION, 1)
    return found if isinstance(found, int) else 1


def copied_block(exif: Image.Exif, extra: Mapping[int, str] | None = None) -> bytes | None:
    """The part of a source's EXIF that is also valid for the result, or None if there is none.

    Parameters
    ----------
    exif : Image.Exif
        As read. Camera, date, artist and GPS are kept; orientation, thumbnail and storage are not.
    extra : mapping of tag to text, optional
        Values from another part of the file (a PNG's "Author"), used where EXIF has none.
    """
    result = _empty()
    for tag, text in (extra or {}).items():
        result[tag] = _stored(text)
    for tag in TEXT_TAGS & exif.keys():
        result[tag] = _as_bytes(exif[tag])
    is_empty = not len(result)
    for ifd in DIRECTORIES:
        content = {tag: _as_bytes(value) for tag, value in exif.get_ifd(ifd).items()}
        content.pop(_INTEROPERABILITY, None)
        if content:  # get_ifd on the result creates the directory
            result.get_ifd(ifd).update(content)
            is_empty = False
    return None if is_empty else result.tobytes()


def result_block(
    source: bytes | None,
    *,
    size: tuple[int, int],
    resolution: Resolution | None,
    caption: str = "",
    software: str = "",
) -> bytes:
    """EXIF block of a result of `size` (width, height) for Pillow's `exif=`; empty without data."""
    exif = load(source)
    exif.pop(DESCRIPTION, None)
    if caption:
        exif[DESCRIPTION] = _stored(caption)
    if software:
        exif[SOFTWARE] = _stored(software)
    if resolution:
        exif[X_RESOLUTION], exif[Y_RESOLUTION] = resolution.x, resolution.y
        exif[RESOLUTION_UNIT] = UNIT_CODES[resolution.unit]
    if not len(exif) and source is None:
        return b""
    for ifd, content in directories(source, size=size).items():
        exif.get_ifd(ifd).update(content)
    block = exif.tobytes()
    if len(block) > _MAX_BLOCK and exif.get_ifd(EXIF_IFD).pop(_MAKER_NOTE, None) is not None:
        block = exif.tobytes()  # the maker note is dropped so that the block fits
    return block


def _resolution(exif: Image.Exif) -> Resolution | None:
    unit = {code: name for name, code in UNIT_CODES.items()}.get(exif.get(RESOLUTION_UNIT, 2))
    return valid_resolution(exif.get(X_RESOLUTION), exif.get(Y_RESOLUTION), unit or "inch")


def valid_resolution(x: Any, y: Any, unit: Unit) -> Resolution | None:
    """A resolution if both numbers are positive and finite."""
    try:
        x, y = float(x), float(y)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return Resolution(x, y, unit) if 0 < x < math.inf and 0 < y < math.inf else None


def oriented_resolution(resolution: Resolution | None, orientation: int) -> Resolution | None:
    """The resolution after `apply_orientation`."""
    if resolution is None or not _ORIENTATIONS.get(orientation, _ORIENTATIONS[1])[0]:
        return resolution
    return Resolution(resolution.y, resolution.x, resolution.unit)


def directories(source: bytes | None, *, size: tuple[int, int]) -> dict[int, dict[int, Any]]:
    """The EXIF directories (exposure, lens, date; GPS) for a result of `size` (width, height)."""
    exif = load(source)
    found = {ifd: dict(exif.get_ifd(ifd)) for ifd in DIRECTORIES if exif.get_ifd(ifd)}
    if EXIF_IFD in found:
        found[EXIF_IFD] |= {_WIDTH: size[0], _HEIGHT: size[1]}
    return found


def load(source: bytes | None) -> Image.Exif:
    """EXIF from the bytes of `copied_block`, with text as bytes so that it can be written again."""
    exif = _empty()
    if source:
        exif.load(source)
        for tag in list(exif):
            exif[tag] = _as_bytes(exif[tag])
        for ifd in DIRECTORIES & exif.keys():
            content = exif.get_ifd(ifd)
            content.update({tag: _as_bytes(value) for tag, value in content.items()})
    return exif


def caption_of(exif: Image.Exif) -> str:
    """The image's own description, decoded."""
    return decode_text(exif.get(DESCRIPTION, ""))


def software_of(source: bytes | None) -> str:
    """The program that has made a source, decoded; "" if unknown."""
    return decode_text(load(source).get(SOFTWARE, ""))


def decode_text(value: Any) -> str:
    """Text of a tag: UTF-8 if valid, otherwise Latin-1, which accepts any bytes."""
    if not isinstance(value, (str, bytes)):
        return ""
    raw = _as_bytes(value)
    data = raw if isinstance(raw, bytes) else raw.encode()
    try:
        return data.decode().strip("\0 ")
    except UnicodeDecodeError:
        return data.decode("latin-1").strip("\0 ")


def with_record(source: bytes | None, record: str, comment: str = "") -> str:
    """The image's own caption and comment, then the provenance; an older record is replaced."""
    caption = without_record(caption_of(load(source)))
    comment = "" if comment in caption else comment
    return "\n".join(part for part in (caption, comment, record) if part)


def _empty() -> Image.Exif:
    from PIL import Image

    return Image.Exif()


def _stored(text: str) -> str | bytes:
    """ASCII text unchanged, other text as UTF-8 bytes."""
    return text if text.isascii() else text.encode()


def _as_bytes(value: Any) -> Any:
    """Undo Pillow's decoding as Latin-1 for text beyond ASCII."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1", "replace")
    return value
