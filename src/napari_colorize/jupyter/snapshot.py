"""Static before/after picture of a box, which a saved notebook shows without a kernel.

The picture is one JPEG, gray on the left and color on the right, because pages that remove styles
and scripts still show an image.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import UInt8Array

if TYPE_CHECKING:
    from napari_colorize.jupyter.view import ImageView
    from napari_colorize.session import ColorizeSession

MAX_BYTES = 300_000  # of a stored picture, as base64 text with its HTML
MAX_TEXT = MAX_BYTES - 10_000  # of its base64 text
SIDE = 512  # px, longer side of each half
GAP = 6  # px of white between the halves
QUALITIES = 85, 75, 65  # of the JPEG, tried in this order
HIDDEN_CLASS = "napari-colorize-saved-"  # followed by the id of the box that hides the picture


@dataclass(frozen=True)
class Snapshot:
    """Picture of an image in grayscale and in color that needs no kernel.

    Displayed as the result of a cell, it is stored in the notebook: at most 300 kB.

    Parameters
    ----------
    jpeg : bytes
        The encoded picture.
    caption : str
        Model and settings, or why there are no colors.
    """

    jpeg: bytes
    caption: str

    @property
    def base64(self) -> str:
        """The picture as text, as notebooks store it."""
        return base64.b64encode(self.jpeg).decode()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/jpeg": self.base64, "text/plain": self.caption}

    def html(self, css_class: str) -> str:
        """HTML element of this class with the picture and its caption."""
        caption = html.escape(self.caption)
        return (
            f'<div class="{css_class}"><img alt="Grayscale and color: {caption}" '
            f'style="max-width:100%" src="data:image/jpeg;base64,{self.base64}"><br>{caption}</div>'
        )


def take_snapshot(gray: UInt8Array, colors: UInt8Array | None, caption: str) -> Snapshot:
    """Join both images to a picture of at most `MAX_TEXT` base64 characters.

    Parameters
    ----------
    gray : ndarray of uint8, shape (Y, X)
        The image before colorization.
    colors : ndarray of uint8, shape (Y, X, 3), optional
        The image in color, of any size. None: the picture shows the gray image only.
    caption : str
        Text below the picture.
    """
    side = SIDE
    while True:
        pixels = _side_by_side(gray, colors, side)
        for quality in QUALITIES:
            jpeg = _as_jpeg(pixels, quality)
            if 4 * -(-len(jpeg) // 3) <= MAX_TEXT:
                return Snapshot(jpeg, caption)
        side = side * 3 // 4


def _side_by_side(gray: UInt8Array, colors: UInt8Array | None, side: int) -> UInt8Array:
    halves = [_reduced(np.repeat(gray[..., None], 3, axis=-1), side)]
    if colors is not None:
        halves.append(_resized(colors, halves[0].shape[:2]))
        halves.insert(1, np.full((len(halves[0]), GAP, 3), 255, np.uint8))
    return np.concatenate(halves, axis=1)


def _reduced(rgb: UInt8Array, side: int) -> UInt8Array:
    scale = min(1.0, side / max(rgb.shape[:2]))
    height, width = (max(1, round(length * scale)) for length in rgb.shape[:2])
    return _resized(rgb, (height, width))


def _resized(rgb: UInt8Array, size: tuple[int, ...]) -> UInt8Array:
    from PIL import Image

    height, width = size
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def _as_jpeg(pixels: UInt8Array, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def snapshot_of(view: ImageView, session: ColorizeSession) -> Snapshot | None:
    """Picture of what a view displays; until there are colors, of the gray source.

    None if there is no image.
    """
    from napari_colorize.session.messages import result_summary

    result = view.shown_result
    if result is not None:
        gray = to_uint8_gray(view.gray, view.size)
        return take_snapshot(gray, view.shown.pixels(result), result_summary(result))
    source = session.source
    if len(getattr(source, "shape", ())) < 2:
        return None
    return take_snapshot(_gray_of(source, session), None, "No colors have been predicted yet.")


def _gray_of(source: Any, session: ColorizeSession) -> UInt8Array:
    """Gray of every n-th pixel of the displayed plane."""
    from napari_colorize.imaging.planes import spatial_axes, to_plane

    axes = spatial_axes(source, session.rgb)
    image = source[session.plane or (0,) * (len(source.shape) - axes)]
    step = max(1, max(image.shape[:2]) // SIDE)
    plane = to_plane(image[::step, ::step], gamma=session.settings.gamma, rgb=session.rgb)
    return np.rint(255 * np.nan_to_num(plane.gray.cpu().numpy())).astype(np.uint8)


def to_uint8_gray(values: bytes, size: Sequence[int]) -> UInt8Array:
    """Gray as the view sends it, uint16, reduced to 8 bits."""
    gray = np.frombuffer(values, np.uint16).reshape(size)
    return np.rint(gray / 257).astype(np.uint8)


class StoredPicture:
    """Output below a box that holds its picture in the saved notebook.

    The picture follows the box and is hidden as long as the box is displayed, until `keep` makes
    it visible. JupyterLab prefers a widget to any other form of the same output, and shows an error
    in its place when there is no kernel: so the picture is an output of its own.

    Parameters
    ----------
    css_class : str
        Class that the style sheet of the box hides.
    take : callable
        Returns the present picture, or None if there is no image.
    """

    def __init__(self, css_class: str, take: Callable[[], Snapshot | None]) -> None:
        self._class, self._take = css_class, take
        self._display_id = f"{css_class}-picture"
        self._is_displayed = self._is_kept = False

    @property
    def is_displayed(self) -> bool:
        """Whether a cell has this output."""
        return self._is_displayed

    def display(self) -> None:
        """Add the output to the cell that is running."""
        self._publish(update=False)
        self._is_displayed = True

    def update(self) -> None:
        """Replace the picture by the present one, unless another one was kept."""
        if self._is_displayed and not self._is_kept:
            self._publish(update=True)

    def keep(self) -> None:
        """Show the present picture, and keep it when the box changes."""
        self._is_kept = True
        self._publish(update=self._is_displayed)
        self._is_displayed = True

    def _publish(self, *, update: bool) -> None:
        from IPython.display import publish_display_data

        picture = self._take()
        data = {"text/plain": "", "text/html": ""}
        if picture is not None:
            css_class = "napari-colorize-kept" if self._is_kept else self._class
            data = {"text/plain": picture.caption, "text/html": picture.html(css_class)}
        publish_display_data(data, transient={"display_id": self._display_id}, update=update)
