"""Where training pictures come from: any source becomes a list of items, nothing decoded yet.

A source is a folder (nested as it likes, with pictures, tar shards and NumPy files in it), paired
folders `gray/` and `color/`, a CSV, one tar shard or NumPy file, arrays, napari layers, or several
of these. An `Item` says where its picture is; `decode.py` reads it.
"""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_colorize.errors import ImageError
from napari_colorize.io.formats import readable_suffixes
from napari_colorize_training.data.checks import MISPAIRED, UNREADABLE, Problem

SHARD = ".tar"
ARRAYS = {".npy", ".npz"}
COLOR, GRAY = ("color", "colour"), ("gray", "grey")  # names of folders, columns and keys
Limits = tuple[float, float]


@dataclass(frozen=True)
class Member:
    """A file inside a tar shard: where its bytes lie."""

    shard: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The file's content."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


Content = Path | Member | Any
"""A file, a file in a shard, or an array (whatever NumPy makes one of)."""


@dataclass(frozen=True)
class Item:
    """One picture of a source.

    Parameters
    ----------
    name : str
        As reports show it: the path within the source, with slashes.
    color : Content
        The picture in colour.
    gray : Content, optional
        Its gray, if that is not to be derived from the colours.
    columns : mapping
        What a CSV says beside: candidates for the group.
    limits : tuple of float, optional
        Values of black and white of `gray`, where the source knows them.
    """

    name: str
    color: Content
    gray: Content | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None


@dataclass(frozen=True)
class ImageSource:
    """All items of a source, and what is wrong with it before any file is opened."""

    title: str
    items: list[Item]
    problems: list[Problem] = field(default_factory=list)


def read_source(data: Any) -> ImageSource:
    """List what a source of any kind holds.

    Parameters
    ----------
    data : path, sequence, mapping, array or layer
        Arrays are `(Y, X, 3)` or `(N, Y, X, 3)`, a fourth channel is left out; a napari layer is
        whatever has `data` and `rgb`. A mapping has columns as a CSV has (`color`, and perhaps
        `gray` and others, each a sequence), or else pictures by their names.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    ImageError
        If this is no source at all, or a CSV without the column `color`.
    """
    if isinstance(data, (str, Path)):
        return _from_path(Path(data))
    if isinstance(data, Mapping):
        return _from_mapping(data)
    if _is_layer(data) or hasattr(data, "shape"):
        return ImageSource("The array", list(_from_array("image", data)))
    if isinstance(data, Sequence):
        return _from_sequence(data)
    raise ImageError(
        f"Training pictures come from a folder, a CSV, a tar shard or arrays, not from "
        f"{type(data).__name__}."
    )


def _from_path(path: Path) -> ImageSource:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give a folder of pictures, or a CSV.")
    if path.suffix.lower() == ".csv":
        return _from_csv(path)
    if path.is_dir():
        color, gray = _folder_called(path, COLOR), _folder_called(path, GRAY)
        if color and gray:
            return _from_pairs(path, color, gray)
    paths = _paths_in(path) if path.is_dir() else [path]
    return _collected(str(path), (partial(_from_file, one, path) for one in paths))


def _collected(title: str, parts: Iterable[Callable[[], Iterable[Item]]]) -> ImageSource:
    """Items of several parts; one that cannot be opened becomes a problem and stops nothing."""
    source = ImageSource(title, [])
    for part in parts:
        try:
            source.items.extend(part())
        except _Unreadable as error:
            source.problems.append(Problem(error.name, UNREADABLE, str(error), "left out"))
    return source


class _Unreadable(Exception):
    """A container that cannot be opened."""

    def __init__(self, name: str, reason: object) -> None:
        super().__init__(str(reason))
        self.name = name


def _folder_called(parent: Path, names: Sequence[str]) -> Path | None:
    found = (path for path in sorted(parent.iterdir()) if path.name.lower() in names)
    return next((path for path in found if path.is_dir()), None)


