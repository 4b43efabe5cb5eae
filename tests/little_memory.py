"""A limit on the memory of this process, under which a file that claims too much is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

GB = 10**9


@contextmanager
def little_memory(more: int = GB) -> Iterator[None]:
    """Context manager: let this process reserve `more` bytes in addition to what it has."""
    resource = pytest.importorskip("resource", reason="POSIX limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
