"""Keep, replace and undo: pictures that become layers of their own, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_colorize.errors import ImageError
from napari_colorize.napari import layers
from napari_colorize.session import said
from napari_colorize.session.colors import Colors, colors_for

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

    from napari_colorize.result import Colorized


@dataclass(eq=False)
class Work:
    """One source layer, its colours as far as they are known, and the layer that shows them."""

    layer: Image
    colors: Colors
    result_layer: Image | None = None
    is_whole: bool = False  # a run over all planes came to its end

    def finished(self) -> Any:
        """The pictures of all planes as one array, or None."""
        return getattr(self.colors, "finished", lambda: None)()


class Keeper:
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

    def keep(self, work: Work, plane: tuple[int, ...], result: Colorized) -> Image:
        """What is shown as a layer of its own, above its source."""
        kept = self._kept(work, plane, result)
        self._push("keep", lambda: self._take_out(kept))
        return kept

    def replace(self, work: Work, plane: tuple[int, ...], result: Colorized) -> Image:
        """What is shown in the place of its source, which leaves the viewer."""
        kept = self._kept(work, plane, result)
        gray, shown = work.layer, self._viewer.layers
        place = shown.index(gray)
        self._take_out(work.result_layer)
        shown.remove(gray)

        def back() -> None:
            at = shown.index(kept) if kept in shown else min(place, len(shown))
            self._take_out(kept)
            shown.insert(at, gray)
            shown.selection.active = gray

        self._push("replace", back)
        return kept

    def channels(self, work: Work) -> list[Image]:
        """All planes as three additive layers.

        Raises
        ------
        ImageError
            If the stack was not colorized as a whole.
        """
        finished = work.finished()
        if finished is None:
            raise ImageError("Colorize all planes first: a 3-D view needs the whole stack.")
        made = layers.add_channels(self._viewer, work.layer, finished)
        if work.result_layer is not None:
            work.result_layer.visible = False

        def back() -> None:
            for each in made:
                self._take_out(each)
            if work.result_layer is not None:
                work.result_layer.visible = True

        self._push("channels", back)
        return made

    def _kept(self, work: Work, plane: tuple[int, ...], result: Colorized) -> Image:
        options: dict[str, Any] = {
            "name": said.kept_name(work.layer.name, result),
            "metadata": {layers.METADATA: result.provenance, layers.KEPT: True},
        }
        whole = work.finished()
        if whole is not None:
            return layers.add_result(self._viewer, work.layer, whole.copy(), **options)
        if plane:
            return layers.add_plane(self._viewer, work.layer, plane, work.colors, **options)
        fixed = colors_for(**layers.read(work.layer))
        fixed.put((), result)
        return layers.add_result(self._viewer, work.layer, fixed, **options)

    def _push(self, word: str, back: Callable[[], None]) -> None:
        self._done.append((word, back))
        self._told()

    def _take_out(self, layer: Layer | None) -> None:
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