def _paths_in(folder: Path) -> list[Path]:
    known = {SHARD, *ARRAYS, *readable_suffixes()}
    # A name that begins with a dot: what macOS leaves beside a picture, or a file that still grows.
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in known and not path.name.startswith(".") and path.is_file()
    ]


def _from_file(path: Path, source: Path) -> Iterable[Item]:
    name = path.name if path == source else path.relative_to(source).as_posix()
    try:
        if path.suffix.lower() == SHARD:
            return [Item(f"{name}/{member.name}", member) for member in _members(path)]
        if path.suffix.lower() in ARRAYS:
            return list(_from_numpy(name, path))
    except (OSError, ValueError, EOFError, tarfile.TarError, ImageError) as error:
        raise _Unreadable(name, error) from error
    return [Item(name, path)]


def _members(shard: Path) -> Iterator[Member]:
    """The pictures in a tar file; their bytes are not read."""
    known = readable_suffixes()
    with tarfile.open(shard, "r:") as tar:  # not compressed: members are read where they lie
        for entry in tar:
            path = Path(entry.name)
            if entry.isfile() and path.suffix.lower() in known and not path.name.startswith("."):
                yield Member(shard, entry.name, entry.offset_data, entry.size)


def _from_numpy(name: str, path: Path) -> Iterator[Item]:
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix.lower() == ".npy":
        yield from _from_array(name, loaded)
        return
    with loaded:
        pictures = {key: loaded[key] for key in loaded.files}
    for item in _from_mapping(pictures).items:
        yield Item(f"{name}/{item.name}", item.color, item.gray, item.columns, item.limits)


def _from_pairs(parent: Path, color: Path, gray: Path) -> ImageSource:
    """Two folders whose files belong together by path and name, suffixes aside."""
    source = ImageSource(str(parent), [])
    colors, grays = (_by_stem(folder, source.problems) for folder in (color, gray))
    for stem in sorted({*colors, *grays}):
        if stem in colors and stem in grays:
            path = colors[stem]
            source.items.append(Item(path.relative_to(parent).as_posix(), path, grays[stem]))
        else:
            alone, missing = (colors, gray) if stem in colors else (grays, color)
            name = alone[stem].relative_to(parent).as_posix()
            reason = f"{missing.name}/ has no picture of this name"
            source.problems.append(Problem(name, MISPAIRED, reason, "left out"))
    return source


