"""DICOM reader: pixel values as a viewer displays them, without patient data."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError
from napari_colorize.extras import install_command
from napari_colorize.imaging.intensity_range import IntensityRange, declared_range
from napari_colorize.io.icc import for_rgb
from napari_colorize.io.image_record import ImageRecord, Metadata, Resolution
from napari_colorize.io.limits import BOMB_BYTES, COPIES, refuse_huge, with_owned_memory

if TYPE_CHECKING:
    from pydicom import Dataset

_MAGIC_AT, _MAGIC = 128, b"DICM"
START = _MAGIC_AT + len(_MAGIC)
"""Number of leading bytes needed to recognize a DICOM file."""
MORE_FRAMES = "NumberOfFrames is {declared}, but the file contains {found} frames; all were read."
MAX_ITEMS = 500_000
"""Limit of sequence items, frames included; pydicom reads 40,000 in a second."""
_ONLY_DECLARED: dict[str, Any] = {"allow_excess_frames": False}  # option of pydicom's decoders
_NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "UV", "SV", "US or SS"})
_MAX_NUMBERS = 2**22  # bytes of an element with one of these representations
_ITEM, _BIG_ENDIAN_ITEM = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"
_PART = 2**22  # bytes
_DEFLATE_RATIO = 100  # of a deflated data set that is above `BOMB_BYTES`
_MM_PER_CM = 10
# Elements with which gray values are converted, and the bytes of a pixel that this needs.
_CONVERTING = (
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence"),
    *("VOILUTFunction", "PixelPaddingValue", "SharedFunctionalGroupsSequence"),
    *("PerFrameFunctionalGroupsSequence", "FloatPixelData", "DoubleFloatPixelData"),
)
_CONVERTED_BYTES = 24
_DISCRETE, _INDIRECT = 0, 2  # kinds of segments of a palette; the third is linear
_MAX_STEPS = 2**18  # bytes, or segments and entries, of a segmented palette of 65,536 entries
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_DEFAULTS = {
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelRepresentation": 0,
}
# Retired; pydicom converts none of them, and the others only with 8 bits.
_UNKNOWN_COLORS = frozenset({"HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420"})
_EIGHT_BIT_COLORS = frozenset({"YBR_FULL", "YBR_FULL_422"})

# See `read_header`.
_TABLES = (
    "ModalityLUTSequence",
    "VOILUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
_HEADER = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTFunction",
    "PixelIntensityRelationship",
)


def is_dicom(start: bytes) -> bool:
    """Whether a file with these first bytes is DICOM, with or without preamble."""
    return has_magic(start) or _is_bare(start)


def starts_as_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its first bytes; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(START))
    except OSError:
        return False


def has_magic(start: bytes) -> bool:
    """Whether a preamble and the letters DICM are the first bytes of a file."""
    return start[_MAGIC_AT:START] == _MAGIC


def _is_bare(start: bytes) -> bool:
    """Whether the first element belongs to the group 0002 or 0008: a file without preamble."""
    if len(start) < START or start[:2] not in (b"\2\0", b"\10\0", b"\0\10"):
        return False
    has_vr = start[4:6].isalpha() and start[4:6].isupper()
    length = int.from_bytes(start[4:8], "little")  # even; the first elements are short
    return has_vr or (0 < length <= START and length % 2 == 0)


def has_image(path: Path) -> bool:
    """Whether a file is DICOM with an image, not a report or the index of a folder.

    True as well if this cannot be found out; `read` gives the reason.
    """
    try:
        if not path.is_file():  # opening a pipe would block
            return False
        with path.open("rb") as file:
            if not has_magic(file.read(START)):
                return False
    except OSError:
        return False
    with suppress(Exception):
        return "Rows" in _load(path, stop_before_pixels=True, specific_tags=["Rows"])
    return True


def read(path: Path, *, max_pixels: int) -> ImageRecord:
    """Read an image or a multi-frame stack.

    Gray values are those after the modality LUT; the contrast limits are the first window, or the
    smallest and largest pixel without padding (see `dicom_gray`). MONOCHROME1 images, where low
    values are white, are inverted. Overlays are ignored. Physical sizes and the color profile are
    the only metadata that are kept.
    """
    dataset = _open(path)
    frames_note = _count_frames(path, dataset)
    refuse_huge(
        path,
        int(dataset.Rows),
        int(dataset.Columns),
        max_pixels=max_pixels,
        frames=int(dataset.get("NumberOfFrames") or 1),
        bits=int(dataset.SamplesPerPixel) * int(dataset.get("BitsAllocated") or 64),
        copies=_copies(dataset),
    )
    stored = _decode(path, dataset)
    is_color = int(dataset.SamplesPerPixel) > 1
    is_stack = stored.ndim > 2 + is_color
    declared: IntensityRange | None
    if is_color or dataset.PhotometricInterpretation == "PALETTE COLOR":
        if not is_color:
            _refuse_large_palette(path, dataset)
        array = stored if is_color else _palette(stored, dataset)
        declared = _color_range(dataset) if is_color else None
        icc, notes = for_rgb(dataset.get("ICCProfile"))
        is_color = True
    else:
        from napari_colorize.io.dicom_gray import to_gray

        gray = to_gray(stored, dataset)
        array, declared, notes, icc = gray.array, gray.declared, gray.notes, None
    notes = (*frames_note, *notes)
    sizes, axis = _pixel_sizes(dataset), _axis(dataset) if is_stack else ""
    return ImageRecord(
        array=with_owned_memory(array),
        is_stack=is_stack,
        rgb=is_color,
        declared_range=declared,
        metadata=Metadata(
            icc=icc,
            resolution=_resolution(sizes),
            axes=axis,
            spacing=_spacing(dataset, sizes, axis),
        ),
        notes=notes,
    )


def read_header(path: Path) -> tuple[object, ...] | None:
    """Attributes on which size and type of the decoded pixels depend; None if there are tables."""
    dataset = _load(path, stop_before_pixels=True)
    if any(name in dataset for name in _TABLES):
        return None
    return tuple(str(dataset.get(name)) for name in _HEADER)


def _copies(dataset: Dataset) -> int:
    """How many times the stored values are in memory, at most, while they are converted."""
    kind = str(dataset.PhotometricInterpretation)
    if int(dataset.SamplesPerPixel) > 1:
        return 4 * COPIES if kind.startswith("YBR") else COPIES
    if kind == "MONOCHROME2" and not any(name in dataset for name in _CONVERTING):
        return COPIES
    return COPIES + math.ceil(8 * _CONVERTED_BYTES / int(dataset.get("BitsAllocated") or 64))


def indexed_images(dicomdir: Path) -> list[Path]:
    """Image files that a DICOMDIR lists, in its order.

    Raises
    ------
    ImageError
        If pydicom is not installed, or the file is damaged.
    """
    try:
        records = _load(dicomdir).get("DirectoryRecordSequence") or ()
    except ImageError:
        raise
    # pydicom raises nearly every class of exception for damaged files.
    except Exception as error:
        raise ImageError(f"{dicomdir} is a damaged index of a DICOM folder: {error}.") from error
    found, folder = [], dicomdir.parent.resolve()
    for record in records:
        parts = record.get("ReferencedFileID")
        if record.get("DirectoryRecordType") == "IMAGE" and parts:
            parts = [parts] if isinstance(parts, str) else list(parts)
            path = dicomdir.parent.joinpath(*parts)
            # Names are in capitals, but Linux shows those of a CD in small letters.
            lower = dicomdir.parent.joinpath(*map(str.lower, parts))
            if ".." in path.parts[len(dicomdir.parent.parts) :] or not all(
                each.resolve().is_relative_to(folder) for each in (path, lower)
            ):
                raise ImageError(f"{dicomdir} refers to {path}, outside of its folder.")
            found.append(lower if lower.exists() and not path.exists() else path)
    return found


def in_series_order(paths: Sequence[Path]) -> list[Path]:
    """Files of one series in the order of their instance numbers; others in the given order.

    Names are often identifiers without order. Other files than DICOM are accepted.
    """
    with suppress(Exception):  # `read_image` reports files that cannot be read
        numbers = [_series_and_number(path) for path in paths]
        if len({series for series, _ in numbers}) == 1 and len(set(numbers)) == len(paths):
            return [path for _, path in sorted(zip(numbers, paths, strict=True))]
    return list(paths)


def _series_and_number(path: Path) -> tuple[str, int]:
    if not starts_as_dicom(path):
        raise ValueError(f"{path} is no DICOM file")
    header = _load(path, stop_before_pixels=True)
    return str(header.SeriesInstanceUID), int(header.InstanceNumber)


def _load(path: Path, **options: Any) -> Dataset:
    try:
        import pydicom
    except ImportError:
        raise ImageError(
            f"{path.name} is a DICOM file. To read it: {install_command('dicom')}"
        ) from None
    if not options:
        _refuse_bomb(path)
    return pydicom.dcmread(path, force=True, **options)


def _refuse_bomb(path: Path) -> None:
    """Raise ImageError for a file that inflates to gigabytes, or has millions of sequence items.

    pydicom inflates a deflated data set as a whole, and makes an object for each item.
    """
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    syntax = None
    with suppress(Exception):  # a file without meta information
        syntax = read_file_meta_info(path).TransferSyntaxUID
    with path.open("rb") as file:
        if syntax == DeflatedExplicitVRLittleEndian and has_magic(file.read(START)):
            data = file.read()
            length = int.from_bytes(data[8:12], "little")  # of the meta information, after its tag
            _count_items(path, _inflated(path, data[12 + length :]))
        else:
            file.seek(0)
            _count_items(path, iter(lambda: file.read(_PART), b""))


def _inflated(path: Path, data: bytes) -> Iterator[bytes]:
    """The parts of deflated data, none of which is kept."""
    inflater, total, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, data
    while not inflater.eof and (part := inflater.decompress(rest, _PART)):
        rest = inflater.unconsumed_tail
        total += len(part)
        if total > BOMB_BYTES and total > _DEFLATE_RATIO * len(data):
            raise ImageError(
                f"{path.name} is a decompression bomb: {len(data):,} bytes inflate to more than "
                f"{total:,}."
            )
        yield part


def _count_items(path: Path, parts: Iterator[bytes]) -> None:
    count = 0
    for part in parts:
        count += part.count(_ITEM) + part.count(_BIG_ENDIAN_ITEM)
        if count > MAX_ITEMS:
            raise ImageError(
                f"{path.name} has more than {MAX_ITEMS:,} sequence items. An image has far fewer."
            )


def _open(path: Path) -> Dataset:
    """The data set, with the attributes that old files omit."""
    dataset = _load(path)
    _refuse_many_numbers(path, dataset)
    has_pixels = any(dataset.get(name) for name in _PIXELS)
    if "DirectoryRecordSequence" in dataset and not has_pixels:
        raise ImageError(
            f"{path.name} is the index of a DICOM folder and contains no image. Give the folder or "
            "one of its files."
        )
    if not (has_pixels and "Rows" in dataset and "Columns" in dataset):
        kind = dataset.get("SOPClassUID")
        if kind:
            what = f"it is a DICOM file without pixels ({kind.name})"
        else:
            lacking = [name for name in ("Rows", "Columns") if name not in dataset]
            lacking += [] if has_pixels else ["pixel data"]
            what = f"elements of a DICOM image are missing ({', '.join(lacking)})"
        raise ImageError(f"{path.name} contains no image: {what}.")
    for name, value in _DEFAULTS.items():
        if dataset.get(name) is None:
            setattr(dataset, name, value)
    if dataset.get("BitsStored") is None and dataset.get("BitsAllocated"):
        dataset.BitsStored = dataset.BitsAllocated
    for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"):
        if name in dataset and not isinstance(dataset[name].value, int):
            raise ImageError(f"{path.name} is damaged: {name} is {dataset[name].value}.")
    _set_transfer_syntax(dataset)
    return dataset


def _refuse_many_numbers(path: Path, dataset: Dataset) -> None:
    """Raise ImageError for elements of millions of numbers; pydicom makes an object for each.

    They have not been converted yet.
    """
    from pydicom.datadict import dictionary_VR

    for element in dataset.values():
        if (getattr(element, "length", 0) or 0) <= _MAX_NUMBERS:
            continue
        with suppress(KeyError):  # not in the dictionary
            kind = element.VR or dictionary_VR(element.tag)
            if kind in _NUMBERS:
                raise ImageError(
                    f"{path.name} has more than {_MAX_NUMBERS:,} bytes of numbers in the element "
                    f"{element.tag}. An image has far fewer."
                )


def _count_frames(path: Path, dataset: Dataset) -> tuple[str, ...]:
    """Compare the number of frames with the pixels; set it, with a note, if there are more.

    Raises
    ------
    ImageError
        If there are fewer.
    """
    from pydicom.uid import UncompressedTransferSyntaxes

    syntax = dataset.file_meta.TransferSyntaxUID
    if "BitsAllocated" not in dataset and "PixelData" in dataset:
        raise ImageError(f"{path.name} is damaged: BitsAllocated is missing.")
    given = dataset.get("NumberOfFrames")
    try:
        declared = 1 if given is None or given == "" else int(given)
    except (TypeError, ValueError):
        raise ImageError(f"{path.name} is damaged: NumberOfFrames is not a number.") from None
    if declared < 1:
        raise ImageError(f"{path.name} is damaged: NumberOfFrames is {declared}.")
    if "PixelData" in dataset and syntax not in UncompressedTransferSyntaxes:
        found = _encapsulated_frames(dataset, declared)
    else:
        found = _native_frames(dataset)
    if found in (declared, 0):  # less than a frame is reported by pydicom
        return ()
    if found < declared:
        raise ImageError(
            f"{path.name} is damaged: it declares {declared} frames, but contains {found}."
        )
    dataset.NumberOfFrames = found
    return (MORE_FRAMES.format(found=found, declared=declared),)


def _native_frames(dataset: Dataset) -> int:
    """Number of complete frames in uncompressed pixel data."""
    bits = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
    name = next(name for name in _PIXELS if name in dataset)
    samples = int(dataset.SamplesPerPixel)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        samples = 2  # Cb and Cr are shared by two pixels
    frame = math.prod((dataset.Rows, dataset.Columns, samples))
    frame *= bits.get(name, 0) or int(dataset.BitsAllocated)
    return 8 * len(dataset[name].value) // frame if frame else 0


def _encapsulated_frames(dataset: Dataset, declared: int) -> int:
    """Number of compressed frames; the declared one if a frame may have several fragments."""
    from pydicom.encaps import parse_basic_offsets, parse_fragments

    data = BytesIO(dataset.PixelData)
    offsets = parse_basic_offsets(data)
    if offsets:
        return len(offsets)
    fragments, _ = parse_fragments(data)
    # Without a table, a frame is known to be one fragment only if there are several frames.
    return fragments if declared > 1 and fragments < declared else declared


def _set_transfer_syntax(dataset: Dataset) -> None:
    """Record the encoding that pydicom found in a file without meta header."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = getattr(dataset, "file_meta", None)
    if meta is None:
        meta = dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        is_implicit, is_little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit


