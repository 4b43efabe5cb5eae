"""A reader thread and a writer thread around a computation in the calling thread.

The network stays in the thread that iterates. The reader is a limited number of items ahead of it
and the writer a limited number behind, so memory does not depend on the number of items.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")

_END: Any = object()


@contextmanager
def reader_and_writer() -> Iterator[tuple[Executor, Executor]]:
    """One reader thread and one writer thread.

    At the end of the block, calls that have not started are dropped; running calls are waited for.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        try:
            yield reader, writer
        finally:
            reader.shutdown(cancel_futures=True)
            writer.shutdown(cancel_futures=True)


def read_ahead(items: Iterator[Item], reader: Executor, count: int) -> Iterator[Future[Item]]:
    """Advance an iterator in the reader thread, `count` items before they are needed.

    An error of the iterator is in the future of its item. If the iterator can continue after an
    error (as `map` does), so does this one.
    """
    pending = deque(reader.submit(next, items, _END) for _ in range(count))
    while True:
        if pending[0].exception() is None and pending[0].result() is _END:
            return
        pending.append(reader.submit(next, items, _END))
        # Popped without a local name, so that an item is not kept alive while the next is computed.
        yield pending.popleft()


class WriteQueue:
    """Calls for the writer thread, executed in order; after a failed call no other one runs.

    At most `limit` calls wait; `submit` blocks while there are more.
    """

    def __init__(self, writer: Executor, limit: int) -> None:
        self._writer = writer
        self._limit = limit
        self._pending: deque[Future[None]] = deque()
        self._has_failed = False

    def submit(self, function: Callable[..., None], *arguments: Any) -> None:
        """Queue a call; raises the error of an earlier one that was waited for."""
        self._pending.append(self._writer.submit(self._call, function, *arguments))
        while len(self._pending) > self._limit:
            self._pending.popleft().result()

    def drain(self) -> None:
        """Wait for all calls; raises the first error."""
        while self._pending:
            self._pending.popleft().result()

    def wait(self) -> None:
        """Wait for all calls without raising their errors."""
        wait(self._pending)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._has_failed:
            return
        self._has_failed = True
        function(*arguments)
        self._has_failed = False
