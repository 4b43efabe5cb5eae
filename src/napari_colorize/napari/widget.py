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
from napari_colorize.napari.choosers import LayerChooser, ModelChooser
from napari_colorize.napari.commands import bind_shortcut
from napari_colorize.napari.connections import Links
from napari_colorize.napari.controller import desk_of
from napari_colorize.napari.controls import LABEL_WIDTH, OF_THE_LAYER, Knobs
from napari_colorize.napari.guide.panel import GuidePanel
from napari_colorize.napari.layers import nothing_to_colorize
from napari_colorize.napari.preferences import Preferences, preferences
from napari_colorize.napari.sweep import SweepGrid
from napari_colorize.session import messages
from napari_colorize.session.words import factors_around
from napari_colorize.settings import REFINING, ColorizeSettings
from napari_colorize.zoo import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari import Viewer

    from napari_colorize.result import Colorized
    from napari_colorize.session import Progress, RunEnd

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
        self.desk = desk_of(napari_viewer)
        self._make_widgets()
        self._lay_out()
        self._connect()
        self.desk.serve(self)
        bind_shortcut(self.desk.viewer)
        self._begin(preferences())

    def _begin(self, wanted: Preferences) -> None:
        """As the user prefers to begin; torch and the model come in the background."""
        desk = self.desk
        desk.choose(render_factor=wanted.render_factor, saturation=wanted.saturation)
        self.models.show_model(wanted.model)
        if self.models.is_here:
            desk.use_model(wanted.model)
        desk.session.get_ready()
        desk.is_live = wanted.live
        if desk.is_live and desk.layer is None:
            self._guard(desk.follow_selection)
        self._show_all()

    # What it is made of

    def _make_widgets(self) -> None:
        desk = self.desk
        self.layers = LayerChooser(desk.viewer)
        self.models = ModelChooser()
        self.knobs = Knobs(FIRST)
        self.target = QComboBox()
        self.target.addItems(TARGETS)
        self.shapes = LayerChooser(
            desk.viewer, lambda layer: isinstance(layer, Shapes), takes_first=True
        )
        self.devices = QComboBox()
        more = [
            name
            for name in ColorizeSettings.__dataclass_fields__
            if name not in (*FIRST, *OF_THE_LAYER, *REFINING)
        ]
        self.more_knobs = Knobs(more)
        self.guide = GuidePanel(desk, self._guard)
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
        self._links = Links()
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
        devices.addRow(self.more_knobs)
        devices.addRow(self.channels)
        self.guide_section = _collapsible("Guide", self.guide)
        self.more_section = _collapsible("More", hidden)

        inside = QWidget()
        column = QVBoxLayout(inside)
        column.addLayout(form)
        column.addWidget(self.knobs)
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
        desk = self.desk
        self.layers.chosen.connect(lambda layer: self._guard(lambda: desk.choose_layer(layer)))
        self.models.chosen.connect(desk.use_model)
        for knobs in (self.knobs, self.more_knobs):
            knobs.changed.connect(self._turn)
        self.guide.turned.connect(self._turn)
        self.target.currentIndexChanged.connect(self._choose_target)
        self.shapes.chosen.connect(lambda _: self._choose_target(self.target.currentIndex()))
        self.devices.activated.connect(lambda _: desk.use_device(self.devices.currentText()))
        self.all.clicked.connect(lambda: self._guard(desk.colorize_all))
        self.stop.clicked.connect(lambda: desk.cancel())
        self._patience.timeout.connect(self._show_busy)
        self.stop_keep.clicked.connect(lambda: desk.cancel(keep=True))
        self.stop_drop.clicked.connect(lambda: desk.cancel(keep=False))
        self.keep.clicked.connect(lambda: self._guard(desk.keep))
        self.replace.clicked.connect(lambda: self._guard(desk.replace))
        self.undo.clicked.connect(lambda: self._guard(desk.undo))
        self.channels.clicked.connect(lambda: self._guard(desk.show_channels))
        self.sweep.clicked.connect(lambda: self._guard(self.begin_sweep))
        self.grid.picked.connect(self._pick)
        self.again.clicked.connect(lambda: self._guard(lambda: desk.choose_layer(desk.layer)))
        for signal, slot in (
            (desk.layer_changed, self._show_all),
            (desk.changed, self._show_all),
            (desk.models_changed, self.models.relist),
            (desk.models_changed, self.guide.models.relist),
            (desk.shown, self._show_result),
            (desk.state, self._show_state),
            (desk.progress, self._show_progress),
            (desk.failed, self._show_error),
            (desk.run_ended, self._show_end),
            (desk.swept, self.grid.show_result),
        ):
            self._links.add(signal, slot)

    def let_go(self) -> None:
        """The panel is gone: nothing is told to it any more; its layers stay."""
        self._patience.stop()
        self._links.end()
        self.layers.close_list()
        self.shapes.close_list()
        self.guide.let_go()

    # What was clicked

    def _guard(self, work: Callable[[], object]) -> None:
        """Do it; what cannot be done is told in one sentence."""
        try:
            work()
        except ColorizeError as error:
            self.desk.tell(error)

    def _turn(self, name: str, value: Any) -> None:
        self._guard(lambda: self.desk.choose(**{name: value}))

    def _choose_target(self, target: int) -> None:
        shapes = self.shapes.layer if target == SHAPES else None
        if shapes is not self.desk.region:
            self._guard(lambda: self.desk.use_region(shapes))
        self._show_all()
        if target == SHAPES and shapes is None:
            self._say("Draw a rectangle, an ellipse or a polygon in a Shapes layer first.")

    def begin_sweep(self) -> None:
        """Ask for the same plane at several render factors."""
        factors = factors_around(self._recommended()["render_factor"])
        self.desk.sweep(factors)
        self.grid.begin(factors)
        self.grid.show()

    def _pick(self, render_factor: int) -> None:
        self.desk.choose(render_factor=render_factor)

    # What is shown

    def _show_all(self, *_: Any) -> None:
        desk = self.desk
        self.layers.show_layer(desk.layer)
        if self.models.is_here:  # else one is being looked at that must be fetched first
            self.models.show_model(str(desk.session.model))
        self._show_target()
        self.knobs.show_settings(desk.settings, self._recommended())
        self.more_knobs.show_settings(desk.settings, {})
        self.guide.show_all()
        self._show_devices()
        planes, running = desk.planes, desk.is_running
        self.all.setVisible(self.target.currentIndex() == STACK and not running)
        self.all.setText(self._cost())
        self.all.setEnabled(planes > 1)
        self.stop_keep.setVisible(running)
        self.stop_drop.setVisible(running)
        chosen = self.knobs, self.more_knobs, self.guide, self.models, self.target, self.devices
        for widget in chosen:
            widget.setEnabled(not running)  # a run is made with the knobs as they are
        has_result = desk.result is not None and desk.result_layer is not None
        for button in (self.keep, self.replace, self.sweep):
            button.setEnabled(has_result and not running)
        self.undo.setEnabled(desk.undoable is not None)
        self.channels.setEnabled(planes > 1)
        visible = self.target.currentIndex() == SHAPES
        self._shapes_label.setVisible(visible)
        self.shapes.setVisible(visible)
        if desk.layer is None:
            active = desk.viewer.layers.selection.active
            self._say(nothing_to_colorize(active))

    def _show_target(self) -> None:
        """When the shapes in use are removed, what is colorized is the whole plane again."""
        had, self._had_region = self._had_region, self.desk.region is not None
        left = self.shapes.layer in self.desk.viewer.layers  # else its list is not told yet
        if had and not self._had_region and not left:
            with signals_blocked(self.target):
                self.target.setCurrentIndex(PLANE)

    def _show_lacks(self) -> None:
        """What the model cannot follow is switched off, with the reason, at its default."""
        lacks = self.desk.session.lacks
        for knobs in (self.knobs, self.more_knobs, *self.guide.knobs):
            for name in knobs.controls:
                knobs.refuse(name, lacks.get(name))
        usual = ColorizeSettings()
        self.desk.choose(**{name: getattr(usual, name) for name in lacks})

    def _show_devices(self) -> None:
        devices = list(self.desk.session.devices)
        if [self.devices.itemText(at) for at in range(self.devices.count())] != devices:
            self.devices.clear()
            self.devices.addItems(devices)
        self.devices.setCurrentText(str(self.desk.session.device))

    def _cost(self) -> str:
        desk = self.desk
        if desk.layer is None or desk.planes < 2:
            return "This layer is a single plane"
        return messages.cost(desk.planes, desk.session.seconds_per_picture, desk.bytes_of_stack())

    def _show_result(self, result: Colorized) -> None:
        self._say(messages.done(result))
        self.notes.setText("\n".join(result.notes))
        self.notes.setVisible(bool(result.notes))
        self._show_all()

    def _show_state(self, state: str) -> None:
        if state in messages.STATES and not (self.desk.is_running and state == "predicting"):
            self._say(messages.STATES[state])
        if self._state == "downloading":
            self.models.relist()  # another one is here now
            self.guide.models.relist()
        self._state = state
        if state == "idle":
            self._patience.stop()
            self.bar.hide()
            self.stop.hide()
            self._show_devices()
            self._show_lacks()
            if self.desk.result is not None and not self.desk.is_running and not self._stays:
                self._say(messages.done(self.desk.result))
            elif self.desk.layer is not None and self.desk.result is None and not self._stays:
                self._say("Stopped.")
            self.again.setVisible(self.desk.layer is not None and self.desk.result is None)
        else:
            self._stays = False
            self.again.hide()
            if not self._patience.isActive() and not self.bar.isVisible():
                self._patience.start()

    def _show_busy(self) -> None:
        """It takes a while: show that something moves, and how to stop it."""
        self.bar.setRange(0, 0)
        self.bar.show()
        self.stop.setVisible(not self.desk.is_running)

    def _show_progress(self, told: Progress) -> None:
        self.bar.setRange(0, 1000)
        self.bar.setValue(round(1000 * told.done / max(1, told.total)))
        self.bar.show()
        self._say(messages.progress(told))

    def _show_end(self, end: RunEnd) -> None:
        self.bar.hide()
        self._stays = True
        self._say(messages.end(end))

    def _show_error(self, error: ColorizeError) -> None:
        self.bar.hide()
        self._stays = True  # to be read until something else is done
        self._show_all()
        self._say(str(error))

    def _say(self, sentence: str) -> None:
        self.state.setText(sentence)

    def _recommended(self) -> dict[str, Any]:
        """What stands for settings that are left to the model: what it used, or will."""
        result = self.desk.result
        if result is not None:
            return vars(result.settings)
        checkpoint = CATALOGUE.get(str(self.desk.session.model), CATALOGUE["embedded"])
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
