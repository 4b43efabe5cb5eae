"""TIFF writer: a single image or a stack, page by page, with metadata and provenance."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from napari_colorize import provenance as record
from napari_colorize.array_types import AnyArray
from napari_colorize.errors import OutputError
from napari_colorize.io import exif, ome, text_metadata
from napari_colorize.io.formats import OME, TIFF, Format, can_hold, format_of
from napari_colorize.io.image_record import Metadata
from napari_colorize.runtime.atomic import new_file, write_errors

_CLASSIC_LIMIT = 2**32 - 2**25  # 32-bit offsets, minus space for the tags
_BYTE, _ASCII, _LONG, _UNDEFINED = 1, 2, 4, 7  # TIFF tag types


class StackWriter:
    """Context manager that writes a stack page by page, so that it never is in memory as a whole.

    The file appears when the block ends without an error and all pages were written; otherwise no
    file is left. The shape of four-dimensional and larger stacks is stored in the description
    (tifffile's JSON, or OME-XML if the name ends in .ome.tif). Above 4 GB a BigTIFF is written.

    Parameters
    ----------
    path : Path
        Name with a TIFF suffix.
    shape : tuple of int
        `(..., Y, X, 3|4)`; no leading axes for a single image.
    dtype : DTypeLike
        Type of the pages.
    metadata, provenance
        See `write_image`.
    overwrite : bool
        Whether an existing file may be replaced.

    Examples
    --------
    >>> with StackWriter("a.tif", shape=(9, 64, 64, 3), dtype="u1") as writer:  # doctest: +SKIP
    ...     for index, colorized in colorizer.iter_planes(stack):
    ...         writer.write(colorized.rgb)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        metadata: Metadata | None = None,
        provenance: Mapping[str, object] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.shape = tuple(int(side) for side in shape)
        self.dtype = np.dtype(dtype)
        self._metadata = metadata or Metadata()
        self._provenance = provenance or {}
        self._overwrite = overwrite
        self._count = math.prod(self.shape[:-3])
        self._written = 0
        self._into = _tiff_for(self.path, self.dtype)

    def __enter__(self) -> Self:
        from tifffile import TiffWriter

        nbytes = math.prod(self.shape) * self.dtype.itemsize
        with ExitStack() as exits:
            temporary = exits.enter_context(new_file(self.path, overwrite=self._overwrite))
            self._temporary = temporary
            self._is_big = nbytes > _CLASSIC_LIMIT
            # Runs after the writer below has closed and before the file gets its final name.
            exits.push(self._finish)
            with write_errors(self.path):
                writer = TiffWriter(temporary, bigtiff=self._is_big, byteorder="<", ome=False)
            self._tiff = exits.enter_context(writer)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with write_errors(self.path):  # closing writes buffered bytes, so the disk may get full
            self._exits.__exit__(kind, error, traceback)

    def write(self, page: AnyArray) -> None:
        """Append the next page, `(Y, X, 3|4)`, in C order of the leading axes."""
        if page.shape != self.shape[-3:] or page.dtype != self.dtype:
            raise ValueError(
                f"A page must be {self.shape[-3:]} of {self.dtype}, got {page.shape} of "
                f"{page.dtype}."
            )
        is_first = self._written == 0
        whole_numbers = self.dtype.kind in "ui"
        with write_errors(self.path):
            self._tiff.write(
                np.ascontiguousarray(page),
                photometric="rgb",
                extrasamples=["unassalpha"] if page.shape[-1] == 4 else None,
                compression="zlib",
                predictor=whole_numbers and self.dtype.itemsize <= 4,
                metadata=None,
                **self._resolution(),
                **(self._first_page_tags() if is_first else {"software": False}),
            )
        self._written += 1

    def _first_page_tags(self) -> dict[str, Any]:
        """Keywords of tifffile's `write` for the metadata of the first page."""
        known = exif.load(self._metadata.exif)
        tags: list[tuple[int, int, int, Any, bool]] = [
            _as_tag(tag, known[tag])
            for tag in sorted(exif.TEXT_TAGS & known.keys())
            if tag not in (exif.DESCRIPTION, exif.SOFTWARE) and isinstance(known[tag], (str, bytes))
        ]
        tags += [(_placeholder_tag(ifd), _LONG, 1, 0, True) for ifd in self._directories()]
        tags += [
            (tag, kind, len(content), content, True)
            for tag, kind, content in (
                (text_metadata.XMP_TAG, _BYTE, self._metadata.xmp),
                (text_metadata.IPTC_TAG, _UNDEFINED, self._metadata.iptc),
            )
            if content
        ]
        software = record.software(self._provenance, exif.software_of(self._metadata.exif))
        return {
            "description": self._description().encode(),
            "software": software.encode("ascii", "replace") or False,
            "iccprofile": self._metadata.icc,
            "extratags": tags,
        }

    def _description(self) -> str:
        provenance = record.to_text(self._provenance)
        comment = self._metadata.comment
        caption = exif.with_record(self._metadata.exif, provenance, comment)
        leading = self.shape[:-3]
        axes = self._metadata.axes if len(self._metadata.axes) == len(leading) else ""
        if self._into is OME:
            return ome.document(self.shape, self.dtype, axes, self._metadata.spacing, caption)
        if not leading:
            return caption
        # tifffile's JSON convention, which tifffile and napari read.
        shaped: dict[str, object] = {
            "shape": self.shape,
            "axes": (axes or "Q" * len(leading)) + "YXS",
        }
        shaped |= self._metadata.spacing
        shaped["caption"] = exif.with_record(self._metadata.exif, "", comment)
        return json.dumps(shaped | ({"provenance": json.loads(provenance)} if provenance else {}))

    def _resolution(self) -> dict[str, Any]:
        known = self._metadata.resolution
        if known is None:
            return {}
        return {"resolution": (known.x, known.y), "resolutionunit": exif.UNIT_CODES[known.unit]}

    def _directories(self) -> dict[int, dict[int, Any]]:
        if self._is_big:
            return {}  # Pillow cannot write directories in BigTIFF format
        return exif.directories(self._metadata.exif, size=(self.shape[-2], self.shape[-3]))

    def _finish(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise if pages are missing; append the EXIF directories, which tifffile cannot write."""
        if error is not None:
            return
        if self._written != self._count:
            raise OutputError(
                f"{self.path} was not written: only {self._written} of {self._count} pages were "
                "received."
            )
        with write_errors(self.path):
            _append_directories(self._temporary, self._directories())


def write(
    path: Path,
    array: AnyArray,
    metadata: Metadata,
    provenance: Mapping[str, object],
    *,
    overwrite: bool,
) -> None:
    """Write an array `(..., Y, X, 3|4)`."""
    with StackWriter(
        path,
        shape=array.shape,
        dtype=array.dtype,
        metadata=metadata,
        provenance=provenance,
        overwrite=overwrite,
    ) as writer:
        for index in np.ndindex(array.shape[:-3]):
            writer.write(array[index])


def _tiff_for(path: Path, dtype: np.dtype[Any]) -> Format:
    into = format_of(path)
    if into not in (TIFF, OME):
        raise OutputError(f"{path.name}: stacks are written as TIFF. Choose a name with .tif.")
    if not can_hold(into, dtype, has_alpha=True, is_stack=True):
        raise OutputError(f"{path.name}: {into.name} cannot store {dtype}. Choose .tif.")
    return into


def _as_tag(tag: int, value: str | bytes) -> tuple[int, int, int, bytes, bool]:
    """A text tag in tifffile's form: code, type, count, content, first page only."""
    content = value.encode("ascii", "replace") if isinstance(value, str) else value
    if tag in exif.WINDOWS_TAGS:
        return tag, _BYTE, len(content), content, True
    return tag, _ASCII, 0, content + b"\0", True


def _append_directories(path: Path, directories: Mapping[int, Mapping[int, Any]]) -> None:
    """Append EXIF directories to a classic TIFF and write their offsets into its first page."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        entries = {ifd: tiff.pages.first.tags[_placeholder_tag(ifd)].offset for ifd in directories}
    with path.open("r+b") as file:
        for ifd, content in directories.items():
            start = file.seek(0, 2)
            start += file.write(bytes(start % 2))  # directories start at even offsets
            directory = ImageFileDirectory_v2(b"II*\0\x08\0\0\0", group=ifd)
            directory.update(content)
            file.write(directory.tobytes(start))
            file.seek(entries[ifd])
            file.write(struct.pack("<HHII", ifd, _LONG, 1, start))


def _placeholder_tag(ifd: int) -> int:
    """A tag that sorts into the same position, because tifffile refuses to write IFD tags."""
    return ifd - 1
