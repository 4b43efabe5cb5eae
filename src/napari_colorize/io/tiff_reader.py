"""TIFF reader: all number types, stacks, OME-TIFF.

Large stacks stay in the file: plain values are memory-mapped, others decoded page by page
(`tiff_pages`). `tiff_samples` interprets the stored samples; `tiff_writer` writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_colorize import provenance as record
from napari_colorize.array_types import AnyArray, Limits
from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.imaging.intensity_range import (
    IntensityRange,
    declared_range,
    dtype_limits,
)
from napari_colorize.io import exif, icc, ome, raster, text_metadata, tiff_samples
from napari_colorize.io.image_record import ImageRecord, Metadata, Resolution, Unit
from napari_colorize.io.limits import (
    PALETTE_COPIES,
    refuse_complex,
    refuse_huge,
    with_owned_memory,
)
from napari_colorize.io.tiff_pages import TiffPages, has_plane_pages, refuse_huge_segments
from napari_colorize.io.tiff_samples import DecodedSamples

if TYPE_CHECKING:
    from PIL import Image
    from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries, TiffTag

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# A stack of at least this many bytes stays in the file if possible.
_MEMMAP_BYTES = 2**28
_PLAIN = {"MINISBLACK": 1, "RGB": 3}  # samples of a pixel that are not converted
_MAX_PLANES = 1_000_000  # of an OME-TIFF
_MAX_DIFFERENT = 1000  # pages of which each may have other tags
_RANGE_PLANES = 16  # of a large stack that are compared with a declared range
_COPIES = 4  # decoded, with other axes, converted, upright; see `limits.COPIES`
_ICC = 34675
_SAMPLE_VALUES = ((340, 341), (280, 281))  # SMin and SMaxSampleValue, Min and MaxSampleValue
ROTATED = "The image was rotated or mirrored as its XMP says; it has no Orientation tag."
CUT = "{name} is damaged: the file ends before its pixel data."
OTHERS = (
    "{name} holds {count} images that differ in size or kind; only the first one, or the first of "
    "one kind, was used. Save the others as files of their own to colorize them."
)
AS_THE_FIRST = "Some pages are to be turned by 90 degrees; all were displayed like the first one."
LEFT_OUT = "TIFF tags that cannot be copied into a color result were left out: {names}."
_FIRST_PRIVATE, _MAX_NAMES = 32768, 5
# Tags that are copied or applied, or that describe how the samples are stored.
_KNOWN = (
    exif.TEXT_TAGS
    | exif.DIRECTORIES
    | {_ICC, text_metadata.XMP_TAG, text_metadata.IPTC_TAG}
    | {32995, 32996, 32997, 32998, 50674}  # Matteing, DataType, ImageDepth, TileDepth, Lerc
)
_UNITS: Mapping[int, Unit] = {code: unit for unit, code in exif.UNIT_CODES.items()}


def is_tiff(start: bytes) -> bool:
    """Whether a file with these first bytes is a TIFF."""
    return start[:4] in _MAGIC


def read(path: Path, *, max_pixels: int) -> ImageRecord:
    """Read the first image or stack of a TIFF; with libtiff where tifffile does not support it."""
    try:
        return _read(path, max_pixels=max_pixels)
    except (ColorizeError, MemoryError):
        raise
    except Exception:
        # tifffile raises nearly every class of exception. Old-style JPEG, for example, is only
        # decoded by libtiff, which Pillow uses.
        with suppress(Exception):
            return raster.read(path, max_pixels=max_pixels)
        raise


def _read(path: Path, *, max_pixels: int) -> ImageRecord:
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        _refuse_many_planes(path, tiff)
        if not tiff.series:
            raise ImageError(f"{path.name} contains no image: it is a TIFF without pages.")
        # A reduced image before the image itself is a thumbnail.
        full = [each for each in tiff.series if not each.keyframe.is_reduced]
        series = (full or tiff.series)[0]
        page: TiffPage = series.keyframe
        if tiff_samples.needs_pillow(page):
            record = raster.read(path, max_pixels=max_pixels)
            # Pillow reads all other metadata.
            return replace(
                record,
                metadata=replace(record.metadata, iptc=_iptc(page)),
                notes=record.notes + _left_out(page),
            )
        _refuse_huge(path, series, max_pixels)
        _refuse_other_folders(path, tiff, series)
        _refuse_truncated(path, tiff, series)
        pages = _plain_pages(tiff)
        joined = _decode_one_by_one(path, pages, max_pixels)
        samples = joined or _decode(path, series, max_pixels)
        refuse_complex(path, samples.array)
        metadata, notes = _metadata(path, tiff, page, samples.axes)
        if joined is None and len(full) > 1:
            notes += (OTHERS.format(name=path.name, count=sum(len(each) for each in full)),)
        elif joined is None and len({_orientation(each) for each in pages}) > 1:
            notes += (AS_THE_FIRST,)
        declared = None if joined else _declared_range(tiff, page, samples.array)
        if exif.ORIENTATION not in page.tags and _orientation(page) != 1:
            notes += (ROTATED,)
        return ImageRecord(
            array=samples.array,
            is_stack=bool(samples.axes),
            rgb=samples.rgb,
            declared_range=declared,
            metadata=metadata,
            notes=samples.notes + notes,
        )


def read_record(path: Path) -> dict[str, object] | None:
    """The provenance in the description of the first page, also in OME-XML."""
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        description = exif.decode_text(tiff.pages.first.description)
        text = ome.description_of(description) if tiff.is_ome else description
    return record.from_text(text)


def read_header(path: Path) -> tuple[object, ...] | None:
    """What size and type of the decoded pixels depend on; None if that is the palette."""
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        page = tiff.pages.first
        if tiff_samples.photometric_of(page) == "PALETTE":
            return None
        return len(tiff.pages), *_interpretation(page)


def _decode(path: Path, series: TiffPageSeries, max_pixels: int) -> DecodedSamples:
    """Planes in display orientation; those of a large stack stay in the file until accessed."""
    page: TiffPage = series.keyframe
    if not _is_read_by_page(series):
        for each in series.pages:
            refuse_huge_segments(path, each, max_pixels)
        return _to_planes(_load(path, series), series.axes, page)
    refuse_huge_segments(path, page, max_pixels)
    # The tags of the first page determine how the samples of all pages are interpreted.
    first = _to_planes(page.asarray(), page.axes, page)
    stack = TiffPages(
        path,
        series,
        lambda stored: _to_planes(stored, page.axes, page).array,
        like=first.array,
        reopen=partial(_reopen, path, max_pixels),
        max_pixels=max_pixels,
    )
    leading = series.axes.removesuffix(page.axes)
    return first._replace(array=cast("AnyArray", stack), axes=leading + first.axes)


def _decode_one_by_one(
    path: Path, pages: Sequence[TiffPage], max_pixels: int
) -> DecodedSamples | None:
    """Pages of a plain TIFF that differ in palette, orientation, compression or number type.

    The pages of a scanned booklet, for example. They are joined if their sizes are equal; gray
    becomes RGB if there are pages of both kinds, and 1 bit becomes 8. None for other files.
    """
    if len({_interpretation(page) for page in pages}) < 2:
        return None
    sides = {tuple(sorted((page.imagelength, page.imagewidth))) for page in pages}
    if len(sides) > 1 or any(tiff_samples.needs_pillow(page) for page in pages):
        return None
    bits = max(np.dtype(page.dtype).itemsize * page.samplesperpixel * 8 for page in pages)
    side, other = sides.pop()
    refuse_huge(
        path, side, other, max_pixels=max_pixels, frames=len(pages), bits=bits, copies=_COPIES
    )
    decoded = []
    for page in pages:
        refuse_huge_segments(path, page, max_pixels)
        if _is_cut(page):
            raise ImageError(CUT.format(name=path.name))
        decoded.append(_to_planes(page.asarray(), page.axes, page))
    return tiff_samples.joined(decoded)


def _plain_pages(tiff: TiffFile) -> list[TiffPage]:
    """Pages of a TIFF without a structure of its own (OME, ImageJ, ...), except thumbnails."""
    if tiff.series[0].kind not in ("uniform", "generic") or len(tiff.pages) > _MAX_DIFFERENT:
        return []
    pages = [cast("TiffPage", tiff.pages.get(number)) for number in range(len(tiff.pages))]
    return [page for page in pages if not page.is_reduced and page.size]


def _interpretation(page: TiffPage) -> tuple[object, ...]:
    """What determines how the samples of a page are stored and displayed."""
    palette = None
    if tiff_samples.photometric_of(page) == "PALETTE" and page.colormap is not None:
        palette = page.colormap.tobytes()
    return page.hash, _orientation(page), palette


def _to_planes(stored: AnyArray, axes: str, page: TiffPage) -> DecodedSamples:
    samples = tiff_samples.decode_samples(stored, axes, page)
    upright = exif.apply_orientation(samples.array, _orientation(page), rgb=samples.rgb)
    return samples._replace(array=with_owned_memory(upright))


def _reopen(path: Path, max_pixels: int) -> AnyArray:
    return read(path, max_pixels=max_pixels).array


def _load(path: Path, series: TiffPageSeries) -> AnyArray:
    """The stored values; those of a large contiguous stack are memory-mapped."""
    from tifffile import memmap

    if _is_mapped(series):
        mapped: AnyArray = memmap(path, series=0, mode="c")
        return mapped.reshape(series.shape)
    return np.asarray(series.asarray())


def _is_mapped(series: TiffPageSeries) -> bool:
    """Whether a large stack is stored in one piece, as the values that are needed."""
    if series.dataoffset is None or len(series.shape) < 3 or series.nbytes < _MEMMAP_BYTES:
        return False
    page: TiffPage = series.keyframe
    dtype = series.dtype
    return (
        dtype is not None
        and dtype.isnative
        and page.bitspersample == 8 * dtype.itemsize
        and page.samplesperpixel == _PLAIN.get(tiff_samples.photometric_of(page))
        and page.axes in ("YX", "YXS")
        and _orientation(page) == 1
    )


def _is_read_by_page(series: TiffPageSeries) -> bool:
    if _is_mapped(series) or series.nbytes < _MEMMAP_BYTES or not has_plane_pages(series):
        return False
    # Whether transparency of a palette is kept depends on the values of all pages.
    page: TiffPage = series.keyframe
    return tiff_samples.photometric_of(page) != "PALETTE" or page.samplesperpixel == 1


def _refuse_many_planes(path: Path, tiff: TiffFile) -> None:
    """Raise ImageError if OME-XML declares millions of planes, for each of which tifffile waits."""
    if not tiff.is_ome:
        return
    planes = ome.planes_of(exif.decode_text(tiff.pages.first.description))
    if planes > _MAX_PLANES:
        raise ImageError(
            f"{path.name} declares {planes:,} planes, more than the limit of {_MAX_PLANES:,}."
        )


def _refuse_huge(path: Path, series: TiffPageSeries, max_pixels: int) -> None:
    """Check the size of a page, and that all pages together fit into memory."""
    page: TiffPage = series.keyframe
    sides = page.imagelength, page.imagewidth
    refuse_huge(path, *sides, max_pixels=max_pixels)
    if _is_mapped(series):
        return
    declared = page.bitspersample
    bits = max(declared) if isinstance(declared, tuple) else declared
    is_palette = tiff_samples.photometric_of(page) == "PALETTE"
    # The pages of an OME-TIFF may be in several files.
    files = {each.parent.filehandle.path: each.parent for each in series.pages if each is not None}
    values = math.prod(map(int, series.shape))
    frames, rest = divmod(values, math.prod(sides))
    refuse_huge(
        path,
        *sides,
        max_pixels=max_pixels,
        frames=frames + bool(rest),
        bits=max(1, int(bits)),
        copies=PALETTE_COPIES if is_palette else _COPIES,
        is_lazy=_is_read_by_page(series),
        file_size=sum(each.filehandle.size for each in files.values()),
    )


def _refuse_other_folders(path: Path, tiff: TiffFile, series: TiffPageSeries) -> None:
    """Raise ImageError if an OME-TIFF refers to files that are not below its own folder."""
    folder = path.resolve().parent
    files = {page.parent.filehandle.path for page in series.pages if page is not None}
    for name in files:
        other = Path(name).resolve()
        if not other.is_relative_to(folder):
            raise ImageError(
                f"{path.name} refers to {other}, outside of its folder. Copy the files of the "
                "image into one folder."
            )


def _refuse_truncated(path: Path, tiff: TiffFile, series: TiffPageSeries) -> None:
    """Raise ImageError for incomplete files; tifffile would return zeros or fewer pages."""
    is_cut = series.dataoffset is not None and _ends_beyond(tiff, series.dataoffset + series.nbytes)
    for page in series.pages:
        if page is None:
            raise ImageError(f"{path.name} is damaged: pages of its stack are missing.")
        is_cut |= _is_cut(page)
    if is_cut or _ends_beyond(tiff, _next_page(tiff) + 1):
        raise ImageError(CUT.format(name=path.name))


def _is_cut(page: TiffPage | TiffFrame) -> bool:
    """Whether the file of a page ends before its pixel data."""
    parts = zip(page.dataoffsets, page.databytecounts, strict=False)
    # An OME-TIFF may spread its pages over several files.
    return _ends_beyond(page.parent, max((sum(part) for part in parts), default=0))


def _ends_beyond(tiff: TiffFile, end: int) -> bool:
    return end > tiff.filehandle.size


def _next_page(tiff: TiffFile) -> int:
    """File offset of the page after the last readable one; 0 if there is none."""
    len(tiff.pages)  # makes tifffile follow the whole chain of pages
    tiff.filehandle.seek(tiff.pages.next_page_offset or 0)
    pointer = tiff.filehandle.read(tiff.tiff.offsetsize)
    return int.from_bytes(pointer, "little" if tiff.byteorder == "<" else "big")


def _metadata(
    path: Path, tiff: TiffFile, page: TiffPage, axes: str
) -> tuple[Metadata, tuple[str, ...]]:
    profile = None if tiff_samples.is_converted(page) else page.tags.valueof(_ICC)
    rgb_profile, notes = icc.for_rgb(profile if isinstance(profile, bytes) else None)
    caption = _caption(tiff, page)
    fields = exif.read_exif(
        lambda: _exif(path, tiff), {exif.DESCRIPTION: caption} if caption else None
    )
    metadata = Metadata(
        icc=rgb_profile,
        exif=fields.block,
        resolution=exif.oriented_resolution(_resolution(page), _orientation(page)),
        axes=axes,
        spacing=_spacing(tiff, page),
        xmp=text_metadata.upright(page.tags.valueof(text_metadata.XMP_TAG)),
        iptc=_iptc(page),
    )
    return metadata, notes + fields.notes + _left_out(page)


def _left_out(page: TiffPage) -> tuple[str, ...]:
    """A note about tags that are not copied, beyond those of the TIFF standard."""
    names = [
        tag.name if tag.name.isdecimal() else f"{tag.name} ({tag.code})"
        for tag in page.tags
        if tag.code >= _FIRST_PRIVATE and tag.code not in _KNOWN and not _is_copied(tag)
    ]
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return (LEFT_OUT.format(names=", ".join(names[:_MAX_NAMES]) + more),) if names else ()


def _is_copied(tag: TiffTag) -> bool:
    """Whether all contents of Photoshop's image resources are copied or stored in other tags."""
    if tag.code != text_metadata.PHOTOSHOP_TAG or not isinstance(tag.value, bytes):
        return False
    return text_metadata.resources_of(tag.value).keys() <= text_metadata.COPIED_RESOURCES


