"""Image stacks, in and out: plane by plane, along time if they have such an axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_colorize.errors import ImageError
from napari_colorize.io.image_record import Metadata
from napari_colorize.io.images import StackWriter, read_image
from napari_colorize.runtime.atomic import write_errors
from napari_colorize.video.frames import Frame, Pixels, Record, ResumePoint, SequenceInfo
from napari_colorize.video.intensity_range import limits_of
from napari_colorize.video.resume import ResumeState

RAW = "planes.raw"


class Planes(Protocol):
    """What is needed of an array: its shape, its type, one plane of it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(..., Y, X)` or `(..., Y, X, 3|4)`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its values."""

    def __getitem__(self, index: tuple[int, ...]) -> Any:
        """A plane, `(Y, X)` or `(Y, X, 3|4)`."""


@dataclass(frozen=True)
class StackSource:
    """Planes of a stack as frames; see `frame.Source`.

    Each place on the other axes (depth, channel) has its own series along time.

    Parameters
    ----------
    array : Planes
        The stack.
    info : SequenceInfo
        Of it; `metadata.axes` has a capital letter for each axis before Y and X, or none.
    state : dict
        What tells its file or folder from what it was before it changed.
    said : tuple of str
        What was interpreted.
    version : str, optional
        Of OME-Zarr, if it is that.
    """

    array: Planes
    info: SequenceInfo
    state: Record
    said: tuple[str, ...] = ()
    version: str | None = None

    @property
    def leading(self) -> tuple[int, ...]:
        """Lengths of the axes before Y and X."""
        assert self.info.leading is not None
        return self.info.leading

    @property
    def time_axis(self) -> int:
        """The axis called T, or else the first."""
        axes = self.info.metadata.axes.upper()
        return axes.index("T") if len(axes) == len(self.leading) and "T" in axes else 0

    def identity(self) -> Record:
        """Its shape and type, and the state of its file."""
        shape = list(self.array.shape)
        return {"stack": str(self.info.path.resolve()), "shape": shape, **self.state}

    def notes(self) -> tuple[str, ...]:
        """What was interpreted when it was opened."""
        return self.said

    def series(self, border: ResumePoint, run_in: int) -> Iterator[Iterator[Frame]]:
        """One for each place on the other axes than time."""
        length = self.leading[self.time_axis]
        others = list(self.leading)
        others[self.time_axis] = 1
        for number, index in enumerate(np.ndindex(*others)):
            done = min(max(border.done - number * length, 0), length)
            if done < length:
                yield self._frames(index, number * length, max(0, done - run_in), length)

    def _frames(
        self, index: Sequence[int], before: int, first: int, length: int
    ) -> Iterator[Frame]:
        axis = self.time_axis
        for time in range(first, length):
            place = (*index[:axis], time, *index[axis + 1 :])
            yield Frame(
                image=np.asarray(self.array[place]),
                place=before + time,
                time=time,
                duration=1,
                index=place,
            )


def open_stack(path: Path, rate: Fraction) -> StackSource:
    """Read a TIFF, or another file with several pictures, as `rate` planes a second.

    Raises
    ------
    ImageError
        If it cannot be read, or holds a single picture.
    """
    picture = read_image(path)
    if not picture.is_stack:
        raise ImageError(
            f"{path.name} holds a single picture: colorize it with `napari-colorize image`."
        )
    facts = facts_of(
        path, picture.array, rate, picture.metadata, picture.rgb, picture.contrast_limits
    )
    status = path.stat()
    state: Record = {"bytes": status.st_size, "changed": status.st_mtime_ns}
    return StackSource(picture.array, facts, state, picture.notes)


def facts_of(
    path: Path,
    array: Planes,
    rate: Fraction,
    metadata: Metadata,
    rgb: bool,
    limits: tuple[float, float] | None = None,
) -> SequenceInfo:
    """The facts of a stack, its black and white read from all planes if nothing else says."""
    shape = tuple(array.shape)
    leading = shape[: -3 if rgb else -2]
    height, width = shape[len(leading) : len(leading) + 2]
    dtype = np.dtype(array.dtype)
    return SequenceInfo(
        path=path,
        size=(height, width),
        dtype=dtype,
        rgb=rgb,
        time_base=1 / rate,
        leading=leading,
        total=math.prod(leading),
        limits=limits or limits_of(dtype, (array[index] for index in np.ndindex(*leading))),
        metadata=metadata,
    )


@dataclass
class TiffWriter:
    """A TIFF as a sink; see `frame.Sink`.

    Planes lie uncompressed in the folder of work until all are there: so an interrupted run is
    gone on with, and planes may come in any order.

    Parameters
    ----------
    target : Path
        The file.
    ledger : Ledger
        What is done.
    metadata : Metadata
        Axes, spacing and more.
    leading : tuple of int, optional
        Lengths of the axes before Y and X; None if only the end will tell (a film).
    overwrite : bool
        Whether `target` may be replaced.
    """

    target: Path
    ledger: ResumeState
    metadata: Metadata
    leading: tuple[int, ...] | None
    overwrite: bool = False

    def write(self, frame: Frame, rgb: Pixels) -> None:
        """Put a plane where it belongs."""
        if not self.ledger.kept:
            self.ledger.keep(shape=list(rgb.shape), dtype=rgb.dtype.str)
        number = frame.place if self.leading is None else _ravel(frame.index, self.leading)
        with write_errors(self._raw):
            self._raw.touch()
            with self._raw.open("r+b") as file:
                file.seek(number * rgb.nbytes)
                file.write(np.ascontiguousarray(rgb).data)
        self.ledger.reach(frame)

    def pause(self) -> None:
        """Say in the ledger how many are there."""
        self.ledger.mark_reached()

    def finish(self, record: Record) -> tuple[str, ...]:
        """Write the TIFF from them."""
        self.pause()
        shape, dtype = self._page()
        leading = self.leading or (self.ledger.border.done,)
        with StackWriter(
            self.target,
            shape=(*leading, *shape),
            dtype=dtype,
            metadata=self.metadata,
            provenance=record,
            overwrite=self.overwrite,
        ) as writer:
            for page in self._pages(shape, dtype, math.prod(leading)):
                writer.write(page)
        self.ledger.remove()
        return ()

    @property
    def _raw(self) -> Path:
        return self.ledger.folder / RAW

    def _page(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        kept: dict[str, Any] = dict(self.ledger.kept)
        return tuple(kept["shape"]), np.dtype(kept["dtype"])

    def _pages(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], count: int
    ) -> Iterator[NDArray[Any]]:
        with self._raw.open("rb") as file:
            for _ in range(count):
                data = file.read(math.prod(shape) * dtype.itemsize)
                yield np.frombuffer(data, dtype).reshape(shape)


def _ravel(index: tuple[int, ...], leading: tuple[int, ...]) -> int:
    return int(np.ravel_multi_index(index, leading))
