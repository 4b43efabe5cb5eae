"""ColorizeWidget, the panel: it shows what the desk knows and tells it what was clicked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible
from superqt.utils import signals_blocked

from napari_colorize.errors import ColorizeError
from napari_colorize.napari.choosers import LayerChooser, ModelChooser, SweepGrid
from napari_colorize.napari.commands import bind_shortcut
from napari_colorize.napari.connections import Connections
from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.controls import LABEL_WIDTH, LAYER_SETTINGS, SettingControls
from napari_colorize.napari.guide.panel import GuidePanel
from napari_colorize.napari.layers import nothing_to_colorize
from napari_colorize.napari.preferences import Preferences, preferences
from napari_colorize.session import messages
from napari_colorize.session.words import factors_around
from napari_colorize.settings import REFINING, ColorizeSettings
from napari_colorize.zoo import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari import Viewer

    from napari_colorize.result import Colorized
    from napari_colorize.session import RunFinished, RunProgress

FIRST = ("render_factor", "saturation", "self_attention")
TARGETS = ("Visible plane", "Whole stack", "Inside shapes")
PLANE, STACK, SHAPES = range(3)
PATIENCE = 400  # milliseconds of work before a bar appears: most pictures take less


class ColorizeWidget(QWidget):
    """The panel of one viewer.

    Colours of the selected gray layer appear by themselves and follow the knobs. Closing the panel
    leaves its layers and frees the network's memory.

    Parameters
    ----------
    napari_viewer : Viewer
        Whose panel it is; napari fills it in by this name.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.controller = get_controller(napari_viewer)
        self._make_widgets()
        self._lay_out()
        self._connect()
        self.controller.attach_panel(self)
        bind_shortcut(self.controller.viewer)
        self._begin(preferences())

    def _begin(self, wanted: Preferences) -> None:
        """As the user prefers to begin; torch and the model come in the background."""
        controller = self.controller
        controller.set_settings(render_factor=wanted.render_factor, saturation=wanted.saturation)
        self.models.show_model(wanted.model)
        if self.models.is_local:
            controller.use_model(wanted.model)
        controller.session.warm_up()
        controller.is_live = wanted.live
        if controller.is_live and controller.layer is None:
            self._guard(controller.follow_selection)
        self._show_all()

    # What it is made of

    def _make_widgets(self) -> None:
        controller = self.controller
        self.layers = LayerChooser(controller.viewer)
        self.models = ModelChooser()
        self.knobs = SettingControls(names=FIRST)
        self.target = QComboBox()
        self.target.addItems(TARGETS)
        self.shapes = LayerChooser(
            controller.viewer, lambda layer: isinstance(layer, Shapes), select_first=True
        )
        self.devices = QComboBox()
        more = [
            name
            for name in ColorizeSettings.__dataclass_fields__
            if name not in (*FIRST, *LAYER_SETTINGS, *REFINING)
        ]
        self.more_knobs = SettingControls(names=more)
        self.guide = GuidePanel(controller, self._guard)
        self.all = QPushButton()
        self.again = _button("Colorize", "Ask the model again.")
        self.stop = _button("Cancel", "Stop this; the last picture stays.")
        self.stop_keep = QPushButton("Stop, keep what is done")
        self.stop_drop = QPushButton("Stop, drop it")
        self.keep = _button("Keep", "Make this picture a layer of its own, which stays as it is.")
        self.replace = _button("Replace", "Put the colours in the place of the gray layer.")
        self.sweep = _button("Sweep", "See several render factors side by side and take one.")
        self.undo = _button("Undo", "Take back the last Keep or Replace.")
        self.channels = _button(
            "As three channels", "The whole stack as red, green and blue layers, for 3-D views."
        )
        self.state = QLabel()
        self.state.setWordWrap(True)
        self.state.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(6)
        self.notes = QLabel()
        self.notes.setWordWrap(True)
        self.grid = SweepGrid()
        self._stays, self._state = False, "idle"
        self._had_region = False
        self._links = Connections()
        self._patience = QTimer()
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE)

    def _lay_out(self) -> None:
        form = _form()
        form.addRow(_label("layer"), self.layers)
        form.addRow(_label("model"), self.models)
        targets = _form()
        targets.addRow(_label("colorize"), self.target)
        self._shapes_label = _label("shapes")
        targets.addRow(self._shapes_label, self.shapes)
        hidden = QWidget()
        devices = _form(hidden)
        devices.addRow(_label("device"), self.devices)
        devices.addRow(self.more_knobs.native)
        devices.addRow(self.channels)
        self.guide_section = _collapsible("Guide", self.guide)
        self.more_section = _collapsible("More", hidden)

        inside = QWidget()
        column = QVBoxLayout(inside)
        column.addLayout(form)
        column.addWidget(self.knobs.native)
        column.addLayout(targets)
        column.addWidget(self.all)
        column.addLayout(_row(self.stop_keep, self.stop_drop))
        column.addLayout(_row(self.keep, self.replace, self.sweep, self.undo))
        column.addWidget(self.bar)
        column.addWidget(self.state)
        column.addWidget(self.stop)
        column.addWidget(self.again)
        column.addWidget(self.notes)
        column.addWidget(self.grid)
        column.addWidget(self.guide_section)
        column.addWidget(self.more_section)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        self._area = area
        self.grid.hide()
        self.bar.hide()
        self.stop.hide()
        self.again.hide()

    def showEvent(self, event: Any) -> None:
        """Ask for room: how much is known as soon as the viewer's style is."""
        super().showEvent(event)
        bar = self._area.verticalScrollBar().sizeHint().width()
        self.setMinimumWidth(self._area.widget().minimumSizeHint().width() + bar)

    def _connect(self) -> None:
        controller = self.controller
        self.layers.chosen.connect(
            lambda layer: self._guard(lambda: controller.choose_layer(layer))
        )
        self.models.chosen.connect(controller.use_model)
        for knobs in (self.knobs, self.more_knobs):
            knobs.setting_changed.connect(self._turn)
        self.guide.setting_changed.connect(self._turn)
        self.target.currentIndexChanged.connect(self._choose_target)
        self.shapes.chosen.connect(lambda _: self._choose_target(self.target.currentIndex()))
        self.devices.activated.connect(lambda _: controller.use_device(self.devices.currentText()))
        self.all.clicked.connect(lambda: self._guard(controller.colorize_all))
        self.stop.clicked.connect(lambda: controller.cancel())
        self._patience.timeout.connect(self._show_busy)
        self.stop_keep.clicked.connect(lambda: controller.cancel(keep=True))
        self.stop_drop.clicked.connect(lambda: controller.cancel(keep=False))
        self.keep.clicked.connect(lambda: self._guard(controller.keep))
        self.replace.clicked.connect(lambda: self._guard(controller.replace))
        self.undo.clicked.connect(lambda: self._guard(controller.undo))
        self.channels.clicked.connect(lambda: self._guard(controller.show_channels))
        self.sweep.clicked.connect(lambda: self._guard(self.begin_sweep))
        self.grid.picked.connect(self._pick)
        self.again.clicked.connect(
            lambda: self._guard(lambda: controller.choose_layer(controller.layer))
        )
        for signal, slot in (
            (controller.layer_changed, self._show_all),
            (controller.changed, self._show_all),
            (controller.models_changed, self.models.refresh),
            (controller.models_changed, self.guide.models.refresh),
            (controller.shown, self._show_result),
            (controller.state, self._show_state),
            (controller.progress, self._show_progress),
            (controller.failed, self._show_error),
            (controller.run_finished, self._show_end),
            (controller.sweep_ready, self.grid.show_result),
        ):
            self._links.add(signal, slot)

    def close(self) -> None:
        """The panel is gone: nothing is told to it any more; its layers stay."""
        self._patience.stop()
        self._links.end()
        self.layers.disconnect_viewer()
        self.shapes.disconnect_viewer()
        self.guide.close()

    # What was clicked

    def _guard(self, colorized_layer: Callable[[], object]) -> None:
        """Do it; what cannot be done is told in one sentence."""
        try:
            colorized_layer()
        except ColorizeError as error:
            self.controller.notify_error(error)

    def _turn(self, name: str, value: Any) -> None:
        self._guard(lambda: self.controller.set_settings(**{name: value}))

    def _choose_target(self, target: int) -> None:
        shapes = self.shapes.layer if target == SHAPES else None
        if shapes is not self.controller.region:
            self._guard(lambda: self.controller.use_region(shapes))
        self._show_all()
        if target == SHAPES and shapes is None:
            self._say("Draw a rectangle, an ellipse or a polygon in a Shapes layer first.")

    def begin_sweep(self) -> None:
        """Ask for the same plane at several render factors."""
        factors = factors_around(self._recommended()["render_factor"])
        self.controller.sweep(factors)
        self.grid.begin(factors)
        self.grid.show()

    def _pick(self, render_factor: int) -> None:
        self.controller.set_settings(render_factor=render_factor)

    # What is shown

    def _show_all(self, *_: Any) -> None:
        controller = self.controller
        self.layers.show_layer(controller.layer)
        if self.models.is_local:  # else one is being looked at that must be fetched first
            self.models.show_model(str(controller.session.model))
        self._show_target()
        self.knobs.show_settings(controller.settings, self._recommended())
        self.more_knobs.show_settings(controller.settings, {})
        self.guide.show_all()
        self._show_devices()
        planes, running = controller.planes, controller.is_running
        self.all.setVisible(self.target.currentIndex() == STACK and not running)
        self.all.setText(self._cost())
        self.all.setEnabled(planes > 1)
        self.stop_keep.setVisible(running)
        self.stop_drop.setVisible(running)
        forms = self.knobs.native, self.more_knobs.native
        chosen = *forms, self.guide, self.models, self.target, self.devices
        for widget in chosen:
            widget.setEnabled(not running)  # a run is made with the knobs as they are
        has_result = controller.result is not None and controller.result_layer is not None
        for button in (self.keep, self.replace, self.sweep):
            button.setEnabled(has_result and not running)
        self.undo.setEnabled(controller.undoable is not None)
        self.channels.setEnabled(planes > 1)
        visible = self.target.currentIndex() == SHAPES
        self._shapes_label.setVisible(visible)
        self.shapes.setVisible(visible)
        if controller.layer is None:
            active = controller.viewer.layers.selection.active
            self._say(nothing_to_colorize(active))

    def _show_target(self) -> None:
        """When the shapes in use are removed, what is colorized is the whole plane again."""
        had, self._had_region = self._had_region, self.controller.region is not None
        left = self.shapes.layer in self.controller.viewer.layers  # else its list is not told yet
        if had and not self._had_region and not left:
            with signals_blocked(self.target):
                self.target.setCurrentIndex(PLANE)

    def _show_lacks(self) -> None:
        """What the model cannot follow is switched off, with the reason, at its default."""
        lacks = self.controller.session.unsupported_settings
        for knobs in (self.knobs, self.more_knobs, *self.guide.setting_controls):
            for name in knobs.controls:
                knobs.disable(name, lacks.get(name))
        usual = ColorizeSettings()
        self.controller.set_settings(**{name: getattr(usual, name) for name in lacks})

    def _show_devices(self) -> None:
        devices = list(self.controller.session.devices)
        if [self.devices.itemText(at) for at in range(self.devices.count())] != devices:
            self.devices.clear()
            self.devices.addItems(devices)
        self.devices.setCurrentText(str(self.controller.session.device))

    def _cost(self) -> str:
        controller = self.controller
        if controller.layer is None or controller.planes < 2:
            return "This layer is a single plane"
        return messages.cost(
            controller.planes, controller.session.seconds_per_picture, controller.bytes_of_stack()
        )

    def _show_result(self, result: Colorized) -> None:
        self._say(messages.done(result))
        self.notes.setText("\n".join(result.notes))
        self.notes.setVisible(bool(result.notes))
        self._show_all()

    def _show_state(self, state: str) -> None:
        if state in messages.STATES and not (self.controller.is_running and state == "predicting"):
            self._say(messages.STATES[state])
        if self._state == "downloading":
            self.models.refresh()  # another one is here now
            self.guide.models.refresh()
        self._state = state
        if state == "idle":
            self._patience.stop()
            self.bar.hide()
            self.stop.hide()
            self._show_devices()
            self._show_lacks()
            if (
                self.controller.result is not None
                and not self.controller.is_running
                and not self._stays
            ):
                self._say(messages.done(self.controller.result))
            elif (
                self.controller.layer is not None
                and self.controller.result is None
                and not self._stays
            ):
                self._say("Stopped.")
            self.again.setVisible(
                self.controller.layer is not None and self.controller.result is None
            )
        else:
            self._stays = False
            self.again.hide()
            if not self._patience.isActive() and not self.bar.isVisible():
                self._patience.start()

    def _show_busy(self) -> None:
        """It takes a while: show that something moves, and how to stop it."""
        self.bar.setRange(0, 0)
        self.bar.show()
        self.stop.setVisible(not self.controller.is_running)

    def _show_progress(self, told: RunProgress) -> None:
        self.bar.setRange(0, 1000)
        self.bar.setValue(round(1000 * told.done / max(1, told.total)))
        self.bar.show()
        self._say(messages.progress(told))

    def _show_end(self, end: RunFinished) -> None:
        self.bar.hide()
        self._stays = True
        self._say(messages.run_end(end))

    def _show_error(self, error: ColorizeError) -> None:
        self.bar.hide()
        self._stays = True  # to be read until something else is done
        self._show_all()
        self._say(str(error))

    def _say(self, sentence: str) -> None:
        self.state.setText(sentence)

    def _recommended(self) -> dict[str, Any]:
        """What stands for settings that are left to the model: what it used, or will."""
        result = self.controller.result
        if result is not None:
            return vars(result.settings)
        checkpoint = CATALOGUE.get(str(self.controller.session.model), CATALOGUE["embedded"])
        return {"render_factor": checkpoint.render_factor, "saturation": checkpoint.saturation}


def _button(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(f"<p>{tooltip}</p>")
    return button


def _label(text: str) -> QLabel:
    label = QLabel(text)
    label.setMinimumWidth(LABEL_WIDTH)
    return label


def _form(parent: QWidget | None = None) -> QFormLayout:
    form = QFormLayout() if parent is None else QFormLayout(parent)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form


def _collapsible(title: str, content: QWidget) -> QCollapsible:
    section = QCollapsible(title)
    section.layout().setContentsMargins(0, 0, 0, 0)
    section.addWidget(content)
    return section


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
