"""The view: before and after in the browser, composed there and, at rest, here.

What is sent (see `sending`): the gray plane once, and small maps of its colours whenever they
change. The browser joins them at any saturation by itself (compose.js). When the slider rests, it
asks (`rest`) and gets the pixels that the kernel composed. What is painted there comes as a PNG.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from traitlets import Bool, Bytes, Dict, Float, Int, List, Unicode

from napari_colorize.jupyter import transfer

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

HERE = Path(__file__).parent
SCRIPT = "\n".join(
    (HERE / name).read_text() for name in ("compose.js", "picture.js", "paint.js", "view.js")
)
STYLE = (HERE / "view.css").read_text()
TOOLS = DIVIDER, BRUSH, ERASER = 0, 1, 2  # what the mouse is for, as view.js has it


class ImageView(anywidget.AnyWidget):
    """A picture in gray and in colour, with a divider between them, zoom, pan and a brush.

    Attributes
    ----------
    clicked : Signal(float, float)
        Where, as shares of the picture's height and width; only while `asks` is on.
    painted : Signal(bytes)
        What there is of paint after a stroke: a PNG of the shown size with transparency.
    gone : Signal()
        It is shown nowhere any more: its cell was run again, or removed.
    saturation : float
        At which the browser composes; linked there to a slider.
    progress : float or None
        From 0 to 1, negative while nobody knows, None while nothing is done.
    tool : int
        Of `TOOLS`; linked in the browser to its buttons.
    ink : str
        Colour of the brush, #rrggbb.
    brush : int
        Its diameter in pixels of the screen.
    """

    clicked = Signal(float, float)
    painted = Signal(bytes)
    gone = Signal()

    _esm = SCRIPT
    _css = STYLE

    serial = Int().tag(sync=True)  # counts what `show` sent
    plane = Int().tag(sync=True)  # counts the gray planes among it
    size = List(Int(), [0, 0]).tag(sync=True)
    gray = Bytes().tag(sync=True)
    bounds = List(Float(), [0.0, 1.0]).tag(sync=True)
    matrix = List(Float()).tag(sync=True)
    colors = Dict().tag(sync=True)
    correction = Dict().tag(sync=True)
    hinted = Dict().tag(sync=True)
    strokes = Dict().tag(sync=True)
    shadows = Float().tag(sync=True)
    kept = Bytes().tag(sync=True)
    saturation = Float(1.0).tag(sync=True)
    overlay_serial = Int().tag(sync=True)
    overlay_size = List(Int(), [0, 0]).tag(sync=True)
    overlay = Bytes().tag(sync=True)
    opacity = Float(0.7).tag(sync=True)
    mark = List(Float()).tag(sync=True)
    divider = Float(0.5).tag(sync=True)
    camera = List(Float(), [1.0, 0.5, 0.5]).tag(sync=True)
    progress = Float(None, allow_none=True).tag(sync=True)
    asks = Bool().tag(sync=True)
    tool = Int().tag(sync=True)
    ink = Unicode("#c0392b").tag(sync=True)
    brush = Int(12).tag(sync=True)
    paint = Bytes().tag(sync=True, from_json=lambda value, widget: bytes(value))
    stroke = Int().tag(sync=True)  # counts how often the brush came down

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._result: Colorized | None = None
        self._awaited: float | None = None  # the saturation whose exact picture was asked for
        self._places = 0  # where it is shown
        self._is_laying = False
        self.on_msg(self._hear)
        self.observe(self._hear_paint, "paint")

    def show(self, result: Colorized) -> None:
        """Show a result: what the browser does not have of it, and its pixels if it waits."""
        before, self._result = self._result, result
        if before is None or not _are_drawn_alike(before, result):
            self._send_parts(before, result)
        elif self._awaited is not None:
            self._send_exact()

    def clear(self) -> None:
        """Show nothing."""
        self._result = None
        with self.hold_sync():
            self.size, self.gray, self.kept = [0, 0], b"", b""
            self.colors = self.correction = self.hinted = self.strokes = {}
            self.plane += 1
            self.serial += 1
        self.lay(None)
        self.lay_paint(b"")

    def lay(self, rgba: NDArray[np.uint8] | None, opacity: float = 0.7) -> None:
        """Lay a map `(h, w, 4)` over the whole picture; None takes it away."""
        with self.hold_sync():
            self.overlay_size = [0, 0] if rgba is None else list(rgba.shape[:2])
            self.overlay = b"" if rgba is None else rgba.tobytes()
            self.opacity = opacity
            self.overlay_serial += 1

    def lay_paint(self, png: bytes) -> None:
        """Show strokes that did not come of the brush, silently; b"" for none."""
        self._is_laying = True
        self.paint = png
        self._is_laying = False

    def _send_parts(self, before: Colorized | None, result: Colorized) -> None:
        is_new = before is None or before.plane is not result.plane
        with self.hold_sync():
            if is_new:
                self._send_plane(result)
            self._send_tint(result, None if is_new else before)
            self.serial += 1

    def _send_plane(self, result: Colorized) -> None:
        from napari_colorize.imaging.color import rgb_from_yuv

        plane = result.plane
        self.size = list(transfer.shown_size(*plane.gray.shape))
        self.gray = transfer.gray_of(plane, self._shown)
        self.bounds = list(plane.bounds)
        self.matrix = rgb_from_yuv()[:, 1:].flatten().tolist()
        self.plane += 1

    def _send_tint(self, result: Colorized, before: Colorized | None) -> None:
        if result.chroma is None:
            self.colors = self.correction = self.hinted = self.strokes = {}
            self.kept = b""
            return
        tint, size = result.chroma_layers, self._shown
        self.colors = transfer.field_of(tint.colors, size)
        self.correction = transfer.field_of(tint.correction, size)
        self.hinted = transfer.field_of(tint.hinted, size)
        self.strokes = transfer.strokes_of(tint.strokes, size)
        self.shadows = tint.shadows
        if before is None or before.chroma is None or before.chroma_layers.mask is not tint.mask:
            self.kept = transfer.kept_of(result.plane, tint.mask, size)

    @property
    def full_size(self) -> transfer.Size | None:
        """Height and width of the picture, of which a smaller one may be shown."""
        if self._result is None:
            return None
        height, width = self._result.plane.gray.shape
        return height, width

    @property
    def _shown(self) -> transfer.Size:
        height, width = self.size
        return height, width

    def _hear(self, _: Any, message: dict[str, Any], buffers: Any) -> None:
        kind = message.get("kind")
        if kind == "click":
            row, column = message["point"]
            self.clicked.emit(float(row), float(column))
        elif kind == "rest" and message.get("serial") == self.serial:
            self._awaited = float(message["saturation"])
            self._send_exact()
        elif kind in ("shown", "gone"):
            self._places += 1 if kind == "shown" else -1
            if not self._places:
                self.gone.emit()

    def _hear_paint(self, change: Any) -> None:
        if not self._is_laying:
            self.painted.emit(bytes(change["new"]))

    def _send_exact(self) -> None:
        """The pixels, if they are of the saturation that the browser waits for."""
        result = self._result
        if result is None:
            return
        if result.chroma is not None and result.settings.saturation != self._awaited:
            return  # its picture is being composed
        told = {"kind": "exact", "serial": self.serial, "saturation": self._awaited}
        self._awaited = None
        self.send(told, buffers=[transfer.pixels_of(result).tobytes()])


def _are_drawn_alike(one: Colorized, other: Colorized) -> bool:
    """Whether what the browser has of one is what it needs of the other."""
    if one.plane is not other.plane or one.pixels_8bit is not other.pixels_8bit:
        return False
    return other.chroma is None or (
        one.chroma is not None and one.chroma_layers is other.chroma_layers
    )
