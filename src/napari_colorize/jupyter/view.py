"""The view: before and after in the browser, composed there (`view.js`) and, at rest, here.

What is sent: the gray plane (16 bits) and what the network said about it, once for each prediction.
The browser joins them at any saturation by itself. When the slider rests, it asks (`rest`) and gets
the pixels that the kernel composed. Pictures of more than `MOST` pixels are shown smaller.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from traitlets import Bool, Bytes, Float, Int, List

if TYPE_CHECKING:
    from torch import Tensor

    from napari_colorize.result import Colorized

HERE = Path(__file__).parent
MOST = 2**21  # pixels that a browser composes in well under a sixtieth of a second
LONGEST = 2**13  # pixels of a side that every browser's canvas can have


class View(anywidget.AnyWidget):
    """A picture in gray and in colour, with a divider between them, zoom and pan.

    Attributes
    ----------
    clicked : Signal(float, float)
        Where, as shares of the picture's height and width; only while `asks` is on.
    gone : Signal()
        It is shown nowhere any more: its cell was run again, or removed.
    saturation : float
        At which the browser composes; linked there to a slider.
    progress : float or None
        From 0 to 1, negative while nobody knows, None while nothing is done.
    """

    clicked = Signal(float, float)
    gone = Signal()

    _esm = HERE / "view.js"
    _css = HERE / "view.css"

    serial = Int().tag(sync=True)  # counts what `show` sent
    size = List(Int(), [0, 0]).tag(sync=True)
    gray = Bytes().tag(sync=True)
    grid = List(Int(), [0, 0]).tag(sync=True)
    uv = Bytes().tag(sync=True)
    bounds = List(Float(), [0.0, 1.0]).tag(sync=True)
    matrix = List(Float()).tag(sync=True)
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

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._result: Colorized | None = None
        self._awaited: float | None = None  # the saturation whose exact picture was asked for
        self._places = 0  # where it is shown
        self.on_msg(self._hear)

    def show(self, result: Colorized) -> None:
        """Show a result: what the browser does not have of it, and its pixels if it waits."""
        before, self._result = self._result, result
        if before is None or before.chroma is not result.chroma or before.fixed is not result.fixed:
            self._send_parts(result)
        elif self._awaited is not None:
            self._send_exact()

    def clear(self) -> None:
        """Show nothing."""
        self._result = None
        with self.hold_sync():
            self.size, self.grid, self.gray, self.uv = [0, 0], [0, 0], b"", b""
            self.serial += 1
        self.lay(None)

    def lay(self, rgba: NDArray[np.uint8] | None, opacity: float = 0.7) -> None:
        """Lay a map `(h, w, 4)` over the whole picture; None takes it away."""
        with self.hold_sync():
            self.overlay_size = [0, 0] if rgba is None else list(rgba.shape[:2])
            self.overlay = b"" if rgba is None else rgba.tobytes()
            self.opacity = opacity
            self.overlay_serial += 1

    def _send_parts(self, result: Colorized) -> None:
        import torch

        from napari_colorize.color import rgb_from_yuv
        from napari_colorize.pipeline import resize

        gray = result.plane.gray
        size = shown_size(*gray.shape)
        with self.hold_sync():
            self.size = list(size)
            self.gray = as_uint16(resize(gray[None, None], size)[0, 0]).tobytes()
            self.bounds = list(result.plane.bounds)
            self.matrix = rgb_from_yuv()[:, 1:].flatten().tolist()
            if result.chroma is None:
                self.grid, self.uv = [0, 0], b""
            else:
                uv = result.chroma.uv.movedim(-1, 0)[None]
                uv = resize(uv, (min(size[0], uv.shape[-2]), min(size[1], uv.shape[-1])))
                uv = uv[0].movedim(0, -1).to(torch.float32)
                self.grid = list(uv.shape[:2])
                self.uv = uv.cpu().contiguous().numpy().tobytes()
            self.serial += 1

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

    def _send_exact(self) -> None:
        """The pixels, if they are of the saturation that the browser waits for."""
        result = self._result
        if result is None:
            return
        if result.chroma is not None and result.settings.saturation != self._awaited:
            return  # its picture is being composed
        told = {"kind": "exact", "serial": self.serial, "saturation": self._awaited}
        self._awaited = None
        self.send(told, buffers=[pixels_of(result).tobytes()])


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which a picture is sent."""
    share = min(1.0, math.sqrt(MOST / (height * width)), LONGEST / max(height, width))
    return max(1, int(height * share)), max(1, int(width * share))


def as_uint16(gray: Tensor) -> NDArray[np.uint16]:
    """Gray in [0, 1] as whole numbers from 0 to 65535; what is no number is black."""
    scaled = (gray.nan_to_num(nan=0.0) * 65535).round().clamp(0, 65535)
    numbers: NDArray[np.uint16] = scaled.cpu().numpy().astype(np.uint16)
    return numbers


def pixels_of(result: Colorized) -> NDArray[np.uint8]:
    """The finished picture `(Y, X, 3)` at the size at which it is sent; alpha is left out."""
    import torch

    from napari_colorize.pipeline import resize
    from napari_colorize.result import as_bytes

    shown = as_bytes(result.pixels, result.plane)[..., :3]
    size = shown_size(*shown.shape[:2])
    if size == shown.shape[:2]:
        return np.ascontiguousarray(shown)
    planes = torch.from_numpy(np.ascontiguousarray(shown)).movedim(-1, 0)[None].float()
    small = resize(planes, size)[0].movedim(0, -1).round()
    return small.to(torch.uint8).contiguous().numpy()
