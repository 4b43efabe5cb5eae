"""Manifest of a large batch: one line for every file that is done or has failed.

It is an append-only file of JSON lines. Each line is written with one call, so a killed program
damages at most the last line. That line is ignored when the manifest is read, and the file's result
is found on disk.
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
    """Outcome of one file.

    Parameters
    ----------
    source, result : str, str or None
        Absolute paths; no result if the file failed.
    seconds : float or None
        Processing time; None if the result was found on disk without a line in the manifest.
    error : str or None
        Reason of the failure.
    """

    source: str
    result: str | None = None
    seconds: float | None = None
    error: str | None = None


class Manifest:
    """The manifest of a folder, opened for appending.

    Parameters
    ----------
    folder : Path
        Folder of the results; created if missing.

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
                self._file.write(b"\n")  # otherwise the next line would be damaged, too
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
        """Write a line; unbuffered, so the operating system has it when this returns."""
        with write_errors(self.path):
            self._file.write(json.dumps(asdict(entry)).encode() + b"\n")
        self.known[entry.source] = entry


def read_manifest(folder: Path) -> dict[str, ManifestEntry]:
    """The last entry of each source in a manifest; empty if there is none.

    Damaged lines and lines that are no entries are ignored.

    Raises
    ------
    OutputError
        If the manifest exists but cannot be read.
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
    """Whether the last line has no line end."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
