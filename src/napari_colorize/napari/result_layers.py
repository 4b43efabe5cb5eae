"""Source layers together with their colors and result layers, at most one per source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from napari_colorize.napari import layers
from napari_colorize.napari.signals import Connections
from napari_colorize.napari.transforms import placement
from napari_colorize.session.presenter import SourceColors

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

    from napari_colorize.array_types import PlaneIndex
    from napari_colorize.display import ColorArrays
    from napari_colorize.result import Colorized


RANGE_EVENTS = ("contrast_limits", "gamma")
PLACEMENT_EVENTS = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


@dataclass(eq=False)
class ColorizedLayer(SourceColors):
    """One source layer, its colors as far as they are computed, and its result layer.

    The result layer follows placement and name of the source. `values_changed` is called with this
    object when the data of the source changed, `range_changed` when contrast limits or gamma did.
    """

    layer: Image
    values_changed: Callable[[ColorizedLayer], None]
    range_changed: Callable[[ColorizedLayer], None]
    result_layer: Image | None = None
    time_axis: int = 0
    _links: Connections = field(default_factory=Connections)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._name = layers.result_name(self.layer)
        for names, slot in (
            (("data",), self._on_values_changed),
            (RANGE_EVENTS, self._on_range_changed),
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

    def adopt(self, result_layer: Image, earlier: EarlierResult | None) -> None:
        """Use an existing result layer, with its colors if they are known."""
        self.result_layer = result_layer
        if earlier is not None:
            self.colors, self.last_inputs = earlier.colors, earlier.last_inputs
            self.follows_settings = earlier.colors.array() is not None
            if result_layer.name == earlier.name:
                result_layer.name = self._name
        self._update_placement()

    def leave(self) -> None:
        """Disconnect, and remember the colors for a panel that is opened later."""
        self.disconnect()
        if self.result_layer is not None:
            _earlier[self.result_layer] = EarlierResult(
                ref(self.layer), self._name, self.colors, self.last_inputs
            )

    def _on_values_changed(self, event: Any = None) -> None:
        self.values_changed(self)

    def _on_range_changed(self, event: Any = None) -> None:
        self.range_changed(self)

    def _update_placement(self, event: Any = None) -> None:
        if self.result_layer is not None:
            for name, value in placement(self.layer).items():
                setattr(self.result_layer, name, value)

    def _update_name(self, event: Any = None) -> None:
        before, self._name = self._name, layers.result_name(self.layer)
        # A result layer that the user renamed keeps its name.
        if self.result_layer is not None and self.result_layer.name == before:
            self.result_layer.name = self._name


@dataclass(frozen=True, eq=False)
class EarlierResult:
    """What a closed panel knew about a result layer.

    Attributes
    ----------
    source : weakref.ref of Image
        The source layer.
    name : str
        Name that the panel gave to the result layer.
    colors : ColorArrays
        The colors, also those of other planes.
    last_inputs : tuple, optional
        Inputs of the session with which they were computed.
    """

    source: ref[Image]
    name: str
    colors: ColorArrays
    last_inputs: tuple[Any, ...] | None


_earlier: WeakKeyDictionary[Image, EarlierResult] = WeakKeyDictionary()  # by result layer


class ResultLayers:
    """The source layers that were colorized, and the layers that show their colors.

    Attributes
    ----------
    is_adding : bool
        True while a result layer is added. napari selects new layers for a moment, which is not
        the user's selection.
    """

    def __init__(
        self,
        viewer: Viewer,
        make_colors: Callable[[Image], ColorArrays],
        on_values_changed: Callable[[ColorizedLayer], None],
        on_range_changed: Callable[[ColorizedLayer], None],
    ) -> None:
        self.is_adding = False
        self._viewer = viewer
        self._make_colors = make_colors
        self._on_values_changed, self._on_range_changed = on_values_changed, on_range_changed
        self._colorized: dict[Layer, ColorizedLayer] = {}

    def get(self, layer: Image) -> ColorizedLayer:
        """The entry of a source layer, created on first use."""
        if layer not in self._colorized:
            entry = self._colorized[layer] = ColorizedLayer(
                make_colors=lambda: self._make_colors(layer),
                layer=layer,
                values_changed=self._on_values_changed,
                range_changed=self._on_range_changed,
                time_axis=layers.time_axis_of(layers.axes_of(layer, self._viewer.dims)),
            )
            existing = self._existing_result(entry)
            if existing is not None:
                entry.adopt(existing, _earlier.pop(existing, None))
        return self._colorized[layer]

    def _existing_result(self, entry: ColorizedLayer) -> Image | None:
        """The result layer of an earlier panel; else one that a script made for a single image."""
        for layer in self._viewer.layers:
            earlier = _earlier.get(layer)
            if earlier is not None and earlier.source() is entry.layer:
                return layer
        if layers.leading_shape(entry.layer):
            return None  # the other planes of a script's result would be lost
        name = layers.result_name(entry.layer)
        for layer in self._viewer.layers:
            is_result = layers.METADATA in layer.metadata and layers.KEPT not in layer.metadata
            if is_result and layer.name == name and layer.multiscale == entry.colors.multiscale:
                return layer
        return None

    def update(self, colorized_layer: ColorizedLayer, result: Colorized) -> None:
        """Show the colors of a source layer; its result layer is added if there is none."""
        source, plane = colorized_layer.layer, self._plane_of(colorized_layer)
        about = {"name": source.name, "path": str(source.source.path or ""), "plane": list(plane)}
        metadata = {layers.METADATA: result.provenance, layers.SOURCE: about}
        if colorized_layer.result_layer is not None:
            layers.refresh_result(
                colorized_layer.result_layer, colorized_layer.colors, metadata=metadata
            )
            self._raise_above_source(colorized_layer)
            return
        self.is_adding = True
        try:
            selected = set(self._viewer.layers.selection)
            colorized_layer.result_layer = layers.add_result(
                self._viewer, colorized_layer.layer, colorized_layer.colors, metadata=metadata
            )
            self._viewer.layers.selection = selected
        finally:
            self.is_adding = False

    def _plane_of(self, colorized_layer: ColorizedLayer) -> PlaneIndex:
        """Displayed plane; empty for a single image, and if all planes are colorized."""
        if colorized_layer.colors.array() is not None:
            return ()
        return layers.plane_of(colorized_layer.layer, self._viewer.dims)

    def _raise_above_source(self, colorized_layer: ColorizedLayer) -> None:
        viewer_layers = self._viewer.layers
        source, result_layer = colorized_layer.layer, colorized_layer.result_layer
        if source not in viewer_layers or result_layer not in viewer_layers:
            return
        at, above = viewer_layers.index(result_layer), viewer_layers.index(source) + 1
        if at < above:
            viewer_layers.move(at, above)

    def remove(self, layer: Layer) -> ColorizedLayer | None:
        """Forget a layer that was removed from the viewer; returns its entry if it was a source."""
        for colorized_layer in self._colorized.values():
            if colorized_layer.result_layer is layer:
                colorized_layer.result_layer = None
        lost = self._colorized.pop(layer, None)
        if lost is not None:
            lost.disconnect()
        return lost

    def close(self) -> None:
        """Disconnect from all layers; they stay as they are."""
        for colorized_layer in self._colorized.values():
            colorized_layer.leave()
        self._colorized.clear()
