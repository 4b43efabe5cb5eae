"""Desk: what the plugin does in one viewer; docks, commands and scripts speak to it.

A desk follows what its viewer looks at (layer, plane, contrast limits), tells its session, and lays
what comes back into one result layer for each source layer. The session works in a thread of its
own; whatever it says arrives here in the GUI thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_colorize.display import ColorArrays, colors_for
from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.napari import layers
from napari_colorize.napari.activity import ActivityBar
from napari_colorize.napari.colorized_layer import ColorizedLayer
from napari_colorize.napari.connections import Connections
from napari_colorize.napari.crop import PlaneCrop, crop_of
from napari_colorize.napari.guide.grid import grid_of
from napari_colorize.napari.guide.guide_layers import GuideLayers, add_hints
from napari_colorize.napari.layer_actions import LayerActions
from napari_colorize.napari.panel_lifetime import DockCloseWatcher, Panel
from napari_colorize.napari.qt_relay import QtRelay
from napari_colorize.session import ColorizeSession
from napari_colorize.settings import ColorizeSettings, settings_from

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from napari import Viewer
    from napari.layers import Image, Layer, Points, Shapes

    from napari_colorize.napari.guide.guide_values import StackGuides
    from napari_colorize.refine.guides import Guides
    from napari_colorize.result import Colorized
    from napari_colorize.session import PlaneSource, RunFinished, RunProgress

MILLISECONDS_TO_SETTLE = 300  # without another turn of a knob, before a whole stack follows it
PLANES_AHEAD = 6  # of those that come next while a stack is played

_desks: dict[int, ColorizeController] = {}


def get_controller(viewer: Viewer) -> ColorizeController:
    """The desk of a viewer, made when first asked for; the viewer may come as a proxy."""
    controller = existing_controller(viewer)
    if controller is None:
        viewer = getattr(viewer, "__wrapped__", viewer)
        controller = _desks[id(viewer)] = ColorizeController(viewer)
    return controller


def existing_controller(viewer: Viewer) -> ColorizeController | None:
    """The desk of a viewer, if it has one already: for what makes no sense without a panel."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    controller = _desks.get(id(viewer))
    return controller if controller is not None and controller.viewer is viewer else None


