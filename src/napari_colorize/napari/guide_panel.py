"""Controls for the guides: layers, second model, temporal smoothing and damping."""

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
from napari_colorize.napari.guide.reference_layer import is_reference
from napari_colorize.napari.guide.scribbles import HINT_LAYER_TYPES

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.napari.guide.guide_values import Role

NONE = "none"
GROUP_GAP = 10  # pixels
COLORS = ("edges", "shadows", "hue_damping", "hue_from", "hue_to")
HUES = ("hue_from", "hue_to")
PALETTE = {"reference_strength": "strength", "reference_method": "method"}
BLEND = {"blend": "weight", "blend_by": "by"}
TEMPORAL_SMOOTHING = ("temporal_smoothing",)


class GuidePanel(QWidget):
    """Form with the guides of a controller and their settings.

    Parameters
    ----------
    controller : ColorizeController
        The controller that is changed.
    run_guarded : callable
        Calls a function and shows its `ColorizeError`.

    Attributes
    ----------
    setting_changed : Signal(str, object)
        Field and value of a setting that the user changed.
    """

    setting_changed = Signal(str, object)

    def __init__(
        self, controller: ColorizeController, run_guarded: Callable[[Callable[[], object]], None]
    ) -> None:
        super().__init__()
        self.controller, self._run_guarded = controller, run_guarded
        self._create_widgets()
        self._create_layout()
        self._connect()

    @property
    def setting_controls(self) -> list[SettingControls]:
        """All forms of settings in this panel."""
        return [self.palette, self.blend, self.temporal_smoothing, self.colors]

    def _create_widgets(self) -> None:
        viewer = self.controller.viewer

        def chooser(accepts: Callable[[Layer], bool], tooltip: str) -> LayerChooser:
            created = LayerChooser(viewer, accepts, none_label=NONE)
            created.setToolTip(f"<p>{tooltip}</p>")
            return created

        self.choosers: dict[Role, LayerChooser] = {
            "hints": chooser(
                lambda layer: isinstance(layer, HINT_LAYER_TYPES),
                "Points, Shapes or Labels layer with color hints. Each color spreads to similar "
                "neighboring pixels.",
            ),
            "mask": chooser(_is_labels, "Labels layer. Pixels with label 0 keep their gray."),
            "reference": chooser(is_reference, "Image in color whose palette is transferred."),
            "regions": chooser(
                _is_labels,
                "Labels layer on the image. Each label takes the palette of the same label of the "
                "reference.",
            ),
            "reference_regions": chooser(
                _is_labels, "Labels layer on the reference, with the same labels."
            ),
        }
        self.new = QPushButton("New")
        self.new.setToolTip("<p>Add a Points layer for color hints.</p>")
        self.models = ModelChooser(none_label=NONE)
        self.palette = SettingControls(names=PALETTE, short_labels=PALETTE)
        self.blend = SettingControls(names=BLEND, short_labels=BLEND)
        self.temporal_smoothing = SettingControls(names=TEMPORAL_SMOOTHING)
        self.colors = SettingControls(names=COLORS)
        self.axis = QComboBox()
        self.axis.setToolTip("<p>Axis along which temporal smoothing acts.</p>")

    def _create_layout(self) -> None:
        choosers = self.choosers
        hints = QHBoxLayout()
        hints.addWidget(choosers["hints"], 1)
        hints.addWidget(self.new)
        self._regions = _form(
            ("regions", choosers["regions"]), ("its regions", choosers["reference_regions"])
        )
        self._time = _group(self.temporal_smoothing.native, _form(("along", self.axis)))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for group in (
            _group(_form(("hints", hints), ("mask", choosers["mask"]))),
            _group(_form(("reference", choosers["reference"])), self.palette.native, self._regions),
            _group(_form(("blend with", self.models)), self.blend.native),
            self._time,
            _group(self.colors.native),
        ):
            column.addWidget(group)

    def _connect(self) -> None:
        controller = self.controller
        for role, chooser in self.choosers.items():
            chooser.chosen.connect(lambda layer, role=role: self._assign(role, layer))
        self.new.clicked.connect(lambda: self._run_guarded(controller.add_hints))
        self.models.chosen.connect(lambda name: controller.blend_with(name or None))
        self.axis.activated.connect(controller.set_time_axis)
        for controls in self.setting_controls:
            controls.setting_changed.connect(self._on_setting_changed)

    def _on_setting_changed(self, name: str, value: Any) -> None:
        self.setting_changed.emit(name, value)

    def _assign(self, role: Role, layer: Any) -> None:
        self._run_guarded(lambda: self.controller.guiding.assign(role, layer))

    def close(self) -> None:
        """Stop following the viewer."""
        for chooser in self.choosers.values():
            chooser.disconnect_viewer()

    def show_all(self) -> None:
        """Display the state of the controller."""
        controller = self.controller
        for role, chooser in self.choosers.items():
            chooser.show_layer(controller.guiding.layer(role))
        # A model that must be downloaded first is selected in the list, but not used yet.
        if self.models.is_local:
            self.models.show_model(str(controller.session.blend_with or ""))
        for controls in self.setting_controls:
            controls.show_settings(controller.settings, {})
        self.new.setEnabled(controller.layer is not None)
        has_reference = controller.guiding.layer("reference") is not None
        self.palette.visible = has_reference
        self._regions.setVisible(has_reference)
        self.blend.visible = controller.session.blend_with is not None
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
    widget = QWidget()
    form = QFormLayout(widget)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, field in rows:
        label = QLabel(text)
        label.setMinimumWidth(LABEL_WIDTH)
        form.addRow(label, field)
    return widget


def _group(*widgets: QWidget) -> QWidget:
    """A column of widgets with a gap below."""
    group = QWidget()
    column = QVBoxLayout(group)
    column.setContentsMargins(0, 0, 0, GROUP_GAP)
    for widget in widgets:
        column.addWidget(widget)
    return group
