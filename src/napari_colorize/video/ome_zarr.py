"""Zarr arrays and OME-Zarr images as a source and as a sink, one plane at a time.

OME-Zarr 0.4 and 0.5 (and similar versions) are read at full resolution. Full resolution and halved
levels are written; red, green and blue are the three channels.

The metadata are handled here rather than by a library: ome-zarr-models 1.7 depends on pydantic-zarr
and requires pydantic below 2.13 and Python below 3.14. napari depends on pydantic as well, so these
upper bounds could make the two impossible to install together.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError, OutputError
from napari_colorize.extras import install_command
from napari_colorize.imaging.pyramid import halve
from napari_colorize.io.image_record import Metadata
from napari_colorize.io.limits import MAX_PIXELS, refuse_huge, refuse_memory
from napari_colorize.runtime.atomic import write_errors
from napari_colorize.video.frames import Frame, Record
from napari_colorize.video.resume import ResumeState, file_state
from napari_colorize.video.stacks import StackSource, sequence_info

SUFFIX = ".zarr"
RECORD = "napari-colorize"  # attribute with the provenance record
OME_SUFFIX = ".ome.zarr"
ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")
CHUNK = 1024  # maximum side of a chunk in pixels
SMALLEST = 256  # the last level has no side longer than this
GROWTH = 64  # planes that are added at a time if a video is longer than expected
STORE = "planes.zarr"

RGB = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))
# OME-Zarr uses UDUNITS-2 names, OME-TIFF abbreviations.
UNITS = {
    "micrometer": "\N{MICRO SIGN}m",
    "nanometer": "nm",
    "millimeter": "mm",
    "meter": "m",
    "second": "s",
    "millisecond": "ms",
    "minute": "min",
}
SIZES = {
    "x": "PhysicalSizeX",
    "y": "PhysicalSizeY",
    "z": "PhysicalSizeZ",
    "t": "TimeIncrement",
}


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    # Not `Path.is_file`, which raises for a folder that cannot be read.
    return any(os.path.isfile(path / name) for name in ZARR_FILES)  # noqa: PTH113


def zarr() -> ModuleType:
    """The zarr module; raises `ImageError` if it is not installed."""
    try:
        import zarr as library
    except ImportError:
        raise ImageError(f"Reading and writing zarr requires: {install_command('video')}") from None
    module: ModuleType = library
    return module


@dataclass(frozen=True)
class ZarrPlanes:
    """A zarr array as planes `(..., Y, X)` or `(..., Y, X, 3)`; see `stacks.Planes`."""

    array: Any  # the array in its stored layout
    channel: int | None = None  # its channel axis, which is not among the leading axes
    # Whether the channels are red, green and blue; otherwise there is one channel
    rgb: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the channel axis; RGB channels are the last axis."""
        shape = tuple(self.array.shape)
        if self.channel is None:
            return shape
        rest = (*shape[: self.channel], *shape[self.channel + 1 :])
        return (*rest, shape[self.channel]) if self.rgb else rest

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self.array.dtype)

    def __getitem__(self, index: tuple[int, ...]) -> AnyArray:
        if self.channel is None:
            return self._decoded(index)
        part: slice | int = slice(None) if self.rgb else 0
        plane = self._decoded((*index[: self.channel], part, *index[self.channel :]))
        return np.ascontiguousarray(np.moveaxis(plane, 0, -1)) if self.rgb else plane

    def _decoded(self, index: tuple[Any, ...]) -> AnyArray:
        try:
            return np.asarray(self.array[index])
        except MemoryError:
            raise
        # Codecs raise nearly every class of exception for damaged chunks.
        except Exception as error:
            raise ImageError(
                f"A chunk of {self.array.store_path} cannot be decoded: it is damaged, or was "
                "changed or removed."
            ) from error


def read_zarr_record(path: Path) -> Record | None:
    """Read the provenance record of a zarr; None if it has none.

    Raises
    ------
    ImageError
        If the path is no zarr.
    """
    try:
        found = zarr().open(str(path), mode="r")
        record = found.attrs.get(RECORD) or (found["0"].attrs.get(RECORD) if "0" in found else None)
    except ImageError:
        raise
    # zarr raises nearly every class of exception for damaged metadata.
    except Exception as error:
        raise ImageError(f"{path} cannot be read as zarr: {error}.") from error
    return None if record is None else dict(record)