def _iptc(page: TiffPage) -> bytes | None:
    """IPTC data of their own tag, or of Photoshop's image resources."""
    iptc = page.tags.valueof(text_metadata.IPTC_TAG)
    if isinstance(iptc, bytes) and iptc:
        return iptc
    resources = page.tags.valueof(text_metadata.PHOTOSHOP_TAG)
    if not isinstance(resources, bytes):
        return None
    return text_metadata.resources_of(resources).get(text_metadata.IPTC_RESOURCE)


def _exif(path: Path, tiff: TiffFile) -> Image.Exif:
    """The text tags except the description, and the EXIF and GPS directories."""
    from PIL import Image

    found = Image.Exif()
    if not tiff.is_bigtiff:  # Pillow's reader of bare directories supports classic TIFF only
        with path.open("rb") as file:
            found.load_from_fp(file)
            for ifd in exif.DIRECTORIES:
                found.get_ifd(ifd)
    found.pop(exif.DESCRIPTION, None)
    return found


def _caption(tiff: TiffFile, page: TiffPage) -> str:
    """The descriptions that no program generated; tifffile writes its own after the user's."""
    texts = [exif.decode_text(tag.value) for tag in page.tags.getall(exif.DESCRIPTION) or ()]
    captions = [record.without_record(text) for text in texts if not _is_generated(text)]
    if tiff.is_ome:
        captions.append(ome.description_of(exif.decode_text(page.description)))
    if tiff.is_shaped:
        captions.append(str((tiff.shaped_metadata or ({},))[0].get("caption", "")))
    return "\n".join(filter(None, dict.fromkeys(captions)))