def _decode(path: Path, dataset: Dataset) -> AnyArray:
    """The stored values; color images as RGB."""
    from napari_colorize.io.dicom_decoder import decoder_of, preferred_plugin

    kind, syntax = str(dataset.PhotometricInterpretation), dataset.file_meta.TransferSyntaxUID
    if kind in _UNKNOWN_COLORS or (kind in _EIGHT_BIT_COLORS and dataset.BitsAllocated > 8):
        raise ImageError(
            f"{path.name} has colors of the kind {kind} with {dataset.BitsAllocated} bits, which "
            "cannot be read. Convert it to RGB."
        )
    try:
        decoder = decoder_of(syntax)
    except NotImplementedError:
        raise ImageError(
            f"{path.name} is compressed as {syntax.name}, which cannot be read. Store it "
            "uncompressed, for example with `gdcmconv --raw`."
        ) from None
    if not decoder.is_available:
        raise ImageError(
            f"{path.name} is compressed as {syntax.name}, for which no decoder is installed. "
            "Install one: pip install --upgrade imagecodecs."
        )
    if dataset.get("BitsAllocated", 8) % 8 and dataset.BitsAllocated > 1:
        _widen(dataset)
    bits, high_bit = dataset.get("BitsStored"), dataset.get("HighBit")
    shift = high_bit + 1 - bits if bits and high_bit else 0
    if shift > 0:  # pydicom expects the lowest bits
        dataset.BitsStored = bits + shift
    try:
        plugin = preferred_plugin(decoder)
        stored, _ = decoder.as_array(dataset, decoding_plugin=plugin, **_ONLY_DECLARED)
    except RuntimeError as error:  # of all plugins, one in each line
        reason = shorten(str(error).splitlines()[-1].strip(), 120).rstrip(".")
        raise ImageError(f"{path.name} cannot be decoded ({syntax.name}): {reason}.") from error
    except (ValueError, AttributeError) as error:
        reason = str(error).partition(" - ")[0].rstrip(".")
        if "pixel data" not in reason and "(0028," not in reason:
            raise  # a message about Python objects
        raise ImageError(f"{path.name} cannot be decoded as DICOM: {reason}.") from error
    if shift > 0:
        dataset.BitsStored, stored = bits, stored >> shift
    return stored


