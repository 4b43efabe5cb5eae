"""Work: a source layer, its colours, and the layer that shows them and stays with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_colorize.napari.connections import Connections
from napari_colorize.napari.layers import placement, result_name

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_colorize.display import ColorArrays

SEEN_BY = ("data", "contrast_limits", "gamma")
MOVED_BY = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


@dataclass(eq=False)
class ColorizedLayer:
    """One source layer, its colours as far as they are known, and the layer that shows them.

    The result layer follows the source's place and name; `renewed` is called when its values,
    or how they are seen, have changed.
    """

    layer: Image
    colors: ColorArrays
    renewed: Callable[[ColorizedLayer], None]
    result_layer: Image | None = None
    wants_whole: bool = False  # all planes were colorized: they follow the knobs together
    time_axis: int = 0  # along which colours are held steady
    _links: Connections = field(default_factory=Connections)

    def __post_init__(self) -> None:
        self._name = result_name(self.layer)
        for names, slot in (
            (SEEN_BY, self._renew),
            (MOVED_BY, self._move),
            (("name",), self._rename),
        ):
            for name in names:
                emitter = getattr(self.layer.events, name, None)  # units came with napari 0.7
                if emitter is not None:
                    self._links.add(emitter, slot)

    def disconnect(self) -> None:
        """Follow the source no longer."""
        self._links.end()

    def array(self) -> Any:
        """The pictures of all planes as one array, or None."""
        return getattr(self.colors, "array", lambda: None)()

    def _renew(self, event: Any = None) -> None:
        self.renewed(self)

    def _move(self, event: Any = None) -> None:
        if self.result_layer is not None:
            for name, value in placement(self.layer).items():
                setattr(self.result_layer, name, value)

    def _rename(self, event: Any = None) -> None:
        before, self._name = self._name, result_name(self.layer)
        if self.result_layer is not None and self.result_layer.name == before:
            self.result_layer.name = self._name
