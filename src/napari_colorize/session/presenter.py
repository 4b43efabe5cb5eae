"""Presenter: the state and the rules that the napari and Jupyter panels have in common.

It has no toolkit. A front end gives it a session, a relay to its main thread and a timer, passes
on what the user changes, and displays `status`, `notes`, `recommended()` and the results. All
methods are called, and all signals emitted, in the main thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from psygnal import Signal

from napari_colorize.array_types import PlaneIndex
from napari_colorize.errors import ColorizeError, DownloadError, ImageError
from napari_colorize.session import messages
from napari_colorize.session.events import SessionSignals
from napari_colorize.session.request import RequestInputs, accepts
from napari_colorize.settings import (
    REFINING,
    SETTING_GROUPS,
    ColorizeSettings,
    settings_from,
)
from napari_colorize.zoo import CATALOGUE

if TYPE_CHECKING:
    from napari_colorize.display import ColorArrays
    from napari_colorize.result import Colorized
    from napari_colorize.session.events import (
        MainThreadRelay,
        PlaneSource,
        RunFinished,
        RunProgress,
    )
    from napari_colorize.session.session import ColorizeSession

PLANES_AHEAD = 6  # prefetched while a stack is played
DEFAULTS = ColorizeSettings()
NOT_EXACT = "This setting has no effect unless fidelity is exact."
COLOR_INPUTS = ("settings", "model", "blend_with", "guides", "time_axis", "declared_range")


class Timer(Protocol):
    """Calls a function once, some time after the last `start`."""

    def start(self) -> None:
        """Start, or start again."""

    def stop(self) -> None:
        """Do not call the function."""

    @property
    def is_active(self) -> bool:
        """Whether the function is still to be called."""


@dataclass(eq=False)
class SourceColors:
    """Colors of one source.

    Attributes
    ----------
    make_colors : callable
        Returns new, empty color arrays of the source.
    colors : ColorArrays
        The present ones.
    leading_axes : int
        Number of axes of the source before those of a plane; not needed if the session's plane is
        always set.
    renewed_per_run : bool
        Whether each run fills new color arrays, because the user may hold the array of the last
        one, which must not change.
    follows_settings : bool
        Whether all planes were colorized. They are then colorized again after each change.
    last_inputs : tuple, optional
        Inputs of the session when another source was displayed instead.
    """

    make_colors: Callable[[], ColorArrays]
    leading_axes: int = field(default=0, kw_only=True)
    renewed_per_run: bool = field(default=False, kw_only=True)
    colors: ColorArrays = field(init=False)
    follows_settings: bool = field(default=False, init=False)
    last_inputs: tuple[Any, ...] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.colors = self.make_colors()


class Presenter:
    """State of the panels of one session.

    Parameters
    ----------
    session : ColorizeSession
        Its signals are received from now on.
    relay : MainThreadRelay
        Delivers them.
    make_timer : callable
        Makes a `Timer` for a function. It delays the update of a whole stack until the user stops
        changing settings.
    empty_status : callable
        Returns the status message while there is no source.
    selection_status : callable, optional
        Returns a message about what the user selected if that is not the source, else "".
    session_settings : callable, optional
        Returns the settings of the session for the chosen ones. napari adds the contrast limits
        and the gamma of the layer.

    Attributes
    ----------
    settings : ColorizeSettings
        All settings as chosen by the user.
    current : SourceColors or None
        Colors of the displayed source.
    status, notes : str
        Status message, and notes about the displayed result.
    summary : str
        One sentence of an error message that is too long for a narrow panel, else the status.
    is_error : bool
        Whether the status is an error message.
    events : SessionSignals
        Signals of the session, in the main thread. `result_ready` is emitted for the displayed
        plane only; `plane_ready` is not emitted, see `plane_stored`.
    changed : Signal()
        Inputs or the run over the stack have changed; not emitted for another plane.
    status_changed : Signal()
        `status` has changed.
    background_error : Signal(ColorizeError)
        An error of the worker or of an automatic update, which no method call raises.
    plane_stored : Signal(SourceColors, tuple of int, Colorized)
        A plane of a run or a prefetched plane was added to its color arrays.
    run_stored : Signal(SourceColors)
        A run has ended, and its planes stay in the color arrays.
    """

    changed = Signal()
    status_changed = Signal()
    background_error = Signal(object)
    plane_stored = Signal(object, tuple, object)
    run_stored = Signal(object)

    def __init__(
        self,
        session: ColorizeSession,
        relay: MainThreadRelay,
        make_timer: Callable[[Callable[[], None]], Timer],
        *,
        empty_status: Callable[[], str],
        selection_status: Callable[[], str] = str,
        session_settings: Callable[[ColorizeSettings], ColorizeSettings] | None = None,
    ) -> None:
        self.session = session
        self.settings = session.settings
        self.current: SourceColors | None = None
        self.status, self.summary, self.notes, self.is_error = "", "", "", False
        self.events = SessionSignals()
        self._relay, self._timer = relay, make_timer(self._update_stack)
        self._empty_status, self._selection_status = empty_status, selection_status
        self._session_settings = session_settings
        self._is_pinned = False  # the status stays until the user changes something
        self._running: SourceColors | None = None
        self._run: int | None = None  # number of the run over a stack
        self._sweep: int | None = None  # number of the sweep
        self._is_run_outdated = False  # the settings have changed since it started
        self._last_plane: PlaneIndex = ()
        events = self.events
        relay.connect(session.result_ready, self._on_result)
        relay.connect(session.plane_ready, self._on_plane)
        relay.connect(session.run_finished, self._on_run_finished)
        relay.connect(session.progress, self._on_progress)
        relay.connect(session.state, self._on_state)
        relay.connect(session.failed, self._on_failed)
        relay.connect(session.sweep_ready, events.sweep_ready.emit)
        relay.connect(session.attention_ready, events.attention_ready.emit)
        relay.connect(session.expected_error_ready, events.expected_error_ready.emit)
        relay.connect(session.typical_error_ready, events.typical_error_ready.emit)
        relay.connect(session.disagreement_ready, events.disagreement_ready.emit)

    def close(self) -> None:
        """Receive no signals any more."""
        if self.current is not None:
            self.current.last_inputs = self._color_inputs()
        self._timer.stop()
        self._relay.close()

    # Inputs

    def show(self, current: SourceColors | None, **inputs: Any) -> None:
        """Display another source, or the same with other values.

        Inputs can have changed while it was not displayed: its colors are outdated then.
        """
        if self.current is not None:
            self.current.last_inputs = self._color_inputs()
        self.current = current
        self._is_pinned = False
        self.session.update(**inputs)
        self._last_plane = self.session.plane or ()
        self.show_default_status()
        if current is None:
            return
        if current.last_inputs not in (None, self._color_inputs()):
            self.mark_stale()
        elif (
            current.follows_settings
            and current is not self._running
            and not current.colors.all_current()  # the delay was not over when it was left
        ):
            self._timer.start()

    @accepts(RequestInputs)
    def update(self, **changes: Any) -> None:
        """Change inputs of the displayed source; see `ColorizeSession.update`."""
        self._update(**changes)
        self.changed.emit()

    def _update(self, **changes: Any) -> None:
        before = self.session.plane_source
        self.session.update(**changes)
        self._is_pinned = False
        if not self.session.is_current(before):
            self.mark_stale()

    def set_settings(self, **settings: Any) -> None:
        """Change some settings; see `ColorizeSettings`."""
        chosen = settings_from({**vars(self.settings), **settings})
        if chosen == self.settings:
            return
        self.settings = chosen
        self.update(settings=self.settings_of_session())

    def settings_of_session(self) -> ColorizeSettings:
        """The chosen settings with what the front end adds."""
        return self._session_settings(self.settings) if self._session_settings else self.settings

    def show_plane(self, leading_shape: Sequence[int], **changes: Any) -> None:
        """Display another plane, and prefetch those that come next in this direction.

        Parameters
        ----------
        leading_shape : sequence of int
            Lengths of the axes of the stack before those of a plane.
        **changes
            As for `update`, `plane` among them.
        """
        self._update(**changes)
        plane, last = self.session.plane or (), self._last_plane
        self._last_plane = plane
        steps = [now - before for now, before in zip(plane, last, strict=False)]
        if len(last) != len(plane) or sum(map(bool, steps)) != 1 or self.session.source is None:
            return  # not a move along one axis: the direction is unknown
        ahead = (
            tuple(place + distance * step for place, step in zip(plane, steps, strict=True))
            for distance in range(1, PLANES_AHEAD + 1)
        )
        current = self.current
        self.session.prefetch(
            [
                index
                for index in ahead
                if all(0 <= at < length for at, length in zip(index, leading_shape, strict=False))
                and not (current is not None and current.colors.is_current(index))
            ]
        )

    def refresh(self) -> None:
        """Predict again, after an error or a change of values in place."""
        self._is_pinned = False
        self.session.refresh()

    def renew_colors(self) -> None:
        """Start with new color arrays for the displayed source, whose values have changed."""
        if self.current is not None:
            self.current.colors = self.current.make_colors()
            if self.current.follows_settings:
                self._timer.start()

    def mark_stale(self) -> None:
        """The colors of all planes are outdated: a whole stack is updated after a delay."""
        current = self.current
        if current is not None:
            if current.renewed_per_run and current.colors.array() is not None:
                current.colors = current.make_colors()
            current.colors.mark_stale()
            if current.follows_settings:
                self._timer.start()

    # Runs

    @property
    def is_running(self) -> bool:
        """Whether a run over a stack is in progress."""
        return self._running is not None

    @property
    def is_update_pending(self) -> bool:
        """Whether a whole stack will be updated when the delay is over."""
        return self._timer.is_active

    def colorize_stack(self) -> None:
        """Colorize every plane of the displayed source; finished planes stay if it is stopped.

        Raises `ColorizeError` if there is no source, or the result would not fit into memory.
        """
        current = self.current
        if current is None:
            raise ImageError("There is no image to colorize: choose one first.")
        if current.renewed_per_run and current.colors.array() is not None:
            current.colors = current.make_colors()
        current.colors.allocate_all()
        run = self.session.colorize_stack()
        if self._running is not None and self._running is not current:
            self._running.follows_settings = False  # its run was cancelled by the new one
        self._running, self._run, self._is_run_outdated = current, run, False
        current.follows_settings = True
        self._is_pinned = False
        self.changed.emit()

    def sweep(self, render_factors: Sequence[int] | None = None) -> list[int]:
        """Colorize the displayed plane with several render factors; returns them.

        Parameters
        ----------
        render_factors : sequence of int, optional
            Default: some around the present one.

        Raises
        ------
        ColorizeError
            If there is no source, a run is in progress, or a render factor is out of range.
        """
        if self._running is not None:
            raise ImageError("Wait until all planes are done, or stop: then try render factors.")
        if render_factors is None:
            render_factors = messages.factors_around(self.recommended()["render_factor"])
        self._sweep = self.session.sweep(render_factors)
        self._is_pinned = False
        return list(render_factors)

    def cancel(self, *, keep: bool = True) -> None:
        """Stop all work; planes of a run that are done are kept or discarded."""
        self.session.cancel(keep=keep)

    def forget(self, colors: SourceColors) -> None:
        """Stop the run over a source that is gone."""
        if self._running is colors and self._run is not None:
            self.session.cancel_run(self._run, keep=False)
            self._running = self._run = None
            self.changed.emit()

    def flush(self) -> bool:
        """Start a pending update of the whole stack now; returns whether one was pending."""
        if not self._timer.is_active:
            return False
        self._timer.stop()
        self._update_stack()
        return True

    def _update_stack(self) -> None:
        """A stack that was colorized as a whole follows the settings as a whole."""
        current = self.current
        if current is None or not current.follows_settings:
            return
        if self._running is None:
            try:
                self.colorize_stack()
            except ColorizeError as error:
                self._on_failed(error)
        elif self._running is current:
            self._is_run_outdated = True  # started again when it has ended

    def _color_inputs(self) -> tuple[Any, ...]:
        return tuple(getattr(self.session, name) for name in COLOR_INPUTS)

    def _plane(self, colors: SourceColors) -> PlaneIndex:
        """Index of the displayed plane of a source."""
        return self.session.plane or (0,) * colors.leading_axes

    # Displayed values

    def recommended(self) -> dict[str, Any]:
        """Values for settings that are left to the model: those in use, else its recommendations.

        At least `render_factor` and `saturation`.
        """
        result = self.session.result
        if result is not None:
            return {**vars(result.settings), "contrast_limits": result.plane.limits}
        checkpoint = CATALOGUE.get(str(self.session.model), CATALOGUE["embedded"])
        return {"render_factor": checkpoint.render_factor, "saturation": checkpoint.saturation}

    @property
    def settings_without_effect(self) -> dict[str, str]:
        """Settings that have no effect with this model and these inputs, each with the reason."""
        if self.settings.fidelity != "exact":
            reasons = dict.fromkeys(REFINING, NOT_EXACT)
        else:
            guides = self.session.guides
            is_missing = {
                "Reference image": not callable(guides)
                and getattr(guides, "reference", None) is None,
                "Second model": self.session.blend_with is None,
            }
            reasons = {
                name: f"Choose a {title.lower()} first."
                for title, missing in is_missing.items()
                if missing
                for name in SETTING_GROUPS[title]
            }
        return reasons | self.session.unsupported_settings

    def show_status(
        self, text: str, *, pin: bool = False, is_error: bool = False, summary: str = ""
    ) -> None:
        """Set the status message; if `pin`, it stays until the user changes something."""
        self.status, self.summary = text, summary or text
        self.is_error, self._is_pinned = is_error, pin
        self.status_changed.emit()

    def show_default_status(self) -> None:
        """Describe the present state, unless another message is pinned or a run is reported."""
        if not self._is_pinned and self._running is None and self._sweep is None:
            self.show_status(self._default_status())

    def unpin_status(self) -> None:
        """The user did something else: describe the present state."""
        self._is_pinned = False
        self.show_default_status()

    def _default_status(self) -> str:
        """Message that follows from the present state alone."""
        session, state = self.session, self.session.status
        if state in ("downloading", "cancelling"):
            return messages.STATES[state]
        selection = self._selection_status()
        if selection:
            return selection
        if session.source is None:
            return self._empty_status()
        if session.is_pending:
            return messages.STATES.get(state, messages.STATES["predicting"])
        result = session.result
        return "Stopped." if result is None else messages.result_summary(result)

    def show_error(self, error: ColorizeError) -> None:
        """Set an error as the status message and emit `events.failed`."""
        summary = error.summary if isinstance(error, DownloadError) else ""
        self.show_status(str(error), pin=True, is_error=True, summary=summary)
        self.events.failed.emit(error)

    # Signals of the session

    def _on_failed(self, error: ColorizeError) -> None:
        self.show_error(error)
        self.background_error.emit(error)

    def _on_result(self, result: Colorized) -> None:
        if self.session.result is not result:
            return  # outdated: a newer one will follow
        if self.current is not None:
            self.current.colors.put(self._plane(self.current), result)
        self.notes = "\n".join(result.notes)
        self._reset_unsupported()
        self.events.result_ready.emit(result)
        self.show_default_status()

    def _on_plane(self, index: PlaneIndex, result: Colorized, plane_source: PlaneSource) -> None:
        """Store a plane of a run or a prefetched plane, unless it is outdated."""
        colors = None
        if plane_source.run is not None:
            colors = self._running if plane_source.run == self._run else None
        elif self.session.is_current(plane_source):
            colors = self.current
        if colors is None or colors.colors.source is not plane_source.source:
            return
        is_outdated = plane_source.run is not None and (
            self._is_run_outdated or self._timer.is_active
        )
        if is_outdated and colors is self.current and index == self._plane(colors):
            return  # the session renders the displayed plane anew beside the run
        colors.colors.put(index, result)
        self.plane_stored.emit(colors, index, result)

    def _on_run_finished(self, event: RunFinished) -> None:
        is_known = event.run in (self._run, self._sweep)
        stored: SourceColors | None = None
        if event.run == self._run and self._running is not None:
            colors, self._running, self._run = self._running, None, None
            colors.follows_settings = not event.cancelled and event.done == event.total
            if self._is_run_outdated and colors.follows_settings:
                colors.colors.mark_stale()
                self._timer.start()
            if event.cancelled and not event.keep:
                colors.colors = colors.make_colors()
                if colors is self.current:
                    self.session.refresh()
            else:
                stored = colors
        if event.run == self._sweep:
            self._sweep = None
        if is_known:  # else the run of a source that is gone
            self.show_status(messages.run_summary(event), pin=True)
        if stored is not None:
            self.run_stored.emit(stored)
        self.events.run_finished.emit(event)
        self.changed.emit()

    def _on_progress(self, event: RunProgress) -> None:
        self.show_status(messages.progress(event))
        self.events.progress.emit(event)

    def _on_state(self, state: str) -> None:
        if state == "idle":
            self._reset_unsupported()
        if self.is_running and state in messages.STATES and state != "predicting":
            self.show_status(messages.STATES[state])  # else the progress of the run is reported
        self.show_default_status()
        self.events.state.emit(state)

    def _reset_unsupported(self) -> None:
        """Set settings that the model ignores to their defaults."""
        unsupported = self.session.unsupported_settings
        if unsupported:
            is_pinned = self._is_pinned
            self.set_settings(**{name: getattr(DEFAULTS, name) for name in unsupported})
            self._is_pinned = is_pinned  # the user has changed nothing
