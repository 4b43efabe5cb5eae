"""State that a forked process must not inherit: locks of other threads, positions in open files."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """An object with a lock or an open file."""

    def after_fork(self) -> None:
        """Make a new lock, and open files again when they are needed; called in the child."""


def after_fork(reset: Callable[[], object]) -> None:
    """Call a function in every process that is forked from this one."""
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=reset)


def global_lock() -> threading.Lock:
    """A lock for a module, which is free in forked processes."""
    lock = threading.Lock()
    after_fork(lock._at_fork_reinit)  # type: ignore[attr-defined]  # as in concurrent.futures
    return lock


_objects: WeakSet[Forkable] = WeakSet()


def reset_in_child(each: Forkable) -> None:
    """Call `after_fork` of an object in forked processes, as long as it exists."""
    _objects.add(each)


def _reset_objects() -> None:
    for each in list(_objects):
        each.after_fork()


after_fork(_reset_objects)


def is_forked_worker() -> bool:
    """Whether this process was forked by `multiprocessing`."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and type(module.current_process()).__name__ == "ForkProcess"
