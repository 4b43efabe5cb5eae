"""Keep, replace and undo: pictures that become layers of their own, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_colorize.errors import ImageError
from napari_colorize.napari import layers
from napari_colorize.napari.colorized_layer import ColorizedLayer
from napari_colorize.session import messages

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

    from napari_colorize.result import Colorized


class LayerActions:
    """Makes layers of what is shown, and takes them back.

    Parameters
    ----------
    viewer : Viewer
        Whose layers.
    told : callable
        Called when `undoable` may be another.
    """

    def __init__(self, viewer: Viewer, told: Callable[[], None]) -> None:
        self._viewer, self._told = viewer, told
        self._done: list[tuple[str, Callable[[], None]]] = []

    @property
    def undoable(self) -> str | None:
        """What `undo` would take back, in a word."""
        return self._done[-1][0] if self._done else None

    def undo(self) -> None:
        """Take back the last thing done here."""
        if self._done:
            self._done.pop()[1]()
            self._told()

    def clear(self) -> None:
        """Nothing can be taken back any more."""
        self._done.clear()

    def keep(
        self, colorized_layer: ColorizedLayer, plane: tuple[int, ...], result: Colorized
    ) -> Image:
        """What is shown as a layer of its own, above its source."""
        kept = self._kept(colorized_layer, plane, result)
        self._push("keep", lambda: self._take_out(kept))
        return kept

    def replace(
        self, colorized_layer: ColorizedLayer, plane: tuple[int, ...], result: Colorized
    ) -> Image:
        """What is shown in the place of its source, which leaves the viewer.

        Raises
        ------
        ImageError
            If it is one plane of a stack: the others would be lost.
        """
        if plane and colorized_layer.array() is None:
            raise ImageError("Colorize the whole stack first: Replace would leave one plane of it.")
        kept = self._kept(colorized_layer, plane, result)
        gray, shown = colorized_layer.layer, self._viewer.layers
        place = shown.index(gray)
        self._take_out(colorized_layer.result_layer)
        shown.remove(gray)

        def back() -> None:
            at = shown.index(kept) if kept in shown else min(place, len(shown))
            self._take_out(kept)
            if gray not in shown:
                shown.insert(at, gray)
            shown.selection.active = gray

        self._push("replace", back)
        return kept

    def channels(self, colorized_layer: ColorizedLayer) -> list[Image]:
        """All planes as three additive layers.

        Raises
        ------
        ImageError
            If the stack was not colorized as a whole.
        """
        finished = colorized_layer.array()
        if colorized_layer.colors.multiscale:
            raise ImageError(
                "Channel layers hold every pixel in memory, for which multiscale and very large "
                "planes are not made: add a smaller level as a layer of its own."
            )
        if finished is None:
            raise ImageError("Colorize all planes first: a 3-D view needs the whole stack.")
        made = layers.add_channels(self._viewer, colorized_layer.layer, finished.copy())
        # Under layers that add up, what is there already would make them pale.
        shown = colorized_layer.layer, colorized_layer.result_layer
        hidden = [each for each in shown if each is not None and each.visible]
        for each in hidden:
            each.visible = False

        def back() -> None:
            for each in made:
                self._take_out(each)
            for each in hidden:
                each.visible = True

        self._push("channels", back)
        return made

    def _kept(
        self, colorized_layer: ColorizedLayer, plane: tuple[int, ...], result: Colorized
    ) -> Image:
        options: dict[str, Any] = {
            "name": messages.kept_name(colorized_layer.layer.name, result),
            "metadata": {layers.METADATA: result.provenance, layers.KEPT: True},
        }
        whole = colorized_layer.array()
        if whole is not None:
            return layers.add_result(self._viewer, colorized_layer.layer, whole.copy(), **options)
        return layers.add_plane(
            self._viewer, colorized_layer.layer, plane, colorized_layer.colors, **options
        )

    def _push(self, word: str, back: Callable[[], None]) -> None:
        self._done.append((word, back))
        self._told()

    def _take_out(self, layer: Layer | None) -> None:
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
