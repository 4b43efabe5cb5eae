"""Find image files: single files, folders with all subfolders, and glob patterns."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field
from itertools import takewhile
from pathlib import Path

from napari_colorize.batch.manifest import NAME as MANIFEST
from napari_colorize.errors import ImageError
from napari_colorize.io.dicom import indexed_images
from napari_colorize.io.file_names import is_dicomdir, is_image, left_out_notes, not_found
from napari_colorize.io.formats import suffix_of
from napari_colorize.video.ome_zarr import is_zarr


@dataclass(frozen=True)
class FoundFile:
    """An image file that was found.

    Parameters
    ----------
    path : Path
        Path of the file.
    output_path : Path
        Path of the result relative to an output folder: subfolders and name.
    named : bool
        Whether the user gave the name of this file, rather than of a folder or a pattern.
    """

    path: Path
    output_path: Path
    named: bool = False


@dataclass
class Search:
    """Finds images; visited folders are remembered, so that links form no cycles.

    Parameters
    ----------
    excluded : str, optional
        Folder that is not searched: the output folder.
    unread : list of str
        One sentence for each input that was not found and each folder that could not be listed.
    """

    excluded: InitVar[str | None] = None
    unread: list[str] = field(default_factory=list)
    _left_out: dict[tuple[str, str], str] = field(default_factory=dict)
    _zarrs: set[Path] = field(default_factory=set)
    _visited: set[str] = field(default_factory=set)
    _real: dict[str, str] = field(default_factory=dict)

    def __post_init__(self, excluded: str | None) -> None:
        if excluded is not None:
            self._enter(Path(excluded))

    def find(self, inputs: Sequence[str]) -> list[FoundFile]:
        """Images of all inputs, each once: files in the given order, folders and globs sorted.

        In folders and globs, images are recognized by suffix, DICOM files also by content; hidden
        files are ignored. A DICOMDIR stands for the images that it lists. Images of a
        single folder keep their relative path; with several folders the folder's name is added.

        Raises
        ------
        ImageError
            If no input contains an image. Of several inputs, those that do not exist are in
            `unread`: a shell may have listed a file that is gone by now.
        """
        if not all(name.strip() for name in inputs):  # an unset shell variable
            raise ImageError('An INPUT is empty: name a file or a folder ("." for this one).')
        sources: dict[tuple[str, str], FoundFile] = {}
        for name in inputs:
            try:
                for source in self._find(name, one_of_several=len(inputs) > 1):
                    sources.setdefault(self._identity(source.path), source)
            except ImageError as error:
                if len(inputs) == 1:
                    raise
                self.unread.append(str(error))
        if not sources:
            message = f"There are no images in {', '.join(inputs)}."
            raise ImageError(" ".join([message, *self.left_out_notes(), *self.unread]))
        for key in sources:  # a file may be named and be in a folder, too
            self._left_out.pop(key, None)
        return list(sources.values())

    def left_out_notes(self) -> tuple[str, ...]:
        """Count the files without an image suffix and the zarr stores, and say what reads them."""
        notes = left_out_notes(self._left_out.values(), can_be_named=True)
        if not self._zarrs:
            return notes
        count = len(self._zarrs)
        stores = "1 zarr store was" if count == 1 else f"{count} zarr stores were"
        return (*notes, f"{stores} left out. Zarr is colorized by `napari-colorize video`.")

    def _find(self, name: str, *, one_of_several: bool) -> Iterable[FoundFile]:
        path = Path(name)
        if glob.has_magic(name) and not os.path.lexists(path):
            return self._glob(name)
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            raise not_found(name) from None
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error.strerror}.") from None
        if stat.S_ISDIR(mode):
            return self._walk(path, Path(path.resolve().name if one_of_several else ""))
        if stat.S_ISREG(mode) and is_dicomdir(path):
            images = indexed_images(path)
            return [FoundFile(image, image.relative_to(path.parent)) for image in images]
        if stat.S_ISREG(mode):
            return [FoundFile(path, Path(path.name), named=True)]
        raise ImageError(f"{name} is neither a file nor a folder.")

    def _glob(self, pattern: str) -> Iterator[FoundFile]:
        """Matches of a pattern, which shells on Windows do not expand."""
        base = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
        # Path.glob does not support absolute patterns.
        matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not matches:
            raise ImageError(f"Nothing matches {pattern}.")
        for path in map(Path, matches):
            output_path = path.relative_to(base)
            if not self._zarrs.isdisjoint(path.parents):
                continue  # a chunk
            if is_folder(path):
                yield from self._walk(path, output_path)
            elif is_image(path):
                yield FoundFile(path, output_path)
            else:
                self._leave_out(path)

    def _walk(self, folder: Path, output_path: Path) -> Iterator[FoundFile]:
        """Images in a folder and its subfolders; links are followed, no folder is entered twice."""
        if self._leave_out_zarr(folder):
            return
        self._enter(folder)
        for parent, folders, names in os.walk(folder, onerror=self._note_unread, followlinks=True):
            current = Path(parent)
            output_folder = output_path / current.relative_to(folder)
            folders[:] = [name for name in sorted(folders) if self._may_enter(current / name)]
            for name in sorted(names):
                if is_image(current / name):
                    yield FoundFile(current / name, output_folder / name)
                else:
                    self._leave_out(current / name)

    def _leave_out(self, path: Path) -> None:
        """Count a file that is no image; hidden files and this program's own are not counted."""
        if not (path.name.startswith(".") or path.name == MANIFEST or is_dicomdir(path)):
            self._left_out[self._identity(path)] = suffix_of(path)

    def _leave_out_zarr(self, folder: Path) -> bool:
        """Count a folder if it is a zarr store, whose chunks are no files of their own."""
        is_store = is_zarr(folder)
        if is_store:
            self._zarrs.add(folder)
        return is_store

    def _enter(self, folder: Path) -> bool:
        """Mark a folder as visited; returns whether it is new."""
        real = os.path.realpath(folder)
        is_new = real not in self._visited
        self._visited.add(real)
        return is_new

    def _may_enter(self, folder: Path) -> bool:
        is_hidden = folder.name.startswith(".")
        return not is_hidden and not self._leave_out_zarr(folder) and self._enter(folder)

    def _identity(self, path: Path) -> tuple[str, str]:
        """Equal for all paths of a file through linked folders; a link to a file is separate."""
        folder, name = os.path.split(path)
        if folder not in self._real:  # resolved once per folder, not for each of 100,000 files
            self._real[folder] = os.path.realpath(folder)
        return self._real[folder], name

    def _note_unread(self, error: OSError) -> None:
        self.unread.append(f"{error.filename} cannot be read: {error.strerror}.")


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Like `Path.is_dir`, which raises for inaccessible parents before Python 3.14."""
    return os.path.isdir(path)  # noqa: PTH112
