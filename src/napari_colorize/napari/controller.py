"""Controller of the plugin in one viewer; panels, commands and scripts use it.

The controller follows the viewer (layer, plane, contrast limits), passes changes to the session
through the presenter, and shows the colors in one result layer per source layer. The session works
in a thread of its own. Its signals arrive in the GUI thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.layers import Points
from napari.utils.notifications import show_error
from psygnal import Signal

from napari_colorize.display import ColorArrays, colors_for
from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.napari import layers
from napari_colorize.napari.activity import ActivityBar
from napari_colorize.napari.automatic import has_colors, reason_to_wait
from napari_colorize.napari.crop import PlaneCrop, crop_of
from napari_colorize.napari.guide.grid import grid_of
from napari_colorize.napari.guide.guide_layers import GuideLayers, add_hints
from napari_colorize.napari.image_reader import restore
from napari_colorize.napari.layer_actions import LayerActions
from napari_colorize.napari.layers import is_colorizable
from napari_colorize.napari.panels import DockCloseWatcher
from napari_colorize.napari.result_layers import ResultLayers
from napari_colorize.napari.signals import Connections, SingleShotTimer, main_thread_relay
from napari_colorize.napari.trial import Trial
from napari_colorize.napari.typical_error import TypicalError
from napari_colorize.session import ColorizeSession, messages
from napari_colorize.session.presenter import Presenter

if TYPE_CHECKING:
    import os

    from napari import Viewer
    from napari.layers import Image, Layer, Shapes
    from qtpy.QtWidgets import QWidget

    from napari_colorize.array_types import PlaneIndex
    from napari_colorize.napari.guide.guide_values import StackGuides
    from napari_colorize.napari.result_layers import ColorizedLayer
    from napari_colorize.refine.guides import Guides
    from napari_colorize.result import Colorized
    from napari_colorize.settings import ColorizeSettings

DELAY = 300  # milliseconds without a change, before a whole stack or an edited region is updated

_controllers: dict[int, ColorizeController] = {}


def get_controller(viewer: Viewer) -> ColorizeController:
    """The controller of a viewer (or of its proxy), created on first use."""
    controller = existing_controller(viewer)
    if controller is None:
        viewer = getattr(viewer, "__wrapped__", viewer)
        controller = _controllers[id(viewer)] = ColorizeController(viewer)
    return controller


def existing_controller(viewer: Viewer) -> ColorizeController | None:
    """The controller of a viewer; None if no panel is open and nothing was colorized."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    controller = _controllers.get(id(viewer))
    return controller if controller is not None and controller.viewer is viewer else None


