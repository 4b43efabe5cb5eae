"""The manifest of a large batch: a line for every file that is done or has failed.

It is a file of JSON lines that only grows. A line is written in one step, so that a program that
is killed spoils the last one at most; that one is passed over when it is read, and the file's
result is found on the disk.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from napari_colorize.runtime.atomic import write_errors

NAME = "napari-colorize-manifest.jsonl"


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """What became of one file.

    Parameters
    ----------
    source, result : str, str or None
        Absolute paths; no result where it failed.
    seconds : float or None
        It took; None where the result was found, made by a run that could not tell any more.
    error : str or None
        A sentence on why it failed.
    """

    source: str
    result: str | None = None
    seconds: float | None = None
    error: str | None = None


class Manifest:
    """The manifest in a folder, open for more lines.

    Parameters
    ----------
    folder : Path
        Of the results; made if it is missing.

    Raises
    ------
    OutputError
        If it cannot be written there.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.known = read_manifest(folder)

    def __enter__(self) -> Self:
        with write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab", buffering=0)
            if _is_torn(self.path):
                self._file.write(b"\n")  # else the next line would be spoiled with it
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with write_errors(self.path), self._file:
            os.fsync(self._file.fileno())

    def append(self, entry: ManifestEntry) -> None:
        """Write a line; it is on its way to the disk when this returns."""
        with write_errors(self.path):
            self._file.write(json.dumps(asdict(entry)).encode() + b"\n")
        self.known[entry.source] = entry


def read_manifest(folder: Path) -> dict[str, ManifestEntry]:
    """What a manifest says of each source, its last word; empty if there is none.

    Lines that are torn, or no entries, are passed over.

    Raises
    ------
    OutputError
        If there is one that cannot be read.
    """
    path = folder / NAME
    with write_errors(path):
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
    entries = (_entry(line) for line in lines)
    return {entry.source: entry for entry in entries if entry is not None}


def _entry(line: bytes) -> ManifestEntry | None:
    try:
        found = json.loads(line)
        return ManifestEntry(**found) if isinstance(found.get("source"), str) else None
    except (ValueError, TypeError, AttributeError):
        return None


def _is_torn(path: Path) -> bool:
    """Whether the last line has no end."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
