"""Finding pictures: files, folders with all that is in them, and globs."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field
from functools import cache
from itertools import takewhile
from pathlib import Path

from napari_colorize.errors import ImageError
from napari_colorize.io.formats import readable_suffixes, suffix_of


@dataclass(frozen=True)
class FoundFile:
    """A picture that was found.

    Parameters
    ----------
    path : Path
        Where it is.
    place : Path
        Where its result belongs within an output folder: sub-folders and name.
    named : bool
        The user wrote this file's name, rather than that of a folder or a glob.
    """

    path: Path
    place: Path
    named: bool = False


@dataclass
class Search:
    """Looks for pictures and remembers where it has been, so that links make no circles.

    Parameters
    ----------
    leave_out : str, optional
        A folder that is not searched: the one that results go to.
    unread : list of str
        Sentences on folders that could not be listed.
    """

    leave_out: InitVar[str | None] = None
    unread: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _real: dict[str, str] = field(default_factory=dict)

    def __post_init__(self, leave_out: str | None) -> None:
        if leave_out is not None:
            self._enter(Path(leave_out))

    def find(self, inputs: Sequence[str]) -> list[FoundFile]:
        """Pictures of all inputs, each once: files as named, folders and globs in order.

        In folders and globs, pictures are told by their suffix; hidden files are not looked at.
        A single folder's pictures keep their place in it; of several, each folder's name is kept.

        Raises
        ------
        ImageError
            If an input is missing, or if there is no picture in any of them.
        """
        sources: dict[tuple[str, str], FoundFile] = {}
        for name in inputs:
            for source in self._find(name, one_of_several=len(inputs) > 1):
                sources.setdefault(self._identity(source.path), source)
        if not sources:
            nothing = f"There are no pictures in {', '.join(inputs)}."
            raise ImageError(" ".join([nothing, *self.unread]))
        return list(sources.values())

    def _find(self, name: str, *, one_of_several: bool) -> Iterable[FoundFile]:
        if not name.strip():  # an unset variable of a script, not the folder we are in
            raise ImageError('An INPUT is empty: name a file or a folder ("." for this one).')
        path = Path(name)
        if glob.has_magic(name) and not os.path.lexists(path):
            return self._glob(name)
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            raise ImageError(f"There is no file or folder named {name}.") from None
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error.strerror}.") from None
        if stat.S_ISDIR(mode):
            return self._walk(path, Path(path.resolve().name if one_of_several else ""))
        if stat.S_ISREG(mode):
            return [FoundFile(path, Path(path.name), named=True)]
        raise ImageError(f"{name} is neither a file nor a folder.")

    def _glob(self, pattern: str) -> Iterator[FoundFile]:
        """What a shell would have made of the pattern; shells of Windows leave it to us."""
        base = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
        # Not `Path.glob`, which knows no absolute patterns.
        matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not matches:
            raise ImageError(f"Nothing matches {pattern}.")
        for path in map(Path, matches):
            place = path.relative_to(base)
            if is_folder(path):
                yield from self._walk(path, place)
            elif is_picture(path.name):
                yield FoundFile(path, place)

    def _walk(self, folder: Path, place: Path) -> Iterator[FoundFile]:
        """Pictures in a folder and below it, links followed, no folder entered twice."""
        self._enter(folder)
        for parent, folders, names in os.walk(folder, onerror=self._note, followlinks=True):
            here = Path(parent)
            there = place / here.relative_to(folder)
            folders[:] = [name for name in sorted(folders) if self._may_enter(here / name)]
            for name in sorted(filter(is_picture, names)):
                yield FoundFile(here / name, there / name)

    def _enter(self, folder: Path) -> bool:
        """Remember a folder; whether it is new."""
        real = os.path.realpath(folder)
        is_new = real not in self._seen
        self._seen.add(real)
        return is_new

    def _may_enter(self, folder: Path) -> bool:
        return not folder.name.startswith(".") and self._enter(folder)

    def _identity(self, path: Path) -> tuple[str, str]:
        """The same for every way to a file through linked folders; a link to a file is its own."""
        folder, name = os.path.split(path)
        if folder not in self._real:  # the disk is asked once, not for each of 100,000 files
            self._real[folder] = os.path.realpath(folder)
        return self._real[folder], name

    def _note(self, error: OSError) -> None:
        self.unread.append(f"{error.filename} cannot be read: {error.strerror}.")


def is_picture(name: str) -> bool:
    """Whether a name has a picture's suffix and is not hidden (macOS leaves `._photo.jpg`)."""
    return not name.startswith(".") and bool(own_suffix(name))


def own_suffix(name: str | os.PathLike[str]) -> str:
    """A picture's suffix as it is spelled; none in names such as `IM.0001` or `1.2.840`."""
    name = os.path.basename(name)  # noqa: PTH119
    suffix = suffix_of(name)
    return name[len(name) - len(suffix) :] if suffix in _known_suffixes() else ""


def is_folder(path: str | os.PathLike[str]) -> bool:
    """As `Path.is_dir`, which before Python 3.14 raises where a parent may not be entered."""
    return os.path.isdir(path)  # noqa: PTH112


@cache
def _known_suffixes() -> frozenset[str]:
    return readable_suffixes()
