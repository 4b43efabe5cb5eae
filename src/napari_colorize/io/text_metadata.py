"""XMP, IPTC, comments and PNG text: reading, writing, and what a format cannot hold.

XMP and IPTC are copied as bytes. In JPEG and PSD files IPTC is an image resource of Photoshop, in
TIFF a tag, in PNG the text "Raw profile type iptc" of ImageMagick and ExifTool.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_colorize import provenance as record
from napari_colorize.io import exif
from napari_colorize.io.formats import JPEG, PNG, Format, format_of
from napari_colorize.io.image_record import Metadata

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

IPTC_RESOURCE, XMP_RESOURCE = 0x0404, 0x0424
# Besides those two: resolution, the color profile, and a checksum of the IPTC data.
COPIED_RESOURCES = frozenset({IPTC_RESOURCE, XMP_RESOURCE, 0x03ED, 0x040F, 0x0425})
XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG = 700, 33723, 34377
COMMENT = "Comment"
PROVENANCE = "Provenance"
_SOFTWARE = "Software"
# PNG keywords and the EXIF tags with the same meaning.
EXIF_KEYS = {
    "Author": exif.ARTIST,
    "Copyright": exif.COPYRIGHT,
    "Description": exif.DESCRIPTION,
    _SOFTWARE: exif.SOFTWARE,
    "Title": exif.DOCUMENT_NAME,
}
_RAW = "Raw profile type "
_XMP_KEY = "XML:com.adobe.xmp"
_NOT_COPIED = (_XMP_KEY, _RAW)  # text of a PNG that is read as XMP, IPTC or EXIF instead
_PHOTOSHOP = b"Photoshop 3.0\0"
_SEGMENT = 65_533  # bytes of a JPEG segment without its length
_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_LIMIT = _SEGMENT - len(_XMP_HEADER)
_LONG_TEXT = 1024  # characters above which PNG text is compressed
_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>)\s*)([1-8])")


def of_image(image: Image.Image) -> dict[str, Any]:
    """Keywords of `Metadata` from an image that Pillow opened and loaded."""
    known: Mapping[str, Any] = getattr(image, "text", {})
    texts = {str(key): str(value) for key, value in known.items()}
    resources = image.info.get("photoshop", {})
    # ExifTool and ImageMagick store EXIF or XMP as APP1, a name that Pillow does not know.
    app1 = _from_raw_profile(texts, _RAW + "APP1") or b""
    app1_xmp = app1.removeprefix(_XMP_HEADER) if app1.startswith(_XMP_HEADER) else b""
    if app1 and not app1_xmp:
        image.info.setdefault("exif", app1)
    comment = "\n".join(_comments(image, texts))
    return {
        "xmp": upright(
            image.info.get("xmp")
            or texts.get(_XMP_KEY)
            or _from_raw_profile(texts, _RAW + "xmp")
            or app1_xmp
        ),
        "iptc": resources.get(IPTC_RESOURCE) or _from_raw_profile(texts, _RAW + "iptc"),
        "comment": record.without_record(comment),
        "texts": {
            key: text
            for key, text in texts.items()
            if key not in (COMMENT, PROVENANCE)
            and not key.startswith(_NOT_COPIED)
            and not (key == _SOFTWARE and text.startswith(record.SOFTWARE))
        },
    }


def _comments(image: Image.Image, texts: Mapping[str, str]) -> Iterator[str]:
    """All comments of an image; Pillow's `info` has only the last one of a JPEG."""
    segments = [data for kind, data in getattr(image, "applist", ()) if kind == "COM"]
    for comment in segments or [image.info.get("comment", "")]:
        yield exif.decode_text(comment)
    yield texts.get(COMMENT, "")


def upright(xmp: Any) -> bytes | None:
    """An XMP packet whose orientation is 1, because the pixels were rotated; None if empty."""
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if isinstance(xmp, tuple):  # TIFF tags of type BYTE
        xmp = bytes(xmp)
    return _ORIENTATION.sub(rb"\g<1>1", xmp) if isinstance(xmp, bytes) and xmp else None


def orientation_of(xmp: Any) -> int:
    """Orientation in an XMP packet, which counts if the file has no tag for it; 1 if unknown."""
    found = _ORIENTATION.search(xmp) if isinstance(xmp, bytes) else None
    return int(found[2]) if found else 1


def resources_of(block: bytes) -> dict[int, bytes]:
    """Photoshop's image resources by number; incomplete ones are left out."""
    found: dict[int, bytes] = {}
    start = 0
    while block[start : start + 4] == b"8BIM" and start + 12 <= len(block):
        number, name_length = struct.unpack_from(">HB", block, start + 4)
        start += 6 + (name_length + 2) // 2 * 2  # the name with its length is padded to even
        if start + 4 > len(block):
            break
        (length,) = struct.unpack_from(">I", block, start)
        found.setdefault(number, block[start + 4 : start + 4 + length])
        start += 4 + (length + 1) // 2 * 2
    return found


def photoshop_info(resources: Mapping[int, bytes]) -> dict[str, Any]:
    """Photoshop's image resources as entries of Pillow's `info`."""
    names = {"icc_profile": 1039, "exif": 1058, "xmp": XMP_RESOURCE}
    info: dict[str, Any] = {
        name: resources[number] for name, number in names.items() if number in resources
    }
    if len(size := resources.get(1005, b"")) >= 12:  # 16.16 fixed-point pixels per inch
        info["dpi"] = tuple(part / 65536 for part in struct.unpack_from(">I4xI", size))
    return {**info, "photoshop": resources}


