"""ImageView, the image widget: grayscale and color on either side of a divider, in the browser.

The gray plane is sent once, and small chroma maps whenever they change (`browser_encoding`). The
browser combines them at any saturation (compose.js). When the saturation slider stops, the
browser requests the exact pixels from the kernel (message "request_exact"). Painted hints are
returned as a PNG. When the view is zoomed in, the visible part is sent at full resolution as soon
as it rests (message "request_crop"). Files that are dropped or pasted arrive in pieces (message
"file").
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anywidget
from psygnal import Signal
from traitlets import Bool, Bytes, Dict, Float, Int, List, Unicode

from napari_colorize.array_types import UInt8Array
from napari_colorize.jupyter import browser_encoding
from napari_colorize.jupyter.shown_size import ShownSize, crop_of

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

FOLDER = Path(__file__).parent
SCRIPT = "\n".join(
    (FOLDER / f"{name}.js").read_text()
    for name in ("compose", "image", "paint", "camera", "page", "compact", "view")
)
STYLE = (FOLDER / "view.css").read_text()
TOOLS = DIVIDER, BRUSH, ERASER = 0, 1, 2  # what a drag with the mouse does; same numbers in view.js


class ImageView(anywidget.AnyWidget):
    """Image before and after colorization, with a divider, zoom, pan and a brush.

    Attributes
    ----------
    clicked : Signal(float, float)
        Clicked position as fractions of the image's height and width, while `emits_clicks` is on.
    painted : Signal(bytes)
        Painted hints after a stroke: a PNG with transparency at the display size.
    received : Signal(str, bytes)
        Name and contents of a file that the user dropped, pasted or chose.
    attached, detached : Signal()
        The first view was displayed in a page; the last one was removed, for example because its
        cell was run again.
    saturation : float
        Saturation at which the browser composes the image; linked to a slider in the browser.
    progress : float or None
        Progress from 0 to 1, negative if unknown, None while nothing runs.
    shown : ShownSize
        Results at the size at which they are displayed.
    tool : int
        One of `TOOLS`; linked to buttons in the browser.
    brush_color : str
        Color of the brush, #rrggbb.
    brush_size : int
        Diameter of the brush in screen pixels.
    """

    clicked = Signal(float, float)
    painted = Signal(bytes)
    received = Signal(str, bytes)
    attached = Signal()
    detached = Signal()

    _esm = SCRIPT
    _css = STYLE

    serial = Int().tag(sync=True)  # number of results sent by `show`
    plane_serial = Int().tag(sync=True)  # number of gray planes sent
    size = List(Int(), [0, 0]).tag(sync=True)
    image_size = List(Int(), [0, 0]).tag(sync=True)  # of all pixels; `size` may be smaller
    gray = Bytes().tag(sync=True)
    bounds = List(Float(), [0.0, 1.0]).tag(sync=True)
    matrix = List(Float()).tag(sync=True)
    chroma = Dict().tag(sync=True)
    correction = Dict().tag(sync=True)
    hinted = Dict().tag(sync=True)
    strokes = Dict().tag(sync=True)
    shadows = Float().tag(sync=True)
    outside_mask = Bytes().tag(sync=True)
    saturation = Float(1.0).tag(sync=True)
    overlay_serial = Int().tag(sync=True)
    overlay_size = List(Int(), [0, 0]).tag(sync=True)
    overlay = Bytes().tag(sync=True)
    opacity = Float(0.7).tag(sync=True)
    marker = List(Float()).tag(sync=True)
    divider = Float(0.5).tag(sync=True)
    camera = List(Float(), [1.0, 0.5, 0.5]).tag(sync=True)
    progress = Float(None, allow_none=True).tag(sync=True)
    emits_clicks = Bool().tag(sync=True)
    tool = Int().tag(sync=True)
    brush_color = Unicode("#c0392b").tag(sync=True)
    brush_size = Int(12).tag(sync=True)
    paint = Bytes().tag(sync=True, from_json=lambda value, widget: bytes(value))
    stroke_count = Int().tag(sync=True)  # number of strokes begun in the browser

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.shown = ShownSize()
        self._result: Colorized | None = None
        self._requested_saturation: float | None = None  # of a pending "request_exact"
        self._views: set[tuple[str, str]] = set()  # page and number of each displayed view
        self._pieces: dict[str, list[bytes]] = {}  # of the file that is being received, by its id
        self._is_setting_paint = False
        self.on_msg(self._on_message)
        self.observe(self._on_paint, "paint")

    def show(self, result: Colorized) -> None:
        """Display a result: send what the browser lacks, and the exact pixels if requested."""
        before, self._result = self._result, result
        if before is None or not _same_browser_data(before, result):
            self._send_parts(before, result)
        elif self._requested_saturation is not None:
            self._send_exact()

    def forget_result(self) -> None:
        """Free the memory of the result; the browser still displays it."""
        self._result = None
        self.shown.forget()

    def clear(self) -> None:
        """Display no image."""
        self.forget_result()
        with self.hold_sync():
            self.size, self.gray, self.outside_mask = [0, 0], b"", b""
            self.image_size = [0, 0]
            self.chroma = self.correction = self.hinted = self.strokes = {}
            self.plane_serial += 1
            self.serial += 1
        self.show_overlay(None)
        self.show_paint(b"")

    def show_overlay(self, rgba: UInt8Array | None, opacity: float = 0.7) -> None:
        """Overlay an analysis map, uint8 `(h, w, 4)`, on the whole image; None removes it."""
        with self.hold_sync():
            self.overlay_size = [0, 0] if rgba is None else list(rgba.shape[:2])
            self.overlay = b"" if rgba is None else rgba.tobytes()
            self.opacity = opacity
            self.overlay_serial += 1

    def show_paint(self, png: bytes) -> None:
        """Display painted hints given as a PNG, without emitting `painted`; b"" removes them."""
        self._is_setting_paint = True
        self.paint = png
        self._is_setting_paint = False

    def download(self, name: str, data: bytes) -> None:
        """Let the browser download a file; once, however many views there are."""
        self.send({"kind": "download", "name": name, "once": str(uuid4())}, buffers=[data])

    def copy(self, text: str) -> None:
        """Copy a text to the clipboard of the browser."""
        self.send({"kind": "copy", "text": text, "once": str(uuid4())})

    @property
    def shown_result(self) -> Colorized | None:
        """The displayed result."""
        return self._result

    @property
    def is_attached(self) -> bool:
        """Whether a page displays this widget."""
        return bool(self._views)

    def _send_parts(self, before: Colorized | None, result: Colorized) -> None:
        is_new_plane = before is None or before.plane is not result.plane
        with self.hold_sync():
            if is_new_plane:
                self._send_plane(result)
            self._send_chroma(result, None if is_new_plane else before)
            self.serial += 1

    def _send_plane(self, result: Colorized) -> None:
        from napari_colorize.imaging.color import rgb_from_yuv

        plane = result.plane
        self.image_size = list(plane.gray.shape)
        self.size = list(browser_encoding.display_size(*plane.gray.shape))
        self.gray = browser_encoding.as_uint16(self.shown.plane(plane).gray).tobytes()
        self.bounds = list(plane.bounds)
        self.matrix = rgb_from_yuv()[:, 1:].flatten().tolist()
        self.plane_serial += 1

    def _send_chroma(self, result: Colorized, before: Colorized | None) -> None:
        if result.chroma is None:
            self.chroma = self.correction = self.hinted = self.strokes = {}
            self.outside_mask = b""
            return
        layers, size = result.chroma_layers, self._display_size
        self.chroma = browser_encoding.pack_field(layers.colors, size)
        self.correction = browser_encoding.pack_field(layers.correction, size)
        self.hinted = browser_encoding.pack_field(layers.hinted, size)
        self.strokes = browser_encoding.pack_fixed_pixels(layers.fixed_pixels, size)
        self.shadows = layers.shadows
        if before is None or before.chroma is None or before.chroma_layers.mask is not layers.mask:
            self.outside_mask = browser_encoding.pack_outside_mask(result.plane, layers.mask, size)

    @property
    def full_size(self) -> browser_encoding.Size | None:
        """Height and width of the result; the browser may display a smaller version."""
        if self._result is None:
            return None
        height, width = self._result.plane.gray.shape
        return height, width

    @property
    def _display_size(self) -> browser_encoding.Size:
        height, width = self.size
        return height, width

    def _on_message(self, _: Any, message: dict[str, Any], buffers: Any) -> None:
        kind = message.get("kind")
        if kind == "click":
            row, column = message["point"]
            self.clicked.emit(float(row), float(column))
        elif kind == "request_exact" and message.get("serial") == self.serial:
            self._requested_saturation = float(message["saturation"])
            self._send_exact()
        elif kind == "request_crop":
            self._send_crop(message)
        elif kind == "file":
            self._on_piece(message, buffers)
        elif kind == "attached":
            self._on_attached(message)
        elif kind == "detached":
            self._views.discard((message["page"], message["view"]))
            if not self._views:
                self.detached.emit()

    def _on_attached(self, message: dict[str, Any]) -> None:
        view, was_attached = (message["page"], message["view"]), bool(self._views)
        is_other = any(page != message["page"] for page, _ in self._views)
        if is_other and not message.get("answers", False):
            # A page that is closed or loaded again does not report its views: those that still
            # exist answer this call.
            self._views.clear()
            self.send({"kind": "roll_call"})
        self._views.add(view)
        if not was_attached:
            self.attached.emit()

    def _on_piece(self, message: dict[str, Any], buffers: Any) -> None:
        """Collect a file, which arrives in pieces that fit into a message."""
        if message["first"]:
            self._pieces = {message["id"]: []}  # pieces of an earlier file that was not completed
        pieces = self._pieces.get(message["id"])
        if pieces is None:
            return
        pieces.append(bytes(buffers[0]))
        if message["last"]:
            del self._pieces[message["id"]]
            self.received.emit(message["name"], b"".join(pieces))

    def _on_paint(self, change: Any) -> None:
        if not self._is_setting_paint:
            self.painted.emit(bytes(change["new"]))

    def _send_exact(self) -> None:
        """Send the exact pixels if their saturation is the requested one."""
        result = self._result
        if result is None:
            return
        if result.chroma is not None and result.settings.saturation != self._requested_saturation:
            return  # the session is still composing the requested image
        message = {
            "kind": "exact",
            "serial": self.serial,
            "saturation": self._requested_saturation,
        }
        self._requested_saturation = None
        self.send(message, buffers=[self.shown.pixels(result).tobytes()])

    def _send_crop(self, request: dict[str, Any]) -> None:
        """Send the visible part of the image at full resolution, both in gray and in color."""
        result = self._result
        if result is None or request["serial"] != self.serial:
            return
        saturation = None if result.chroma is None else result.settings.saturation
        if saturation not in (None, request["saturation"]):
            return  # requested again when the session has composed this saturation
        top, left, bottom, right = map(float, request["area"])
        crop = crop_of(result, (top, left, bottom, right), browser_encoding.MAX_PIXELS)
        message = {**request, "kind": "crop", "area": crop.area, "size": crop.gray.shape}
        self.send(message, buffers=[crop.gray.tobytes(), crop.rgb.tobytes()])


def _same_browser_data(one: Colorized, other: Colorized) -> bool:
    """Whether the browser composes both results from the same gray plane and chroma maps."""
    if one.plane is not other.plane or one.pixels_8bit is not other.pixels_8bit:
        return False
    return other.chroma is None or (
        one.chroma is not None and one.chroma_layers is other.chroma_layers
    )
