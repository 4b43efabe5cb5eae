"""Base class of the tools of the Explore panel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_colorize.napari.signals import Connections

if TYPE_CHECKING:
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized


class Tool(ABC):
    """A tool over the displayed image of a controller that can be switched on and off."""

    message = Signal(str)  # a sentence about what is displayed, or what to do

    def __init__(self, controller: ColorizeController) -> None:
        self._controller = controller
        self._links = Connections()
        self.is_on = False

    def start(self) -> None:
        """Switch the tool on."""
        if not self.is_on:
            self.is_on = True
            self._links.add(self._controller.shown, self.on_result)
            self._links.add(self._controller.layer_changed, self._clear)
            self._begin()

    def stop(self) -> None:
        """Switch the tool off and remove its layers."""
        if self.is_on:
            self.is_on = False
            self._links.end()
            self._end()
            self._clear()

    @abstractmethod
    def on_result(self, result: Colorized) -> None:
        """Another result is displayed."""

    @abstractmethod
    def _clear(self, layer: Any = None) -> None:
        """Remove the layers."""

    @abstractmethod
    def _begin(self) -> None:
        """Further steps of `start`."""

    def _end(self) -> None:  # noqa: B027
        """Further steps of `stop`."""
