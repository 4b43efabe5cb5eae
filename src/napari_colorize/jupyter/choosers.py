"""Choosing a picture, a plane of it, another whose palette is taken over, and a model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.jupyter.controls import growing, row
from napari_colorize.jupyter.maps import as_png, preview
from napari_colorize.session.words import cost_in_words
from napari_colorize.zoo import CATALOGUE, is_local, user_models

if TYPE_CHECKING:
    from napari_colorize.refine.palette_transfer import Reference

THUMBNAIL = 96  # pixels of the longer side
PICTURES = "image/*,.tif,.tiff,.dcm"


class ImageChooser(widgets.VBox):
    """A picture from the browser's computer, or a path on the kernel's; `chosen` brings a path."""

    chosen = Signal(Path)

    def __init__(self, label: str = "image") -> None:
        self.upload = widgets.FileUpload(
            accept=PICTURES, description="", layout=widgets.Layout(width="34px")
        )
        self.upload.add_class("icon-only")
        self.upload.tooltip = "Upload a picture from this computer."
        self.path = widgets.Text(
            placeholder="path, or upload", continuous_update=False, layout=growing()
        )
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        super().__init__([row(label, self.path, self.upload)])
        self.upload.observe(self._take_upload, "value")
        self.path.observe(self._take_path, "value")

    def _take_upload(self, change: object) -> None:
        if not self.upload.value:
            return
        (sent,) = self.upload.value
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="napari-colorize-")
        path = Path(self._folder.name) / Path(sent["name"]).name
        path.write_bytes(sent["content"])
        self.upload.value = ()
        self.chosen.emit(path)

    def _take_path(self, change: object) -> None:
        if self.path.value.strip():
            self.chosen.emit(Path(self.path.value.strip()).expanduser())


class ReferenceChooser(widgets.VBox):
    """A picture whose palette is taken over; `chosen` brings a path, or None for no picture."""

    chosen = Signal(object)

    def __init__(self) -> None:
        self.files = ImageChooser("picture")
        self.picture = widgets.Image(format="png")
        self.remove = widgets.Button(icon="times", layout=widgets.Layout(width="34px"))
        self.remove.add_class("icon-only")
        self.remove.tooltip = "Take the reference away."
        self._shown = widgets.HBox([self.picture, self.remove])
        super().__init__([self.files, self._shown])
        self.files.chosen.connect(self.chosen.emit)
        self.remove.on_click(lambda _: self.chosen.emit(None))
        self.show_reference(None)

    def show_reference(self, reference: Reference | None) -> None:
        """Show the picture that is in use."""
        self._shown.layout.display = "none" if reference is None else ""
        if reference is None:
            self.files.path.value = ""
        else:
            self.picture.value = as_png(preview(reference.rgb, THUMBNAIL))


class PlaneChooser(widgets.VBox):
    """A slider for each axis of a stack; `chosen` brings the index of a plane.

    `time` is a part of its own, to choose which of several axes is time; `timed` brings it.
    """

    chosen = Signal(tuple)
    timed = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.sliders: tuple[widgets.IntSlider, ...] = ()
        self._is_showing = False
        self._axes = widgets.Dropdown(layout=growing())
        self._axes.tooltip = "Along which colours are held steady."
        self.time = row("along", self._axes)
        self._axes.observe(self._tell_time, "value")

    def show_plane(self, lengths: Sequence[int], plane: Sequence[int]) -> None:
        """Sliders for axes of these lengths, silently at this plane."""
        self._is_showing = True
        if [slider.max + 1 for slider in self.sliders] != list(lengths):
            self._make(lengths)
        for slider, place in zip(self.sliders, plane, strict=False):
            slider.value = place
        self._is_showing = False

    def show_time(self, axis: int) -> None:
        """Which axis is time, silently."""
        self._is_showing = True
        if axis < len(self.sliders):
            self._axes.value = axis
        self._is_showing = False

    def _make(self, lengths: Sequence[int]) -> None:
        self.sliders = tuple(
            widgets.IntSlider(0, 0, length - 1, layout=growing(), disabled=length == 1)
            for length in lengths
        )
        for slider in self.sliders:
            slider.observe(self._tell, "value")
        names = ["plane"] if len(lengths) == 1 else [f"axis {axis}" for axis in range(len(lengths))]
        self.children = [
            row(name, slider) for name, slider in zip(names, self.sliders, strict=True)
        ]
        self._axes.options = [(name, axis) for axis, name in enumerate(names)]
        self.time.layout.display = "" if len(lengths) > 1 else "none"

    def _tell(self, change: object) -> None:
        if not self._is_showing:
            self.chosen.emit(tuple(slider.value for slider in self.sliders))

    def _tell_time(self, change: object) -> None:
        if not self._is_showing:
            self.timed.emit(self._axes.value)


class ModelChooser(widgets.VBox):
    """The models by name, with what fetching costs; `chosen` brings a name or path.

    One that must be fetched first is chosen when the button is pressed. Where a model may be left
    out, "none" is a choice too, and brings None.
    """

    chosen = Signal(object)

    def __init__(self, *, is_optional: bool = False) -> None:
        self.list = widgets.Dropdown(layout=growing())
        self.fetch = widgets.Button(layout=widgets.Layout(width="auto"))
        self.fetch.tooltip = "Download this model once; it stays on the kernel's computer."
        self._none = [("none", "")] if is_optional else []
        self._files: list[str] = []
        self._is_showing = False
        super().__init__([row("model", self.list, self.fetch)])
        self.list.observe(self._pick, "value")
        self.fetch.on_click(lambda _: self.chosen.emit(self.list.value))
        self.relist("" if is_optional else "embedded")

    def relist(self, model: str) -> None:
        """Look again which models there are, and show one as chosen, silently.

        A file that is not listed yet is added; "" is none.
        """
        own = [*map(str, user_models()), *self._files]
        if model and model not in CATALOGUE and model not in own:
            self._files.append(model)
            own.append(model)
        self._is_showing = True
        self.list.options = [
            *self._none,
            *((f"{name}{cost_in_words(name)}", name) for name in CATALOGUE),
            *((Path(path).stem, path) for path in own),
        ]
        self.list.value = model
        self._is_showing = False
        self._show_fetch()

    def _pick(self, change: object) -> None:
        if self._is_showing:
            return
        self._show_fetch()
        if not _must_be_fetched(self.list.value):
            self.chosen.emit(self.list.value or None)

    def _show_fetch(self) -> None:
        must = _must_be_fetched(self.list.value)
        self.fetch.layout.display = "" if must else "none"
        if must:
            self.fetch.description = f"Fetch {CATALOGUE[self.list.value].size / 1e6:.0f} MB"


def _must_be_fetched(model: str) -> bool:
    return model in CATALOGUE and not is_local(CATALOGUE[model])
