"""Comparison: the picture as it is, A, beside one that is made otherwise, B."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_colorize.display import ColorArrays, colors_for
from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.napari import layers
from napari_colorize.napari.explore.side_by_side import SideBySide
from napari_colorize.napari.qt_relay import QtRelay
from napari_colorize.session import ColorizeSession

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized
    from napari_colorize.session import RunProgress
    from napari_colorize.settings import ColorizeSettings


@dataclass(frozen=True)
class Variant:
    """What is other about B; with neither it is self-attention: off if A's is on, else on.

    Parameters
    ----------
    model : str, optional
        Name or path.
    render_factor : int, optional
        From 1 to 100.
    """

    model: str | None = None
    render_factor: int | None = None

    def of(self, settings: ColorizeSettings) -> ColorizeSettings:
        """B's settings, of A's."""
        if self.render_factor is not None:
            return replace(settings, render_factor=self.render_factor)
        if self.model is not None:
            return settings
        return replace(settings, self_attention=not settings.self_attention)

    def in_words(self, settings: ColorizeSettings) -> str:
        """What is other, in a few words, given A's settings."""
        if self.render_factor is not None:
            return f"render factor {self.render_factor}"
        if self.model is not None:
            return Path(self.model).stem if "/" in self.model else self.model
        return f"self-attention {'off' if settings.self_attention else 'on'}"


class Comparison:
    """A, B and their source side by side; B follows whatever is done to A.

    Parameters
    ----------
    desk : Desk
        Whose picture is A.

    Attributes
    ----------
    told : Signal(str)
        A sentence to show.
    failed : Signal(ColorizeError)
        B cannot be made.
    ended : Signal()
        It is over: B failed, its layer was taken out, or another source was chosen.
    """

    told = Signal(str)
    failed = Signal(object)
    ended = Signal()

    def __init__(self, controller: ColorizeController) -> None:
        self._controller = controller
        self._variant = Variant()
        self._beside = SideBySide(controller.viewer)
        self._session: ColorizeSession | None = None
        self._bridge: QtRelay | None = None
        self._colors: ColorArrays | None = None
        self._as_in_a: Any = None  # A's colours when B's were begun
        self.layer: Image | None = None
        self._next_turn = QTimer()  # the desk hears of another plane first
        self._next_turn.setSingleShot(True)
        self._next_turn.setInterval(0)
        self._next_turn.timeout.connect(self._follow)

    @property
    def is_on(self) -> bool:
        """Whether there is a B."""
        return self._session is not None

    def start(self, variant: Variant) -> None:
        """Show B beside A; another variant takes B's place.

        Raises
        ------
        ImageError
            If there is nothing to compare.
        """
        controller = self._controller
        if controller.layer is None or controller.result_layer is None:
            raise ImageError("There are no colours yet: wait for the first picture.")
        if variant.model is not None and variant.model == str(controller.session.model):
            raise ImageError("This model made A already: choose another one for B.")
        self._variant = variant
        if self._session is None:
            self._begin()
        self._follow()

    def stop(self) -> None:
        """Take B away; the viewer looks as before."""
        if self._session is None:
            return
        session, self._session = self._session, None
        assert self._bridge is not None
        self._bridge.close()
        self._next_turn.stop()
        self._listen(False)
        session.close(wait=0)
        layer, self.layer = self.layer, None
        self._colors = self._as_in_a = None
        if layer is not None and layer in self._controller.viewer.layers:
            self._controller.viewer.layers.remove(layer)
        self._beside.restore()

    def wait(self, timeout: float) -> bool:
        """Wait until B is made, for scripts and tests."""
        return self._session is None or self._session.wait(timeout)

    @property
    def result(self) -> Colorized | None:
        """B's newest picture of what is looked at."""
        return None if self._session is None else self._session.result

    def _begin(self) -> None:
        self._session, self._bridge = ColorizeSession(), QtRelay()
        self._bridge.connect(self._session.result_ready, self._take)
        self._bridge.connect(self._session.failed, self._fail)
        self._bridge.connect(self._session.progress, self._tell_progress)
        self._listen(True)

    def _listen(self, listens: bool) -> None:
        controller = self._controller
        for signal, slot in (
            (controller.shown, self._follow),
            (controller.changed, self._follow),
            (controller.layer_changed, self._end),
            (controller.viewer.dims.events.current_step, self._follow_soon),
            (controller.viewer.layers.events.removed, self._forget_removed),
        ):
            (signal.connect if listens else signal.disconnect)(slot)

    def _follow_soon(self, event: Any = None) -> None:
        self._next_turn.start()

    def _follow(self, _: Any = None) -> None:
        """Ask B for what A is asked for."""
        controller, session = self._controller, self._session
        if session is None or controller.layer is None:
            return
        begins_anew = controller.colors is not self._as_in_a
        if begins_anew:
            self._as_in_a = controller.colors
            self._colors = colors_for(**layers.read(controller.layer, controller.region))
        assert self._colors is not None
        before = session.source
        settings = controller.session.settings
        if self._colors.source is not before:
            session.update(source=self._colors.source, rgb=controller.layer.rgb)
        elif begins_anew:
            session.refresh()
        asked_before = _tone(session)
        session.update(
            plane=controller.session.plane,
            settings=self._variant.of(settings),
            model=self._variant.model or controller.session.model,
            blend_with=controller.session.blend_with,
            guides=controller.session.guides,
            time_axis=controller.session.time_axis,
            device=controller.session.device,
        )
        if _tone(session) != asked_before:
            self._colors.mark_stale()
        if session.result is None:
            self.told.emit("Colorizing B…")
        elif self.layer is not None:
            self._arrange()

    def _take(self, result: Colorized) -> None:
        """B's picture has come."""
        controller, session = self._controller, self._session
        if session is None or session.result is not result or controller.layer is None:
            return  # a newer one is on its way
        assert self._colors is not None
        self._colors.put(session.plane or (), result)
        words = self._variant.in_words(controller.session.settings)
        metadata = {layers.METADATA: result.provenance}
        name = f"{controller.layer.name} (B: {words})"
        if self.layer is None:
            selected = set(controller.viewer.layers.selection)
            self.layer = layers.add_result(
                controller.viewer, controller.layer, self._colors, metadata=metadata, name=name
            )
            controller.viewer.layers.selection = selected
        else:
            layers.refresh_result(self.layer, self._colors, metadata=metadata)
            self.layer.name = name
        self._arrange()
        self.told.emit(f"A as in the Colorize panel, then B with {words}, then the source.")

    def _arrange(self) -> None:
        controller = self._controller
        shown = [controller.result_layer, self.layer, controller.layer]
        self._beside.show([layer for layer in shown if layer is not None])

    def _fail(self, error: ColorizeError) -> None:
        self.failed.emit(error)
        self._end()

    def _forget_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self._end()

    def _end(self, _: Any = None) -> None:
        self.stop()
        self.ended.emit()

    def _tell_progress(self, told: RunProgress) -> None:
        percent = 100 * told.done / max(1, told.total)
        self.told.emit(f"{told.text}: {percent:.0f} %.")


def _tone(session: ColorizeSession) -> tuple[Any, ...]:
    """What makes known planes old when it is another."""
    return session.settings, session.blend_with, session.guides, session.time_axis
