"""Delivery of signals, and timers, on the event loop of a kernel."""

from __future__ import annotations

import asyncio
import threading

from psygnal import Signal

from napari_colorize.jupyter.main_thread import SingleShotTimer, main_thread_relay


class Emitter:
    number = Signal(int)


def test_signals_of_another_thread_are_delivered_on_the_loop():
    emitter, received = Emitter(), []

    async def main() -> None:
        relay, done = main_thread_relay(), asyncio.Event()

        def receive(number: int) -> None:
            received.append((number, threading.get_ident()))
            if number == 9:
                done.set()

        relay.connect(emitter.number, receive)
        thread = threading.Thread(target=lambda: [emitter.number.emit(n) for n in range(10)])
        thread.start()
        thread.join()
        assert received == []
        await asyncio.wait_for(done.wait(), 60)

    asyncio.run(main())

    assert received == [(number, threading.get_ident()) for number in range(10)]


def test_a_timer_calls_once_after_the_last_start():
    calls = []

    async def main() -> None:
        done = asyncio.Event()
        timer = SingleShotTimer(lambda: (calls.append(1), done.set()), 0.01)
        timer.start()
        timer.start()
        assert timer.is_active
        await asyncio.wait_for(done.wait(), 60)
        assert not timer.is_active

    asyncio.run(main())

    assert calls == [1]


def test_without_a_loop_a_timer_stays_active():
    timer = SingleShotTimer(lambda: None, 0.0)
    timer.start()
    assert timer.is_active

    timer.stop()

    assert not timer.is_active