def open_zarr(path: Path, rate: Fraction) -> StackSource:
    """Open an array, an OME-Zarr image or a group with one array, as `rate` planes per second.

    Raises `ImageError` if it is none of these, or its channels are not red, green and blue.
    """
    state = _state(path)  # also checks all files, before any is opened
    try:
        found = zarr().open(str(path), mode="r")
        attributes = _multiscales(found)
        version = None if attributes is None else "0.5" if "ome" in found.attrs else "0.4"
        planes, metadata = (
            _plain_array(path, found) if attributes is None else _image(path, found, attributes)
        )
    except ImageError:
        raise
    # zarr and the metadata of a damaged file raise nearly every class of exception.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{path} cannot be read as zarr: {reason}.") from error
    rgb = planes.rgb or (planes.channel is None and _looks_rgb(planes.shape))
    _refuse_contents(path, planes)
    _refuse_huge(path, planes, rgb=rgb)
    info = sequence_info(path, planes, rate, metadata, rgb)
    if not info.leading:
        raise ImageError(f"{path} contains a single image, not a stack.")
    return StackSource(planes, info, state, version=version)


def _refuse_huge(path: Path, planes: ZarrPlanes, *, rgb: bool) -> None:
    """Check plane and chunk, which are read as a whole; a missing chunk takes no bytes on disk."""
    sides = planes.shape[-3:-1] if rgb else planes.shape[-2:]
    bits = 8 * planes.dtype.itemsize
    refuse_huge(path, *sides, max_pixels=MAX_PIXELS, bits=bits * (planes.shape[-1] if rgb else 1))
    chunk = getattr(planes.array, "shards", None) or planes.array.chunks
    refuse_memory(path, math.prod(map(int, chunk)) * planes.dtype.itemsize)


def _refuse_contents(path: Path, planes: ZarrPlanes) -> None:
    """Raise `ImageError` for values that are no real numbers, and for pickles, which run code."""
    metadata = planes.array.metadata
    codecs = (*(getattr(metadata, "filters", None) or ()), getattr(metadata, "compressor", None))
    if any(getattr(each, "codec_id", "") == "pickle" for each in codecs):
        raise ImageError(f"{path} contains pickled objects, which can run code. It is not read.")
    if planes.dtype.kind not in "buif":
        raise ImageError(
            f"{path} contains values of type {planes.dtype}. Only integer and real values can be "
            "colorized."
        )


def _state(path: Path) -> Record:
    """Names, sizes and dates of all files.

    Raises
    ------
    ImageError
        If one is a link to another place, or no file: reading a pipe or a device would not end.
    """
    digest, root = hashlib.sha256(), path.resolve()
    for parent, folders, names in os.walk(path):
        folders.sort()
        for name in (*folders, *sorted(names)):
            each = Path(parent, name)
            if each.is_symlink() and not each.resolve().is_relative_to(root):
                raise ImageError(f"{each} is a link to a place outside of {path.name}.")
        for name in sorted(names):
            try:
                status = Path(parent, name).stat()
            except OSError as error:
                reason = f"{Path(parent, name)} cannot be read: {error.strerror}."
                raise ImageError(reason) from error
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{Path(parent, name)} is not a regular file.")
            digest.update(file_state(name, status))
    return {"files": digest.hexdigest()}


