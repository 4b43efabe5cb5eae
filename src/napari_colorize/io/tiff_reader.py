"""TIFF in: any number type, stacks, OME; read whole or mapped.

What the stored samples mean is in `samples`; writing is in `stack`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize import provenance as record
from napari_colorize.errors import ImageError
from napari_colorize.io import exif, icc, ome, raster, tiff_samples
from napari_colorize.io.image_record import ImageRecord, Metadata, Resolution, Unit
from napari_colorize.io.limits import refuse_complex, refuse_huge, with_owned_memory

if TYPE_CHECKING:
    from PIL import Image
    from tifffile import TiffFile, TiffPage, TiffPageSeries

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# A stack of at least this many bytes is mapped, not read, where the file allows.
_LARGE = 2**28
_ICC = 34675
_UNITS: Mapping[int, Unit] = {code: unit for unit, code in exif.UNIT_CODES.items()}


def is_tiff(start: bytes) -> bool:
    """Whether a file that starts like this is a TIFF."""
    return start[:4] in _MAGIC


def read(path: Path, *, max_pixels: int) -> ImageRecord:
    """Read the first image or stack of a TIFF."""
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        if not tiff.series:
            raise ImageError(f"{path.name} holds no image: it is a TIFF without pages.")
        series = tiff.series[0]
        page: TiffPage = series.keyframe
        if tiff_samples.is_pillows(page):
            return raster.read(path, max_pixels=max_pixels)
        refuse_huge(path, page.imagelength, page.imagewidth, max_pixels=max_pixels)
        _refuse_truncated(path, tiff, series)
        seen = tiff_samples.decode_samples(_loaded(path, series), series.axes, page)
        refuse_complex(path, seen.array)
        metadata, notes = _metadata(path, tiff, page, seen.axes)
        if len(tiff.series) > 1:
            notes += (f"{path.name} holds {len(tiff.series)} images; the first one was taken.",)
        upright = exif.upright(seen.array, _orientation(page), rgb=seen.rgb)
        return ImageRecord(
            array=with_owned_memory(upright),
            is_stack=bool(seen.axes),
            rgb=seen.rgb,
            metadata=metadata,
            notes=seen.notes + notes,
        )


def read_record(path: Path) -> dict[str, object] | None:
    """The provenance in the description of the first page, also inside OME-XML."""
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        description = exif.decoded(tiff.pages.first.description)
        told = ome.description_of(description) if tiff.is_ome else description
    return record.from_text(told)


def _loaded(path: Path, series: TiffPageSeries) -> NDArray[Any]:
    """The stored values; a large plain stack stays in the file until it is looked at."""
    from tifffile import memmap

    is_plain = series.dataoffset is not None and series.dtype is not None and series.dtype.isnative
    if is_plain and len(series.shape) > 2 and series.nbytes >= _LARGE:
        mapped: NDArray[Any] = memmap(path, series=0, mode="c")
        return mapped.reshape(series.shape)
    return np.asarray(series.asarray())


def _refuse_truncated(path: Path, tiff: TiffFile, series: TiffPageSeries) -> None:
    """tifffile fills what is missing with zeros, or leaves pages out; we say so instead."""
    is_cut = series.dataoffset is not None and _ends_beyond(tiff, series.dataoffset + series.nbytes)
    for page in series.pages:
        if page is None:
            raise ImageError(f"{path.name} is damaged: pages of its stack are missing.")
        parts = zip(page.dataoffsets, page.databytecounts, strict=False)
        # An OME-TIFF may spread its pages over several files.
        is_cut |= _ends_beyond(page.parent, max((sum(part) for part in parts), default=0))
    if is_cut or _ends_beyond(tiff, _next_page(tiff) + 1):
        raise ImageError(f"{path.name} is damaged: it ends before its pixels do.")


def _ends_beyond(tiff: TiffFile, end: int) -> bool:
    return end > tiff.filehandle.size


def _next_page(tiff: TiffFile) -> int:
    """Where the file says that its next page lies, after the last one that is there; 0 if none."""
    len(tiff.pages)  # follows the chain to its end
    tiff.filehandle.seek(tiff.pages.next_page_offset or 0)
    pointer = tiff.filehandle.read(tiff.tiff.offsetsize)
    return int.from_bytes(pointer, "little" if tiff.byteorder == "<" else "big")


def _metadata(
    path: Path, tiff: TiffFile, page: TiffPage, axes: str
) -> tuple[Metadata, tuple[str, ...]]:
    profile = page.tags.valueof(_ICC)
    promoted, notes = icc.for_rgb(profile if isinstance(profile, bytes) else None)
    caption = _caption(tiff, page)
    facts = exif.read_exif(
        lambda: _exif(path, tiff), {exif.DESCRIPTION: caption} if caption else None
    )
    metadata = Metadata(
        icc=promoted,
        exif=facts.block,
        resolution=exif.turned(_resolution(page), _orientation(page)),
        axes=axes,
        spacing=_spacing(tiff, page),
    )
    return metadata, notes + facts.notes


def _exif(path: Path, tiff: TiffFile) -> Image.Exif:
    """The text tags but for the description, and the EXIF and GPS directories."""
    from PIL import Image

    found = Image.Exif()
    if not tiff.is_bigtiff:  # Pillow's reader of bare directories knows classic TIFF only
        with path.open("rb") as file:
            found.load_from_fp(file)
            for ifd in exif.DIRECTORIES:
                found.get_ifd(ifd)
    found.pop(exif.DESCRIPTION, None)
    return found


def _caption(tiff: TiffFile, page: TiffPage) -> str:
    """The description if a person wrote it."""
    description = exif.decoded(page.description)
    if tiff.is_ome:
        return ome.description_of(description)
    if tiff.is_shaped:
        return str((tiff.shaped_metadata or ({},))[0].get("caption", ""))
    made_by_program = tiff.is_imagej or page.is_shaped or description.startswith(("{", "<"))
    return "" if made_by_program else description


def _spacing(tiff: TiffFile, page: TiffPage) -> dict[str, float | str]:
    """Physical sizes from OME-XML, ImageJ's header or our own stacks."""
    if tiff.is_ome:
        return ome.spacing_of(exif.decoded(page.description))
    if tiff.is_shaped:
        return ome.spacing_in((tiff.shaped_metadata or ({},))[0])
    if tiff.is_imagej:
        return ome.spacing_of_imagej(tiff.imagej_metadata or {}, _resolution(page))
    return {}


def _resolution(page: TiffPage) -> Resolution | None:
    x, y = (_ratio(page.tags.valueof(tag)) for tag in (exif.X_RESOLUTION, exif.Y_RESOLUTION))
    return exif.positive(x, y, _UNITS.get(_number(page, exif.RESOLUTION_UNIT, 2), "inch"))


def _ratio(value: Any) -> float | None:
    is_ratio = isinstance(value, tuple) and len(value) == 2 and value[1]
    return value[0] / value[1] if is_ratio else None


def _orientation(page: TiffPage) -> int:
    return _number(page, exif.ORIENTATION, 1)


def _number(page: TiffPage, tag: int, default: int) -> int:
    value = page.tags.valueof(tag, default)
    return int(value) if isinstance(value, int) else default
