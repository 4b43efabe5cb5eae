"""A map over the picture that is asked for, laid over it, and asked for again when it changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from psygnal import Signal, SignalInstance
from qtpy.QtCore import QTimer

from napari_colorize.errors import ColorizeError
from napari_colorize.napari.connections import Connections
from napari_colorize.napari.crop import part_seen
from napari_colorize.napari.explore.overlay_layer import OverlayLayer

if TYPE_CHECKING:
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized

MILLISECONDS_TO_SETTLE = 300  # without another picture, before the new one is asked about
WAITING = "Asking the model…"


class AnalysisOverlay(ABC):
    """While it is on, a map of the picture lies over it and follows it.

    What is asked, and in which words the answer is told, is said by those that inherit.

    Parameters
    ----------
    desk : Desk
        Whose picture and model.
    answered : SignalInstance
        Brings what `take` takes.
    waiting : str
        What to tell until then.
    **looks
        Of the layer, see `Cover`.

    Attributes
    ----------
    told : Signal(str)
        A sentence to show.
    """

    told = Signal(str)

    def __init__(
        self,
        controller: ColorizeController,
        answered: SignalInstance,
        *,
        waiting: str = WAITING,
        **looks: Any,
    ) -> None:
        self._controller, self._answered, self._waiting = controller, answered, waiting
        self._cover = OverlayLayer(controller.viewer, **looks)
        self._asked: Any = None  # the picture that the map is of, or will be
        self._settled = QTimer()
        self._settled.setSingleShot(True)
        self._settled.setInterval(MILLISECONDS_TO_SETTLE)
        self._settled.timeout.connect(self._ask_anew)
        self._links = Connections()
        self.is_on = False

    @abstractmethod
    def ask(self, result: Colorized) -> None:
        """Ask about the picture that is shown."""

    @abstractmethod
    def take(self, *answer: Any) -> None:
        """Show what was answered."""

    @property
    def layer(self) -> Any:
        """The map, or None."""
        return self._cover.layer

    def start(self) -> None:
        """Ask, and show what comes."""
        if self.is_on:
            return
        self.is_on = True
        self._links.add(self._answered, self.take)
        self._links.add(self._controller.shown, self._follow)
        self._links.add(self._controller.layer_changed, self._clear)
        self._ask_anew()

    def stop(self) -> None:
        """Take the map away."""
        if not self.is_on:
            return
        self.is_on = False
        self._links.end()
        self._clear()

    def show(self, values: NDArray[Any], sentence: str) -> None:
        """Lay values over the picture, and tell of them."""
        controller = self._controller
        if controller.layer is None:
            return
        layer = self._cover.show(controller.layer, values, part_seen(controller), controller.plane)
        layer.visible = True
        self.told.emit(sentence)

    def _ask_anew(self) -> None:
        result = self._asked = self._controller.result
        if result is None:
            self.told.emit("There are no colours yet: wait for the first picture.")
            return
        try:
            self.ask(result)
        except ColorizeError as error:
            self.told.emit(str(error))
        else:
            self.told.emit(self._waiting)

    def _follow(self, result: Colorized) -> None:
        before = self._asked
        if result is before:
            return
        if self.layer is not None and (before is None or result.chroma is not before.chroma):
            self.layer.visible = False  # of other colours, of which there may be no map at all
        self._settled.start()

    def _clear(self, layer: Any = None) -> None:
        self._settled.stop()
        self._asked = None
        self._cover.remove()
