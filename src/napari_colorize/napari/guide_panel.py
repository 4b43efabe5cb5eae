"""Controls for the guides: layers, second model, temporal smoothing and damping."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_colorize.napari.choosers import LayerChooser, ModelChooser
from napari_colorize.napari.controls import SettingControls
from napari_colorize.napari.guide.guide_values import is_reference
from napari_colorize.napari.guide.scribbles import HINT_LAYER_TYPES
from napari_colorize.napari.panels import button, column, form, row

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

    `guarded` returns a function that shows the `ColorizeError` of a given function.
    """

    setting_changed = Signal(str, object)  # field and value of a setting that the user changed

    def __init__(
        self,
        controller: ColorizeController,
        guarded: Callable[[Callable[..., object]], Callable[..., None]],
    ) -> None:
        super().__init__()
        self.controller, self._guarded = controller, guarded
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
        self.new = button(
            "New", "Add a Points layer for color hints.", self._guarded(self.controller.add_hints)
        )
        self.models = ModelChooser(none_label=NONE)
        self.palette = SettingControls(names=PALETTE, short_labels=PALETTE)
        self.blend = SettingControls(names=BLEND, short_labels=BLEND)
        self.temporal_smoothing = SettingControls(names=TEMPORAL_SMOOTHING)
        self.colors = SettingControls(names=COLORS)
        self.axis = QComboBox()
        self.axis.setToolTip("<p>Axis along which temporal smoothing acts.</p>")

    def _create_layout(self) -> None:
        choosers = self.choosers
        hints = row(choosers["hints"], self.new, stretch=1)
        self._regions = form(
            ("regions", choosers["regions"]), ("its regions", choosers["reference_regions"])
        )
        palette, blend = self.palette.native, self.blend.native
        axis = form(("along", self.axis))
        self._time = column(self.temporal_smoothing.native, axis, gap=GROUP_GAP)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for group in (
            (form(("hints", hints), ("mask", choosers["mask"])),),
            (form(("reference", choosers["reference"])), palette, self._regions),
            (form(("blend with", self.models)), blend),
        ):
            layout.addWidget(column(*group, gap=GROUP_GAP))
        layout.addWidget(self._time)
        layout.addWidget(column(self.colors.native, gap=GROUP_GAP))

    def _connect(self) -> None:
        controller = self.controller
        for role, chooser in self.choosers.items():
            chooser.chosen.connect(self._guarded(partial(controller.guiding.assign, role)))
        self.models.chosen.connect(lambda name: controller.blend_with(name or None))
        self.axis.activated.connect(controller.set_time_axis)
        for controls in self.setting_controls:
            controls.setting_changed.connect(self.setting_changed.emit)

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
            controls.show_settings(controller.presenter.settings, {})
        self.new.setEnabled(controller.layer is not None)
        has_reference = controller.guiding.layer("reference") is not None
        self.palette.visible = has_reference
        self._regions.setVisible(has_reference)
        self.blend.visible = controller.session.blend_with is not None
        self.colors.show_rows(HUES, controller.presenter.settings.hue_damping > 0)
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
