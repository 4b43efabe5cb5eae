"""ColorizeBox, the Jupyter panel: displays the presenter's state and passes on user input."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import ipywidgets as widgets
import traitlets

from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.imaging.intensity_range import REMEDY
from napari_colorize.jupyter.array_file import ArrayFile, array_file
from napari_colorize.jupyter.choosers import (
    ImageChooser,
    ModelChooser,
    PlaneChooser,
    ReferenceChooser,
    SweepGrid,
)
from napari_colorize.jupyter.controls import (
    FoldedGroup,
    SettingControl,
    SettingForms,
    show_message,
    style_sheet,
)
from napari_colorize.jupyter.guide_inputs import GuideInputs
from napari_colorize.jupyter.image_input import check_image, is_voila, open_path
from napari_colorize.jupyter.main_thread import SingleShotTimer, main_thread_relay
from napari_colorize.jupyter.paint_panel import PaintPanel
from napari_colorize.jupyter.saving import SavePanel
from napari_colorize.jupyter.snapshot import HIDDEN_CLASS, Snapshot, StoredPicture, snapshot_of
from napari_colorize.jupyter.toolbox import Toolbox
from napari_colorize.jupyter.view import ImageView
from napari_colorize.session import ColorizeSession
from napari_colorize.session.presenter import Presenter, SourceColors
from napari_colorize.settings import ColorizeSettings, settings_from

if TYPE_CHECKING:
    from collections.abc import Mapping

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
NO_LOOP = (
    "There is no event loop here, so results arrive in box.wait() only. In hosts such as marimo "
    "and Solara use ColorizeView."
)
BOX_REMEDY = "Other limits: choose them under Input range."
DELAY = 0.3  # seconds without a change, before a whole stack is updated
STORE_DELAY = 1.0  # seconds without another result, before the notebook's picture is replaced
KEPT_BYTES = 2**22  # of gray: smaller results stay in memory when a box is released
HIDDEN_BYTES = 2**27  # of gray, which boxes that no page displays may hold together
FIRST_RESULT = 2.0  # seconds that displaying a box waits for the picture in color


class _ResultTrait(traitlets.Any):
    """Result of a box; computed again on access if the memory of the box was released."""

    def get(self, obj: Any, cls: Any = None) -> Any:
        if obj.is_released:
            obj.restore()
        return super().get(obj, cls)


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
    files : bool, optional
        Whether the user may enter paths and save files on the computer of the kernel. Default: yes,
        except in Voila, which serves the box to visitors.
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

    is_released = False  # the result is not in memory
    result = _ResultTrait(None, read_only=True)
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
        files: bool | None = None,
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
        self._is_restoring = False
        self._file: ArrayFile | None = None  # of the source, if it was released
        self._files = not is_voila() if files is None else files
        self._create_widgets()
        self.session.compose_with(self._compose)
        super().__init__(self._arranged_widgets(), settings=chosen)
        self.add_class("napari-colorize-box")
        self._relay.receive(self)
        self._connect_widgets()
        self._connect_presenter()
        _open_boxes.add(self)
        self.session.warm_up()
        self._show_settings()
        self._show_model()
        self._open(source, plane, rgb)
        if guides is not None:
            self.guides = guides
        if not self._relay.has_loop and not self.presenter.is_error:
            self.presenter.show_status(NO_LOOP)

    def _ipython_display_(self) -> None:
        """Display the box, and below it the picture that a saved notebook keeps."""
        from IPython.display import publish_display_data

        data = super()._repr_mimebundle_()
        if data is None:  # without a front end that displays widgets
            return
        publish_display_data(data)
        self._wait_for_result(FIRST_RESULT)
        self._stored.display()

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any] | None:
        """The widget, and its picture for pages that cannot display widgets."""
        data: dict[str, Any] | None = super()._repr_mimebundle_(**options)
        self._wait_for_result(FIRST_RESULT)
        picture = self._take_snapshot()
        return data if picture is None else {**(data or {}), **picture._repr_mimebundle_()}

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
    def controls(self) -> Mapping[str, SettingControl]:
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

    def snapshot(self, timeout: float | None = 60.0) -> Snapshot:
        """Picture of the image in gray and in color that needs no kernel.

        As the last line of a cell it is stored in the notebook, with at most 300 kB.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for a result that is being computed; without one, the picture is gray.

        Raises
        ------
        ImageError
            If there is no image.
        """
        self._wait_for_result(timeout)
        picture = self._take_snapshot()
        if picture is None:
            raise ImageError("There is no image: choose one first.")
        return picture

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

    def release(self) -> None:
        """Free the memory of network, prediction and result, which can be computed again.

        Called when no page displays the box any more, for example because its cell was run again,
        and when other boxes need the memory. `result` is computed again when it is read, and the
        box when it is displayed or changed. The array of a large image is moved to a temporary
        file: `source` is then another array with the same values.
        """
        if self._newest is None or self.session.status != "idle" or self.presenter.current:
            return
        is_large = self._newest.plane.gray.nbytes > KEPT_BYTES
        if is_large and (self._file is None or self.source is not self._file.array):
            self._file = array_file(self.source)
        source = None if self._file is None else self._file.array
        self.session.release_memory(keep_result=not is_large, source=source)
        if is_large:
            self._trait_values.pop("result")  # without a notification: the result is not another
            self.view.forget_result()
            self.is_released = True

    def restore(self, timeout: float | None = None) -> None:
        """Compute the result again after `release`; waits for it, or for `timeout` seconds."""
        if not self._is_restoring:
            self._is_restoring = True
            self.presenter.refresh()
        if timeout != 0:
            self.wait(timeout)
            self.is_released = self._is_restoring = False  # also after an error

    def _wait_for_result(self, timeout: float | None) -> None:
        if self.is_released:
            self.restore(timeout)
        elif self.source is not None:
            self.wait(timeout)

    @property
    def _newest(self) -> Colorized | None:
        """The displayed result, or None; does not compute a released one."""
        newest: Colorized | None = self._trait_values.get("result")
        return newest

    def close(self) -> None:
        """End the session, free its memory and remove the widget."""
        if not hasattr(self, "presenter"):
            return  # the settings were refused; called by `__del__`
        self.is_released = False
        _open_boxes.discard(self)
        self.presenter.close()
        self.session.close(wait=1.0)
        self._store_timer.stop()
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
        self._images, self._planes = ImageChooser(files=self._files), PlaneChooser()
        self._models, self._others = ModelChooser(), ModelChooser(is_optional=True)
        self._references = ReferenceChooser(files=self._files)
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
        self._saving = SavePanel(self.session, self.view, files=self._files)
        self._stored = StoredPicture(HIDDEN_CLASS + self.view.model_id, self._take_snapshot)
        self._store_timer = SingleShotTimer(self._stored.update, STORE_DELAY)
        self._status = widgets.HTML()
        self._notes = widgets.HTML()
        show_message(self._notes, "")

    def _arranged_widgets(self) -> list[widgets.Widget]:
        form = self._forms.group
        self._stack_controls = widgets.VBox([self._planes.time_row, self._all])
        self._stack_controls.layout.display = "none"
        contents: dict[str, Callable[[], widgets.Widget]] = {
            "Paint hints": lambda: self._painting,
            "Edges and damping": lambda: form("Edges and damping"),
            "Reference image": lambda: widgets.VBox([self._references, form("Reference image")]),
            "Second model": lambda: widgets.VBox([self._others, form("Second model")]),
            "Input range": lambda: form("Input range"),
            "Output and memory": lambda: form("Output and memory"),
        }
        self._groups = {title: FoldedGroup(title, make) for title, make in contents.items()}
        panel = widgets.VBox(
            [
                self._images,
                self._models,
                form("Prediction"),
                self._toolbox,
                self._stack_controls,
                self._saving,
                *self._groups.values(),
            ]
        )
        panel.add_class("panel")
        status_row = widgets.HBox([self._status, self._stop])
        status_row.add_class("message-row")
        left = widgets.VBox([self.view, self._planes, status_row, self._notes])
        left.add_class("left")
        body = widgets.HBox([left, panel])
        body.add_class("body")
        return [style_sheet(HIDDEN_CLASS + self.view.model_id), body, self._sweep]

    def _connect_widgets(self) -> None:
        self.view.detached.connect(self.release)
        self.view.attached.connect(self._on_attached)
        self.view.received.connect(self._images.receive)
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
        self._saving.message.connect(lambda text: self.presenter.show_status(text, pin=True))
        self._saving.failed.connect(self.presenter.show_error)
        self._saving.keep_requested.connect(self._keep)

    def _connect_presenter(self) -> None:
        presenter, events = self.presenter, self.presenter.events
        presenter.changed.connect(self._show_changes)
        presenter.status_changed.connect(self._show_status)
        presenter.run_stored.connect(self._on_run_stored)
        events.result_ready.connect(self._on_result)
        events.sweep_ready.connect(
            lambda factor, result: self._sweep.show_result(factor, self.view.shown.result(result))
        )
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
        """Display another source; one that cannot be opened leaves everything as it was."""
        self._guard(lambda: self._show_source(source, plane, rgb))
        self._show_controls()

    def _show_source(self, source: Any, plane: Sequence[int] | None, rgb: bool | None) -> None:
        """Colorize an array, or the contents of a file."""
        path: Path | None = None
        declared_range: IntensityRange | None = None
        if isinstance(source, (str, os.PathLike)):
            path = Path(source)
            source, rgb, declared_range = open_path(path)
        elif source is not None and self.source is not None:
            check_image(source, rgb)
        release_hidden_boxes(self)
        self._forget_source()
        is_upload = path is not None and self._images.is_upload(path)
        self._images.show_path(None if is_upload else path)
        self._saving.source_path = None if is_upload else path
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
        self.is_released = self._is_restoring = False
        self._file = None
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

    def _on_attached(self) -> None:
        if self.is_released:
            self.restore(timeout=0)

    def _keep(self) -> None:
        self._stored.keep()
        self.presenter.show_status(
            "The picture below the box is stored in the notebook, with at most 300 kB. If there is "
            "none, run box.snapshot() in a cell.",
            pin=True,
        )

    def _take_snapshot(self) -> Snapshot | None:
        """Picture of the present state; None without an image."""
        return snapshot_of(self.view, self.session)

    # Display

    def _compose(self, result: Colorized) -> None:
        """Compose what is displayed, in the worker thread; all pixels for the array of a stack."""
        if self.presenter.current is None:
            self.view.shown.pixels(result)
        else:
            _ = result.pixels

    def _on_result(self, result: Colorized) -> None:
        self.is_released = self._is_restoring = False
        self.set_trait("result", result)
        self.view.show(result)
        self._toolbox.on_result(result)
        self._sweep.mark(result.settings.render_factor)
        self._store_timer.start()
        show_message(self._notes, self.presenter.notes.replace(REMEDY, BOX_REMEDY))
        self._show_settings()
        self._disable_settings()
        self._show_planes()
        self._show_controls()

    def _on_run_stored(self, colors: SourceColors) -> None:
        if self.stack is not None:
            self.presenter.show_status(f"{self.presenter.status} The array is box.stack.", pin=True)

    def _on_failed(self, error: ColorizeError) -> None:
        if self.source is not None and self._newest is None:
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
        has_result = self._newest is not None or self.is_released
        is_free = has_result and not self.presenter.is_running
        self._toolbox.set_enabled(is_free)
        self._saving.set_enabled(is_free)
        self._painting.tool.disabled = not has_result
        if self._planes.sliders and len(self._stack_controls.children) == 2:
            smoothing = self._forms.group("Video and stacks")
            self._stack_controls.children = [smoothing, *self._stack_controls.children]
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


_open_boxes: WeakSet[ColorizeBox] = WeakSet()


def release_hidden_boxes(new: ColorizeBox) -> None:
    """Release boxes that no page displays if together they hold more than `HIDDEN_BYTES`.

    The notebook keeps every widget that was ever made, also those whose cell was run again.
    """
    hidden = [box for box in _open_boxes if box is not new and not box.view.is_attached]
    sizes = [0 if box._newest is None else box._newest.plane.gray.nbytes for box in hidden]
    if sum(sizes) > HIDDEN_BYTES:
        for box in hidden:
            box.release()


def _button(text: str, tooltip: str) -> widgets.Button:
    return widgets.Button(
        description=text, tooltip=tooltip, layout=widgets.Layout(width="auto", flex="0 1 auto")
    )
