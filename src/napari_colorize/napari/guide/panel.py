"""GuidePanel, the part of the panel that chooses what guides the colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_colorize.napari.choosers import LayerChooser, ModelChooser
from napari_colorize.napari.controls import LABEL_WIDTH, SettingControls
from napari_colorize.napari.guide.palette import has_palette
from napari_colorize.napari.guide.scribbles import KINDS

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.napari.guide.guide_values import Role

NONE = "none"
GAP = 10  # pixels between what belongs to different guides
COLORS = ("edges", "shadows", "hue_damping", "hue_from", "hue_to")
HUES = ("hue_from", "hue_to")
PALETTE = {"reference_strength": "strength", "reference_method": "method"}
BLEND = {"blend": "share", "blend_by": "by"}
TEMPORAL_SMOOTHING = ("temporal_smoothing",)


class GuidePanel(QWidget):
    """Choosers of layers, of a second model, of the axis that is time, and their knobs.

    Parameters
    ----------
    desk : Desk
        Whose guides they are.
    guarded : callable
        Does what may fail, and tells of it.

    Attributes
    ----------
    turned : Signal(str, object)
        Name and value of a knob.
    """

    turned = Signal(str, object)

    def __init__(
        self, controller: ColorizeController, guarded: Callable[[Callable[[], object]], None]
    ) -> None:
        super().__init__()
        self.controller, self._guarded = controller, guarded
        self._make_widgets()
        self._lay_out()
        self._connect()

    @property
    def setting_controls(self) -> list[SettingControls]:
        """Every form of settings in here."""
        return [self.palette, self.blend, self.temporal_smoothing, self.colors]

    # What it is made of

    def _make_widgets(self) -> None:
        viewer = self.controller.viewer

        def chooser(fits: Callable[[Layer], bool], tooltip: str) -> LayerChooser:
            made = LayerChooser(viewer, fits, none=NONE)
            made.setToolTip(f"<p>{tooltip}</p>")
            return made

        self.choosers: dict[Role, LayerChooser] = {
            "hints": chooser(
                lambda layer: isinstance(layer, KINDS),
                "Points, shapes or labels whose colours spread to what belongs to them.",
            ),
            "mask": chooser(_is_labels, "Where this is zero, the image stays as it was."),
            "reference": chooser(has_palette, "A picture whose palette is taken over."),
            "regions": chooser(
                _is_labels, "Parts of the image by number; each takes the palette of one part."
            ),
            "reference_regions": chooser(
                _is_labels, "Parts of the reference, by the same numbers."
            ),
        }
        self.new = QPushButton("New")
        self.new.setToolTip("<p>Add a Points layer to click colours into.</p>")
        self.models = ModelChooser(none=NONE)
        self.palette, self.blend = SettingControls(PALETTE, PALETTE), SettingControls(BLEND, BLEND)
        self.temporal_smoothing, self.colors = (
            SettingControls(TEMPORAL_SMOOTHING),
            SettingControls(COLORS),
        )
        self.axis = QComboBox()
        self.axis.setToolTip("<p>The axis that is time: colours are held steady along it.</p>")

    def _lay_out(self) -> None:
        choosers = self.choosers
        hints = QHBoxLayout()
        hints.addWidget(choosers["hints"], 1)
        hints.addWidget(self.new)
        self._regions = _form(
            ("regions", choosers["regions"]), ("its regions", choosers["reference_regions"])
        )
        self._time = _group(self.temporal_smoothing, _form(("along", self.axis)))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for group in (
            _group(_form(("hints", hints), ("mask", choosers["mask"]))),
            _group(_form(("reference", choosers["reference"])), self.palette, self._regions),
            _group(_form(("blend with", self.models)), self.blend),
            self._time,
            _group(self.colors),
        ):
            column.addWidget(group)

    def _connect(self) -> None:
        controller = self.controller
        for role, chooser in self.choosers.items():
            chooser.chosen.connect(lambda layer, role=role: self._use(role, layer))
        self.new.clicked.connect(lambda: self._guarded(controller.add_hints))
        self.models.chosen.connect(lambda name: controller.blend_with(name or None))
        self.axis.activated.connect(controller.set_time_axis)
        for knobs in self.setting_controls:
            knobs.changed.connect(self.turned)

    def _use(self, role: Role, layer: Any) -> None:
        self._guarded(lambda: self.controller.guiding.assign(role, layer))

    def close(self) -> None:
        """The panel is gone: follow the viewer no longer."""
        for chooser in self.choosers.values():
            chooser.close_list()

    # What is shown

    def show_all(self) -> None:
        """Show what the desk knows."""
        controller = self.controller
        for role, chooser in self.choosers.items():
            chooser.show_layer(controller.guiding.layer(role))
        if self.models.is_here:
            self.models.show_model(str(controller.session.blend_with or ""))
        for knobs in self.setting_controls:
            knobs.show_settings(controller.settings, {})
        self.new.setEnabled(controller.layer is not None)
        has_reference = controller.guiding.layer("reference") is not None
        self.palette.setVisible(has_reference)
        self._regions.setVisible(has_reference)
        self.blend.setVisible(controller.session.blend_with is not None)
        self.colors.show_rows(HUES, controller.settings.hue_damping > 0)
        self._show_axes()

    def _show_axes(self) -> None:
        axes = self.controller.axes
        self._time.setVisible(bool(axes))
        with signals_blocked(self.axis):
            if [self.axis.itemText(at) for at in range(self.axis.count())] != axes:
                self.axis.clear()
                self.axis.addItems(axes)
            self.axis.setCurrentIndex(self.controller.time_axis)


def _is_labels(layer: Layer) -> bool:
    return isinstance(layer, Labels)


def _form(*rows: tuple[str, Any]) -> QWidget:
    made = QWidget()
    form = QFormLayout(made)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, field in rows:
        label = QLabel(text)
        label.setMinimumWidth(LABEL_WIDTH)
        form.addRow(label, field)
    return made


def _group(*widgets: QWidget) -> QWidget:
    """What belongs together, a little apart from the next."""
    made = QWidget()
    column = QVBoxLayout(made)
    column.setContentsMargins(0, 0, 0, GAP)
    for widget in widgets:
        column.addWidget(widget)
    return made