def _widen(dataset: Dataset) -> None:
    """Store samples of 12 or another odd number of bits in 16 or 32 (PS3.5 D.2, retired)."""
    bits = int(dataset.BitsAllocated)
    allocated = 16 if bits < 16 else 32
    count = math.prod(int(dataset[name].value) for name in ("Rows", "Columns", "SamplesPerPixel"))
    count *= int(dataset.get("NumberOfFrames") or 1)
    data = np.frombuffer(dataset.PixelData, np.uint8)
    if 8 * data.size < count * bits:
        raise ValueError(f"{count} pixels of {bits} bits need more than {data.size} bytes")
    samples = np.unpackbits(data, bitorder="little", count=count * bits).reshape(count, bits)
    padded = np.pad(samples, ((0, 0), (0, allocated - bits)))
    dataset.PixelData = np.packbits(padded, bitorder="little").tobytes()
    dataset.BitsAllocated = allocated


def _color_range(dataset: Dataset) -> IntensityRange | None:
    """Range of the stored bits, if they do not fill the type."""
    bits = int(dataset.BitsStored)
    return None if bits in (8, 16, 32) else declared_range((0, 2**bits - 1), "DICOM BitsStored")


def _refuse_large_palette(path: Path, dataset: Dataset) -> None:
    """Raise ImageError if a segmented palette unfolds to more entries than a table can have."""
    is_little = dataset.file_meta.TransferSyntaxUID.is_little_endian
    order: Literal["little", "big"] = "little" if is_little else "big"
    width = 1 if int(dataset.RedPaletteColorLookupTableDescriptor[2]) // 8 == 1 else 2  # as pydicom
    for color in ("Red", "Green", "Blue", "Alpha"):
        data = dataset.get(f"Segmented{color}PaletteColorLookupTableData") or b""
        if len(data) > _MAX_STEPS or _unfolded(data, width, order) > _MAX_STEPS:
            raise ImageError(
                f"{path.name} is damaged: a segmented palette in it has more than 65,536 entries."
            )


