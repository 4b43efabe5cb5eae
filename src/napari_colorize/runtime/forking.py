"""State that a forked process must not inherit: locks that another thread holds at that moment."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def after_fork(reset: Callable[[], object]) -> None:
    """Call a function in every process that is forked from this one."""
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=reset)


def global_lock() -> threading.Lock:
    """A lock for a module, which is free in forked processes."""
    lock = threading.Lock()
    after_fork(lock._at_fork_reinit)  # type: ignore[attr-defined]  # as in concurrent.futures
    return lock
