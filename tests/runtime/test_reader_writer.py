from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from napari_colorize.runtime.reader_writer import WriteQueue, read_ahead, reader_and_writer

TIMEOUT = 60  # seconds


def test_items_are_read_ahead_by_a_limited_number() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(9):
            read.append(number)
            yield number

    with reader_and_writer() as (reader, _):
        for number, future in enumerate(read_ahead(items(), reader, 3)):
            assert future.result() == number
            reader.submit(lambda: None).result()  # the reader thread has nothing left to do
            assert len(read) == min(number + 4, 9)


def test_reading_continues_after_an_error_of_one_item() -> None:
    with reader_and_writer() as (reader, _):
        futures = list(read_ahead(map(int, ["1", "x", "3"]), reader, 2))
    assert [future.exception() is None for future in futures] == [True, False, True]
    assert futures[2].result() == 3


def test_no_call_runs_after_a_failed_one() -> None:
    done: list[int] = []

    def write(number: int) -> None:
        if number == 1:
            raise OSError("full")
        done.append(number)

    with reader_and_writer() as (_, writer):
        queue = WriteQueue(writer, 9)
        for number in range(4):
            queue.submit(write, number)
        with pytest.raises(OSError, match="full"):
            queue.drain()
        queue.wait()
    assert done == [0]


def test_submitting_blocks_while_too_many_calls_wait() -> None:
    release, submitted = threading.Event(), threading.Event()

    def producer(queue: WriteQueue) -> None:
        for _ in range(3):
            queue.submit(release.wait, TIMEOUT)
        submitted.set()

    with reader_and_writer() as (_, writer):
        thread = threading.Thread(target=producer, args=[WriteQueue(writer, 2)])
        thread.start()
        assert not submitted.wait(0.05)
        release.set()
        assert submitted.wait(TIMEOUT)
        thread.join()


def test_calls_that_have_not_started_are_dropped_at_the_end() -> None:
    release, started = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        started.set()
        release.wait(TIMEOUT)
        done.append("first")

    def interrupt() -> None:
        with reader_and_writer() as (_, writer):
            writer.submit(first)
            second = writer.submit(done.append, "second")
            second.add_done_callback(lambda _: release.set())  # called when it is canceled
            started.wait(TIMEOUT)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert done == ["first"]
