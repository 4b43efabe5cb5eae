"""Atomic file writes: a file is complete or absent, and never overwritten by accident."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from uuid import uuid4

from napari_colorize.errors import OutputError

ABANDONED = 3600.0  # seconds without a change after which a temporary file is abandoned

_PART = re.compile(r"\.[0-9a-f]{12}\.part")
_REASONS = {
    errno.ENOSPC: "the disk is full. Free some space, or choose another folder",
    errno.EDQUOT: "your disk quota is used up. Free some space, or choose another folder",
    errno.EACCES: "you have no permission to write there. Choose another folder",
    errno.EPERM: "you have no permission to write there. Choose another folder",
    errno.EROFS: "the file system is read-only. Choose another folder",
    errno.ENAMETOOLONG: "the name is too long. Choose a shorter one",
    errno.EEXIST: "a part of its path is a file, not a folder. Choose another folder",
    errno.ENOTDIR: "a part of its path is a file, not a folder. Choose another folder",
}


@contextmanager
def new_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Context manager: an empty temporary file that is renamed to `path` if the block succeeds.

    The temporary file is in the same folder, because renaming is atomic only within a file system.
    On any error, Ctrl-C included, it is removed and `path` is unchanged. Missing folders are
    created.

    Raises
    ------
    OutputError
        If `path` exists and must not be overwritten, also if another process created it
        meanwhile, or if it cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    temporary = temporary_path(path)
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.open("xb").close()
    try:
        yield temporary
        with write_errors(path):
            _publish(temporary, path, overwrite=overwrite)
    finally:
        remove_quietly(temporary)


def temporary_path(path: Path) -> Path:
    """Unique path in the same folder for a file that is being written.

    The name is hidden and ends in .part, so that it is not mistaken for a finished file.
    """
    return path.with_name(f".{uuid4().hex[:12]}.part")


def publish(part: Path, path: Path) -> None:
    """Rename a finished temporary file to `path` atomically."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # without it a power failure could leave an empty file
    part.replace(path)


def remove_quietly(part: Path) -> None:
    """Remove a temporary file, if possible: an error must not replace the one that explains it."""
    with suppress(OSError):
        part.unlink()


def remove_abandoned(folder: Path, age: float = ABANDONED) -> None:
    """Remove temporary files of processes that were killed.

    `age` is the number of seconds since a file was changed last; 0 removes all, if there is no
    other writer.
    """
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            if _PART.fullmatch(part.name) and time() - part.stat().st_mtime >= age:
                part.unlink()


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise `OutputError` for a folder, and for an existing file unless overwriting is allowed."""
    if "\0" in str(path):
        raise OutputError(f"{str(path)!r} is no name of a file: it contains a null character.")
    if os.path.isdir(path):  # noqa: PTH112, which raises for a name that is too long
        raise OutputError(f"{path} is a folder. Give the name of a file to write.")
    if not overwrite and os.path.lexists(path):
        raise _exists(path)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Context manager: convert an `OSError` while writing `path` to an `OutputError`."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise OutputError(f"{path} could not be written: {reason}.") from error


def _publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        publish(temporary, path)
        return
    try:
        os.link(temporary, path)  # unlike a rename, fails if the name exists by now
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        _publish_without_links(temporary, path)


def _publish_without_links(temporary: Path, path: Path) -> None:
    """Publish on file systems without hard links, such as FAT and some network drives."""
    # Creating an empty file exclusively reserves the name; the rename then replaces it.
    try:
        path.open("xb").close()
    except FileExistsError:
        raise _exists(path) from None
    try:
        temporary.replace(path)
    except BaseException:
        remove_quietly(path)  # the empty file
        raise


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path} exists already. Choose another name, or set overwrite=True.")
