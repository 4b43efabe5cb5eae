"""To test a session with: a network that can be held up, and an ear for all that is said."""

from __future__ import annotations

import threading

from stand_ins import TintNetwork
from torch import nn

SOON = 100  # seconds after which a test that waits has failed


class LayeredNetwork(TintNetwork):
    """A tint in two layers; before each it may be held up. Counts what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), nn.Identity()])
        self.sizes: list[int] = []  # width of every picture it was shown
        self.finished = 0
        self.arrived = threading.Semaphore(0)  # one for each time it is held up
        self.go = threading.Semaphore(0)
        self.held = False
        self.at_end = None  # called once, when there is no layer left to look up before

    def forward(self, gray, self_attention=True):
        self.sizes.append(gray.shape[-1])
        at_end, self.at_end = self.at_end, None
        for layer in self.layers:
            if self.held:
                self.arrived.release()
                assert self.go.acquire(timeout=SOON)
            gray = layer(gray)
        self.finished += 1
        if at_end is not None:
            at_end()
        return super().forward(gray, self_attention)

    def wait_until_held(self):
        assert self.arrived.acquire(timeout=SOON)

    def let_go(self):
        self.held = False
        self.go.release(1000)


class Heard:
    """Everything that a session said, in order."""

    def __init__(self, session):
        self.session = session
        self.said = []
        self.new = threading.Condition()
        for name in (
            "result_ready",
            "attention_ready",
            "failed",
            "state",
            "progress",
            "run_finished",
        ):
            getattr(session, name).connect(self.hear(name), check_nargs=False)
        for name in ("plane_ready", "sweep_ready", "expected_error_ready"):
            getattr(session, name).connect(self.hear_two(name), check_nargs=False)

    def hear(self, name):
        def heard(value):
            with self.new:
                self.said.append((name, value))
                self.new.notify_all()

        return heard

    def hear_two(self, name):
        return lambda first, second, *_: self.hear(name)((first, second))

    def all(self, name):
        return [value for said, value in list(self.said) if said == name]

    def wait_for(self, name, count=1):
        with self.new:
            assert self.new.wait_for(lambda: len(self.all(name)) >= count, SOON), self.said
        return self.all(name)[count - 1]

    def settled(self):
        assert self.session.wait(SOON), self.said
        return self
