"""Trial predictions: colors that nobody asked for are withheld until the model has judged them.

A model may tell images that are unlike photographs, and may know the typical error of its colors.
Both need a prediction. That of a layer that is colorized without a click is therefore a trial:
its colors are displayed if the model finds nothing against them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from napari_colorize.napari.automatic import some_pixels
from napari_colorize.napari.layers import largest, middle_planes
from napari_colorize.session import messages

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_colorize.array_types import PlaneIndex
    from napari_colorize.napari.typical_error import TypicalError
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession

FLAT = 0.02  # standard deviation of gray in [0, 1]; a plane below it says nothing about a stack


@dataclass(frozen=True, eq=False)
class _Refusal:
    """Why a model's colors were not displayed; it holds for one plane, or (None) for all."""

    data: Any
    model: object
    plane: PlaneIndex | None
    reason: str


class Trial:
    """The layer whose colors are withheld, and the decisions about other layers.

    Parameters
    ----------
    session : ColorizeSession
        Predicts the displayed plane.
    typical_error : TypicalError
        Estimates the error of the prediction.
    show_plane : callable
        Displays another plane of the source, with its guides.
    finish : callable
        Called with whether the colors are to be displayed.

    Attributes
    ----------
    layer : Image or None
        Source layer of the present trial.
    """

    def __init__(
        self,
        session: ColorizeSession,
        typical_error: TypicalError,
        show_plane: Callable[[PlaneIndex], None],
        finish: Callable[[bool], None],
    ) -> None:
        self._session, self._typical_error = session, typical_error
        self._show_plane, self._finish = show_plane, finish
        self.layer: Image | None = None
        self._other_planes: list[PlaneIndex] = []  # judged if the displayed one is refused
        self._is_estimating = False
        self._refusals: WeakKeyDictionary[Image, _Refusal] = WeakKeyDictionary()
        self._accepted: WeakSet[Image] = WeakSet()
        typical_error.changed.connect(self._on_typical_error)

    def begin(self, layer: Image) -> None:
        """Withhold the colors of a layer, unless it was accepted before."""
        self.stop()
        if layer in self._accepted:
            return
        self.layer, self._other_planes = layer, middle_planes(layer, largest(layer))

    def stop(self) -> None:
        """There is another source, or none."""
        self.layer, self._other_planes, self._is_estimating = None, [], False

    def accept(self, layer: Image) -> None:
        """The user asked for the colors of this layer, or they are displayed already."""
        self._accepted.add(layer)
        if layer is self.layer:
            self.stop()
            if self._session.result is not None:
                self._finish(True)

    def is_accepted(self, layer: Image) -> bool:
        """Whether the colors of a layer are displayed whatever the model finds."""
        return layer in self._accepted

    def was_refused(self, layer: Image | None) -> bool:
        """Whether colors of a layer, maybe of another plane, were not displayed."""
        return layer is not None and layer in self._refusals

    def reason_to_wait(self, layer: Image, plane: PlaneIndex) -> str:
        """Why the colors of a layer were not displayed; "" if it was not judged by this model."""
        found = self._refusals.get(layer)
        if found is None or layer in self._accepted:
            return ""
        is_same = found.data is largest(layer) and found.model == self._session.model
        return found.reason if is_same and found.plane in (None, plane) else ""

    def judge(self, result: Colorized) -> None:
        """Decide whether the colors are displayed, at once or when the error is estimated."""
        assert self.layer is not None
        if result.is_unlike_photographs:
            others = [plane for plane in self._other_planes if plane != self._session.plane]
            self._other_planes = []
            if others:
                self._show_plane(others[0])
            else:
                self._refuse(messages.unlike_photographs(self.layer.name), result)
        elif self._session.has_calibrated_error:
            self._is_estimating = True
            self._typical_error.request()
        else:
            self.accept(self.layer)

    def _on_typical_error(self) -> None:
        if not self._is_estimating or self._typical_error.is_estimating or self.layer is None:
            return
        value, result = self._typical_error.value, self._session.result
        if result is None or value is None or value <= messages.HIGHEST_ERROR:
            self.accept(self.layer)
        else:
            self._refuse(messages.guessed_colors(self.layer.name, value), result)

    def _refuse(self, reason: str, result: Colorized) -> None:
        layer, plane = self.layer, self._session.plane or ()
        assert layer is not None
        gray = result.plane.gray
        is_flat = bool(gray[some_pixels(*gray.shape)].std(correction=0) < FLAT)
        self._refusals[layer] = _Refusal(
            largest(layer), self._session.model, plane if is_flat else None, reason
        )
        self.stop()
        self._finish(False)
