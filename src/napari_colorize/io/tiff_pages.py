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
from napari_colorize.io.limits import refuse_memory
from napari_colorize.runtime.forking import reset_in_child

if TYPE_CHECKING:
    from tifffile import TiffPageSeries


class TiffPages:
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
    """

    def __init__(
        self,
        path: Path,
        series: TiffPageSeries,
        convert: Callable[[AnyArray], AnyArray],
        *,
        like: AnyArray,
        reopen: Callable[[], Any],
    ) -> None:
        self._path, self._convert, self._reopen = path, convert, reopen
        self._pages: Sequence[Any] = tuple(series.pages)
        self._lock = threading.Lock()
        reset_in_child(self)
        # Number of a page at the index of the axes before those of a page.
        self._numbers = np.arange(len(self._pages)).reshape(_leading(series))
        self.shape: tuple[int, ...] = (*self._numbers.shape, *like.shape)
        self.dtype = like.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values of all planes."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of all planes in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{self._path.name}: {self.shape} of {self.dtype}>"

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
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in [each for each in keys if not isinstance(each, np.ndarray)]:
            at = next(number for number, each in enumerate(keys) if each is Ellipsis)
            fill = (slice(None),) * (self.ndim - len(keys) + 1)
            keys = (*keys[:at], *fill, *keys[at + 1 :])
        leading = self._numbers.ndim
        numbers = np.asarray(self._numbers[keys[:leading]])
        within = keys[leading:]
        if not numbers.ndim:
            return self._page(int(numbers))[within]
        shape = np.broadcast_to(np.False_, self.shape[leading:])[within].shape
        refuse_memory(self._path, numbers.size * math.prod(shape) * self.dtype.itemsize)
        stack = np.empty((numbers.size, *shape), self.dtype)
        for position, number in enumerate(numbers.ravel().tolist()):
            stack[position] = self._page(number)[within]
        return stack.reshape(*numbers.shape, *shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        if copy is False:
            raise ValueError("The pages of a TIFF are decoded into new memory, which is a copy.")
        return self[:].astype(dtype or self.dtype, copy=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reopen, ()

    def after_fork(self) -> None:
        """See `forking.Forkable`: another thread may have been decoding a page."""
        self._lock = threading.Lock()
        for page in self._pages:
            page.parent.filehandle.close()

    def _page(self, number: int) -> AnyArray:
        page = self._pages[number]
        file = page.parent.filehandle  # of another file for some pages of an OME-TIFF
        try:
            with self._lock:
                is_open = not file.closed
                file.open()
                try:
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
                f"Page {number} of {self._path.name} cannot be decoded: it is damaged, or the file "
                "was changed or removed."
            ) from error


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
