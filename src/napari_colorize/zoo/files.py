"""Files on disk: their fingerprint, and writing them whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART_PATTERN = ".*.part"

_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)


def sha256_of(path: Path) -> str:
    """The sha256 of a file in hexadecimal, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_web_page(head: bytes) -> bool:
    """Whether a file that begins like this is a web page, as servers send instead of a file."""
    return _WEB_PAGE.match(head) is not None


def part_of(path: Path) -> Path:
    """A hidden name in the same folder for a file in the making; nobody else gets the same."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")


def put(part: Path, path: Path) -> None:
    """Give a finished file its final name; whoever looks sees the old file or the new one."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # else a power cut could leave the name without the content
    part.replace(path)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """An empty file to write to, which becomes `path` if the block ends well, else vanishes."""
    part = part_of(path)
    try:
        part.touch(exist_ok=False)
        yield part
        put(part, path)
    finally:
        part.unlink(missing_ok=True)
