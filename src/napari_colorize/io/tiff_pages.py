"""Large TIFF stack whose pages are decoded on access."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.io.declared_sizes import declared_shape
from napari_colorize.io.decoded_stack import DecodedStack, without_ellipsis
from napari_colorize.io.limits import refuse_huge
from napari_colorize.runtime.forking import reset_in_child

if TYPE_CHECKING:
    from tifffile import TiffPageSeries


class TiffPages(DecodedStack):
    """Planes of a TIFF, `(..., Y, X)` or `(..., Y, X, 3|4)`, decoded on access.

    It is indexed like a NumPy array and returns NumPy arrays. It may be used from several threads;
    a lock serializes them. Files are open only while a page is decoded.

    Parameters
    ----------
    path : Path
        The file, for messages.
    series : TiffPageSeries
        Series of which `has_plane_pages` is true.
    convert : callable
        Stored values of a page -> its planes, of the shape and dtype of `like`.
    like : NDArray, shape (..., Y, X) or (..., Y, X, 3|4)
        The planes of the first page.
    reopen : callable
        Returns an equal object, in another process as well; picklable.
    max_pixels : int
        Limit for the images in the segments of a page; see `refuse_huge_segments`.
    """

    contents = "pages of a TIFF"

    def __init__(
        self,
        path: Path,
        series: TiffPageSeries,
        convert: Callable[[AnyArray], AnyArray],
        *,
        like: AnyArray,
        reopen: Callable[[], Any],
        max_pixels: int,
    ) -> None:
        self._max_pixels = max_pixels
        self.path, self._convert, self._reopen = path, convert, reopen
        self._pages: Sequence[Any] = tuple(series.pages)
        self._lock = threading.Lock()
        reset_in_child(self)
        # Number of a page at the index of the axes before those of a page.
        self._numbers = np.arange(len(self._pages)).reshape(_leading(series))
        self._shape: tuple[int, ...] = (*self._numbers.shape, *like.shape)
        self._dtype = like.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """`(..., Y, X)` or `(..., Y, X, 3|4)`."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the converted values."""
        return self._dtype

    def __repr__(self) -> str:
        return f"<{self.path.name}: {self.shape} of {self.dtype}>"

    def __iter__(self) -> Iterator[AnyArray]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, key: Any) -> AnyArray:
        """Planes, or parts of them, as a new array.

        Raises
        ------
        IndexError
            If there is no such plane.
        ImageError
            If a page cannot be decoded, or the planes do not fit into memory.
        """
        keys, leading = without_ellipsis(key, self.ndim), self._numbers.ndim
        numbers, within = np.asarray(self._numbers[keys[:leading]]), keys[leading:]
        if not numbers.ndim:
            return self._plane(int(numbers))[within]
        stack = self._stack(numbers.ravel().tolist(), within, leading)
        return stack.reshape(*numbers.shape, *stack.shape[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reopen, ()

    def after_fork(self) -> None:
        """See `forking.Forkable`: another thread may have been decoding a page."""
        self._lock = threading.Lock()
        for page in self._pages:
            page.parent.filehandle.close()

    def _plane(self, number: int) -> AnyArray:
        page = self._pages[number]
        file = page.parent.filehandle  # of another file for some pages of an OME-TIFF
        try:
            with self._lock:
                is_open = not file.closed
                file.open()
                try:
                    refuse_huge_segments(self.path, page, self._max_pixels)
                    stored = np.asarray(page.asarray(maxworkers=1))
                finally:
                    if not is_open:
                        file.close()
            return self._convert(stored)
        except (ColorizeError, MemoryError):
            raise
        # tifffile raises nearly every class of exception.
        except Exception as error:
            raise ImageError(
                f"Page {number} of {self.path.name} cannot be decoded: it is damaged, or the file "
                "was changed or removed."
            ) from error


def refuse_huge_segments(path: Path, page: Any, max_pixels: int) -> None:
    """Check what the tiles or strips of a page declare, which need not be their size in the page.

    A decoder of images (JPEG, PNG ...) allocates what its own header says. Other compressions are
    decoded to the declared size of the segment.

    Raises
    ------
    ImageError
        If a segment has too many pixels, for its file or for the memory.
    """
    from tifffile import COMPRESSION, TIFF

    samples = page.keyframe.samplesperpixel if page.keyframe.planarconfig == 1 else 1
    bits = 8 * samples * page.keyframe.dtype.itemsize if page.keyframe.dtype else 8
    if page.keyframe.is_tiled:
        sides = page.keyframe.tilelength, page.keyframe.tilewidth
        refuse_huge(path, *sides, max_pixels=max_pixels, bits=bits)
    if page.keyframe.compression not in TIFF.IMAGE_COMPRESSIONS | {COMPRESSION.LERC}:
        return
    file = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        if shape := declared_shape(file.read(count)):
            refuse_huge(path, *shape, max_pixels=max_pixels, bits=bits)


def has_plane_pages(series: TiffPageSeries) -> bool:
    """Whether each page of a series is one plane, so that it can be decoded alone."""
    page = series.keyframe
    return (
        len(series.shape) > len(page.shape)
        and series.shape[-len(page.shape) :] == page.shape
        and series.axes.endswith(page.axes)
        and math.prod(_leading(series)) == len(series.pages)
        and all(each is not None for each in series.pages)
    )


def _leading(series: TiffPageSeries) -> tuple[int, ...]:
    return tuple(series.shape[: -len(series.keyframe.shape)])