class ColorizeController:
    """State of the plugin in one viewer.

    All methods are called, and all signals emitted, in the GUI thread.

    Attributes
    ----------
    presenter : Presenter
        Settings, runs, status and notes, shared with the Jupyter panel.
    actions : LayerActions
        Keep, replace, split into channels, and undo.
    changed : Signal()
        Settings, models, device, region, guides, time axis or `actions.undoable` have changed.
    events : SessionSignals
        Signals of the session, in the GUI thread; those of the presenter.
    """

    layer_changed = Signal(object)  # another source layer is colorized, or none (None)
    changed = Signal()
    models_changed = Signal()  # the user has a new model
    shown = Signal(object)  # Colorized: the result layer displays this result
    selection_changed = Signal()  # another layer is selected, or `is_live` has changed

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.session = ColorizeSession()
        relay = main_thread_relay()
        self.presenter = Presenter(
            self.session,
            relay,
            lambda update: SingleShotTimer(update, DELAY),
            empty_status=self._empty_status,
            selection_status=self._selection_status,
            session_settings=self._session_settings,
        )
        self.events = self.presenter.events
        self.is_closed = False
        self._is_live = True
        self.typical_error = TypicalError(self.session, self.events)
        self._trial = Trial(self.session, self.typical_error, self._show_plane, self._finish_trial)
        self._result_layers = ResultLayers(
            viewer, self._make_colors, self._on_values_changed, self._on_range_changed
        )
        self._colorized_layer: ColorizedLayer | None = None
        self._region: Shapes | None = None
        self.actions = LayerActions(viewer, self.session, self._current_layer, self.changed.emit)
        self.guiding = GuideLayers(viewer)
        self.guiding.changed.connect(self._follow_guides)
        self._panels: list[DockCloseWatcher] = []
        self._viewer_connections = Connections()
        self._bar = ActivityBar(self.presenter.cancel)
        self._edit_timer = SingleShotTimer(self._update_edited_region, DELAY)
        self._connect_presenter()
        self._connect_viewer()
        for layer in viewer.layers:
            restore(layer)

    def _connect_presenter(self) -> None:
        presenter, events = self.presenter, self.events
        presenter.changed.connect(self.changed.emit)
        presenter.plane_stored.connect(self._on_plane)
        presenter.run_stored.connect(self._on_run_stored)
        presenter.background_error.connect(self._on_background_error)
        events.result_ready.connect(self._on_result)
        events.progress.connect(self._bar.show)
        events.state.connect(self._on_state)

    def _connect_viewer(self) -> None:
        viewer_layers, dims = self.viewer.layers, self.viewer.dims.events
        connect = self._viewer_connections.add
        connect(viewer_layers.selection.events.active, self._on_selection)
        connect(viewer_layers.events.inserted, self._on_layer_inserted)
        connect(viewer_layers.events.removed, self._on_layer_removed)
        connect(dims.current_step, self._on_plane_displayed)
        connect(dims.ndisplay, self._on_view_changed)

    def attach_panel(self, panel: QWidget) -> None:
        """Keep the controller until this panel, and all others that are attached, are closed."""
        self._panels.append(DockCloseWatcher(panel, self._detach_panel))

    def _detach_panel(self, watcher: DockCloseWatcher) -> None:
        self._panels.remove(watcher)
        if not self._panels:
            self.close()

    def close(self) -> None:
        """End the session and disconnect from the viewer; its layers stay as they are."""
        if self.is_closed:
            return
        self.is_closed = True
        self.presenter.close()
        self.typical_error.close()
        self._edit_timer.stop()
        with suppress(RuntimeError):  # Qt may delete the bar first when the interpreter exits
            self._bar.close()
        self._result_layers.close()
        self._viewer_connections.end()
        self.guiding.close()
        self._set_region(None)
        self.actions.clear()
        self._colorized_layer = None
        _controllers.pop(id(self.viewer), None)
        self.session.close(wait=1.0)

    # What is displayed

    @property
    def layer(self) -> Image | None:
        """The source layer."""
        return None if self._colorized_layer is None else self._colorized_layer.layer

    @property
    def result_layer(self) -> Image | None:
        """The layer with the colors of the source; None before the first result."""
        return None if self._colorized_layer is None else self._colorized_layer.result_layer

    @property
    def colors(self) -> ColorArrays | None:
        """Color arrays of the source."""
        return None if self._colorized_layer is None else self._colorized_layer.colors

    @property
    def plane(self) -> PlaneIndex:
        """Index of the displayed plane; empty for a single image."""
        return self.session.plane or ()

    @property
    def planes(self) -> int:
        """Number of planes of the source."""
        return 0 if self.layer is None else math.prod(layers.leading_shape(self.layer))

    @property
    def crop(self) -> PlaneCrop:
        """The part of each plane that is colorized; raises `ImageError` without a layer."""
        current = self._current_layer()
        return crop_of(current.layer, current.colors, self._region)

    def _current_layer(self) -> ColorizedLayer:
        """The colorized layer; raises `ImageError` if there is none."""
        if self._colorized_layer is None:
            raise ImageError(layers.NO_LAYER)
        return self._colorized_layer

    def bytes_of_stack(self) -> int:
        """Memory for the colors of all planes, in bytes."""
        if self.layer is None:
            return 0
        data = layers.largest(self.layer)
        pixels = math.prod(data.shape[:-1] if self.layer.rgb else data.shape)
        return int(pixels * 3 * data.dtype.itemsize)

    @property
    def result(self) -> Colorized | None:
        """The newest result of the displayed plane."""
        return self.session.result

    @property
    def region(self) -> Shapes | None:
        """The layer whose shapes are colorized; None for whole planes."""
        return self._region

    def choose_layer(self, layer: Layer | None) -> None:
        """Colorize this layer, or raise `ImageError` with the reason; None for no layer."""
        if layer is None:
            self._clear()
            return
        reason = layers.reason_not_colorizable(layer)
        if reason is not None:
            raise ImageError(reason)
        self._trial.accept(layer)
        self._colorize_layer(layer)

    def _colorize_layer(self, layer: Image) -> None:
        """Make this layer the source; its colors are withheld unless they were accepted."""
        if self._colorized_layer is not None and self._colorized_layer.layer is layer:
            if self.result is None and self.session.status == "idle":
                self.presenter.refresh()  # it was cancelled, or failed
            return
        colorized_layer = self._result_layers.get(layer)
        if not colorized_layer.colors.matches(**layers.read(layer, self._region)):
            colorized_layer.colors = colorized_layer.make_colors()
        self._colorized_layer = colorized_layer
        self.typical_error.clear()
        if colorized_layer.result_layer is not None:
            self._trial.accept(layer)
        self._trial.begin(layer)
        self._show_colorized_layer(colorized_layer)
        self.viewer.layers.selection.active = layer
        self.layer_changed.emit(layer)
        if self.result is not None:  # the same array in another layer: no result will be emitted
            colorized_layer.colors.put(self.plane, self.result)
            self._on_result(self.result)

    @property
    def is_live(self) -> bool:
        """Whether a selected grayscale photograph is colorized without a click."""
        return self._is_live

    @is_live.setter
    def is_live(self, is_live: bool) -> None:
        self._is_live = is_live
        self._on_selection()

    @property
    def offer(self) -> Image | None:
        """The layer that `colorize` would colorize in place of the present one, or None.

        It is the selected layer. If none is selected and nothing is colorized, it is the only layer
        that can be colorized.
        """
        active = self.viewer.layers.selection.active
        if active is None and self.layer is None:
            found = [each for each in self.viewer.layers if is_colorizable(each)]
            return found[0] if len(found) == 1 else None
        return active if active is not self.layer and is_colorizable(active) else None

    def reason_to_wait(self, layer: Image) -> str:
        """Why a layer is not colorized before `colorize` is called; "" if it is."""
        if not self._is_live:
            return f"Press Colorize to predict the colors of {layer.name!r}."
        if self._trial.is_accepted(layer):
            return ""
        dims = self.viewer.dims
        return reason_to_wait(layer, dims) or self._trial.reason_to_wait(
            layer, layers.plane_of(layer, dims)
        )

    def has_colors(self, layer: Image) -> bool:
        """Whether the displayed plane of an RGB layer has more than one tone."""
        return has_colors(layer, self.viewer.dims)

    @property
    def notes(self) -> str:
        """Notes about the displayed result; "" while the status is about something else."""
        if self.result is None or self._selection_status():
            return ""
        is_volume = self.viewer.dims.ndisplay == 3 and self.planes > 1
        return "\n".join([*([layers.VOLUME] if is_volume else []), self.presenter.notes]).strip()

    def follow_selection(self) -> None:
        """Colorize the selected layer, unless there is a reason to wait for `colorize`."""
        offer = self.offer
        if offer is not None and not self.reason_to_wait(offer):
            self._colorize_layer(offer)

    def colorize(self) -> None:
        """Colorize the offered layer, or the present one once more.

        Raises `ImageError` with the reason if there is neither.
        """
        offer = self.offer
        if offer is not None:
            self.choose_layer(offer)
        elif self._colorized_layer is not None:
            self._trial.accept(self._colorized_layer.layer)
            self.presenter.refresh()
        else:
            raise ImageError(self._empty_status())

    def _empty_status(self) -> str:
        """Message while nothing is colorized: what to do, or why the selected layer cannot be."""
        offer, active = self.offer, self.viewer.layers.selection.active
        if offer is not None:
            return self.reason_to_wait(offer) or f"Press Colorize to colorize {offer.name!r}."
        if active is None and any(map(is_colorizable, self.viewer.layers)):
            return layers.NONE_SELECTED
        return layers.reason_not_colorizable(active) or layers.NO_LAYER

    def _selection_status(self) -> str:
        """Message about another selected layer than the colorized one, or a trial; else ""."""
        if self._trial.layer is not None and self.result is not None:
            return messages.STATES["predicting"]  # its error is estimated
        active, source = self.viewer.layers.selection.active, self.layer
        is_related = (
            active is None
            or active is source
            or active is self._region
            or layers.METADATA in active.metadata
            or self.guiding.has(active)
        )
        if source is None or is_related:
            return ""
        if self.offer is not None:
            return self.reason_to_wait(self.offer)
        return f"{active.name!r} is not colorized; the settings apply to {source.name!r}."

    def use_region(self, shapes: Shapes | None) -> None:
        """Colorize only inside these shapes; None for whole planes.

        Raises `ColorizeError` if there is no shape with an interior, or it lies outside the image.
        """
        self._set_region(shapes)
        self.changed.emit()
        self._renew_colors()

    def _set_region(self, shapes: Shapes | None) -> None:
        if self._region is not None:
            self._region.events.data.disconnect(self._on_shapes_edited)
        self._region = shapes
        if shapes is not None:
            shapes.events.data.connect(self._on_shapes_edited)

    # Settings

    def use_model(self, name_or_path: str | os.PathLike[str]) -> None:
        """Colorize with this model; it is downloaded if necessary."""
        if self.session.model != str(name_or_path):
            self.presenter.update(model=str(name_or_path))
        elif self.session.result is None and self._colorized_layer is not None:
            self.presenter.refresh()  # it failed before, or was cancelled
        if self._colorized_layer is None:
            self._on_selection()  # this model may judge the selected layer otherwise

    def blend_with(self, name_or_path: str | os.PathLike[str] | None) -> None:
        """Blend the colors of the model with those of a second one; None for no second model."""
        self.presenter.update(blend_with=None if name_or_path is None else str(name_or_path))

    def add_hints(self) -> Points:
        """Add a points layer for hints and use it as guide; raises `ImageError` without a layer."""
        added = add_hints(self.viewer, self._current_layer().layer)
        self.guiding.assign("hints", added)
        added.events.data.connect(self._on_hints_edited)
        added.bind_key("Control-Z", lambda _: self.actions.undo(), overwrite=True)
        return added

    def begin_hint(self, color: Any) -> Points:
        """Let the next click into the image add a hint of this color.

        The Points layer for hints is added if there is none. Raises `ImageError` without a source.
        """
        points = self.guiding.layer("hints")
        if not isinstance(points, Points):
            points = self.add_hints()
        points.selected_data = set()  # a new color would be given to selected points
        points.current_face_color = color
        self.viewer.layers.selection.active = points
        points.mode = "add"
        return points

    def pick_color(self, use: Callable[[str], object]) -> None:
        """Call a function with the color of the pixel of an RGB layer that is clicked next."""
        hints, callbacks = self.guiding.layer("hints"), self.viewer.mouse_drag_callbacks
        if isinstance(hints, Points):
            hints.mode = "pan_zoom"  # the click must not add a point

        def on_press(viewer: Viewer, event: Any) -> None:
            callbacks.remove(on_press)
            color = layers.color_at(viewer, event.position)
            if color is None:
                self.presenter.show_status("There is no layer in color at this place.", pin=True)
            else:
                use(color)

        callbacks.append(on_press)

    def _on_hints_edited(self, event: Any) -> None:
        points = event.source
        if str(getattr(event, "action", "")) not in ("added", "ActionType.ADDED"):
            return

        def undo() -> None:
            if points in self.viewer.layers and len(points.data):
                points.selected_data = {len(points.data) - 1}
                points.remove_selected()

        self.actions.push("hint", undo)

    @property
    def axes(self) -> list[str]:
        """Names of the axes of the source before those of a plane; none for a single image."""
        if self._colorized_layer is None:
            return []
        return layers.axes_of(self._colorized_layer.layer, self.viewer.dims)

    @property
    def time_axis(self) -> int:
        """Axis of the source for temporal smoothing."""
        return 0 if self._colorized_layer is None else self._colorized_layer.time_axis

    def set_time_axis(self, axis: int) -> None:
        """Smooth along this axis of the source, one before those of a plane."""
        if self._colorized_layer is not None and self._colorized_layer.time_axis != axis:
            self._colorized_layer.time_axis = axis
            self.presenter.update(time_axis=axis)

    def use_device(self, device: str) -> None:
        """Run the network on this device: "auto", "cpu", "cuda", ..."""
        self.session.device = device
        self.changed.emit()

    # Actions

    def colorize_all(self) -> None:
        """Colorize every plane of the source; see `Presenter.colorize_stack`."""
        layer = self._current_layer().layer
        self._trial.accept(layer)
        if layers.leading_shape(layer):
            self.presenter.colorize_stack()
        else:
            self.presenter.refresh()

    def notify_error(self, error: ColorizeError) -> None:
        """Show an error as a notification and in the panels."""
        show_error(str(error))
        self.presenter.show_error(error)

    def _notify_errors(self, function: Callable[[], None]) -> None:
        try:
            function()
        except ColorizeError as error:
            self.notify_error(error)

    # From the viewer to the session

    def _session_settings(self, chosen: ColorizeSettings) -> ColorizeSettings:
        layer = self.layer
        if layer is None:
            return chosen
        limits, gamma = layers.displayed_limits(layer), layers.displayed_gamma(layer)
        return replace(chosen, contrast_limits=limits, gamma=gamma)

    def _make_colors(self, layer: Image) -> ColorArrays:
        return colors_for(**layers.read(layer, self._region))

    def _show_colorized_layer(self, colorized_layer: ColorizedLayer) -> None:
        plane = layers.plane_of(colorized_layer.layer, self.viewer.dims)
        self.presenter.show(
            colorized_layer,
            source=colorized_layer.colors.source,
            rgb=colorized_layer.layer.rgb,
            plane=plane,
            settings=self.presenter.settings_of_session(),
            guides=self._guides_at(plane),
            time_axis=colorized_layer.time_axis if plane else None,
        )

    def _guides_at(self, plane: PlaneIndex) -> Guides | StackGuides | None:
        """Guides of a plane from the chosen layers; layers that cannot be used are reported."""
        colorized_layer, guides = self._colorized_layer, None
        if colorized_layer is None or not self.guiding.has_layers:
            return None
        layer, source = colorized_layer.layer, colorized_layer.colors.source
        grid = grid_of(layer, self.crop, source, plane, self.viewer.dims)
        try:
            guides = self.guiding.read(grid)
            self.guiding.check(grid)
        except ColorizeError as error:
            self.notify_error(error)
        return guides

    def _follow_guides(self) -> None:
        self._notify_errors(lambda: self.presenter.update(guides=self._guides_at(self.plane)))

    def _renew_colors(self) -> None:
        """Other values or region: the old colors are shown until new ones arrive."""
        before = self.session.source
        self._renew_color_arrays()
        if self._colorized_layer is not None and self.session.source is before:
            self.session.refresh()

    def _renew_color_arrays(self) -> None:
        if self._colorized_layer is not None:
            self.presenter.renew_colors()
            self._show_colorized_layer(self._colorized_layer)

    def _on_values_changed(self, colorized_layer: ColorizedLayer) -> None:
        if colorized_layer is self._colorized_layer:
            self._notify_errors(self._renew_colors)

    def _on_range_changed(self, colorized_layer: ColorizedLayer) -> None:
        """Other contrast limits or gamma: settings of the session, which keeps its predictions."""
        if colorized_layer is not self._colorized_layer:
            return
        before = self.session.settings
        if self._session_settings(before) != before:  # napari also reports equal values
            self._notify_errors(self._renew_color_arrays)

    def _on_shapes_edited(self, event: Any = None) -> None:
        self._edit_timer.start()

    def _update_edited_region(self) -> None:
        """While a shape is being edited, errors are shown in the panels, not as notifications."""
        try:
            self._renew_colors()
        except ColorizeError as error:
            self.presenter.show_error(error)

    def _on_selection(self, event: Any = None) -> None:
        if self._result_layers.is_adding:
            return
        if self._is_live:
            self._notify_errors(self.follow_selection)
        self.presenter.unpin_status()
        self.selection_changed.emit()

    def _on_plane_displayed(self, event: Any = None) -> None:
        if self._colorized_layer is None:
            if self._trial.was_refused(self.offer):
                self._on_selection()  # this plane may be the first that says something
        elif self.viewer.dims.ndisplay != 3:
            self._show_plane(layers.plane_of(self._colorized_layer.layer, self.viewer.dims))

    def _on_view_changed(self, event: Any = None) -> None:
        self._on_plane_displayed()
        self.selection_changed.emit()  # there is a note about 3-D views

    def _show_plane(self, plane: PlaneIndex) -> None:
        """Display a plane of the source."""
        layer = self._current_layer().layer
        if plane != self.plane:
            guides, lengths = self._guides_at(plane), layers.leading_shape(layer)
            self._notify_errors(
                lambda: self.presenter.show_plane(lengths, plane=plane, guides=guides)
            )

    def _on_layer_inserted(self, event: Any) -> None:
        restore(event.value)  # a colorized file is not a source

    def _on_layer_removed(self, event: Any) -> None:
        removed = event.value
        if self._region is not None and self._region is removed:
            self._set_region(None)
            self.changed.emit()
            self._notify_errors(self._renew_colors)
        lost = self._result_layers.remove(removed)
        if lost is not None:
            self.presenter.forget(lost)
            if lost is self._colorized_layer:
                self._clear()
        self._on_selection()  # the number of layers matters if none is selected

    def _clear(self) -> None:
        self._trial.stop()
        self._colorized_layer = None
        self.typical_error.clear()
        if not self.session.is_closed:
            self.presenter.show(None, source=None)
        self.layer_changed.emit(None)

    # From the session to the viewer

    def _on_result(self, result: Colorized) -> None:
        if self._trial.layer is not None:
            self._trial.judge(result)
        elif self._colorized_layer is not None:
            self._result_layers.update(self._colorized_layer, result)
            self.shown.emit(result)

    def _finish_trial(self, is_displayed: bool) -> None:
        if not is_displayed:
            self._clear()
            return
        layer = self._current_layer().layer
        plane = layers.plane_of(layer, self.viewer.dims)
        if plane != self.plane:  # another plane was judged
            self._show_plane(plane)
        # Else the result of the session has not yet arrived here.
        elif self.result is not None and self._current_layer().colors.is_current(plane):
            self._on_result(self.result)
            self.presenter.show_default_status()

    def _on_plane(
        self, colorized_layer: ColorizedLayer, index: PlaneIndex, result: Colorized
    ) -> None:
        is_displayed = colorized_layer is self._colorized_layer and index == self.plane
        if is_displayed and self._trial.layer is None:
            self._result_layers.update(colorized_layer, result)

    def _on_run_stored(self, colorized_layer: ColorizedLayer) -> None:
        if colorized_layer.result_layer is not None:
            colorized_layer.result_layer.refresh()

    def _on_state(self, state: str) -> None:
        if state == "idle":
            self._bar.close()

    def _on_background_error(self, error: ColorizeError) -> None:
        self._bar.close()
        show_error(str(error))