def save_options(
    into: Format, metadata: Metadata, provenance: Mapping[str, object]
) -> dict[str, Any]:
    """Keywords of Pillow's `save` for XMP, IPTC, comment, text and the provenance record."""
    note = record.to_text(provenance)
    options: dict[str, Any] = {}
    if into is PNG:
        software = record.software(provenance, exif.software_of(metadata.exif))
        return {"pnginfo": _png_info(metadata, note, software)}
    if metadata.xmp and "XMP" in into.keeps and not _is_too_long(into, metadata.xmp):
        options["xmp"] = metadata.xmp
    if into is JPEG:
        # An empty comment prevents Pillow from copying one from `info`.
        options["comment"] = metadata.comment.encode()[:_SEGMENT]
        options["extra"] = b"".join(_photoshop_segment(metadata.iptc))
    if into.name == "JPEG2000":
        options["comment"] = "\n".join(text for text in (metadata.comment, note) if text)
    return {name: value for name, value in options.items() if value}


def _png_info(metadata: Metadata, note: str, software: str) -> PngInfo:
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    known = {_SOFTWARE: software} if note else {}
    for keyword, text in {**known, **metadata.texts, COMMENT: metadata.comment}.items():
        if text:
            _add(texts, keyword, text)
    if note:
        # The record is the comment, unless the image has its own.
        texts.add_itxt(PROVENANCE if metadata.comment else COMMENT, note)
    if metadata.xmp:
        texts.add_itxt(_XMP_KEY, metadata.xmp.decode("utf-8", "replace"))
    if metadata.iptc:
        texts.add_text(_RAW + "iptc", _to_raw_profile(metadata.iptc), zip=True)
    return texts


def _add(texts: PngInfo, keyword: str, text: str) -> None:
    is_long = len(text) > _LONG_TEXT
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        texts.add_itxt(keyword, text, zip=is_long)
    else:
        texts.add_text(keyword, text, zip=is_long)


def _photoshop_segment(iptc: bytes | None) -> Iterator[bytes]:
    """The APP13 segment with IPTC data; none if it would be too long."""
    if not iptc:
        return
    resource = struct.pack(">4sHHI", b"8BIM", IPTC_RESOURCE, 0, len(iptc)) + iptc
    content = _PHOTOSHOP + resource + bytes(len(iptc) % 2)
    if len(content) <= _SEGMENT:
        yield b"\xff\xed" + struct.pack(">H", len(content) + 2) + content


def _to_raw_profile(iptc: bytes) -> str:
    """Hexadecimal text in ImageMagick's form: name, length, lines of 36 bytes."""
    digits = iptc.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    return "\n".join(["", "iptc", f"{len(iptc):8d}", *lines, ""])


def _from_raw_profile(texts: Mapping[str, str], key: str) -> bytes | None:
    """The data of such a text; IPTC may be wrapped in Photoshop's image resources."""
    # An empty line, the name (which may contain spaces), the length, and the digits.
    lines = texts.get(key, "").strip().splitlines()
    try:
        data = bytes.fromhex("".join(lines[2:]))
    except ValueError:
        return None
    return resources_of(data).get(IPTC_RESOURCE) if data.startswith(b"8BIM") else data or None


# What a format cannot hold


@dataclass(frozen=True)
class Dropped:
    """Names of metadata that a format cannot hold."""

    format: str
    names: tuple[str, ...]


def dropped(path: Path, metadata: Metadata, provenance: Mapping[str, object]) -> Dropped:
    """Metadata that will not be in the file at `path`, whose suffix selects the format."""
    into = format_of(path)
    has_exif = "EXIF" in into.keeps
    texts = {key for key in metadata.texts if not (has_exif and key in EXIF_KEYS)}
    present = {
        "EXIF": metadata.exif,
        "the color profile": metadata.icc,
        "the resolution": metadata.resolution,
        "XMP": metadata.xmp,
        "IPTC": metadata.iptc,
        "comments": metadata.comment,
        "PNG text": texts,
        "frame durations": metadata.durations,
        "the loop count": metadata.loop,
        "the provenance record": provenance,
    }
    # A segment of a JPEG has a limited length.
    is_held = {
        "XMP": not _is_too_long(into, metadata.xmp or b""),
        "IPTC": into is not JPEG or any(_photoshop_segment(metadata.iptc)),
    }
    lost = [
        name
        for name, value in present.items()
        if value and not (name in into.keeps and is_held.get(name, True))
    ]
    return Dropped(into.name, tuple(lost))


def _is_too_long(into: Format, xmp: bytes) -> bool:
    return into is JPEG and len(xmp) > _XMP_LIMIT


def dropped_sentence(all_dropped: Iterable[Dropped], of: str = "") -> str:
    """One sentence for all results of a run, or "" if nothing was dropped.

    Parameters
    ----------
    all_dropped : iterable of Dropped
        One for each result.
    of : str
        Name of the result if there is only one; otherwise the number of files is given.

    Examples
    --------
    >>> dropped_sentence([Dropped("BMP", ("XMP", "IPTC"))] * 12)
    'XMP and IPTC of 12 files were dropped because BMP cannot hold them.'
    """
    counts: dict[str, Counter[str]] = {}
    for each in all_dropped:
        counts.setdefault(each.format, Counter()).update(each.names)
    clauses = []
    for name, counted in counts.items():
        by_count: dict[int, list[str]] = {}
        for item, count in counted.items():
            by_count.setdefault(count, []).append(item)
        parts = [f"{_listed(items)} of {of or _files(count)}" for count, items in by_count.items()]
        is_single = len(counted) == 1 and not next(iter(counted)).endswith("s")
        verb, them = ("was", "it") if is_single else ("were", "them")
        if parts:
            clauses.append(f"{_listed(parts)} {verb} dropped because {name} cannot hold {them}")
    sentence = "; ".join(clauses)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _files(count: int) -> str:
    return f"{count} file{'s' * (count != 1)}"


def _listed(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
