"""Result layers of one viewer: at most one per source layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_colorize.napari import layers
from napari_colorize.napari.colorized_layer import ColorizedLayer

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

    from napari_colorize.display import ColorArrays
    from napari_colorize.result import Colorized


class ResultLayers:
    """The source layers that were colorized, and the layers that show their colors.

    Parameters
    ----------
    viewer : Viewer
        Viewer of the layers.
    make_colors : callable
        Returns new color arrays of a source layer.
    on_values_changed : callable
        Called with a `ColorizedLayer` when its values, contrast limits or gamma have changed.

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
    ) -> None:
        self.is_adding = False
        self._viewer = viewer
        self._make_colors, self._on_values_changed = make_colors, on_values_changed
        self._colorized: dict[Layer, ColorizedLayer] = {}

    def get(self, layer: Image) -> ColorizedLayer:
        """The entry of a source layer, created on first use."""
        if layer not in self._colorized:
            self._colorized[layer] = ColorizedLayer(
                make_colors=lambda: self._make_colors(layer),
                layer=layer,
                input_changed=self._on_values_changed,
            )
        return self._colorized[layer]

    def update(self, colorized_layer: ColorizedLayer, result: Colorized) -> None:
        """Show the colors of a source layer; its result layer is added if there is none."""
        metadata = {layers.METADATA: result.provenance}
        if colorized_layer.result_layer is not None:
            layers.refresh_result(
                colorized_layer.result_layer, colorized_layer.colors, metadata=metadata
            )
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
            colorized_layer.disconnect()
        self._colorized.clear()
