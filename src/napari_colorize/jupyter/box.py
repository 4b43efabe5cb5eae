"""ColorizeBox, the Jupyter panel: displays the presenter's state and passes on user input."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.imaging.intensity_range import REMEDY
from napari_colorize.jupyter.choosers import (
    ImageChooser,
    ModelChooser,
    PlaneChooser,
    ReferenceChooser,
    SweepGrid,
)
from napari_colorize.jupyter.controls import (
    SettingControl,
    SettingForms,
    flexible_layout,
    labeled_row,
    show_message,
    style_sheet,
)
from napari_colorize.jupyter.guide_inputs import GuideInputs
from napari_colorize.jupyter.image_input import open_path
from napari_colorize.jupyter.main_thread import SingleShotTimer, main_thread_relay
from napari_colorize.jupyter.paint_panel import PaintPanel
from napari_colorize.jupyter.toolbox import Toolbox
from napari_colorize.jupyter.view import ImageView
from napari_colorize.session import ColorizeSession
from napari_colorize.session.presenter import Presenter, SourceColors
from napari_colorize.settings import ColorizeSettings, settings_from

if TYPE_CHECKING:
    from napari_colorize.array_types import PlaneIndex
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.imaging.intensity_range import IntensityRange
    from napari_colorize.refine.guides import Guides
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.palette_transfer import Reference
    from napari_colorize.result import Colorized
    from napari_colorize.runtime.devices import Precision
    from napari_colorize.session import RunProgress

NO_IMAGE = "Upload an image, or enter its path."
BOX_REMEDY = "Other limits: choose them under Input range."
DELAY = 0.3  # seconds without a change, before a whole stack is updated


class ColorizeBox(widgets.VBox):
    """Widget that shows an image in gray and in color, with controls for all settings.

    Colors follow the settings automatically. Errors are shown in the box, in one sentence.

    Parameters
    ----------
    source : array or path, optional
        An image or a stack, or the file of an image, stack or video; see `source`.
    plane : tuple of int, optional
        Index of the displayed plane of a stack. Default: the first.
    rgb : bool, optional
        Whether the last axis holds color channels. Default: if its length is 3 or 4.
    model : str, path or Colorizer
        Name in the catalogue, file, or Colorizer.
    blend_with : str, path or Colorizer, optional
        Second model, whose colors are blended with those of the first.
    guides : Guides, optional
        Mask, hints and reference; `mask`, `hints` and `reference` set one of them.
    device, precision : str
        Device and precision of the network; "auto" chooses by the hardware.
    **settings
        See `ColorizeSettings`.

    Attributes
    ----------
    result : Colorized or None
        The displayed result; `observe` reports a new one.
    settings : ColorizeSettings
        All settings. Set it, or change some with `set_settings`; the controls follow.
    presenter : Presenter
        State that is shared with the napari panel.

    Examples
    --------
    >>> box = ColorizeBox("old.jpg", saturation=1.4)  # doctest: +SKIP
    >>> box.observe(lambda change: print(change["new"]), "result")  # doctest: +SKIP
    >>> box.set_settings(render_factor=16)  # doctest: +SKIP
    """

    result = traitlets.Any(None, read_only=True)
    settings = traitlets.Instance(ColorizeSettings)

    def __init__(
        self,
        source: Any = None,
        *,
        plane: Sequence[int] | None = None,
        rgb: bool | None = None,
        model: str | os.PathLike[str] | Colorizer = "embedded",
        blend_with: str | os.PathLike[str] | Colorizer | None = None,
        guides: Guides | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        **settings: Any,
    ) -> None:
        chosen = settings_from(settings)
        self.session = ColorizeSession(
            model=model,
            blend_with=blend_with,
            device=device,
            precision=precision,
            settings=chosen,
        )
        self._relay = main_thread_relay()
        self.presenter = Presenter(
            self.session,
            self._relay,
            lambda update: SingleShotTimer(update, DELAY),
            empty_status=lambda: NO_IMAGE,
        )
        self._create_widgets()
        super().__init__(self._arranged_widgets(), settings=chosen)
        self.add_class("napari-colorize-box")
        self._connect_widgets()
        self._connect_presenter()
        self.session.warm_up()
        self._show_settings()
        self._show_model()
        self._open(source, plane, rgb)
        if guides is not None:
            self.guides = guides

    def __repr__(self) -> str:
        # Without the child widgets, whose representation takes seconds.
        model = self.model if isinstance(self.model, str) else self.model.checkpoint.name
        return f"ColorizeBox({getattr(self.source, 'shape', None)}, model={model!r})"

    # Public API

    @property
    def source(self) -> Any:
        """The image or stack as an array; set an array, a path, or None.

        A video is a stack whose frames are decoded when they are displayed.
        """
        return self.session.source

    @source.setter
    def source(self, source: Any) -> None:
        self._open(source)

    @property
    def plane(self) -> PlaneIndex | None:
        """Index of the displayed plane, `source[plane]`. None: the first."""
        return self.session.plane

    @plane.setter
    def plane(self, plane: Sequence[int] | None) -> None:
        shape = tuple(getattr(self.source, "shape", ()))
        self.presenter.show_plane(shape[: len(plane or ())], plane=plane)

    @property
    def model(self) -> str | Colorizer:
        """Name in the catalogue (downloaded if necessary), file, or Colorizer."""
        return self.session.model

    @model.setter
    def model(self, model: str | os.PathLike[str] | Colorizer) -> None:
        self.presenter.update(model=model)
        self._show_model()

    @property
    def blend_with(self) -> str | Colorizer | None:
        """Second model, blended with the first by `blend` and `blend_by`. None: no second model."""
        return self.session.blend_with

    @blend_with.setter
    def blend_with(self, model: str | os.PathLike[str] | Colorizer | None) -> None:
        self.presenter.update(blend_with=model)
        self._show_model()

    @property
    def guides(self) -> Guides:
        """Mask, hints and reference for all planes; a new source keeps only the reference.

        Guides that do not fit the image are reported in the box.
        """
        return self._guiding.guides

    @guides.setter
    def guides(self, guides: Guides | None) -> None:
        self._guiding.set_guides(guides)

    @property
    def hints(self) -> Hints | None:
        """Colors of some pixels, which spread; set `Hints`, or RGBA pixels `(Y, X, 4)`.

        Strokes that are painted in the view are included.
        """
        return self.guides.hints

    @hints.setter
    def hints(self, hints: Any) -> None:
        self._guiding.set_hints(hints)

    @property
    def reference(self) -> Reference | None:
        """Image whose palette is used; set a color array, or a path."""
        return self.guides.reference

    @reference.setter
    def reference(self, reference: Any) -> None:
        self._guiding.set_reference(reference)

    @property
    def mask(self) -> Any:
        """Pixels to color, an array `(Y, X)`; the others stay as they are."""
        return self.guides.mask

    @mask.setter
    def mask(self, mask: Any) -> None:
        self._guiding.set_mask(mask)

    @property
    def time_axis(self) -> int | None:
        """Axis of a stack for temporal smoothing. None: the first."""
        return self.session.time_axis

    @time_axis.setter
    def time_axis(self, axis: int | None) -> None:
        self.presenter.update(time_axis=axis)
        self._planes.show_time_axis(axis or 0)

    @property
    def controls(self) -> dict[str, SettingControl]:
        """The control of each setting."""
        return self._forms.controls

    @property
    def stack(self) -> Any:
        """All planes in color as one array `(..., Y, X, 3 or 4)`.

        None before `colorize_all`, and while the stack is colorized again after a change of
        settings. Each run makes a new array.
        """
        colors = self.presenter.current
        return None if colors is None else colors.colors.array()

    def set_settings(self, **settings: Any) -> None:
        """Change some settings; the others stay. See `ColorizeSettings`."""
        self.settings = settings_from({**vars(self.settings), **settings})

    def colorize_all(self) -> None:
        """Colorize every plane of a stack, for `stack`; it follows the settings from now on.

        Raises
        ------
        ColorizeError
            If there is no source, or the result would not fit into memory.
        """
        if self.presenter.current is None and self.source is not None:
            self.presenter.current = self._source_colors()
        self.presenter.colorize_stack()

    def sweep(self, render_factors: Sequence[int] | None = None) -> None:
        """Show the displayed plane with several render factors.

        Raises
        ------
        ImageError, SettingsError
            If there is no source, all planes are being colorized, or a render factor is out of
            range.
        """
        self._sweep.start(self.presenter.sweep(render_factors))

    def cancel(self) -> None:
        """Stop all work; the displayed result stays."""
        self.presenter.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; False after `timeout` seconds.

        A cell that needs `result` at once calls this first: results arrive between cells.
        """
        began = time.monotonic()
        while True:
            left = None if timeout is None else max(0.0, began + timeout - time.monotonic())
            is_done = self.session.wait(left)
            self._relay.deliver()  # slots may start further work
            if is_done and self.presenter.flush():
                continue
            if not is_done or self.session.wait(0):
                return is_done

    def close(self) -> None:
        """End the session, free its memory and remove the widget."""
        self.presenter.close()
        self.session.close(wait=1.0)
        self._saturation.close()
        self._painting.close()
        self.view.close()
        super().close()

    def _source_colors(self) -> SourceColors:
        """Color arrays of the source, for the first run over all planes."""
        from napari_colorize.display import DisplayRange
        from napari_colorize.display.stack import StackColors
        from napari_colorize.imaging.planes import spatial_axes, to_numpy  # imports torch

        if not hasattr(self.source, "shape"):
            session = self.session
            session.update(
                source=to_numpy(self.source),
                plane=self.plane,
                rgb=session.rgb,
                guides=session.guides,
                time_axis=self.time_axis,
            )
        source = self.source
        axes = spatial_axes(source, self.session.rgb)
        # Limits and gamma are for planes without colors, which are not shown here.
        display_range = DisplayRange(axes == 3, (0.0, 1.0))
        return SourceColors(
            lambda: StackColors(source, display_range),
            leading_axes=len(source.shape) - axes,
            renewed_per_run=True,
        )

    # Widgets

    def _create_widgets(self) -> None:
        self.view = ImageView()
        self.view.layout.width = "100%"
        self._images, self._planes, self._models = ImageChooser(), PlaneChooser(), ModelChooser()
        self._others = ModelChooser(is_optional=True)
        self._references = ReferenceChooser()
        self._painting = PaintPanel(self.view)
        self._guiding = GuideInputs(self.presenter, self._painting, self._references)
        self._forms = SettingForms()
        self._saturation = widgets.jslink(  # runs in the browser, without the kernel
            (self.controls["saturation"].slider, "value"), (self.view, "saturation")
        )
        self._toolbox, self._sweep = Toolbox(self.session, self.view, self._painting), SweepGrid()
        self._all = _button("Colorize all planes", "")
        self._stop = _button("Stop", "Stop the computation; the displayed result stays.")
        self._stop.add_class("stop")
        self._path = widgets.Text("colorized.png", layout=flexible_layout())
        self._save = _button("Save", "Save the image on the computer of the kernel.")
        self._status = widgets.HTML()
        self._notes = widgets.HTML()
        show_message(self._notes, "")

    def _arranged_widgets(self) -> list[widgets.Widget]:
        forms = self._forms.groups
        self._stack_controls = widgets.VBox(
            [forms["Video and stacks"], self._planes.time_row, self._all]
        )
        self._stack_controls.layout.display = "none"
        groups = {
            "Paint hints": self._painting,
            "Edges and damping": forms["Edges and damping"],
            "Reference image": widgets.VBox([self._references, forms["Reference image"]]),
            "Second model": widgets.VBox([self._others, forms["Second model"]]),
            "Input range": forms["Input range"],
            "Output and memory": forms["Output and memory"],
        }
        panel = widgets.VBox(
            [
                self._images,
                self._models,
                forms["Prediction"],
                self._toolbox,
                self._stack_controls,
                labeled_row("save as", self._path, self._save),
                widgets.Accordion(list(groups.values()), titles=tuple(groups)),
            ]
        )
        panel.add_class("panel")
        status_row = widgets.HBox([self._status, self._stop])
        status_row.add_class("message-row")
        left = widgets.VBox([self.view, self._planes, status_row, self._notes])
        left.add_class("left")
        body = widgets.HBox([left, panel])
        body.add_class("body")
        return [style_sheet(), body, self._sweep]

    def _connect_widgets(self) -> None:
        self.view.detached.connect(self._release_memory)
        self._images.chosen.connect(self._open)
        self._planes.chosen.connect(self._choose_plane)
        self._planes.time_axis_chosen.connect(lambda axis: setattr(self, "time_axis", axis))
        self._models.chosen.connect(lambda model: setattr(self, "model", model))
        self._others.chosen.connect(lambda model: setattr(self, "blend_with", model))
        self._guiding.failed.connect(self.presenter.show_error)
        self._forms.changed.connect(self._change_setting)
        self._toolbox.failed.connect(self.presenter.show_error)
        self._toolbox.sweep_button.on_click(lambda _: self._guard(self.sweep))
        self._sweep.picked.connect(lambda factor: self.set_settings(render_factor=factor))
        self._all.on_click(lambda _: self._guard(self.colorize_all))
        self._stop.on_click(lambda _: self.cancel())
        self._save.on_click(lambda _: self._guard(self._write))

    def _connect_presenter(self) -> None:
        presenter, events = self.presenter, self.presenter.events
        presenter.changed.connect(self._show_changes)
        presenter.status_changed.connect(self._show_status)
        presenter.run_stored.connect(self._on_run_stored)
        events.result_ready.connect(self._on_result)
        events.sweep_ready.connect(self._sweep.show_result)
        events.attention_ready.connect(self._toolbox.attention.show)
        events.expected_error_ready.connect(self._toolbox.expected_error.show)
        events.disagreement_ready.connect(self._toolbox.disagreement.show)
        events.progress.connect(self._show_progress)
        events.state.connect(self._show_state)
        events.failed.connect(self._on_failed)

    # User input

    def _guard(self, function: Callable[[], object]) -> None:
        """Call a function; show its error as the status."""
        try:
            function()
        except ColorizeError as error:
            self.presenter.show_error(error)

    def _open(
        self, source: Any, plane: Sequence[int] | None = None, rgb: bool | None = None
    ) -> None:
        self._forget_source()
        self._guard(lambda: self._show_source(source, plane, rgb))
        self._show_controls()

    def _show_source(self, source: Any, plane: Sequence[int] | None, rgb: bool | None) -> None:
        """Colorize an array, or the contents of a file."""
        declared_range: IntensityRange | None = None
        if isinstance(source, (str, os.PathLike)):
            source, rgb, declared_range = open_path(source)
        guides = self._guiding.reset_for_new_source()
        self.presenter.show(
            None,
            source=source,
            plane=plane,
            rgb=rgb,
            guides=guides,
            declared_range=declared_range,
        )
        if source is None:
            self.presenter.show_default_status()

    def _forget_source(self) -> None:
        if self.presenter.current is not None:
            self.presenter.forget(self.presenter.current)
        self.presenter.show(None, source=None)
        self.session.cancel()
        self.set_trait("result", None)
        self.view.clear()
        self._toolbox.clear()
        self._sweep.clear()
        show_message(self._notes, "")
        self._planes.show_plane((), ())

    def _choose_plane(self, plane: PlaneIndex) -> None:
        self._toolbox.attention.clear()
        self._sweep.clear()
        self._guard(lambda: setattr(self, "plane", plane))

    def _change_setting(self, name: str, value: Any) -> None:
        self._guard(lambda: self.set_settings(**{name: value}))

    @traitlets.observe("settings")
    def _on_settings(self, change: Any) -> None:
        self.presenter.set_settings(**vars(change["new"]))
        self._show_settings()

    def _release_memory(self) -> None:
        """Free the memory of the network while the box is not visible in any browser."""
        if self.session.status == "idle":
            self.session.release_memory()

    def _write(self) -> None:
        if self.result is None:
            raise ImageError("There are no colors yet: wait for the first result.")
        path = self.result.save(Path(self._path.value.strip()).expanduser())
        self.presenter.show_status(f"Saved as {path.absolute()}.", pin=True)

    # Display

    def _on_result(self, result: Colorized) -> None:
        self.set_trait("result", result)
        self.view.show(result)
        self._toolbox.on_result(result)
        show_message(self._notes, self.presenter.notes.replace(REMEDY, BOX_REMEDY))
        self._show_settings()
        self._disable_settings()
        self._show_planes()
        self._show_controls()

    def _on_run_stored(self, colors: SourceColors) -> None:
        if self.stack is not None:
            self.presenter.show_status(f"{self.presenter.status} The array is box.stack.", pin=True)

    def _on_failed(self, error: ColorizeError) -> None:
        if self.source is not None and self.result is None:
            # Other planes of the stack may be valid.
            try:
                self._show_planes()
            except ColorizeError:
                self._planes.show_plane((), ())
        self._show_controls()

    def _show_changes(self) -> None:
        self.settings = self.presenter.settings
        self._disable_settings()
        self._show_controls()

    def _show_settings(self) -> None:
        self._forms.show_settings(self.settings, self.presenter.recommended())

    def _show_model(self) -> None:
        model, other = self.session.model, self.session.blend_with
        if isinstance(model, str):
            self._models.refresh(model)
        if other is None or isinstance(other, str):
            self._others.refresh(other or "")

    def _disable_settings(self) -> None:
        """Disable the controls of settings without effect, with the reason as tooltip."""
        self._forms.disable(self.presenter.settings_without_effect)

    def _show_planes(self) -> None:
        from napari_colorize.imaging.planes import spatial_axes  # imports torch

        shape = tuple(getattr(self.source, "shape", ()))
        if len(shape) > 2:
            leading = shape[: -spatial_axes(self.source, self.session.rgb)]
            self._planes.show_plane(leading, self.plane or (0,) * len(leading))
            self._planes.show_time_axis(self.time_axis or 0)

    def _show_controls(self) -> None:
        has_result = self.result is not None
        is_free = has_result and not self.presenter.is_running
        self._toolbox.set_enabled(is_free)
        self._save.disabled = not is_free
        self._painting.tool.disabled = not has_result
        self._stack_controls.layout.display = "" if self._planes.sliders else "none"
        self._all.disabled = not is_free

    def _show_state(self, state: str) -> None:
        is_busy = state not in ("idle", "composing")
        self.view.progress = -1.0 if is_busy else None
        (self._stop.add_class if is_busy else self._stop.remove_class)("waits")
        if state == "idle":
            self._show_model()
            self._disable_settings()

    def _show_progress(self, progress: RunProgress) -> None:
        self.view.progress = progress.done / max(1, progress.total)

    def _show_status(self) -> None:
        presenter = self.presenter
        show_message(self._status, presenter.status, kind="error" if presenter.is_error else "word")


def _button(text: str, tooltip: str) -> widgets.Button:
    return widgets.Button(
        description=text, tooltip=tooltip, layout=widgets.Layout(width="auto", flex="0 1 auto")
    )