def _is_generated(description: str) -> bool:
    """Whether it is OME-XML, ImageJ's header, or tifffile's JSON or its older form."""
    is_json = description.startswith("{") and '"shape":' in description
    return (
        is_json
        or description.startswith(("shape=(", "ImageJ="))
        or description.rstrip().endswith("OME>")
    )


def _declared_range(tiff: TiffFile, page: TiffPage, array: AnyArray) -> IntensityRange | None:
    """Values of black and white that the tags or the description declare.

    ImageJ's display range is a window. OME's number of significant bits and the range of the tags
    are believed only if they say more than the dtype, and the values are inside: many programs
    write the bits of the dtype, or zeros. Inverted gray and reduced samples have other values.
    """
    photometric = tiff_samples.photometric_of(page)
    if photometric not in ("MINISBLACK", "RGB") or array.dtype.kind not in "iuf":
        return None
    if page.bitspersample != 8 * array.dtype.itemsize:
        return None  # scaled to the range of the dtype
    if tiff.is_imagej and (window := _imagej_window(tiff.imagej_metadata or {})) is not None:
        return declared_range(window, "ImageJ display range")
    found = None
    if tiff.is_ome and array.dtype.kind == "u":
        bits = ome.significant_bits(exif.decode_text(page.description))
        found = declared_range((0, 2 ** (bits or 0) - 1), "OME SignificantBits", is_window=False)
    found = found or _range_of_tags(page)
    if found is None or found.limits == dtype_limits(array.dtype):
        return None
    low, high = found.limits
    is_rgb = photometric == "RGB"
    leading = array.shape[: -3 if is_rgb else -2]
    count = math.prod(leading)
    # Of a large stack, which may be in the file, evenly spaced planes: all would take minutes.
    compared = min(count, _RANGE_PLANES) if array.nbytes >= _MEMMAP_BYTES else count
    for number in np.linspace(0, count - 1, compared).astype(int):
        plane = array[np.unravel_index(number, leading)]
        channels = plane[..., :3] if is_rgb else plane
        # Comparisons with NaN are false, and NaN does not contradict the tags.
        if channels.min() < low or channels.max() > high:
            return None
    return found


