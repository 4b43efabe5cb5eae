"""Delivery of worker signals in the main thread."""

from __future__ import annotations

import threading

from psygnal import Signal

from napari_colorize.session.events import MainThreadRelay


class Emitter:
    number = Signal(int)


def emit_in_thread(emitter: Emitter, numbers: range) -> None:
    thread = threading.Thread(target=lambda: [emitter.number.emit(number) for number in numbers])
    thread.start()
    thread.join()


def test_slots_are_called_by_deliver_in_order_of_emission():
    emitter, received = Emitter(), []
    relay = MainThreadRelay()
    relay.connect(emitter.number, received.append)

    emit_in_thread(emitter, range(3))
    assert received == []
    relay.deliver()

    assert received == [0, 1, 2]


def test_every_emission_posts_a_delivery():
    emitter, received, posted = Emitter(), [], []
    relay = MainThreadRelay(posted.append)
    relay.connect(emitter.number, received.append)

    emit_in_thread(emitter, range(2))
    assert received == [] and len(posted) == 2
    for function in posted:
        function()

    assert received == [0, 1]


def test_nothing_is_delivered_after_close():
    emitter, received = Emitter(), []
    relay = MainThreadRelay()
    relay.connect(emitter.number, received.append)
    emit_in_thread(emitter, range(3))

    relay.close()
    relay.deliver()
    emit_in_thread(emitter, range(3))
    relay.deliver()

    assert received == []


def test_a_slot_that_raises_does_not_lose_the_next_signal():
    emitter, received = Emitter(), []
    relay = MainThreadRelay()
    relay.connect(emitter.number, lambda number: received.append(1 / number))
    emit_in_thread(emitter, range(2))

    try:
        relay.deliver()
    except ZeroDivisionError:
        relay.deliver()

    assert received == [1.0]
