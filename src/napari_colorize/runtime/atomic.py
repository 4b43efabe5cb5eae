"""A file appears whole or not at all, and never in the place of another by accident."""

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

ABANDONED = 3600.0  # seconds; nobody who is at work leaves a file alone for so long

_PART = re.compile(r"\.[0-9a-f]{12}\.part")
_REASONS = {
    errno.ENOSPC: "the disk is full. Make room, or choose another place",
    errno.EDQUOT: "your disk quota is used up. Make room, or choose another place",
    errno.EACCES: "writing there is not permitted. Choose another place",
    errno.EPERM: "writing there is not permitted. Choose another place",
    errno.EROFS: "that place is read-only. Choose another one",
    errno.ENAMETOOLONG: "its name is too long. Choose a shorter one",
    errno.EEXIST: "a part of its path is a file, not a folder. Choose another place",
    errno.ENOTDIR: "a part of its path is a file, not a folder. Choose another place",
}


@contextmanager
def new_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give the path of an empty temporary file that becomes `path` when the block ends well.

    It lies in the same folder, because only there a file can take its name in one step. On an
    error of any kind, Ctrl-C included, it is removed and `path` is as before. Missing folders are
    made.

    Raises
    ------
    OutputError
        If `path` exists and must not be overwritten (also if another process made it meanwhile),
        or if it cannot be written.
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
        temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """A name in the same folder that nobody else has, for a file while it grows.

    It is hidden and ends in .part, so that nobody takes it for what it will be.
    """
    return path.with_name(f".{uuid4().hex[:12]}.part")


def publish(part: Path, path: Path) -> None:
    """Give a finished file its name; whoever looks sees the old file or the new one."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # else a power cut could leave the name without the content
    part.replace(path)


def remove_abandoned(folder: Path, age: float = ABANDONED) -> None:
    """Remove the pieces of files whose writer was killed; they are hidden, but take room.

    Only those that nobody has touched for `age` seconds: 0 where there is but one writer.
    """
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            if _PART.fullmatch(part.name) and time() - part.stat().st_mtime >= age:
                part.unlink()


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise `OutputError` for a folder, and for a file unless it may be overwritten."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder. Give the name of a file to write.")
    if not overwrite and os.path.lexists(path):
        raise _taken(path)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing `path` into one `OutputError` sentence."""
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
        os.link(temporary, path)  # unlike a rename, refuses a name that has come into being
    except FileExistsError:
        raise _taken(path) from None
    except OSError:
        _publish_without_links(temporary, path)


def _publish_without_links(temporary: Path, path: Path) -> None:
    """On FAT and some network drives: take the name first, then fill it in one step."""
    try:
        path.open("xb").close()
    except FileExistsError:
        raise _taken(path) from None
    temporary.replace(path)


def _taken(path: Path) -> OutputError:
    return OutputError(f"{path} exists already. Choose another name, or set overwrite=True.")