class ColorizeController:
    """What the plugin does in one viewer.

    All signals are emitted in the GUI thread, and all methods are for it.

    Parameters
    ----------
    viewer : Viewer
        Itself, no proxy.

    Attributes
    ----------
    layer_changed : Signal(object)
        Another source layer, or None.
    changed : Signal()
        Settings, models, device, target, guides, axis of time, what can be undone.
    models_changed : Signal()
        There is a new model of the user's own.
    shown : Signal(object)
        `Colorized`: the result layer shows it now.
    state, progress, failed, run_ended, swept, attended, judged, doubted
        The session's, handed on.
    """

    layer_changed = Signal(object)
    changed = Signal()
    models_changed = Signal()
    shown = Signal(object)
    state = Signal(str)
    progress = Signal(object)
    failed = Signal(object)
    run_finished = Signal(object)
    sweep_ready = Signal(int, object)
    attention_ready = Signal(object)
    expected_error_ready = Signal(object, object)
    disagreement_ready = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.session = ColorizeSession()
        self.is_closed = self._is_laying = False
        self._works: dict[Layer, ColorizedLayer] = {}
        self._colorized_layer: ColorizedLayer | None = None
        self._running: ColorizedLayer | None = None
        self._run: int | None = None  # the number of that run
        self._is_run_old = False  # whether it makes what is no longer wanted
        self._region: Shapes | None = None
        self._keeper = LayerActions(viewer, self.changed.emit)
        self.guiding = GuideLayers(viewer)
        self.guiding.changed.connect(self._follow_guides)
        self._chosen = ColorizeSettings()
        self._plane_before: tuple[int, ...] = ()
        self._panels: list[DockCloseWatcher] = []
        self._links = Connections()  # to the viewer
        self.is_live = True  # whether a selected layer is colorized without being asked
        self._bar = ActivityBar(self.cancel)
        self._recompose_timer = QTimer()
        self._recompose_timer.setSingleShot(True)
        self._recompose_timer.setInterval(MILLISECONDS_TO_SETTLE)
        self._recompose_timer.timeout.connect(self._recompose_stack)
        self._edit_timer = QTimer()
        self._edit_timer.setSingleShot(True)
        self._edit_timer.setInterval(MILLISECONDS_TO_SETTLE)
        self._edit_timer.timeout.connect(self._begin_anew_or_say)
        self._bridge = QtRelay()
        self._listen()
        self._follow_viewer()

    def attach_panel(self, panel: Panel) -> None:
        """Stay as long as this panel does, and go with the last one."""
        self._panels.append(DockCloseWatcher(panel, self._lose_panel))

    def _lose_panel(self, tenancy: DockCloseWatcher) -> None:
        self._panels.remove(tenancy)
        if not self._panels:
            self.close()

    # What is looked at

    @property
    def layer(self) -> Image | None:
        """The source that is colorized."""
        return None if self._colorized_layer is None else self._colorized_layer.layer

    @property
    def result_layer(self) -> Image | None:
        """The layer that shows its colours; None before the first picture."""
        return None if self._colorized_layer is None else self._colorized_layer.result_layer

    @property
    def colors(self) -> ColorArrays | None:
        """Colours of the source, as far as they are known."""
        return None if self._colorized_layer is None else self._colorized_layer.colors

    @property
    def plane(self) -> tuple[int, ...]:
        """Index of the plane looked at; empty for a single image."""
        return self.session.plane or ()

    @property
    def planes(self) -> int:
        """How many planes the source has."""
        if self.layer is None:
            return 0
        return math.prod(layers.leading_shape(self.layer))

    def bytes_of_stack(self) -> int:
        """What the colours of all planes take up in memory."""
        if self.layer is None:
            return 0
        data = layers.largest(self.layer)
        pixels = math.prod(data.shape[:-1] if self.layer.rgb else data.shape)
        return int(pixels * 3 * data.dtype.itemsize)

    @property
    def result(self) -> Colorized | None:
        """The newest picture of what is looked at."""
        return self.session.result

    @property
    def region(self) -> Shapes | None:
        """The layer whose shapes are colorized; None for whole planes."""
        return self._region

    @property
    def crop(self) -> PlaneCrop:
        """The part of the source's planes that is colorized.

        Raises
        ------
        ImageError
            If no layer is chosen.
        """
        if self._colorized_layer is None:
            raise ImageError(layers.NO_LAYER)
        return crop_of(self._colorized_layer.layer, self._colorized_layer.colors, self._region)

    @property
    def is_running(self) -> bool:
        """Whether a run over all planes is under way."""
        return self._running is not None

    def choose_layer(self, layer: Layer | None) -> None:
        """Colorize this layer from now on; None for no layer.

        Raises
        ------
        ImageError
            If it cannot be colorized, in one sentence.
        """
        if layer is None:
            self._clear()
            return
        reason = layers.reason_not_colorizable(layer)
        if reason is not None:
            raise ImageError(reason)
        if self._colorized_layer is not None and self._colorized_layer.layer is layer:
            if self.result is None and self.session.status == "idle":
                self.session.refresh()  # it was cancelled, or failed
            return
        colorized_layer = self._works.get(layer)
        if colorized_layer is None:
            colorized_layer = self._works[layer] = ColorizedLayer(
                layer, self._colors_of(layer), self._renew
            )
        elif not colorized_layer.colors.matches(**layers.read(layer, self._region)):
            colorized_layer.colors = self._colors_of(layer)
        self._colorized_layer = colorized_layer
        self._look()
        self._plane_before = self.plane
        self.viewer.layers.selection.active = layer
        self.layer_changed.emit(layer)
        if self.result is not None:  # the same array in another layer: nothing is predicted anew
            self._on_result(self.result)

    def use_region(self, shapes: Shapes | None) -> None:
        """Colorize only inside these shapes; None for whole planes.

        Raises
        ------
        ColorizeError
            If there is no shape that has an inside, or it lies beside the picture.
        """
        if self._region is not None:
            self._region.events.data.disconnect(self._on_shapes_edited)
        self._region = shapes
        if shapes is not None:
            shapes.events.data.connect(self._on_shapes_edited)
        self.changed.emit()
        self._begin_anew()

    def _on_shapes_edited(self, event: Any = None) -> None:
        """A shape is being drawn or moved: wait until it rests."""
        self._edit_timer.start()

    # Knobs

    @property
    def settings(self) -> ColorizeSettings:
        """Every knob as chosen; contrast limits and gamma are the layer's."""
        return self._chosen

    def set_settings(self, **settings: Any) -> None:
        """Turn some knobs; see `ColorizeSettings`."""
        chosen = settings_from({**vars(self._chosen), **settings})
        if chosen == self._chosen:
            return
        self._chosen = chosen
        if self._colorized_layer is None:
            self.session.settings = chosen
        else:
            self._mark_stale()
            self.session.settings = self._settings_for(self._colorized_layer.layer)
        self.changed.emit()

    def use_model(self, name_or_path: str | os.PathLike[str]) -> None:
        """Colorize with this model from now on; fetches it if it is not here."""
        if self.session.model != str(name_or_path):
            self._mark_stale()
            self.session.model = str(name_or_path)
        elif self.session.result is None and self._colorized_layer is not None:
            self.session.refresh()  # it failed before, or was cancelled
        self.changed.emit()

    def blend_with(self, name_or_path: str | os.PathLike[str] | None) -> None:
        """Blend the model's colours with a second one's from now on; None for no second one."""
        wanted = None if name_or_path is None else str(name_or_path)
        if self.session.blend_with != wanted:
            self._mark_stale()
            self.session.blend_with = wanted
        self.changed.emit()

    def add_hints(self) -> Points:
        """Add a layer to click colours into, which guides from now on.

        Raises
        ------
        ImageError
            If nothing is colorized.
        """
        if self._colorized_layer is None:
            raise ImageError(layers.NO_LAYER)
        made = add_hints(self.viewer, self._colorized_layer.layer)
        self.guiding.assign("hints", made)
        return made

    @property
    def axes(self) -> list[str]:
        """Names of the axes of a stack before those of a plane; none for a single image."""
        if self._colorized_layer is None:
            return []
        return layers.axes_of(self._colorized_layer.layer, self.viewer.dims)

    @property
    def time_axis(self) -> int:
        """Axis of the source along which colours are held steady."""
        return 0 if self._colorized_layer is None else self._colorized_layer.time_axis

    def set_time_axis(self, axis: int) -> None:
        """Hold colours steady along this axis of the source, one before those of a plane."""
        if self._colorized_layer is not None and self._colorized_layer.time_axis != axis:
            self._colorized_layer.time_axis = axis
            self._mark_stale()
            self.session.time_axis = axis
        self.changed.emit()

    def use_device(self, device: str) -> None:
        """Run the network there: "auto", "cpu", "cuda", ..."""
        self.session.device = device
        self.changed.emit()

    # What can be done

    def keep(self) -> Image:
        """Make what is shown now a layer of its own, which nothing changes any more.

        Of a stack the visible plane is kept, or all of them after a run over all.

        Raises
        ------
        ImageError
            If there is no picture yet.
        """
        return self._keeper.keep(*self._shown_work())

    def replace(self) -> Image:
        """Put the colours in the place of the gray layer, which leaves the viewer.

        Raises
        ------
        ImageError
            If there is no picture yet.
        """
        return self._keeper.replace(*self._shown_work())

    def undo(self) -> None:
        """Take back the last keep or replace."""
        self._keeper.undo()

    @property
    def undoable(self) -> str | None:
        """What `undo` would take back, in a word."""
        return self._keeper.undoable

    def colorize_all(self) -> None:
        """Colorize every plane of the source; what came stays, however it ends.

        Raises
        ------
        ColorizeError
            If there is no layer, or the result would not fit into memory.
        """
        if self._colorized_layer is None:
            raise ImageError(layers.NO_LAYER)
        if not layers.leading_shape(self._colorized_layer.layer):
            self.session.refresh()
            return
        self._colorized_layer.colors.allocate_all()
        self._colorized_layer.wants_whole = True
        before, self._running = self._running, self._colorized_layer
        if before is not None:
            before.wants_whole = before is self._colorized_layer
        self._run, self._is_run_old = self.session.colorize_stack(), False
        self.changed.emit()

    def sweep(self, render_factors: Sequence[int]) -> None:
        """The plane looked at with each of several render factors; `swept` tells them."""
        if self._running is not None:
            raise ImageError("Wait until all planes are done, or stop: then try render factors.")
        self.session.sweep(render_factors)

    def cancel(self, keep: bool = True) -> None:
        """Stop what is being done; planes that came are kept, or dropped."""
        self.session.cancel(keep=keep)

    def release_memory(self) -> None:
        """Give back the network's memory until something is wanted again."""
        self.session.release_memory()

    def show_channels(self) -> list[Image]:
        """The whole stack as three additive layers, red, green and blue: for 3-D views.

        Raises
        ------
        ImageError
            If the stack was not colorized as a whole.
        """
        if self._colorized_layer is None:
            raise ImageError(layers.NO_LAYER)
        return self._keeper.channels(self._colorized_layer)

    def close(self) -> None:
        """End the worker and let go of the viewer; its layers stay as they are."""
        if self.is_closed:
            return
        self.is_closed = True
        self._bridge.close()
        with suppress(RuntimeError):  # when Python ends, Qt's timers may be gone before
            self._recompose_timer.stop()
            self._edit_timer.stop()
            self._bar.close()
        for colorized_layer in self._works.values():
            colorized_layer.disconnect()
        self._links.end()
        self.guiding.close()
        if self._region is not None:
            self._region.events.data.disconnect(self._on_shapes_edited)
        self._keeper.clear()
        self._works.clear()
        self._colorized_layer = self._running = None
        _desks.pop(id(self.viewer), None)
        self.session.close(wait=1.0)

    # What the viewer does

    def _follow_viewer(self) -> None:
        shown, dims = self.viewer.layers, self.viewer.dims.events
        self._links.add(shown.selection.events.active, self._follow_selection)
        self._links.add(shown.events.removed, self._forget_removed)
        self._links.add(dims.current_step, self._follow_plane)
        self._links.add(dims.ndisplay, self._follow_plane)

    def follow_selection(self) -> None:
        """Colorize the selected layer if it is gray; colours are only replaced if one says so."""
        active = self.viewer.layers.selection.active
        if active is not None and layers.reason_not_colorizable(active) is None and not active.rgb:
            self.choose_layer(active)

    def _follow_selection(self, event: Any = None) -> None:
        if self.is_live and not self._is_laying:
            self._notify_errors(self.follow_selection)

    def _renew(self, colorized_layer: ColorizedLayer) -> None:
        if colorized_layer is self._colorized_layer:
            self._begin_anew_or_tell()

    def _forget_removed(self, event: Any) -> None:
        gone = event.value
        for colorized_layer in self._works.values():
            if colorized_layer.result_layer is gone:
                colorized_layer.result_layer = None
        if self._running is not None and self._running.layer is gone:
            assert self._run is not None
            self.session.cancel_run(self._run, keep=False)
        if self._region is not None and self._region is gone:
            self._region.events.data.disconnect(self._on_shapes_edited)
            self._region = None
            self.changed.emit()
            self._begin_anew_or_tell()
        was_source = self._colorized_layer is not None and self._colorized_layer.layer is gone
        lost = self._works.pop(gone, None)
        if lost is not None:
            lost.disconnect()
        if was_source:
            self._clear()

    def _clear(self) -> None:
        self._colorized_layer = None
        if not self.session.is_closed:
            self.session.source = None
        self.layer_changed.emit(None)

    def _follow_plane(self, event: Any = None) -> None:
        if self._colorized_layer is None or self.viewer.dims.ndisplay == 3:
            return
        plane = layers.plane_of(self._colorized_layer.layer, self.viewer.dims)
        if plane != self.plane:
            guides = self._new_guides_at(plane)
            self._notify_errors(lambda: self.session.update(plane=plane, guides=guides))
            self._look_ahead(plane)

    def _look_ahead(self, plane: tuple[int, ...]) -> None:
        """The planes that come next if it goes on in this direction."""
        before, self._plane_before = self._plane_before, plane
        steps = [now - then for now, then in zip(plane, before, strict=False)]
        if self._colorized_layer is None or len(before) != len(plane) or sum(map(bool, steps)) != 1:
            return
        lengths = layers.leading_shape(self._colorized_layer.layer)
        ahead = [
            tuple(place + distance * step for place, step in zip(plane, steps, strict=True))
            for distance in range(1, PLANES_AHEAD + 1)
        ]
        known = self._colorized_layer.colors.is_current
        self.session.prefetch(
            [
                index
                for index in ahead
                if all(0 <= at < length for at, length in zip(index, lengths, strict=True))
                and not known(index)
            ]
        )

    # What the session is told

    def _colors_of(self, layer: Image) -> ColorArrays:
        return colors_for(**layers.read(layer, self._region))

    def _settings_for(self, layer: Image) -> ColorizeSettings:
        return replace(
            self._chosen,
            contrast_limits=layers.displayed_limits(layer),
            gamma=layers.displayed_gamma(layer),
        )

    def _look(self) -> None:
        """Let the session see what the viewer shows."""
        colorized_layer = self._colorized_layer
        assert colorized_layer is not None
        plane = layers.plane_of(colorized_layer.layer, self.viewer.dims)
        self.session.update(
            source=colorized_layer.colors.source,
            rgb=colorized_layer.layer.rgb,
            plane=plane,
            settings=self._settings_for(colorized_layer.layer),
            guides=self._guides_at(plane),
            time_axis=colorized_layer.time_axis if plane else None,
        )

    def _guides_at(self, plane: tuple[int, ...]) -> Guides | StackGuides | None:
        """What the layers chosen to guide say of a plane; what cannot be followed is told."""
        colorized_layer, guides = self._colorized_layer, None
        if colorized_layer is None or not self.guiding.has_layers:
            return None
        grid = grid_of(
            colorized_layer.layer, self.crop, colorized_layer.colors.source, plane, self.viewer.dims
        )
        try:
            guides = self.guiding.read(grid)
            self.guiding.check(grid)
        except ColorizeError as error:
            self.notify_error(error)
        return guides

    def _new_guides_at(self, plane: tuple[int, ...]) -> Guides | StackGuides | None:
        """The same; if they are not what they were, all colours are known as old."""
        guides = self._guides_at(plane)
        if guides is not self.session.guides:
            self._mark_stale()
        return guides

    def _follow_guides(self) -> None:
        """Other layers guide, or they show something else."""
        self._notify_errors(lambda: self.session.update(guides=self._new_guides_at(self.plane)))
        self.changed.emit()

    def _begin_anew(self) -> None:
        """Other values, limits or region: the colours so far are shown until new ones come."""
        if self._colorized_layer is None:
            return
        self._colorized_layer.colors = self._colors_of(self._colorized_layer.layer)
        before = self.session.source
        self._look()
        if self.session.source is before:
            self.session.refresh()
        if self._colorized_layer.wants_whole:
            self._recompose_timer.start()

    def _begin_anew_or_tell(self, event: Any = None) -> None:
        self._notify_errors(self._begin_anew)

    def _begin_anew_or_say(self) -> None:
        """While someone draws, an error is said in the panels but does not jump at them."""
        try:
            self._begin_anew()
        except ColorizeError as error:
            self.failed.emit(error)

    def _mark_stale(self) -> None:
        if self._colorized_layer is not None:
            self._colorized_layer.colors.mark_stale()
            if self._colorized_layer.wants_whole:
                self._recompose_timer.start()

    def _recompose_stack(self) -> None:
        """A stack that was colorized as a whole follows the knobs as a whole."""
        colorized_layer = self._colorized_layer
        if colorized_layer is None or not colorized_layer.wants_whole:
            return
        if self._running is None:
            self._notify_errors(self.colorize_all)
        elif self._running is colorized_layer:
            self._is_run_old = True

    # What the session tells

    def _listen(self) -> None:
        carry, session = self._bridge.connect, self.session
        carry(session.result_ready, self._on_result)
        carry(session.plane_ready, self._on_plane)
        carry(session.run_finished, self._end_run)
        carry(session.progress, self._tell_progress)
        carry(session.state, self._tell_state)
        carry(session.failed, self._fail)
        carry(session.sweep_ready, self.sweep_ready.emit)
        carry(session.attention_ready, self.attention_ready.emit)
        carry(session.expected_error_ready, self.expected_error_ready.emit)
        carry(session.disagreement_ready, self.disagreement_ready.emit)

    def _on_result(self, result: Colorized) -> None:
        colorized_layer = self._colorized_layer
        if colorized_layer is None or self.session.result is not result:
            return  # a newer one is on its way
        colorized_layer.colors.put(self.plane, result)
        self._update_result_layer(colorized_layer, result)
        self.shown.emit(result)

    def _on_plane(self, index: tuple[int, ...], result: Colorized, origin: PlaneSource) -> None:
        """A plane of a run, or one that was looked ahead at; what nobody asks for now is left."""
        colorized_layer = self._colorized_layer
        if origin.run is not None:
            colorized_layer = self._running if origin.run == self._run else None
        elif not self.session.is_current(origin):
            return
        if colorized_layer is None or colorized_layer.colors.source is not origin.source:
            return
        is_old = origin.run is not None and (self._is_run_old or self._recompose_timer.isActive())
        if is_old and colorized_layer is self._colorized_layer and index == self.plane:
            return  # what is looked at is made anew beside the run
        colorized_layer.colors.put(index, result)
        if colorized_layer is self._colorized_layer and index == self.plane:
            self._update_result_layer(colorized_layer, result)

    def _update_result_layer(self, colorized_layer: ColorizedLayer, result: Colorized) -> None:
        """Show a work's colours, in the layer that does so already if there is one."""
        metadata = {layers.METADATA: result.provenance}
        if colorized_layer.result_layer is not None:
            layers.refresh_result(
                colorized_layer.result_layer, colorized_layer.colors, metadata=metadata
            )
            return
        self._is_laying = True  # the source stays the one that is worked on
        try:
            selected = set(self.viewer.layers.selection)
            colorized_layer.result_layer = layers.add_result(
                self.viewer, colorized_layer.layer, colorized_layer.colors, metadata=metadata
            )
            self.viewer.layers.selection = selected
        finally:
            self._is_laying = False

    def _end_run(self, end: RunFinished) -> None:
        if end.run == self._run and self._running is not None:
            colorized_layer, self._running, self._run = self._running, None, None
            colorized_layer.wants_whole = not end.cancelled and end.done == end.total
            if (
                self._is_run_old and colorized_layer.wants_whole
            ):  # something changed while it was on
                colorized_layer.colors.mark_stale()
                self._recompose_timer.start()
            self._bar.close()
            if end.cancelled and not end.keep and colorized_layer.layer in self._works:
                self._drop(colorized_layer)
            elif colorized_layer.result_layer is not None:
                colorized_layer.result_layer.refresh()
        self.run_finished.emit(end)
        self.changed.emit()

    def _drop(self, colorized_layer: ColorizedLayer) -> None:
        """Forget the planes of a run that was cancelled; the one looked at comes back by itself."""
        colorized_layer.colors = self._colors_of(colorized_layer.layer)
        if colorized_layer is self._colorized_layer:
            self.session.refresh()

    def _tell_progress(self, told: RunProgress) -> None:
        self._bar.show(told)
        self.progress.emit(told)

    def _tell_state(self, state: str) -> None:
        if state == "idle":
            self._bar.close()
        self.state.emit(state)

    def notify_error(self, error: ColorizeError) -> None:
        """What cannot be done, as a notification of one sentence, and to every panel."""
        show_error(str(error))
        self.failed.emit(error)

    def _fail(self, error: ColorizeError) -> None:
        self._bar.close()
        self.notify_error(error)

    def _notify_errors(self, colorized_layer: Callable[[], None]) -> None:
        """Do what may fail in a way that the user should read of."""
        try:
            colorized_layer()
        except ColorizeError as error:
            self.notify_error(error)

    def _shown_work(self) -> tuple[ColorizedLayer, tuple[int, ...], Colorized]:
        colorized_layer, result = self._colorized_layer, self.result
        if colorized_layer is None:
            raise ImageError(layers.NO_LAYER)
        if result is None or colorized_layer.result_layer is None:
            raise ImageError("There are no colours yet: wait for the first picture.")
        return colorized_layer, self.plane, result
