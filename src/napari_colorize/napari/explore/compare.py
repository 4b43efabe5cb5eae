"""Side-by-side comparison: the displayed result, A, and one with another model or setting, B."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_colorize.display import ColorArrays, colors_for
from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.napari import layers
from napari_colorize.napari.explore.side_by_side import SideBySide
from napari_colorize.napari.signals import SingleShotTimer, main_thread_relay
from napari_colorize.session import ColorizeSession

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized
    from napari_colorize.session import RunProgress
    from napari_colorize.session.events import MainThreadRelay
    from napari_colorize.settings import ColorizeSettings


@dataclass(frozen=True)
class Variant:
    """The difference of B from A: model, render factor, or (by default) self-attention."""

    model: str | None = None
    render_factor: int | None = None

    def apply(self, settings: ColorizeSettings) -> ColorizeSettings:
        """B's settings, from A's."""
        if self.render_factor is not None:
            return replace(settings, render_factor=self.render_factor)
        if self.model is not None:
            return settings
        return replace(settings, self_attention=not settings.self_attention)

    def describe(self, settings: ColorizeSettings) -> str:
        """The difference in a few words, given A's settings."""
        if self.render_factor is not None:
            return f"render factor {self.render_factor}"
        if self.model is not None:
            return Path(self.model).stem if "/" in self.model else self.model
        return f"self-attention {'off' if settings.self_attention else 'on'}"


class Comparison:
    """A, B and their source side by side; B follows every change of A.

    B has a session, and with it a worker thread, of its own.

    Attributes
    ----------
    ended : Signal()
        The comparison was ended: B failed, its layer was removed, or another source was chosen.
    """

    message = Signal(str)  # what is displayed, or the progress of B
    failed = Signal(object)  # ColorizeError: B could not be computed
    ended = Signal()

    def __init__(self, controller: ColorizeController) -> None:
        self._controller = controller
        self._variant = Variant()
        self._side_by_side = SideBySide(controller.viewer)
        self._session: ColorizeSession | None = None
        self._relay: MainThreadRelay | None = None
        self._colors: ColorArrays | None = None
        self._colors_of_a: Any = None  # A's color arrays when B's were created
        self.layer: Image | None = None
        # The controller has to handle another plane before B reads it.
        self._next_event = SingleShotTimer(self._update, 0)

    @property
    def is_on(self) -> bool:
        """Whether the comparison is on."""
        return self._session is not None

    def start(self, variant: Variant) -> None:
        """Show B beside A; raises `ImageError` without a result, or if B would be the same."""
        controller = self._controller
        if controller.layer is None or controller.result_layer is None:
            raise ImageError(layers.NO_RESULT)
        if variant.model is not None and variant.model == str(controller.session.model):
            raise ImageError("A uses this model already: choose another model for B.")
        self._variant = variant
        if self._session is None:
            self._begin()
        self._update()

    def stop(self) -> None:
        """Remove B and restore the view."""
        if self._session is None:
            return
        session, self._session = self._session, None
        assert self._relay is not None
        self._relay.close()
        self._next_event.stop()
        self._set_connected(False)
        session.close(wait=0)
        layer, self.layer = self.layer, None
        self._colors = self._colors_of_a = None
        if layer is not None and layer in self._controller.viewer.layers:
            self._controller.viewer.layers.remove(layer)
        self._side_by_side.restore()

    def wait(self, timeout: float) -> bool:
        """Wait until B is computed, for scripts and tests; False after `timeout` seconds."""
        return self._session is None or self._session.wait(timeout)

    @property
    def result(self) -> Colorized | None:
        """B's newest result for the displayed plane."""
        return None if self._session is None else self._session.result

    def _begin(self) -> None:
        self._session, self._relay = ColorizeSession(), main_thread_relay()
        self._relay.connect(self._session.result_ready, self._on_result)
        self._relay.connect(self._session.failed, self._on_failed)
        self._relay.connect(self._session.progress, self._on_progress)
        self._set_connected(True)

    def _set_connected(self, connected: bool) -> None:
        controller = self._controller
        for signal, slot in (
            (controller.shown, self._update),
            (controller.changed, self._update),
            (controller.layer_changed, self._end),
            (controller.viewer.dims.events.current_step, self._update_soon),
            (controller.viewer.layers.events.removed, self._on_layer_removed),
        ):
            (signal.connect if connected else signal.disconnect)(slot)

    def _update_soon(self, event: Any = None) -> None:
        self._next_event.start()

    def _update(self, _: Any = None) -> None:
        """Pass A's request with the variant to B's session."""
        controller, session = self._controller, self._session
        if session is None or controller.layer is None:
            return
        has_new_colors = controller.colors is not self._colors_of_a
        if has_new_colors:
            self._colors_of_a = controller.colors
            self._colors = colors_for(**layers.read(controller.layer, controller.region))
        assert self._colors is not None
        before = session.source
        settings = controller.session.settings
        if self._colors.source is not before:
            session.update(source=self._colors.source, rgb=controller.layer.rgb)
        elif has_new_colors:
            session.refresh()
        compose_key = _compose_key(session)
        session.update(
            plane=controller.session.plane,
            settings=self._variant.apply(settings),
            model=self._variant.model or controller.session.model,
            blend_with=controller.session.blend_with,
            guides=controller.session.guides,
            time_axis=controller.session.time_axis,
            device=controller.session.device,
        )
        if _compose_key(session) != compose_key:
            self._colors.mark_stale()
        if session.result is None:
            self.message.emit("Colorizing B…")
        elif self.layer is not None:
            self._arrange()

    def _on_result(self, result: Colorized) -> None:
        controller, session = self._controller, self._session
        if session is None or session.result is not result or controller.layer is None:
            return  # outdated: a newer result follows
        assert self._colors is not None
        self._colors.put(session.plane or (), result)
        difference = self._variant.describe(controller.session.settings)
        metadata = {layers.METADATA: result.provenance}
        name = f"{controller.layer.name} (B: {difference})"
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
        self.message.emit(
            f"In this order: A with the settings of the Colorize panel, B with {difference}, and "
            "the source."
        )

    def _arrange(self) -> None:
        controller = self._controller
        shown = [controller.result_layer, self.layer, controller.layer]
        self._side_by_side.show([layer for layer in shown if layer is not None])

    def _on_failed(self, error: ColorizeError) -> None:
        self.failed.emit(error)
        self._end()

    def _on_layer_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self._end()

    def _end(self, _: Any = None) -> None:
        self.stop()
        self.ended.emit()

    def _on_progress(self, progress: RunProgress) -> None:
        percent = 100 * progress.done / max(1, progress.total)
        self.message.emit(f"{progress.text}: {percent:.0f} %.")


def _compose_key(session: ColorizeSession) -> tuple[Any, ...]:
    """Inputs of a session whose change makes computed planes outdated."""
    return session.settings, session.blend_with, session.guides, session.time_axis
