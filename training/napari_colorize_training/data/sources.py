"""Sources of training images: lists of items, without decoding them.

A source is a folder (with subfolders, image files, tar shards and NumPy files), paired folders
`gray/` and `color/`, a CSV, one tar shard or NumPy file, arrays, napari layers, or several of
these. An `Item` refers to an image; `decode.py` reads it.
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

from napari_colorize.array_types import Limits
from napari_colorize.errors import ImageError
from napari_colorize.io.file_names import is_image
from napari_colorize.io.formats import readable_suffixes
from napari_colorize_training.data.checks import MISPAIRED, UNREADABLE, Problem

SHARD = ".tar"
ARRAYS = {".npy", ".npz"}
COLOR, GRAY = ("color", "colour"), ("gray", "grey")  # accepted names of folders, columns and keys


@dataclass(frozen=True)
class Member:
    """A file in a tar shard, by the position of its bytes."""

    shard: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Return the content of the file."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


Content = Path | Member | Any
"""A file, a file in a shard, or an array-like."""


@dataclass(frozen=True)
class Item:
    """An image of a source."""

    name: str  # name in reports: the path within the source, with slashes
    color: Content  # the color image
    gray: Content | None = None  # its gray image; None: gray is computed from the colors
    # Other columns of a CSV; candidates for the group
    columns: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None  # values of black and white in `gray`, if the source has them


@dataclass(frozen=True)
class ImageSource:
    """The items of a source, and problems that were found without decoding images."""

    title: str
    items: list[Item]
    problems: list[Problem] = field(default_factory=list)


def read_source(data: Any) -> ImageSource:
    """List the images of a source of any kind.

    Parameters
    ----------
    data : path, sequence, mapping, array or layer
        Arrays are `(Y, X, 3)` or `(N, Y, X, 3)`; a fourth channel is ignored. A napari layer is
        any object with `data` and `rgb`. A mapping has columns as in a CSV (`color`, and perhaps
        `gray` and others, each a sequence), or else images by name.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    ImageError
        If `data` is no source, or a CSV without the column `color`.
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
        f"Training images must be a folder, a CSV, a tar shard or arrays, not "
        f"{type(data).__name__}."
    )


def _from_path(path: Path) -> ImageSource:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give a folder of images, or a CSV.")
    if path.suffix.lower() == ".csv":
        return _from_csv(path)
    if path.is_dir():
        color, gray = _folder_named(path, COLOR), _folder_named(path, GRAY)
        if color and gray:
            return _from_pairs(path, color, gray)
    paths = _paths_in(path) if path.is_dir() else [path]
    return _collect(str(path), (partial(_from_file, one, path) for one in paths))


def _collect(title: str, parts: Iterable[Callable[[], Iterable[Item]]]) -> ImageSource:
    """Collect the items of several parts; parts that cannot be opened become problems."""
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


def _folder_named(parent: Path, names: Sequence[str]) -> Path | None:
    found = (path for path in sorted(parent.iterdir()) if path.name.lower() in names)
    return next((path for path in found if path.is_dir()), None)


