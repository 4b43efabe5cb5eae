"""Checksum of files, and detection of web pages that a server sent instead of a file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)


def sha256_of(path: Path) -> str:
    """Compute the sha256 of a file in hexadecimal, without reading it into memory as a whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_web_page(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a web page."""
    return _WEB_PAGE.match(head) is not None
