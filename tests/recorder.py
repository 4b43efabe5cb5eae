"""Test doubles for a session: a network that can be blocked, and a recorder of all signals."""

from __future__ import annotations

import threading

from stand_ins import TintNetwork
from torch import nn

SOON = 100  # seconds after which a wait fails; generous, because test machines are busy


class LayeredNetwork(TintNetwork):
    """A network of two layers that can be blocked before each of them.

    Attributes
    ----------
    sizes : list of int
        Width of every input.
    finished : int
        Number of predictions that were completed.
    is_blocked : bool
        Whether the network waits before each layer.
    after_layers : callable or None
        Called once after the last layer, when no check for cancellation follows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), nn.Identity()])
        self.sizes: list[int] = []
        self.finished = 0
        self.is_blocked = False
        self.after_layers = None
        self._waiting = threading.Semaphore(0)  # released whenever the network starts to wait
        self._passes = threading.Semaphore(0)  # layers that may be passed

    def forward(self, gray, self_attention=True):
        self.sizes.append(gray.shape[-1])
        after_layers, self.after_layers = self.after_layers, None
        for layer in self.layers:
            if self.is_blocked:
                self._waiting.release()
                assert self._passes.acquire(timeout=SOON)
            gray = layer(gray)
        self.finished += 1
        if after_layers is not None:
            after_layers()
        return super().forward(gray, self_attention)

    def wait_until_blocked(self):
        assert self._waiting.acquire(timeout=SOON)

    def pass_layer(self):
        self._passes.release()

    def unblock(self):
        self.is_blocked = False
        self._passes.release(1000)


class SignalRecorder:
    """All signals of a session, in the order of emission."""

    def __init__(self, session):
        self.session = session
        self.emitted = []
        self._added = threading.Condition()
        for name in (
            "result_ready",
            "attention_ready",
            "failed",
            "state",
            "progress",
            "run_finished",
        ):
            getattr(session, name).connect(self._one_value(name), check_nargs=False)
        for name in ("plane_ready", "sweep_ready", "expected_error_ready"):
            getattr(session, name).connect(self._two_values(name), check_nargs=False)

    def _one_value(self, name):
        def record(value):
            with self._added:
                self.emitted.append((name, value))
                self._added.notify_all()

        return record

    def _two_values(self, name):
        record = self._one_value(name)
        return lambda first, second, *_: record((first, second))

    def all(self, name):
        return [value for emitted, value in list(self.emitted) if emitted == name]

    def wait_for(self, name, count=1):
        with self._added:
            assert self._added.wait_for(lambda: len(self.all(name)) >= count, SOON), self.emitted
        return self.all(name)[count - 1]

    def wait_idle(self):
        assert self.session.wait(SOON), self.emitted
        return self