def _by_stem(folder: Path, problems: list[Problem]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in _paths_in(folder):
        place = path.relative_to(folder)
        first = found.setdefault(place.with_suffix("").as_posix(), path)
        if first is not path:
            reason = f"differs from {first.name} only in its suffix"
            problems.append(Problem(f"{folder.name}/{place}", MISPAIRED, reason, "left out"))
    return found


def _from_csv(path: Path) -> ImageSource:
    """Rows with columns color[, gray][, group and others]; paths are relative to the CSV.

    A path may lead into a shard: `slides.tar/one.webp`.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a mark
        header = file.readline()
        delimiter = max(",;\t", key=header.count)
        file.seek(0)
        rows = list(csv.DictReader(file, delimiter=delimiter))
        names = next(csv.reader([header], delimiter=delimiter), [])
    color, gray = (_column(names, known) for known in (COLOR, GRAY))
    if color is None:
        raise ImageError(
            f"{path} has no column 'color'. Its first line must name the columns: color, and "
            "perhaps gray and group."
        )
    find = _Finder(path.parent)
    items = []
    for row in rows:
        row = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
        if not row.get(color):
            continue
        partner = find(row[gray]) if gray and row.get(gray) else None
        items.append(Item(row[color], find(row[color]), partner, row))
    return ImageSource(str(path), items)


def _column(names: Iterable[str], known: Sequence[str]) -> str | None:
    return next((name for name in names if name.lower() in known), None)


class _Finder:
    """Paths of a CSV to files, or to what lies in shards; each shard is listed once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[Path, dict[str, Member]] = {}

    def __call__(self, written: str) -> Content:
        path = self._folder / written
        for parent in path.parents:
            if parent.suffix.lower() == SHARD and parent.is_file():
                return self._listing(parent).get(path.relative_to(parent).as_posix(), path)
        return path

    def _listing(self, shard: Path) -> dict[str, Member]:
        if shard not in self._shards:
            self._shards[shard] = {}
            with suppress(OSError, tarfile.TarError):  # its rows become unreadable one by one
                self._shards[shard] = {member.name: member for member in _members(shard)}
        return self._shards[shard]


def _from_mapping(data: Mapping[str, Any]) -> ImageSource:
    color = _column(data, COLOR)
    if color is None:
        parts = (partial(_from_array, str(name), image) for name, image in data.items())
        return _collected("The mapping", parts)
    gray = _column(data, GRAY)
    colors = list(_pictures(data[color]))
    grays = list(_pictures(data[gray], colors=False)) if gray else [None] * len(colors)
    others = {key: [*data[key]] for key in data if key not in (color, gray)}
    for name, column in ((gray, grays), *others.items()):
        if len(column) != len(colors):
            raise ImageError(
                f"There are {len(colors)} pictures in colour and {len(column)} of {name!r}: every "
                "one in colour needs its own."
            )
    limits = _limits(data[gray]) if gray else None
    columns = [
        {key: str(column[number]) for key, column in others.items()}
        for number in range(len(colors))
    ]
    return ImageSource(
        "The mapping",
        [
            Item(
                _name_of(image, f"{color}[{number}]"), image, grays[number], columns[number], limits
            )
            for number, image in enumerate(colors)
        ],
    )


def _from_sequence(data: Sequence[Any]) -> ImageSource:
    source = ImageSource("The list", [])
    for number, entry in enumerate(data):
        if isinstance(entry, (str, Path)):
            part = read_source(entry)
            if len(data) > 1 and Path(entry).is_dir():
                part = _told_apart(part, Path(entry).absolute().name)
            source.items.extend(part.items)
            source.problems.extend(part.problems)
        else:
            source.items.extend(_from_array(str(getattr(entry, "name", f"image[{number}]")), entry))
    return source


def _told_apart(part: ImageSource, folder: str) -> ImageSource:
    """The names of one folder among several; so each is a group of its own, too."""
    return ImageSource(
        part.title,
        [replace(item, name=f"{folder}/{item.name}") for item in part.items],
        [replace(problem, name=f"{folder}/{problem.name}") for problem in part.problems],
    )


def _from_array(name: str, data: Any) -> Iterator[Item]:
    """Items of one array or layer: a single picture, or a stack along the first axis."""
    pictures = list(_pictures(data))
    for number, picture in enumerate(pictures):
        yield Item(name if len(pictures) == 1 else f"{name}[{number}]", picture)


def _pictures(data: Any, *, colors: bool = True) -> Iterator[Any]:
    """Single pictures of an array, a layer or a sequence of them; arrays stay lazy."""
    if _is_layer(data):
        colors = bool(data.rgb)
        data = data.data[0] if getattr(data, "multiscale", False) else data.data
    if isinstance(data, (str, Path)):
        yield Path(data)
        return
    if not hasattr(data, "shape"):
        for entry in data:
            yield from _pictures(entry, colors=colors)
        return
    is_rgb = colors and len(data.shape) >= 3 and data.shape[-1] in (3, 4)
    if len(data.shape) == 2 + is_rgb:
        yield data
    elif len(data.shape) == 3 + is_rgb:
        for index in range(data.shape[0]):
            yield data[index]
    else:
        raise ImageError(
            f"Expected pictures (Y, X, 3) or a stack (N, Y, X, 3), got an array of shape "
            f"{tuple(data.shape)}."
        )


def _is_layer(data: Any) -> bool:
    return hasattr(data, "data") and hasattr(data, "rgb")


def _limits(data: Any) -> Limits | None:
    """Contrast limits of a gray napari layer: what its user looks at."""
    found = getattr(data, "contrast_limits", None) if _is_layer(data) else None
    return (float(found[0]), float(found[1])) if found is not None else None


def _name_of(content: Any, otherwise: str) -> str:
    return content.name if isinstance(content, Path) else otherwise
