"""A source layer together with its colors and its result layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_colorize.napari.connections import Connections
from napari_colorize.napari.layers import placement, result_name
from napari_colorize.session.presenter import SourceColors

if TYPE_CHECKING:
    from napari.layers import Image

INPUT_EVENTS = ("data", "contrast_limits", "gamma")
PLACEMENT_EVENTS = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


@dataclass(eq=False)
class ColorizedLayer(SourceColors):
    """One source layer, its colors as far as they are computed, and its result layer.

    The result layer follows placement and name of the source.

    Parameters
    ----------
    layer : Image
        The source.
    input_changed : callable
        Called with this object when data, contrast limits or gamma of the source changed.
    result_layer : Image, optional
        The layer that shows the colors.
    time_axis : int
        Axis along which temporal smoothing acts.
    """

    layer: Image
    input_changed: Callable[[ColorizedLayer], None]
    result_layer: Image | None = None
    time_axis: int = 0
    _links: Connections = field(default_factory=Connections)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._name = result_name(self.layer)
        for names, slot in (
            (INPUT_EVENTS, self._on_input_changed),
            (PLACEMENT_EVENTS, self._update_placement),
            (("name",), self._update_name),
        ):
            for name in names:
                emitter = getattr(self.layer.events, name, None)  # `units` is new in napari 0.7
                if emitter is not None:
                    self._links.add(emitter, slot)

    def disconnect(self) -> None:
        """Stop following the source."""
        self._links.end()

    def array(self) -> Any:
        """Pixels of all planes as one array, or None if some are not computed."""
        return getattr(self.colors, "array", lambda: None)()

    def _on_input_changed(self, event: Any = None) -> None:
        self.input_changed(self)

    def _update_placement(self, event: Any = None) -> None:
        if self.result_layer is not None:
            for name, value in placement(self.layer).items():
                setattr(self.result_layer, name, value)

    def _update_name(self, event: Any = None) -> None:
        before, self._name = self._name, result_name(self.layer)
        # A result layer that the user renamed keeps its name.
        if self.result_layer is not None and self.result_layer.name == before:
            self.result_layer.name = self._name