def _unfolded(
    data: bytes,
    width: int,
    order: Literal["little", "big"],
    start: int = 0,
    most: int | None = None,
) -> int:
    """Number of segments and of their entries, to the limit (PS3.3 C.7.9.2).

    `width` is the number of bytes of an entry. Only the first `most` segments after the entry
    `start` are counted; they may not refer to others.
    """

    def entry(at: int) -> int:
        return int.from_bytes(data[at * width : (at + 1) * width], order)

    at, steps, segments = start, 0, 0
    while (at + 2) * width <= len(data) and steps <= _MAX_STEPS and segments != most:
        kind, length = entry(at), entry(at + 1)
        steps, segments, at = steps + 1, segments + 1, at + 2
        if kind == _INDIRECT:
            if most is not None:
                raise ValueError("an indirect segment refers to another one")
            low, high = (
                int.from_bytes(data[at * width + half : at * width + half + 2], order)
                for half in (0, 2)
            )
            steps += _unfolded(data, width, order, high << 16 | low, length)
            at += 4 // width
        else:
            steps += length
            at += length if kind == _DISCRETE else 1
    return steps


def _palette(stored: AnyArray, dataset: Dataset) -> AnyArray:
    """Colors of a palette image, in 8 bits if its entries have no more."""
    from pydicom.pixels.processing import apply_color_lut

    from napari_colorize.io.dicom_gray import table_entries

    count, _, bits = (int(value) for value in dataset.RedPaletteColorLookupTableDescriptor)
    for color in ("Red", "Green", "Blue", "Alpha"):
        name = f"{color}PaletteColorLookupTableData"
        if data := dataset.get(name):
            # pydicom does not swap bytes, and counts the entries of a table of bytes in 8 bits.
            entries = table_entries(data, count, dataset)
            bits = min(bits, 8 * entries.dtype.itemsize)
            setattr(dataset, name, entries.astype(np.uint16).tobytes())
    colors: AnyArray = apply_color_lut(stored, dataset)
    if bits == 8 and colors.dtype == np.uint16:  # in the low or the high byte of words
        colors = (colors if colors.max() < 256 else colors >> 8).astype(np.uint8)
    return colors


