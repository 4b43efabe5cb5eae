"""Widgets that choose a file, a plane, a reference image, a model, or a render factor."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.jupyter.controls import flexible_layout, labeled_row
from napari_colorize.jupyter.thumbnails import as_png, preview, thumbnail
from napari_colorize.session.messages import download_label, model_choices, needs_download

if TYPE_CHECKING:
    from napari_colorize.refine.palette_transfer import Reference
    from napari_colorize.result import Colorized

REFERENCE_SIDE = 96  # px of the longer side of the thumbnail
SWEEP_SIDE = 176
ACCEPTED_FILES = "image/*,.tif,.tiff,.dcm"  # as in page.js


class ImageChooser(widgets.VBox):
    """Upload button and text field for an image file.

    Attributes
    ----------
    chosen : Signal(Path)
        Path on the kernel's computer; uploads are written to a temporary folder.
    """

    chosen = Signal(Path)

    def __init__(self, label: str = "image", *, files: bool = True) -> None:
        self.upload = widgets.FileUpload(
            accept=ACCEPTED_FILES, description="", layout=widgets.Layout(width="34px")
        )
        self.upload.add_class("icon-only")
        self.upload.tooltip = "Upload an image from this computer."
        self.path = widgets.Text(
            placeholder="path, or upload", continuous_update=False, layout=flexible_layout()
        )
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._is_updating = False
        super().__init__([labeled_row(label, *([self.path] if files else []), self.upload)])
        self.upload.observe(self._on_upload, "value")
        if files:
            self.path.observe(self._on_path, "value")

    def receive(self, name: str, content: bytes | memoryview) -> None:
        """Choose a file that was sent by the browser."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="napari-colorize-")
        # Only the file name: a browser may send a path that leaves the folder.
        path = Path(self._folder.name) / (Path(name).name or "image")
        path.write_bytes(content)
        self.chosen.emit(path)

    def is_upload(self, path: Path) -> bool:
        """Whether the file is a temporary one that was sent by the browser."""
        return self._folder is not None and path.parent == Path(self._folder.name)

    def show_path(self, path: Path | None) -> None:
        """Display a path, or nothing, without a signal."""
        self._is_updating = True
        self.path.value = "" if path is None else str(path)
        self._is_updating = False

    def _on_upload(self, change: object) -> None:
        if not self.upload.value:
            return
        (upload,) = self.upload.value
        self.upload.value = ()
        self.receive(upload["name"], upload["content"])

    def _on_path(self, change: object) -> None:
        if self.path.value.strip() and not self._is_updating:
            self.chosen.emit(Path(self.path.value.strip()).expanduser())


class ReferenceChooser(widgets.VBox):
    """Chooser for a reference image, with a thumbnail."""

    chosen = Signal(object)  # Path or None: path of the reference, None if it was removed

    def __init__(self, *, files: bool = True) -> None:
        self.files = ImageChooser("image", files=files)
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
            self.thumbnail.value = as_png(preview(reference.rgb, REFERENCE_SIDE))


class PlaneChooser(widgets.VBox):
    """One slider for each leading axis of a stack.

    Attributes
    ----------
    time_row : HBox
        List of the axes, shown for stacks with several leading axes; placed by the box.
    """

    chosen = Signal(tuple)  # index of the chosen plane
    time_axis_chosen = Signal(int)  # axis chosen as time

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
    """List of the models with their download sizes; `is_optional` adds the entry "none".

    A model that is not downloaded yet is chosen when the download button is pressed.
    """

    chosen = Signal(object)  # str or None: model name or path, None for "none"

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
        if model and model not in [value for _, value in model_choices(self._files)]:
            self._files.append(model)
        self._is_updating = True
        self.list.options = [*self._none, *model_choices(self._files)]
        self.list.value = model
        self._is_updating = False
        self._show_download()

    def _on_choice(self, change: object) -> None:
        if self._is_updating:
            return
        self._show_download()
        if not needs_download(self.list.value):
            self.chosen.emit(self.list.value or None)

    def _show_download(self) -> None:
        is_needed = needs_download(self.list.value)
        self.download.layout.display = "" if is_needed else "none"
        if is_needed:
            self.download.description = download_label(self.list.value)


class SweepGrid(widgets.VBox):
    """Thumbnails that are filled in as results arrive."""

    picked = Signal(int)  # render factor of the clicked thumbnail

    def __init__(self) -> None:
        self._grid = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        caption = widgets.HTML(
            '<span class="message">Low render factors give uniform colors, high ones follow small '
            "structures. Click an image to use its render factor.</span>"
        )
        self.hide = widgets.Button(
            description="Close", tooltip="Remove these images.", layout=widgets.Layout(width="auto")
        )
        self.hide.on_click(lambda _: self.clear())
        heading = widgets.HBox([caption, self.hide])
        super().__init__([heading, self._grid], layout=widgets.Layout(display="none"))
        self.buttons: dict[int, widgets.Button] = {}
        self._thumbnails: dict[int, widgets.Image] = {}

    def start(self, render_factors: list[int]) -> None:
        """Show an empty place for each render factor."""
        self.buttons = {factor: self._button(factor) for factor in render_factors}
        self._thumbnails = {
            factor: widgets.Image(layout=widgets.Layout(display="none"))
            for factor in render_factors
        }
        cells = [
            widgets.VBox([self._thumbnails[factor], self.buttons[factor]])
            for factor in render_factors
        ]
        for cell in cells:
            cell.add_class("sweep-cell")  # its button covers the image, which can be clicked
        _close_all(self._grid.children)
        self._grid.children = cells
        self.layout.display = ""

    def clear(self) -> None:
        """Remove all thumbnails and hide the grid."""
        self.layout.display = "none"
        _close_all(self._grid.children)
        self._grid.children = ()
        self.buttons, self._thumbnails = {}, {}

    def mark(self, render_factor: int | None) -> None:
        """Mark the image of the render factor in use."""
        for factor, button in self.buttons.items():
            is_chosen = factor == render_factor
            (button.add_class if is_chosen else button.remove_class)("chosen")

    def show_result(self, render_factor: int, result: Colorized) -> None:
        """Display the result of one render factor."""
        if render_factor not in self.buttons:
            return
        image, button = self._thumbnails[render_factor], self.buttons[render_factor]
        image.value = as_png(thumbnail(result, SWEEP_SIDE))
        image.layout.display = ""
        button.description, button.disabled = str(render_factor), False
        image.add_class("sweep-image")

    def _button(self, factor: int) -> widgets.Button:
        button = widgets.Button(
            description=f"{factor} …",
            disabled=True,
            tooltip=f"Use render factor {factor}.",
            layout=widgets.Layout(width=f"{SWEEP_SIDE}px"),
        )
        button.on_click(lambda _: self.picked.emit(factor))
        return button


def _close_all(widgets_: Sequence[widgets.Widget]) -> None:
    """Remove widgets and their children from the kernel and the browser."""
    for widget in widgets_:
        _close_all(getattr(widget, "children", ()))
        for part in (widget.layout, getattr(widget, "style", None), widget):
            if part is not None:
                part.close()
