"""Files on disk: their fingerprint, and whether they are what a server sends instead."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)


def sha256_of(path: Path) -> str:
    """The sha256 of a file in hexadecimal, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_web_page(head: bytes) -> bool:
    """Whether a file that begins like this is a web page, as servers send instead of a file."""
    return _WEB_PAGE.match(head) is not None
