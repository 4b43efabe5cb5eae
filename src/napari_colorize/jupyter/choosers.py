"""Widgets that choose an image file, a plane of a stack, a reference image or a model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.jupyter.controls import flexible_layout, labeled_row
from napari_colorize.jupyter.thumbnails import as_png, preview
from napari_colorize.session.messages import download_note
from napari_colorize.zoo import CATALOGUE, is_local, user_models

if TYPE_CHECKING:
    from napari_colorize.refine.palette_transfer import Reference

THUMBNAIL = 96  # px of the longer side
ACCEPTED_FILES = "image/*,.tif,.tiff,.dcm"


class ImageChooser(widgets.VBox):
    """Upload button and text field for an image file.

    Attributes
    ----------
    chosen : Signal(Path)
        Path on the kernel's computer; uploads are written to a temporary folder.
    """

    chosen = Signal(Path)

    def __init__(self, label: str = "image") -> None:
        self.upload = widgets.FileUpload(
            accept=ACCEPTED_FILES, description="", layout=widgets.Layout(width="34px")
        )
        self.upload.add_class("icon-only")
        self.upload.tooltip = "Upload an image from this computer."
        self.path = widgets.Text(
            placeholder="path, or upload", continuous_update=False, layout=flexible_layout()
        )
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        super().__init__([labeled_row(label, self.path, self.upload)])
        self.upload.observe(self._on_upload, "value")
        self.path.observe(self._on_path, "value")

    def _on_upload(self, change: object) -> None:
        if not self.upload.value:
            return
        (upload,) = self.upload.value
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="napari-colorize-")
        # Only the file name: a browser may send a path that leaves the folder.
        path = Path(self._folder.name) / Path(upload["name"]).name
        path.write_bytes(upload["content"])
        self.upload.value = ()
        self.chosen.emit(path)

    def _on_path(self, change: object) -> None:
        if self.path.value.strip():
            self.chosen.emit(Path(self.path.value.strip()).expanduser())


class ReferenceChooser(widgets.VBox):
    """Chooser for a reference image, with a thumbnail.

    Attributes
    ----------
    chosen : Signal(Path or None)
        Path of the reference, None if it was removed.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        self.files = ImageChooser("image")
        self.thumbnail = widgets.Image(format="png")
        self.remove = widgets.Button(icon="times", layout=widgets.Layout(width="34px"))
        self.remove.add_class("icon-only")
        self.remove.tooltip = "Remove the reference image."
        self._current = widgets.HBox([self.thumbnail, self.remove])
        super().__init__([self.files, self._current])
        self.files.chosen.connect(self.chosen.emit)
        self.remove.on_click(lambda _: self.chosen.emit(None))
        self.show_reference(None)

    def show_reference(self, reference: Reference | None) -> None:
        """Display the thumbnail of the current reference, or nothing for None."""
        self._current.layout.display = "none" if reference is None else ""
        if reference is None:
            self.files.path.value = ""
        else:
            self.thumbnail.value = as_png(preview(reference.rgb, THUMBNAIL))


class PlaneChooser(widgets.VBox):
    """One slider for each leading axis of a stack.

    Attributes
    ----------
    chosen : Signal(tuple)
        Index of the chosen plane.
    time_axis_chosen : Signal(int)
        Axis chosen as time.
    time_row : HBox
        List of the axes, shown for stacks with several leading axes; placed by the box.
    """

    chosen = Signal(tuple)
    time_axis_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.sliders: tuple[widgets.IntSlider, ...] = ()
        self._is_updating = False
        self._axes = widgets.Dropdown(layout=flexible_layout())
        self._axes.tooltip = "Axis along which temporal smoothing acts."
        self.time_row = labeled_row("time axis", self._axes)
        self._axes.observe(self._emit_time_axis, "value")

    def show_plane(self, lengths: Sequence[int], plane: Sequence[int]) -> None:
        """Set the sliders to axes of these lengths and to this plane, without a signal."""
        self._is_updating = True
        if [slider.max + 1 for slider in self.sliders] != list(lengths):
            self._make_sliders(lengths)
        for slider, position in zip(self.sliders, plane, strict=False):
            slider.value = position
        self._is_updating = False

    def show_time_axis(self, axis: int) -> None:
        """Display the axis used as time, without a signal."""
        self._is_updating = True
        if axis < len(self.sliders):
            self._axes.value = axis
        self._is_updating = False

    def _make_sliders(self, lengths: Sequence[int]) -> None:
        self.sliders = tuple(
            widgets.IntSlider(0, 0, length - 1, layout=flexible_layout(), disabled=length == 1)
            for length in lengths
        )
        for slider in self.sliders:
            slider.observe(self._emit_plane, "value")
        names = ["plane"] if len(lengths) == 1 else [f"axis {axis}" for axis in range(len(lengths))]
        self.children = [
            labeled_row(name, slider) for name, slider in zip(names, self.sliders, strict=True)
        ]
        self._axes.options = [(name, axis) for axis, name in enumerate(names)]
        self.time_row.layout.display = "" if len(lengths) > 1 else "none"

    def _emit_plane(self, change: object) -> None:
        if not self._is_updating:
            self.chosen.emit(tuple(slider.value for slider in self.sliders))

    def _emit_time_axis(self, change: object) -> None:
        if not self._is_updating:
            self.time_axis_chosen.emit(self._axes.value)


class ModelChooser(widgets.VBox):
    """List of the models with their download sizes.

    A model that is not downloaded yet is chosen when the download button is pressed.

    Parameters
    ----------
    is_optional : bool
        Adds the entry "none".

    Attributes
    ----------
    chosen : Signal(str or None)
        Model name or path, None for "none".
    """

    chosen = Signal(object)

    def __init__(self, *, is_optional: bool = False) -> None:
        self.list = widgets.Dropdown(layout=flexible_layout())
        self.download = widgets.Button(layout=widgets.Layout(width="auto"))
        self.download.tooltip = "Download this model once and keep it on the kernel's computer."
        self._none = [("none", "")] if is_optional else []
        self._files: list[str] = []  # models given by path that are in no list
        self._is_updating = False
        super().__init__([labeled_row("model", self.list, self.download)])
        self.list.observe(self._on_choice, "value")
        self.download.on_click(lambda _: self.chosen.emit(self.list.value))
        self.refresh("" if is_optional else "embedded")

    def refresh(self, model: str) -> None:
        """List the models again and select one, without a signal.

        A file that is not listed yet is added. "" selects "none".
        """
        own = [*map(str, user_models()), *self._files]
        if model and model not in CATALOGUE and model not in own:
            self._files.append(model)
            own.append(model)
        self._is_updating = True
        self.list.options = [
            *self._none,
            *((f"{name}{download_note(name)}", name) for name in CATALOGUE),
            *((Path(path).stem, path) for path in own),
        ]
        self.list.value = model
        self._is_updating = False
        self._show_download()

    def _on_choice(self, change: object) -> None:
        if self._is_updating:
            return
        self._show_download()
        if not _needs_download(self.list.value):
            self.chosen.emit(self.list.value or None)

    def _show_download(self) -> None:
        is_needed = _needs_download(self.list.value)
        self.download.layout.display = "" if is_needed else "none"
        if is_needed:
            size = CATALOGUE[self.list.value].size
            self.download.description = f"Download {size / 1e6:.0f} MB"


def _needs_download(model: str) -> bool:
    return model in CATALOGUE and not is_local(CATALOGUE[model])
