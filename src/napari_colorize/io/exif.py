"""EXIF: what of it travels from a gray source into a coloured result, and turning upright.

The block is kept as bytes. Text that is not ASCII keeps its bytes too: EXIF does not say in which
encoding it is, and Pillow would write question marks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.io.image_record import Resolution, Unit
from napari_colorize.provenance import without_record

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION = 0x0112
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
_INTEROPERABILITY = 0xA005  # points to a place of the source file

WINDOWS_TAGS = frozenset({0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F})  # UTF-16 as bytes
# Document name, description, make, model, page name, software, date, artist, host computer,
# copyright, rating, and Windows' title, comment, author, keywords and subject. All else in the
# first IFD says how the source's pixels were stored; the second IFD is the gray thumbnail.
TEXT_TAGS = frozenset(
    {0x010D, DESCRIPTION, 0x010F, 0x0110, 0x011D, SOFTWARE, 0x0132, ARTIST, 0x013C, COPYRIGHT}
    | {0x4746}
    | WINDOWS_TAGS
)
# A JPEG segment ends at 65533 bytes.
_LONGEST = 65_000

# Orientation -> swap rows with columns first?, then mirror vertically?, horizontally?
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


# What Pillow's parser of EXIF may raise when bytes are wrong.
_DAMAGE = (SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
           OSError, struct.error)  # fmt: skip


@dataclass(frozen=True)
class ExifFields:
    """What a source's EXIF says: how it lies, its resolution, and the block that is `kept`."""

    orientation: int = 1
    resolution: Resolution | None = None
    block: bytes | None = None
    notes: tuple[str, ...] = ()


def upright(array: NDArray[Any], orientation: int, *, rgb: bool) -> NDArray[Any]:
    """Turn and mirror Y and X as EXIF's orientation (1 to 8) says; other values do nothing."""
    swap, mirror_y, mirror_x = _TURNS.get(orientation, _TURNS[1])
    y, x = (-3, -2) if rgb else (-2, -1)
    if swap:
        array = np.swapaxes(array, y, x)
    mirrored = [axis for axis, wanted in ((y, mirror_y), (x, mirror_x)) if wanted]
    return np.flip(array, tuple(mirrored)) if mirrored else array


def read_exif(read: Callable[[], Image.Exif], extra: Mapping[int, str] | None = None) -> ExifFields:
    """Everything that a reader wants of EXIF; of a damaged block nothing, with a note.

    A photograph is not refused because of its EXIF.

    Parameters
    ----------
    read : callable
        Gives the block; damage may show itself there or anywhere below.
    extra : mapping of tag to text, optional
        From another place of the file (a PNG's "Author"), where EXIF says nothing.
    """
    try:
        found = read()
        return ExifFields(_orientation(found), _resolution(found), kept(found, extra))
    except _DAMAGE:
        return ExifFields(notes=("Its EXIF block is damaged and was left out.",))


def _orientation(exif: Image.Exif) -> int:
    found = exif.get(ORIENTATION, 1)
    return found if isinstance(found, int) else 1


def kept(exif: Image.Exif, extra: Mapping[int, str] | None = None) -> bytes | None:
    """The part of a source's EXIF that is true of the result too, or None if there is none.

    Parameters
    ----------
    exif : Image.Exif
        As read. Camera, date, artist, GPS are kept; orientation, thumbnail, storage are not.
    extra : mapping of tag to text, optional
        From another place of the file (a PNG's "Author"), where EXIF says nothing.
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
        if content:  # asking for a directory makes one
            result.get_ifd(ifd).update(content)
            is_empty = False
    return None if is_empty else result.tobytes()


def composed(
    source: bytes | None,
    *,
    size: tuple[int, int],
    resolution: Resolution | None,
    caption: str = "",
    software: str = "",
) -> bytes:
    """The EXIF block of a result of `size` (width, height), for Pillow's `exif=`; or `b""`."""
    exif = load(source)
    exif.pop(DESCRIPTION, None)
    if caption:
        exif[DESCRIPTION] = _stored(caption)
    if software:
        exif[SOFTWARE] = software
    if resolution:
        exif[X_RESOLUTION], exif[Y_RESOLUTION] = resolution.x, resolution.y
        exif[RESOLUTION_UNIT] = UNIT_CODES[resolution.unit]
    if not len(exif) and source is None:
        return b""
    for ifd, content in directories(source, size=size).items():
        exif.get_ifd(ifd).update(content)
    block = exif.tobytes()
    if len(block) > _LONGEST and exif.get_ifd(EXIF_IFD).pop(_MAKER_NOTE, None) is not None:
        block = exif.tobytes()  # the camera maker's private notes give way
    return block


def _resolution(exif: Image.Exif) -> Resolution | None:
    unit = {code: name for name, code in UNIT_CODES.items()}.get(exif.get(RESOLUTION_UNIT, 2))
    return positive(exif.get(X_RESOLUTION), exif.get(Y_RESOLUTION), unit or "inch")


def positive(x: Any, y: Any, unit: Unit) -> Resolution | None:
    """A resolution if both numbers can be true."""
    try:
        x, y = float(x), float(y)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return Resolution(x, y, unit) if 0 < x < math.inf and 0 < y < math.inf else None


def turned(resolution: Resolution | None, orientation: int) -> Resolution | None:
    """The resolution of the picture that `upright` gives."""
    if resolution is None or not _TURNS.get(orientation, _TURNS[1])[0]:
        return resolution
    return Resolution(resolution.y, resolution.x, resolution.unit)


def directories(source: bytes | None, *, size: tuple[int, int]) -> dict[int, dict[int, Any]]:
    """The directories (exposure, lens, date of taking; place) for a result of `size`, if any."""
    exif = load(source)
    found = {ifd: dict(exif.get_ifd(ifd)) for ifd in DIRECTORIES if exif.get_ifd(ifd)}
    if EXIF_IFD in found:
        found[EXIF_IFD] |= {_WIDTH: size[0], _HEIGHT: size[1]}
    return found


def load(source: bytes | None) -> Image.Exif:
    """EXIF from `kept`'s bytes, its text as bytes so that it can be written again."""
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
    """The picture's own description, decoded."""
    return decoded(exif.get(DESCRIPTION, ""))


def decoded(value: Any) -> str:
    """Text of a tag: UTF-8 if it can be, else Latin-1, which any bytes can be."""
    if not isinstance(value, (str, bytes)):
        return ""
    raw = _as_bytes(value)
    data = raw if isinstance(raw, bytes) else raw.encode()
    try:
        return data.decode().strip("\0 ")
    except UnicodeDecodeError:
        return data.decode("latin-1").strip("\0 ")


def with_record(source: bytes | None, told: str) -> str:
    """The picture's own caption and below it the provenance; an older record gives way."""
    caption = without_record(caption_of(load(source)))
    return "\n".join(part for part in (caption, told) if part)


def _empty() -> Image.Exif:
    from PIL import Image

    return Image.Exif()


def _stored(text: str) -> str | bytes:
    """ASCII as it is, other text as UTF-8."""
    return text if text.isascii() else text.encode()


def _as_bytes(value: Any) -> Any:
    """Undo Pillow's reading of text as Latin-1 where that matters: beyond ASCII."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1", "replace")
    return value
