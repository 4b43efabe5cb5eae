"""ColorizeWidget, the Colorize panel: displays the controller's state and passes on user input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from app_model.types import KeyCode, KeyMod
from napari.layers import Shapes
from npe2 import PluginManager
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_colorize.errors import ColorizeError, ImageError, OutputError
from napari_colorize.napari.choosers import LayerChooser, ModelChooser, SweepGrid
from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.controls import LAYER_SETTINGS, SettingControls
from napari_colorize.napari.guide_panel import GuidePanel
from napari_colorize.napari.hint_box import HintBox
from napari_colorize.napari.layers import NO_RESULT, leading_shape
from napari_colorize.napari.panels import (
    ScrollPanel,
    Section,
    add_items,
    button,
    column,
    flow,
    form,
    row,
    tooltip,
    wrapped_label,
    wrapped_text,
)
from napari_colorize.napari.preferences import PLUGIN, Preferences, preferences
from napari_colorize.napari.signals import Connections, SingleShotTimer
from napari_colorize.session import messages
from napari_colorize.settings import REFINING, ColorizeSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari import Viewer

    from napari_colorize.result import Colorized
    from napari_colorize.session import RunFinished, RunProgress

SHORTCUT = KeyMod.CtrlCmd | KeyMod.Alt | KeyCode.KeyC
SHORTCUT_COMMAND = "napari-colorize.selected"
MAIN_SETTINGS = ("render_factor", "saturation")
TARGETS = ("Visible plane", "Whole stack", "Inside shapes")
PLANE, STACK, SHAPES = range(3)
COLORIZE, COLORIZE_ANYWAY = "Colorize", "Colorize anyway"
AMBER = "background: #e3b617; color: black; border-radius: 3px; padding: 1px 4px;"
SAVE_FILTER = "Images and videos (*.png *.jpg *.tif *.ome.tif *.mp4 *.mkv *.mov)"
BUSY_DELAY = 400  # milliseconds before a progress bar appears; most results take less
NO_SHAPES = "Draw a rectangle, an ellipse or a polygon in a Shapes layer first."


class ColorizeWidget(ScrollPanel):
    """The Colorize panel of one viewer.

    A selected grayscale photograph is colorized without a click, and its colors follow the
    settings. Other images wait for the Colorize button. Closing the panel leaves the layers and
    frees the memory of the network.

    Parameters
    ----------
    napari_viewer : Viewer
        Viewer of the panel; napari passes it by this name.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.controller = get_controller(napari_viewer)
        self._create_widgets()
        self._arrange_widgets()
        self._connect()
        self.controller.attach_panel(self)
        bind_shortcut(self.controller.viewer)
        self._apply_preferences(preferences())

    def _apply_preferences(self, preferred: Preferences) -> None:
        """Start with the preferences of the user; torch and the model load in the background."""
        controller = self.controller
        controller.presenter.set_settings(
            render_factor=preferred.render_factor, saturation=preferred.saturation
        )
        self.models.show_model(preferred.model)
        if self.models.is_local:
            controller.use_model(preferred.model)
        controller.session.warm_up()
        controller.is_live = preferred.live
        self._show_layer()

    # Widgets

    def _create_widgets(self) -> None:
        controller = self.controller
        self.layers = LayerChooser(controller.viewer)
        self.models = ModelChooser()
        self.main_settings = SettingControls(names=MAIN_SETTINGS)
        self.layers.setToolTip(tooltip("The image that is colorized. It follows the selection."))
        self.target = QComboBox()
        self.target.addItems(TARGETS)
        self.target.setToolTip(
            tooltip("What is colorized: the displayed plane, all planes, or the inside of shapes.")
        )
        self.shapes = LayerChooser(
            controller.viewer, lambda layer: isinstance(layer, Shapes), select_first=True
        )
        self.time_axis = QComboBox()
        self.time_axis.setToolTip(
            tooltip(
                "The axis of the stack that is taken as time: temporal smoothing acts along it. "
                "Along the other axes the planes are independent."
            )
        )
        self.shapes.setToolTip(tooltip("Only the inside of these shapes is colorized."))
        self.devices = QComboBox()
        self.devices.setToolTip(
            tooltip('Where the network runs. "auto" uses a GPU if there is one.')
        )
        more = [
            name
            for name in ColorizeSettings.__dataclass_fields__
            if name not in (*MAIN_SETTINGS, *LAYER_SETTINGS, *REFINING)
        ]
        self.more_settings = SettingControls(names=more)
        self.hints = HintBox(controller, self._guarded)
        self.guide = GuidePanel(controller, self._guarded)
        guard, presenter, actions = self._guarded, controller.presenter, controller.actions
        self.all = button(
            "",
            "Colorize every plane of the stack. You can stop at any time and keep what is done.",
            guard(controller.colorize_all),
        )
        self.colorize = button(COLORIZE, clicked=guard(controller.colorize))
        self.colorize.setStyleSheet("font-weight: bold;")
        self.live = QCheckBox("live")
        self.live.setToolTip(
            tooltip(
                "Colorize a selected grayscale photograph without a click. Color images, channels "
                "of a composite, images with a colormap and images that the model finds unlike "
                "photographs always wait for the button."
            )
        )
        self.stop = button(
            "Cancel", "Stop the computation; the last result stays.", presenter.cancel
        )
        self.stop_keep = button(
            "Stop, keep", "Stop; planes that are finished keep their colors.", presenter.cancel
        )
        self.stop_drop = button(
            "Stop, discard",
            "Stop and discard the planes that are finished.",
            lambda: presenter.cancel(keep=False),
        )
        self.keep = button(
            "Keep", "Copy the result to a new layer that does not change.", guard(actions.keep)
        )
        self.replace = button(
            "Replace", "Replace the gray layer by its colors.", guard(actions.replace)
        )
        self.sweep = button(
            "Sweep", "Compare several render factors side by side.", guard(self.begin_sweep)
        )
        self.save = button(
            "Save…",
            "Write the result as PNG, JPEG, TIFF or video, with the record of model and settings.",
            self._ask_and_save,
        )
        self.undo = button("Undo", "Undo the last hint, Keep or Replace.", guard(actions.undo))
        self.channels = button(
            "As three channels",
            "The whole stack as red, green and blue layers, for 3-D views.",
            guard(actions.add_channels),
        )
        self.state, self.notes, self.error_line = wrapped_label(), wrapped_label(), wrapped_label()
        self.error_line.setToolTip(
            tooltip(
                "Half of the displayed image is expected to differ from the true colors by less. "
                "1 is just visible; above 10 the colors are guesses. Explore shows it pixel by "
                "pixel. The models were trained on photographs. For microscopy, X-ray and other "
                "images, fine-tune a model on color images of the same kind: Plugins > "
                "napari-colorize > Fine-tune."
            )
        )
        self.details = wrapped_text()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(6)
        self.grid = SweepGrid()
        self._state = "idle"
        self._had_region = False
        self._connections = Connections()
        self._busy_timer = SingleShotTimer(self._show_busy, BUSY_DELAY)

    def _arrange_widgets(self) -> None:
        self._target_row = form(("colorize", self.target))
        self._axis_row = form(("time axis", self.time_axis))
        self._shapes_row = form(("shapes", self.shapes))
        more = column(form(("device", self.devices)), self.more_settings.native, self.channels)
        self.hints_section = Section("Color hints", self.hints)
        self.hints_section.expand()
        self.guide_section = Section("Guide", self.guide)
        self.more_section = Section("More", more)
        self.details_section = Section("Details", self.details)
        content = QWidget()
        layout = QVBoxLayout(content)
        add_items(
            layout,
            (
                form(("layer", self.layers), ("model", self.models)),
                self._axis_row,
                self._target_row,
                self._shapes_row,
                row(self.colorize, self.live, stretch=1),
                self.all,
                flow(self.stop_keep, self.stop_drop),
                self.error_line,
                self.state,
                self.details_section,
                self.bar,
                self.stop,
                self.notes,
                self.hints_section,
                self.main_settings.native,
                self.sweep,
                self.grid,
                flow(self.keep, self.replace, self.undo, self.save),
                self.guide_section,
                self.more_section,
            ),
        )
        layout.addStretch(1)
        self.set_content(content)
        for widget in (self.grid, self.bar, self.stop, self.details_section):
            widget.hide()

    def _connect(self) -> None:
        controller = self.controller
        self.layers.chosen.connect(self._guarded(controller.choose_layer))
        self.live.toggled.connect(lambda on: setattr(controller, "is_live", on))
        self.models.chosen.connect(controller.use_model)
        for controls in (self.main_settings, self.more_settings):
            controls.setting_changed.connect(self._change_setting)
        self.guide.setting_changed.connect(self._change_setting)
        self.target.currentIndexChanged.connect(self._choose_target)
        self.time_axis.activated.connect(controller.set_time_axis)
        self.shapes.chosen.connect(lambda _: self._choose_target(self.target.currentIndex()))
        self.devices.activated.connect(lambda _: controller.use_device(self.devices.currentText()))
        self.grid.picked.connect(
            lambda render_factor: controller.presenter.set_settings(render_factor=render_factor)
        )
        for signal, slot in (
            (controller.layer_changed, self._show_layer),
            (controller.changed, self._show_all),
            (controller.selection_changed, self._show_selection),
            (controller.typical_error.changed, self._show_typical_error),
            (controller.models_changed, self._refresh_models),
            (controller.shown, self._show_result),
            (controller.events.state, self._show_state),
            (controller.events.progress, self._show_progress),
            (controller.events.failed, self._show_error),
            (controller.events.run_finished, self._show_run_finished),
            (controller.events.sweep_ready, self.grid.show_result),
            (controller.presenter.status_changed, self._show_status),
        ):
            self._connections.add(signal, slot)

    def close(self) -> None:
        """Disconnect the panel from the controller and the viewer; the layers stay."""
        self._busy_timer.stop()
        self._connections.end()
        self.layers.disconnect_viewer()
        self.shapes.disconnect_viewer()
        self.guide.close()

    # User input

    def _guarded(self, function: Callable[..., object]) -> Callable[..., None]:
        """The function, with its error shown as a notification."""

        def call(*arguments: Any) -> None:
            try:
                function(*arguments)
            except ColorizeError as error:
                self.controller.notify_error(error)

        return call

    def _change_setting(self, name: str, value: Any) -> None:
        self._guarded(lambda: self.controller.presenter.set_settings(**{name: value}))()

    def _choose_target(self, target: int) -> None:
        shapes = self.shapes.layer if target == SHAPES else None
        if shapes is not self.controller.region:
            self._guarded(self.controller.use_region)(shapes)
        self._show_all()
        if target == SHAPES and shapes is None:
            self.controller.presenter.show_status(NO_SHAPES)

    def begin_sweep(self) -> None:
        """Colorize the displayed plane with several render factors."""
        self.grid.begin(self.controller.presenter.sweep())
        self.grid.show()

    def _ask_and_save(self) -> None:
        layer = self.controller.result_layer
        if layer is None:
            return
        suffix = ".png" if self.controller.planes < 2 else ".tif"
        path, _ = QFileDialog.getSaveFileName(self, "Save", f"{layer.name}{suffix}", SAVE_FILTER)
        if path:
            self._guarded(self.save_as)(path if Path(path).suffix else path + suffix)

    def save_as(self, path: str) -> None:
        """Write the result layer with its provenance; the suffix determines the format.

        Raises `ColorizeError` if there is no result, or it cannot be written.
        """
        layer = self.controller.result_layer
        if layer is None:
            raise ImageError(NO_RESULT)
        # By napari, which finds the writer for the suffix: an import would be a circle.
        if not layer.save(path, plugin=PLUGIN):
            raise OutputError(f"{path} was not written: choose .png, .jpg, .tif or .mp4.")
        self.controller.presenter.show_status(f"Saved {Path(path).name}.", pin=True)

    # Display

    def _show_layer(self, *_: Any) -> None:
        self.controller.presenter.show_default_status()
        self._show_all()

    def _show_all(self, *_: Any) -> None:
        controller, presenter = self.controller, self.controller.presenter
        if self.models.is_local:  # else the list shows a model that is not downloaded yet
            self.models.show_model(str(controller.session.model))
        self._show_target()
        self._show_time_axis()
        self.main_settings.show_settings(controller.presenter.settings, presenter.recommended())
        self.more_settings.show_settings(controller.presenter.settings, {})
        self.guide.show_all()
        self.hints.show_all()
        self._disable_settings()
        self._show_devices()
        planes, running = controller.planes, controller.presenter.is_running
        self.all.setVisible(self.target.currentIndex() == STACK and not running)
        self.all.setText(self._stack_cost())
        self.stop_keep.setVisible(running)
        self.stop_drop.setVisible(running)
        forms = self.main_settings.native, self.more_settings.native
        for widget in (
            *forms,
            self.guide,
            self.hints_section,
            self.time_axis,
            self.models,
            self.target,
            self.devices,
        ):
            widget.setEnabled(not running)  # a run uses the settings of its start
        has_result = controller.result is not None and controller.result_layer is not None
        for widget in (self.keep, self.replace, self.sweep, self.save):
            widget.setEnabled(has_result and not running)
        self.undo.setEnabled(controller.actions.undoable is not None)
        self.channels.setEnabled(planes > 1)
        self._shapes_row.setVisible(self.target.currentIndex() == SHAPES)
        self._show_selection()
        self._show_typical_error()

    def _show_selection(self) -> None:
        """What the Colorize button does now, and the state of the panel."""
        controller, offer = self.controller, self.controller.offer
        layer = offer if offer is not None else controller.layer
        self.layers.show_layer(controller.layer or offer)
        with signals_blocked(self.live):
            self.live.setChecked(controller.is_live)
        is_anyway = offer is not None and offer.rgb and controller.has_colors(offer)
        self.colorize.setText(COLORIZE_ANYWAY if is_anyway else COLORIZE)
        self.colorize.setEnabled(layer is not None and not controller.presenter.is_running)
        name = "the selected image" if layer is None else repr(layer.name)
        again = " again" if offer is None and controller.result is not None else ""
        self.colorize.setToolTip(tooltip(f"Predict the colors of {name}{again}."))
        self._show_status()

    def _show_typical_error(self) -> None:
        typical_error = self.controller.typical_error
        self.error_line.setText(typical_error.text)
        self.error_line.setStyleSheet(AMBER if typical_error.is_high else "")

    def _show_target(self) -> None:
        """List what can be colorized; whole planes again when the shapes in use were removed."""
        has_stack = self.controller.planes > 1
        has_shapes = self.shapes.count() > 0
        self.target.model().item(STACK).setEnabled(has_stack)
        self._target_row.setVisible(has_stack or has_shapes)
        if self.target.currentIndex() == STACK and not has_stack:
            with signals_blocked(self.target):
                self.target.setCurrentIndex(PLANE)
        had, self._had_region = self._had_region, self.controller.region is not None
        # The list of shapes layers may be updated later than the controller.
        is_listed = self.shapes.layer in self.controller.viewer.layers
        if had and not self._had_region and not is_listed:
            with signals_blocked(self.target):
                self.target.setCurrentIndex(PLANE)

    def _show_time_axis(self) -> None:
        controller = self.controller
        lengths = () if controller.layer is None else leading_shape(controller.layer)
        axes = [
            f"{name} ({length} planes)"
            for name, length in zip(controller.axes, lengths, strict=True)
        ]
        self._axis_row.setVisible(controller.planes > 1)
        with signals_blocked(self.time_axis):
            if [self.time_axis.itemText(at) for at in range(self.time_axis.count())] != axes:
                self.time_axis.clear()
                self.time_axis.addItems(axes)
            self.time_axis.setCurrentIndex(controller.time_axis)

    def _disable_settings(self) -> None:
        """Disable the controls of settings without effect, with the reason as tooltip."""
        reasons = self.controller.presenter.settings_without_effect
        for controls in (self.main_settings, self.more_settings, *self.guide.setting_controls):
            for name in controls.controls:
                controls.disable(name, reasons.get(name))

    def _show_devices(self) -> None:
        devices = list(self.controller.session.devices)
        if [self.devices.itemText(at) for at in range(self.devices.count())] != devices:
            self.devices.clear()
            self.devices.addItems(devices)
        self.devices.setCurrentText(str(self.controller.session.device))

    def _stack_cost(self) -> str:
        controller = self.controller
        return messages.stack_cost(
            controller.planes, controller.session.seconds_per_image, controller.bytes_of_stack()
        )

    def _show_result(self, result: Colorized) -> None:
        self._show_all()

    def _show_state(self, state: str) -> None:
        if self._state == "downloading":
            self._refresh_models()
        self._state = state
        if state == "idle":
            self._busy_timer.stop()
            self.bar.hide()
            self.stop.hide()
            self._show_devices()
            self._disable_settings()
            self._show_selection()
        elif not self._busy_timer.is_active and not self.bar.isVisible():
            self._busy_timer.start()

    def _refresh_models(self) -> None:
        self.models.refresh()
        self.guide.models.refresh()

    def _show_busy(self) -> None:
        self.bar.setRange(0, 0)
        self.bar.show()
        self.stop.setVisible(not self.controller.presenter.is_running)

    def _show_progress(self, progress: RunProgress) -> None:
        self.bar.setRange(0, 1000)
        self.bar.setValue(round(1000 * progress.done / max(1, progress.total)))
        self.bar.show()

    def _show_run_finished(self, event: RunFinished) -> None:
        self.bar.hide()

    def _show_error(self, error: ColorizeError) -> None:
        self.bar.hide()
        self._show_all()

    def _show_status(self) -> None:
        presenter = self.controller.presenter
        self.state.setText(presenter.summary)
        self.details.setPlainText(presenter.status)
        self.details_section.setVisible(presenter.summary != presenter.status)
        notes = self.controller.notes
        self.notes.setText(notes)
        self.notes.setVisible(bool(notes))


def bind_shortcut(viewer: Viewer) -> None:
    """Bind Ctrl+Alt+C (Cmd+Option+C) to the command that colorizes the selected layer.

    napari does not bind the keys of a manifest, so the panel does. The command is run by its id:
    the module `commands` opens this panel, and an import in both directions would be a circle.
    """

    def colorize_selected(viewer: Viewer) -> None:
        PluginManager.instance().commands.execute(SHORTCUT_COMMAND, (viewer,))

    viewer.bind_key(SHORTCUT, colorize_selected, overwrite=True)
