from __future__ import annotations

import asyncio
import threading

from psygnal import Signal

from napari_colorize.jupyter.loop_relay import LoopRelay


class Speaker:
    said = Signal(int)


def tell_from_elsewhere(speaker: Speaker, numbers: range) -> None:
    thread = threading.Thread(target=lambda: [speaker.said.emit(number) for number in numbers])
    thread.start()
    thread.join()


def test_what_is_said_elsewhere_is_heard_on_the_loop_in_order():
    speaker, heard = Speaker(), []

    async def main() -> None:
        loop, done = LoopRelay(), asyncio.Event()

        def hear(number: int) -> None:
            heard.append((number, threading.get_ident()))
            if number == 9:
                done.set()

        loop.connect(speaker.said, hear)
        tell_from_elsewhere(speaker, range(10))
        assert heard == []
        await asyncio.wait_for(done.wait(), 60)

    asyncio.run(main())

    assert heard == [(number, threading.get_ident()) for number in range(10)]


def test_without_a_loop_it_is_heard_when_asked_for():
    speaker, heard = Speaker(), []
    loop = LoopRelay()
    loop.connect(speaker.said, heard.append)

    tell_from_elsewhere(speaker, range(3))
    assert heard == []
    loop.deliver()

    assert heard == [0, 1, 2]


def test_once_closed_nothing_is_heard():
    speaker, heard = Speaker(), []
    loop = LoopRelay()
    loop.connect(speaker.said, heard.append)
    tell_from_elsewhere(speaker, range(3))

    loop.close()
    loop.deliver()
    tell_from_elsewhere(speaker, range(3))
    loop.deliver()

    assert heard == []