@dataclass
class ZarrWriter:
    """A zarr array, or an OME-Zarr image, as a sink; see `frames.FrameSink`."""

    target: Path  # the folder, which appears when all planes are written
    state: ResumeState  # progress, and the folder of the unfinished arrays
    metadata: Metadata  # axes and spacing
    # Lengths of the axes before Y and X; None if unknown until the end (a video)
    leading: tuple[int, ...] | None
    expected: int | None = None  # approximate number of planes of a video
    version: str | None = None  # OME-Zarr version; None writes a plain array, `(..., Y, X, 3|4)`
    overwrite: bool = False  # an existing zarr may be replaced
    _levels: list[Any] = field(default_factory=list, init=False)
    _axes: str = field(default="", init=False)

    def __post_init__(self) -> None:
        count = len(self.leading) if self.leading is not None else 1
        self._axes = leading_axes(self.metadata.axes, count, is_ome=self.version is not None)

    def write(self, frame: Frame, rgb: AnyArray) -> None:
        """Write a plane on all levels."""
        if self.version is not None:
            rgb = rgb[..., :3]
        if not self._levels:
            self._levels = self._open_levels(rgb)
        index = frame.index if self.leading is not None else (frame.position,)
        with write_errors(self._store):
            for level in self._levels:
                self._grow(level, index)
                plane = self._in_axis_order(index, (slice(None), slice(None)), slice(None))
                level[plane] = np.moveaxis(rgb, -1, 0) if self.version else rgb
                rgb = halve(rgb)
        self.state.advance(frame)

    def pause(self) -> None:
        """Save the number of written planes."""
        self.state.save_progress()

    def finish(self, record: Record) -> tuple[str, ...]:
        """Write the metadata, and rename the folder to its final name."""
        self.pause()
        group = zarr().open_group(str(self._store), mode="r+")
        if self.leading is None:
            for level in self._arrays(group):
                level.resize((self.state.resume_point.done, *level.shape[1:]))
        self._write_metadata(group, record)
        with write_errors(self.target):
            if self.target.exists():
                if not self.overwrite:
                    raise OutputError(f"{self.target} exists. Replace it with --overwrite.")
                self.target.replace(self.state.folder / "replaced")
            whole = self._store if self.version else self._store / "0"
            whole.replace(self.target)
        self.state.remove()
        return ()

    @property
    def _store(self) -> Path:
        return self.state.folder / STORE

    def _open_levels(self, rgb: AnyArray) -> list[Any]:
        """The arrays of all levels: existing ones of an earlier run, or new ones."""
        library = zarr()
        if self.state.resume_point.done:
            return self._arrays(library.open_group(str(self._store), mode="r+"))
        form = 2 if self.version == "0.4" else 3
        group = library.open_group(str(self._store), mode="w", zarr_format=form)
        more: dict[str, Any] = (
            {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
            if form == 2
            else {"dimension_names": tuple(self._names())}
        )
        leading = self.leading if self.leading is not None else (self.expected or GROWTH,)
        channels = rgb.shape[-1]
        # A chunk is a plane or a tile of it, because planes are written one by one.
        return [
            group.create_array(
                f"{number}",
                shape=self._in_axis_order(leading, (height, width), channels),
                chunks=self._in_axis_order(
                    (1,) * len(leading), (min(CHUNK, height), min(CHUNK, width)), channels
                ),
                dtype=rgb.dtype,
                **more,
            )
            for number, (height, width) in enumerate(self._sizes(rgb))
        ]

    def _sizes(self, rgb: AnyArray) -> list[tuple[int, int]]:
        height, width = rgb.shape[:2]
        sizes = [(height, width)]
        while self.version is not None and max(sizes[-1]) > SMALLEST:
            height, width = (height + 1) // 2, (width + 1) // 2
            sizes.append((height, width))
        return sizes

    def _arrays(self, group: Any) -> list[Any]:
        return [group[name] for name in sorted(group.array_keys(), key=int)]

    def _names(self) -> list[str]:
        """Names of all axes of the result."""
        if self.version is None:
            return [*self._axes, "y", "x", "c"]
        return ["t"] * ("t" in self._axes) + ["c"] + ["z"] * ("z" in self._axes) + ["y", "x"]

    def _in_axis_order(
        self, leading: Sequence[Any], sides: tuple[Any, ...], channels: Any
    ) -> tuple[Any, ...]:
        """One value for each axis of the result, in its order."""
        known = dict(zip(self._axes, leading, strict=True)) | {"c": channels}
        known |= dict(zip("yx", sides, strict=True))
        return tuple(known[name] for name in self._names())

    def _grow(self, level: Any, index: tuple[int, ...]) -> None:
        if self.leading is None and index[0] >= level.shape[0]:
            level.resize((index[0] + GROWTH, *level.shape[1:]))

    def _write_metadata(self, group: Any, record: Record) -> None:
        if self.version is None:
            group["0"].attrs[RECORD] = record
            return
        image: dict[str, Any] = {
            "multiscales": [self._multiscale(group)],
            "omero": _omero(np.dtype(group["0"].dtype)),
        }
        if self.version == "0.5":
            group.attrs["ome"] = {"version": "0.5", **image}
        else:
            image["multiscales"][0]["version"] = "0.4"
            group.attrs.update(image)
        group.attrs[RECORD] = record

    def _multiscale(self, group: Any) -> dict[str, Any]:
        spacing = self.metadata.spacing
        axes: list[dict[str, str]] = []
        kinds = {"t": "time", "c": "channel"}
        spelled = {short: long for long, short in UNITS.items()}
        for name in self._names():
            axis = {"name": name, "type": kinds.get(name, "space")}
            unit = spelled.get(str(spacing.get(f"{SIZES.get(name)}Unit", "")))
            axes.append(axis | ({"unit": unit} if unit else {}))
        datasets = []
        for number in range(len(self._arrays(group))):
            scale = [
                float(spacing.get(SIZES.get(name, ""), 1)) * (2**number if name in "yx" else 1)
                for name in self._names()
            ]
            transform = {"type": "scale", "scale": scale}
            datasets.append({"path": f"{number}", "coordinateTransformations": [transform]})
        name = self.target.name.removesuffix(OME_SUFFIX).removesuffix(SUFFIX)
        return {"name": name, "axes": axes, "datasets": datasets}


def leading_axes(axes: str, count: int, *, is_ome: bool) -> str:
    """Names of the axes before y and x, each used once; OME-Zarr allows only t and z.

    Raises `OutputError` if OME-Zarr does not support so many axes.
    """
    known = axes.lower() if len(axes) == count else "q" * count
    if not is_ome:
        free = [name for name in "tzuvw" + "abdefghijklmnopqrs" if name not in known]
        names = ""
        for name in known:
            names += name if name.isalpha() and name not in names + "yxcq" else free.pop(0)
        return names
    free = [name for name in "tz" if name not in known]
    names = ""
    for name in known:
        if name not in "tz" or name in names:
            if not free:
                raise OutputError(
                    f"OME-Zarr does not support the axes {axes or count} beside the channel axis, "
                    "which holds the colors: choose a name with the suffix .zarr or .tif."
                )
            name = free.pop(0)
        names += name
    return names


def _multiscales(found: Any) -> Mapping[str, Any] | None:
    """Metadata of an OME-Zarr image; None if there are none."""
    attributes = dict(found.attrs)
    metadata = attributes.get("ome", attributes)
    return metadata if isinstance(metadata, Mapping) and metadata.get("multiscales") else None


def _image(path: Path, group: Any, attributes: Mapping[str, Any]) -> tuple[ZarrPlanes, Metadata]:
    """Full resolution of an OME-Zarr image, its axes and spacing."""
    scales = attributes["multiscales"][0]
    dataset = scales["datasets"][0]
    if ".." in str(dataset["path"]).replace("\\", "/").split("/"):
        raise ImageError(f"{path} refers to {dataset['path']}, outside of its folder.")
    array = group[dataset["path"]]
    given = scales.get("axes") or "tczyx"[-array.ndim :]
    axes = [axis if isinstance(axis, str) else axis["name"] for axis in given]
    kinds = ["" if isinstance(axis, str) else axis.get("type", "") for axis in given]
    channel = next(
        (
            position
            for position, name in enumerate(axes)
            if name == "c" or kinds[position] == "channel"
        ),
        None,
    )
    rest = [name for position, name in enumerate(axes) if position != channel]
    rgb = channel is not None and _is_rgb(path, array, channel, attributes.get("omero"))
    letters = "".join(name[:1].upper() for name in rest[:-2])
    spacing = _spacing(given, axes, dataset.get("coordinateTransformations", ()))
    return ZarrPlanes(array, channel, rgb), Metadata(axes=letters, spacing=spacing)


def _is_rgb(path: Path, array: Any, channel: int, omero: Any) -> bool:
    """Whether the channels are red, green and blue; other multichannel images are refused."""
    count = array.shape[channel]
    if count == 1:
        return False
    channels = (omero or {}).get("channels") or []
    colors = tuple(str(channel.get("color", "")).upper() for channel in channels)
    named = colors == tuple(color for _, color in RGB)
    if count == 3 and (named or (not channels and array.dtype == np.uint8)):
        return True
    raise ImageError(
        f"{path} has {count} channels that are not red, green and blue. Save the channel that "
        "should be colorized as an image of its own."
    )


def _spacing(
    given: Sequence[Any], axes: Sequence[str], transforms: Sequence[Mapping[str, Any]]
) -> dict[str, float | str]:
    scale = next(
        (channel["scale"] for channel in transforms if channel.get("type") == "scale"), None
    )
    if scale is None:
        return {}
    spacing: dict[str, float | str] = {}
    for axis, name, size in zip(given, axes, scale, strict=False):
        word = SIZES.get(name)
        unit = None if isinstance(axis, str) else UNITS.get(axis.get("unit", ""))
        if word and unit:
            spacing |= {word: float(size), f"{word}Unit": unit}
    return spacing


def _plain_array(path: Path, found: Any) -> tuple[ZarrPlanes, Metadata]:
    array = found
    if hasattr(found, "array_keys"):
        names = sorted(found.array_keys())
        if len(names) != 1:
            raise ImageError(
                f"{path} contains {len(names)} arrays: give the path of one of them "
                f"({', '.join(names[:5]) or 'there is none'})."
            )
        array = found[names[0]]
    if array.ndim < 2:
        raise ImageError(f"{path} is not a stack of images: its shape is {array.shape}.")
    named = getattr(array.metadata, "dimension_names", None) or ()
    count = array.ndim - (3 if _looks_rgb(array.shape) else 2)
    letters = "".join((name or "?")[:1].upper() for name in named[:count])
    return ZarrPlanes(array), Metadata(axes=letters if "?" not in letters else "")


def _looks_rgb(shape: Sequence[int]) -> bool:
    return len(shape) > 3 and shape[-1] in (3, 4)


def _omero(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Rendering metadata that display the three channels as one color image."""
    white = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
    window = {"min": 0.0, "start": 0.0, "max": white, "end": white}
    channels = [
        {"label": name, "color": color, "active": True, "window": window} for name, color in RGB
    ]
    return {"channels": channels, "rdefs": {"model": "color"}}
