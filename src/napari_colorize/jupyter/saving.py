"""SavePanel: save, download or keep the result of a box, and copy its settings as code."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.errors import ColorizeError, ImageError, OutputError
from napari_colorize.io.formats import suffix_of
from napari_colorize.jupyter.controls import flexible_layout, labeled_row
from napari_colorize.jupyter.image_input import is_voila
from napari_colorize.settings import ColorizeSettings

if TYPE_CHECKING:
    from napari_colorize.array_types import PlaneIndex
    from napari_colorize.jupyter.view import ImageView
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession

DEFAULT_NAME = "colorized.png"


class SavePanel(widgets.VBox):
    """File name, and buttons that save, download, copy and keep the displayed result.

    Parameters
    ----------
    session : ColorizeSession
        Its result is saved, and its inputs are copied as code.
    view : ImageView
        Downloads a file and copies a text in the browser.
    files : bool
        Whether files may be written on the kernel's computer.
    """

    message = Signal(str)  # what was done
    failed = Signal(ColorizeError)
    keep_requested = Signal()

    def __init__(self, session: ColorizeSession, view: ImageView, *, files: bool) -> None:
        self._session, self._view = session, view
        self.source_path: Path | None = None  # file of the source, for the code
        self.path = widgets.Text(DEFAULT_NAME, layout=flexible_layout())
        self.save = _button("Save", "Save the image on the computer of the kernel.")
        self.download = _button("Download", "Download the image to the computer of the browser.")
        self.copy = _button("Copy as code", "Copy the Python code that makes this image.")
        self.keep = _button(
            "Keep in notebook",
            "Store a picture of at most 300 kB below the box, shown without a kernel.",
        )
        # Voila shows no notebook that could be kept.
        kept = [] if is_voila() else [self.keep]
        actions = widgets.HBox([self.download, self.copy, *kept])
        actions.add_class("tools")
        row = labeled_row("save as", self.path, *([self.save] if files else []))
        super().__init__([row, actions])
        if files:  # a browser can also press a button that is not displayed
            self.save.on_click(lambda _: self._guard(self._save))
        self.download.on_click(lambda _: self._guard(self._download))
        self.copy.on_click(lambda _: self._guard(self._copy))
        self.keep.on_click(lambda _: self.keep_requested.emit())

    def set_enabled(self, on: bool) -> None:
        """Enable or disable all buttons."""
        for button in (self.save, self.download, self.copy, self.keep):
            button.disabled = not on

    def _guard(self, action: Callable[[], str]) -> None:
        try:
            self.message.emit(action())
        except ColorizeError as error:
            self.failed.emit(error)

    @property
    def _result(self) -> Colorized:
        if self._session.result is None:
            raise ImageError("There are no colors yet: wait for the first result.")
        return self._session.result

    def _save(self) -> str:
        path = unused_path(Path(self.path.value.strip() or DEFAULT_NAME).expanduser())
        return f"Saved as {self._result.save(path).absolute()}."

    def _download(self) -> str:
        name = Path(self.path.value.strip() or DEFAULT_NAME).name
        with TemporaryDirectory() as folder:
            data = self._result.save(Path(folder) / name).read_bytes()
        self._view.download(name, data)
        return f"{name} is being downloaded by the browser."

    def _copy(self) -> str:
        code = as_code(self._session, self.source_path)
        self._view.copy(code)
        return f"Copied: {code.splitlines()[-1]}"


def unused_path(path: Path) -> Path:
    """The path, or with `-2`, `-3`, ... before its suffix if a file of that name exists.

    Raises
    ------
    OutputError
        If the folder does not exist.
    """
    if not path.parent.is_dir():
        raise OutputError(f"The folder {path.parent} does not exist. Choose another one.")
    length = len(suffix_of(path.name))
    stem, suffix = path.name[: len(path.name) - length], path.name[len(path.name) - length :]
    numbered = (path.with_name(f"{stem}-{number}{suffix}") for number in itertools.count(2))
    return next(one for one in itertools.chain([path], numbered) if not os.path.lexists(one))


def as_code(session: ColorizeSession, path: Path | None = None) -> str:
    """Python code that makes the displayed image; settings at their default are left out.

    Parameters
    ----------
    session : ColorizeSession
        Its inputs are used.
    path : Path, optional
        File of the source. None: the code takes an array named `image`.
    """
    lines, image = ["import napari_colorize as nc", ""], "image"
    arguments = []
    if path is not None:
        lines.append(f"record = nc.read_image({str(path)!r})")
        image = "record.array"
        if session.declared_range is not None:
            arguments.append("declared_range=record.declared_range")
    if plane := _displayed_plane(session):
        image += f"[{', '.join(map(str, plane))}]"
    model, other = session.model, session.blend_with
    if model != "embedded":
        arguments.append(f"model={model!r}" if isinstance(model, str) else "model=model")
    if other is not None:
        arguments.append(f"blend_with={other!r}" if isinstance(other, str) else "blend_with=other")
    if session.rgb is not None:
        arguments.append(f"rgb={session.rgb}")
    if session.guides:
        arguments.append("guides=guides")
    default, chosen = ColorizeSettings(), session.settings
    arguments += [
        f"{item.name}={getattr(chosen, item.name)!r}"
        for item in fields(ColorizeSettings)
        if getattr(chosen, item.name) != getattr(default, item.name)
    ]
    return "\n".join([*lines, f"result = nc.colorize({', '.join([image, *arguments])})"])


def _displayed_plane(session: ColorizeSession) -> PlaneIndex:
    """Index of the displayed plane; empty if the source is a single image."""
    from napari_colorize.imaging.planes import spatial_axes  # imports torch

    axes = len(getattr(session.source, "shape", ()))
    leading = axes - spatial_axes(session.source, session.rgb) if axes else 0
    return session.plane or (0,) * leading


def _button(text: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=text, tooltip=tooltip, layout=widgets.Layout(width="auto"))