def _paths_in(folder: Path) -> list[Path]:
    containers = {SHARD, *ARRAYS}
    # Names with a leading dot: metadata files of macOS, or files that are still being written.
    return [
        path
        for path in sorted(folder.rglob("*"))
        if not path.name.startswith(".")
        and path.is_file()
        and (path.suffix.lower() in containers or is_image(path))
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
    """Yield the images of a tar file; their bytes are not read."""
    known = readable_suffixes()
    with tarfile.open(shard, "r:") as tar:  # uncompressed: members are read in place
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
        images = {key: loaded[key] for key in loaded.files}
    for item in _from_mapping(images).items:
        yield Item(f"{name}/{item.name}", item.color, item.gray, item.columns, item.limits)


def _from_pairs(parent: Path, color: Path, gray: Path) -> ImageSource:
    """List two folders whose files are paired by path and name without suffix."""
    source = ImageSource(str(parent), [])
    colors, grays = (_by_stem(folder, source.problems) for folder in (color, gray))
    for stem in sorted({*colors, *grays}):
        if stem in colors and stem in grays:
            path = colors[stem]
            source.items.append(Item(path.relative_to(parent).as_posix(), path, grays[stem]))
        else:
            single, missing = (colors, gray) if stem in colors else (grays, color)
            name = single[stem].relative_to(parent).as_posix()
            reason = f"{missing.name}/ has no image with this name"
            source.problems.append(Problem(name, MISPAIRED, reason, "left out"))
    return source


def _by_stem(folder: Path, problems: list[Problem]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in _paths_in(folder):
        name = path.relative_to(folder)
        first = found.setdefault(name.with_suffix("").as_posix(), path)
        if first is not path:
            reason = f"differs from {first.name} only in its suffix"
            problems.append(Problem(f"{folder.name}/{name}", MISPAIRED, reason, "left out"))
    return found


def _from_csv(path: Path) -> ImageSource:
    """List the rows of a CSV with columns color[, gray][, group and others].

    Paths are relative to the CSV, and may lead into a shard: `slides.tar/one.webp`.
    """
    with path.open(
        newline="", encoding="utf-8-sig"
    ) as file:  # spreadsheets write a byte order mark
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
    resolve = _PathResolver(path.parent)
    items = []
    for row in rows:
        row = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
        if not row.get(color):
            continue
        partner = resolve(row[gray]) if gray and row.get(gray) else None
        items.append(Item(row[color], resolve(row[color]), partner, row))
    return ImageSource(str(path), items)


def _column(names: Iterable[str], known: Sequence[str]) -> str | None:
    return next((name for name in names if name.lower() in known), None)


class _PathResolver:
    """Resolves paths of a CSV to files or members of shards; each shard is listed once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[Path, dict[str, Member]] = {}

    def __call__(self, text: str) -> Content:
        path = self._folder / text
        for parent in path.parents:
            if parent.suffix.lower() == SHARD and parent.is_file():
                return self._listing(parent).get(path.relative_to(parent).as_posix(), path)
        return path

    def _listing(self, shard: Path) -> dict[str, Member]:
        if shard not in self._shards:
            self._shards[shard] = {}
            with suppress(OSError, tarfile.TarError):  # each of its rows becomes a problem
                self._shards[shard] = {member.name: member for member in _members(shard)}
        return self._shards[shard]


def _from_mapping(data: Mapping[str, Any]) -> ImageSource:
    color = _column(data, COLOR)
    if color is None:
        parts = (partial(_from_array, str(name), image) for name, image in data.items())
        return _collect("The mapping", parts)
    gray = _column(data, GRAY)
    colors = list(_images(data[color]))
    grays = list(_images(data[gray], colors=False)) if gray else [None] * len(colors)
    others = {key: [*data[key]] for key in data if key not in (color, gray)}
    for name, column in ((gray, grays), *others.items()):
        if len(column) != len(colors):
            raise ImageError(
                f"There are {len(colors)} color images but {len(column)} values of {name!r}; their "
                "numbers must be equal."
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
                part = _with_folder_name(part, Path(entry).absolute().name)
            source.items.extend(part.items)
            source.problems.extend(part.problems)
        else:
            source.items.extend(_from_array(str(getattr(entry, "name", f"image[{number}]")), entry))
    return source


def _with_folder_name(part: ImageSource, folder: str) -> ImageSource:
    """Prefix the names of items with their folder, which makes each folder a group."""
    return ImageSource(
        part.title,
        [replace(item, name=f"{folder}/{item.name}") for item in part.items],
        [replace(problem, name=f"{folder}/{problem.name}") for problem in part.problems],
    )


def _from_array(name: str, data: Any) -> Iterator[Item]:
    """Yield the items of an array or layer: a single image, or a stack along the first axis."""
    images = list(_images(data))
    for number, image in enumerate(images):
        yield Item(name if len(images) == 1 else f"{name}[{number}]", image)


def _images(data: Any, *, colors: bool = True) -> Iterator[Any]:
    """Yield the images of an array, a layer or a sequence of them; lazy arrays stay lazy."""
    if _is_layer(data):
        colors = bool(data.rgb)
        data = data.data[0] if getattr(data, "multiscale", False) else data.data
    if isinstance(data, (str, Path)):
        yield Path(data)
        return
    if not hasattr(data, "shape"):
        for entry in data:
            yield from _images(entry, colors=colors)
        return
    is_rgb = colors and len(data.shape) >= 3 and data.shape[-1] in (3, 4)
    if len(data.shape) == 2 + is_rgb:
        yield data
    elif len(data.shape) == 3 + is_rgb:
        for index in range(data.shape[0]):
            yield data[index]
    else:
        raise ImageError(
            f"Expected images (Y, X, 3) or a stack (N, Y, X, 3), got an array of shape "
            f"{tuple(data.shape)}."
        )


def _is_layer(data: Any) -> bool:
    return hasattr(data, "data") and hasattr(data, "rgb")


def _limits(data: Any) -> Limits | None:
    """Return the contrast limits of a gray napari layer, else None."""
    found = getattr(data, "contrast_limits", None) if _is_layer(data) else None
    return (float(found[0]), float(found[1])) if found is not None else None


def _name_of(content: Any, default: str) -> str:
    return content.name if isinstance(content, Path) else default