def _imagej_window(known: Mapping[str, Any]) -> Limits | None:
    """Display range that ImageJ has stored; None if channels have different ones."""
    try:
        ranges = [float(value) for value in known.get("Ranges", ())]
        pairs = {*zip(ranges[::2], ranges[1::2], strict=True)}
        if not pairs and "min" in known and "max" in known:
            pairs = {(float(known["min"]), float(known["max"]))}
    except (TypeError, ValueError):
        return None
    return pairs.pop() if len(pairs) == 1 else None


def _range_of_tags(page: TiffPage) -> IntensityRange | None:
    """MinSampleValue and MaxSampleValue, or those for signed and floating-point samples."""
    for low_tag, high_tag in _SAMPLE_VALUES:
        low, high = page.tags.valueof(low_tag), page.tags.valueof(high_tag)
        try:
            white = max(map(float, high if isinstance(high, tuple) else (high,)))
            lows = (0.0,) if low is None else low if isinstance(low, tuple) else (low,)
            found = min(map(float, lows)), white
        except (TypeError, ValueError):
            continue
        return declared_range(found, "TIFF MinSampleValue and MaxSampleValue", is_window=False)
    return None


def _spacing(tiff: TiffFile, page: TiffPage) -> dict[str, float | str]:
    """Physical sizes from OME-XML, ImageJ's header or our own stacks."""
    if tiff.is_ome:
        return ome.spacing_of(exif.decode_text(page.description))
    if tiff.is_shaped:
        return ome.spacing_in((tiff.shaped_metadata or ({},))[0])
    if tiff.is_imagej:
        return ome.spacing_of_imagej(tiff.imagej_metadata or {}, _resolution(page))
    return {}


def _resolution(page: TiffPage) -> Resolution | None:
    x, y = (_ratio(page.tags.valueof(tag)) for tag in (exif.X_RESOLUTION, exif.Y_RESOLUTION))
    return exif.valid_resolution(x, y, _UNITS.get(_number(page, exif.RESOLUTION_UNIT, 2), "inch"))


def _ratio(value: Any) -> float | None:
    is_ratio = isinstance(value, tuple) and len(value) == 2 and value[1]
    return value[0] / value[1] if is_ratio else None


def _orientation(page: TiffPage) -> int:
    if exif.ORIENTATION in page.tags:
        return _number(page, exif.ORIENTATION, 1)
    return text_metadata.orientation_of(page.tags.valueof(text_metadata.XMP_TAG))


def _number(page: TiffPage, tag: int, default: int) -> int:
    value = page.tags.valueof(tag, default)
    return int(value) if isinstance(value, int) else default
