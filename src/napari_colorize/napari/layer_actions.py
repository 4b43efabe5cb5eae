"""Keep, replace, split into channels, and undo: copies of the displayed colors as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_colorize.errors import ImageError
from napari_colorize.napari import layers
from napari_colorize.session import messages

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

    from napari_colorize.napari.result_layers import ColorizedLayer
    from napari_colorize.session import ColorizeSession


class LayerActions:
    """Actions that add layers to a viewer and can be undone.

    `current` returns the colorized layer or raises `ImageError`; `on_change` is called when
    `undoable` may have changed.
    """

    def __init__(
        self,
        viewer: Viewer,
        session: ColorizeSession,
        current: Callable[[], ColorizedLayer],
        on_change: Callable[[], None],
    ) -> None:
        self._viewer, self._session = viewer, session
        self._current, self._on_change = current, on_change
        self._undo_stack: list[tuple[str, Callable[[], None]]] = []

    @property
    def undoable(self) -> str | None:
        """Name of the action that `undo` reverts, or None."""
        return self._undo_stack[-1][0] if self._undo_stack else None

    def undo(self) -> None:
        """Revert the last action."""
        if self._undo_stack:
            self._undo_stack.pop()[1]()
            self._on_change()

    def clear(self) -> None:
        """Forget all actions; none of them can be undone."""
        self._undo_stack.clear()

    def keep(self) -> Image:
        """Copy the displayed plane, or all planes after a run over all, to a new layer.

        Raises `ImageError` if there is no result yet.
        """
        kept = self._add_copy()
        self.push("keep", lambda: self._remove(kept))
        return kept

    def replace(self) -> Image:
        """Copy the displayed colors to a new layer and remove the source from the viewer.

        Raises
        ------
        ImageError
            If there is no result yet, or it is a single plane of a stack: the others would be lost.
        """
        colorized_layer, plane = self._current(), self._session.plane
        if plane and colorized_layer.colors.array() is None:
            raise ImageError(
                "Replace would keep one plane of the stack: colorize the whole stack first."
            )
        kept = self._add_copy()
        source, viewer_layers = colorized_layer.layer, self._viewer.layers
        position = viewer_layers.index(source)
        self._remove(colorized_layer.result_layer)
        viewer_layers.remove(source)

        def undo() -> None:
            at = (
                viewer_layers.index(kept)
                if kept in viewer_layers
                else min(position, len(viewer_layers))
            )
            self._remove(kept)
            if source not in viewer_layers:
                viewer_layers.insert(at, source)
            viewer_layers.selection.active = source

        self.push("replace", undo)
        return kept

    def add_channels(self) -> list[Image]:
        """Add red, green and blue of all planes as three additive layers, for 3-D views.

        Raises
        ------
        ImageError
            If not all planes are colorized, or the layer is multiscale.
        """
        colorized_layer = self._current()
        pixels = colorized_layer.colors.array()
        if colorized_layer.colors.multiscale:
            raise ImageError(
                "Channel layers need every pixel in memory, which is not possible for multiscale "
                "or very large planes. Add a smaller level as a layer and colorize that one."
            )
        if pixels is None:
            raise ImageError("A 3-D view needs the whole stack: colorize all planes first.")
        added = layers.add_channels(self._viewer, colorized_layer.layer, pixels.copy())
        # Visible layers below additive layers would brighten the sum.
        below = colorized_layer.layer, colorized_layer.result_layer
        hidden = [layer for layer in below if layer is not None and layer.visible]
        for layer in hidden:
            layer.visible = False

        def undo() -> None:
            for layer in added:
                self._remove(layer)
            for layer in hidden:
                layer.visible = True

        self.push("channels", undo)
        return added

    def _add_copy(self) -> Image:
        """Add a copy; the selection stays, so that layer controls act on the source."""
        selected = set(self._viewer.layers.selection)
        try:
            return self._copy()
        finally:
            self._viewer.layers.selection = selected

    def _copy(self) -> Image:
        colorized_layer, result = self._current(), self._session.result
        if result is None or colorized_layer.result_layer is None:
            raise ImageError(layers.NO_RESULT)
        options: dict[str, Any] = {
            "name": messages.kept_name(colorized_layer.layer.name, result),
            "metadata": {layers.METADATA: result.provenance, layers.KEPT: True},
        }
        whole = colorized_layer.colors.array()
        if whole is not None:
            return layers.add_result(self._viewer, colorized_layer.layer, whole.copy(), **options)
        return layers.add_plane(
            self._viewer,
            colorized_layer.layer,
            self._session.plane or (),
            colorized_layer.colors,
            **options,
        )

    def push(self, name: str, undo: Callable[[], None]) -> None:
        """Register an action that was done, and the function that reverts it."""
        self._undo_stack.append((name, undo))
        self._on_change()

    def _remove(self, layer: Layer | None) -> None:
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