def _axis(dataset: Dataset) -> str:
    """Letter of the frame axis: T for a video, Z for a volume."""
    in_time = any(name in dataset for name in ("FrameTime", "FrameTimeVector", "CineRate"))
    return "T" if in_time else "Z"


def _pixel_sizes(dataset: Dataset) -> dict[str, float]:
    """Distances of columns (X), rows (Y) and slices (Z) in mm, as far as they are known.

    Multi-frame images have them in functional groups, those of the first frame count.
    """
    groups = [
        group
        for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
        for group in list(dataset.get(name) or ())[:1]
    ]
    measures = [list(group.get("PixelMeasuresSequence") or ())[:1] for group in groups]
    sizes: dict[str, float] = {}
    for part in (dataset, *chain.from_iterable(measures)):
        spacing = part.get("PixelSpacing") or part.get("ImagerPixelSpacing")
        if isinstance(spacing, Sequence) and len(spacing) == 2 and min(map(float, spacing)) > 0:
            sizes["Y"], sizes["X"] = map(float, spacing)
        slices = part.get("SpacingBetweenSlices") or part.get("SliceThickness")
        if slices and float(slices) > 0:
            sizes["Z"] = float(slices)
    return sizes


def _resolution(sizes: Mapping[str, float]) -> Resolution | None:
    """Pixels per centimeter."""
    if "X" not in sizes:
        return None
    return Resolution(_MM_PER_CM / sizes["X"], _MM_PER_CM / sizes["Y"], "cm")


def _spacing(dataset: Dataset, sizes: Mapping[str, float], axis: str) -> dict[str, float | str]:
    """Physical sizes with OME's keys; those of slices and frames belong to their axis."""
    found: dict[str, float | str] = {}
    for name, size in sizes.items():
        if name != "Z" or axis != "T":
            found |= {f"PhysicalSize{name}": size, f"PhysicalSize{name}Unit": "mm"}
    milliseconds = float(dataset.get("FrameTime") or 0)
    if axis == "T" and milliseconds > 0:
        found |= {"TimeIncrement": milliseconds / 1000, "TimeIncrementUnit": "s"}
    return found
