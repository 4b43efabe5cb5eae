"""Typical color error of the displayed plane, estimated in the background."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_colorize.errors import ColorizeError
from napari_colorize.napari.signals import Connections, SingleShotTimer
from napari_colorize.session import messages

if TYPE_CHECKING:
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession
    from napari_colorize.session.events import SessionSignals

DELAY = 300  # milliseconds without a new result, before its error is estimated


class TypicalError:
    """The error that half of the pixels of the displayed result are expected to stay below.

    It is estimated again after each change that affects the colors. The estimate of the last
    result is kept meanwhile, unless source or model are other ones.

    Attributes
    ----------
    value : float or None
        CIEDE2000; None if it is not known.
    changed : Signal()
        `text` has changed.
    """

    changed = Signal()

    def __init__(self, session: ColorizeSession, events: SessionSignals) -> None:
        self._session = session
        self.value: float | None = None
        self._result: Colorized | None = None  # the newest, whose error is or will be estimated
        self._is_requested = False
        self._delay = SingleShotTimer(self.request, DELAY)
        self._settling = SingleShotTimer(self._drop, 0)  # signals on their way arrive before
        self._links = Connections()
        self._links.add(events.result_ready, self._on_result)
        self._links.add(events.typical_error_ready, self._on_estimate)
        self._links.add(events.state, self._on_state)

    def close(self) -> None:
        """Estimate nothing any more."""
        self._delay.stop()
        self._settling.stop()
        self._links.end()

    @property
    def is_high(self) -> bool:
        """Whether most colors are guesses."""
        return self.value is not None and (
            self._is_unlike or round(self.value) > messages.HIGH_ERROR
        )

    @property
    def _is_unlike(self) -> bool:
        return self._result is not None and self._result.is_unlike_photographs

    @property
    def is_estimating(self) -> bool:
        """Whether an estimate will come."""
        return self._is_requested or self._delay.is_active

    @property
    def text(self) -> str:
        """One line about what the colors are worth."""
        return messages.typical_error_line(
            self.value, is_estimating=self.is_estimating, is_unlike=self._is_unlike
        )

    def clear(self) -> None:
        """There is another source: its error is not known yet."""
        self._delay.stop()
        self.value = self._result = None
        self._is_requested = False
        self.changed.emit()

    def _on_result(self, result: Colorized) -> None:
        before, self._result = self._result, result
        if before is not None and _key(before) == _key(result):
            return
        if before is not None and before.record.get("model") != result.record.get("model"):
            self.value = None
        self._delay.start()
        self.changed.emit()

    def request(self) -> None:
        """Estimate the error of the displayed result now, not after the delay."""
        self._delay.stop()
        with suppress(ColorizeError):  # the source is gone, or the session is closed
            self._session.request_typical_error()
            self._is_requested = True
        self.changed.emit()

    def _on_estimate(self, result: Colorized, value: float | None) -> None:
        if result is self._result:
            self.value, self._is_requested = value, False
            self.changed.emit()

    def _on_state(self, state: str) -> None:
        # This signal may be older than the request.
        if state == "idle" and self._is_requested and self._is_idle():
            self._settling.start()

    def _drop(self) -> None:
        """There will be no answer, since it was cancelled or failed."""
        if self._is_requested and self._is_idle():
            self._is_requested = False
            self.changed.emit()

    def _is_idle(self) -> bool:
        return self._session.is_closed or self._session.wait(0)


def _key(result: Colorized) -> tuple[Any, ...]:
    """What the estimate and its text depend on."""
    chosen = result.settings
    return id(result.chroma), chosen.saturation, chosen.fidelity, result.is_unlike_photographs
