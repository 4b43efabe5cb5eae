"""ColorizeBox, the widget: it shows what the session knows and tells it what was clicked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.jupyter.choosers import (
    ImageChooser,
    ModelChooser,
    PlaneChooser,
    ReferenceChooser,
)
from napari_colorize.jupyter.controls import (
    SettingControl,
    flexible_layout,
    labeled_row,
    style_sheet,
)
from napari_colorize.jupyter.forms import SettingForms, without_effect
from napari_colorize.jupyter.guide_inputs import GuideInputs
from napari_colorize.jupyter.image_input import open_path
from napari_colorize.jupyter.loop_relay import LoopRelay
from napari_colorize.jupyter.painting import PaintPanel
from napari_colorize.jupyter.sweep import SweepGrid
from napari_colorize.jupyter.toolbox import Toolbox, show_message
from napari_colorize.jupyter.view import ImageView
from napari_colorize.session import ColorizeSession, messages
from napari_colorize.session.words import factors_around
from napari_colorize.settings import ColorizeSettings, settings_from
from napari_colorize.zoo import CATALOGUE

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.display.stack import StackColors
    from napari_colorize.refine.guides import Guides
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.palette_transfer import Reference
    from napari_colorize.result import Colorized
    from napari_colorize.runtime.devices import Precision
    from napari_colorize.session import PlaneSource, RunFinished, RunProgress

NOTHING = "Upload a picture, or give its path."


class ColorizeBox(widgets.VBox):
    """A picture in gray and in colour, and the knobs; colours follow them by themselves.

    What goes wrong is told in the box in one sentence, and the box goes on.

    Parameters
    ----------
    source : array or path, optional
        An image or a stack, or the file of one or of a film; see `source`.
    plane : tuple of int, optional
        Which plane of a stack; the first by default.
    rgb : bool, optional
        Whether the last axis holds colours. Default: if it has 3 or 4 entries.
    model : str, path or Colorizer
        A name in the catalogue, a file, or a Colorizer of yours.
    blend_with : str, path or Colorizer, optional
        A second model, whose colours are blended with the first one's.
    guides : Guides, optional
        Mask, hints and reference; `mask`, `hints` and `reference` set one of them.
    device, precision : str
        Where and in which precision the network runs; "auto" asks the hardware.
    **settings
        See `ColorizeSettings`.

    Attributes
    ----------
    result : Colorized or None
        The picture that is shown; `observe` tells when there is another.
    settings : ColorizeSettings
        Every knob as chosen. Set it, or turn some with `choose`; the controls follow.

    Examples
    --------
    >>> box = ColorizeBox("old.jpg", saturation=1.4)  # doctest: +SKIP
    >>> box.observe(lambda change: print(change["new"]), "result")  # doctest: +SKIP
    >>> box.choose(render_factor=16)  # doctest: +SKIP
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
        self._loop = LoopRelay()
        self._colors: StackColors | None = None  # of a run over all planes
        self._run: int | None = None  # over all planes, while it is on
        self._stays = False  # what is said, until something else is done
        self._make_widgets()
        super().__init__(self._laid_out(), settings=chosen)
        self.add_class("napari-colorize-box")
        self._connect()
        self._listen()
        self.session.warm_up()
        self._show_settings()
        self._show_model()
        self._open(source, plane, rgb)
        if guides is not None:
            self.guides = guides

    def __repr__(self) -> str:  # of all widgets in it, it would take seconds and be read by nobody
        model = self.model if isinstance(self.model, str) else self.model.checkpoint.name
        return f"ColorizeBox({getattr(self.source, 'shape', None)}, model={model!r})"

    # What code uses

    @property
    def source(self) -> Any:
        """The image or stack that is colorized, as an array; set an array, a path, or None.

        A film is a stack whose frames are decoded when they are looked at.
        """
        return self.session.source

    @source.setter
    def source(self, source: Any) -> None:
        self._open(source)

    @property
    def plane(self) -> tuple[int, ...] | None:
        """Index of the plane looked at, `source[plane]`; None is the first."""
        return self.session.plane

    @plane.setter
    def plane(self, plane: Sequence[int] | None) -> None:
        self.session.plane = plane

    @property
    def model(self) -> str | Colorizer:
        """A name in the catalogue (fetched if it must be), a file, or a Colorizer of yours."""
        return self.session.model

    @model.setter
    def model(self, model: str | os.PathLike[str] | Colorizer) -> None:
        self._stays = False
        self.session.model = model
        self._show_model()

    @property
    def blend_with(self) -> str | Colorizer | None:
        """A second model, blended with the first; see `blend` and `blend_by`. None for none."""
        return self.session.blend_with

    @blend_with.setter
    def blend_with(self, model: str | os.PathLike[str] | Colorizer | None) -> None:
        self._stays = False
        self.session.blend_with = model
        self._show_model()
        self._show_lacks()

    @property
    def guides(self) -> Guides:
        """Mask, hints and reference; another picture keeps only the last.

        They hold for all planes of a stack. What does not fit the picture is told in the box.
        """
        return self._guiding.guides

    @guides.setter
    def guides(self, guides: Guides | None) -> None:
        self._guide(lambda: self._guiding.set_guides(guides))

    @property
    def hints(self) -> Hints | None:
        """Colours of some pixels, which spread; set `Hints`, or RGBA pixels `(Y, X, 4)`.

        What is painted in the view is here too.
        """
        return self.guides.hints

    @hints.setter
    def hints(self, hints: Any) -> None:
        self._guide(lambda: self._guiding.set_hints(hints))

    @property
    def reference(self) -> Reference | None:
        """A picture whose palette is taken over; set an array in colour, or a path."""
        return self.guides.reference

    @reference.setter
    def reference(self, reference: Any) -> None:
        self._guide(lambda: self._guiding.set_reference(reference))

    @property
    def mask(self) -> Any:
        """Where to colour, an array `(Y, X)`; elsewhere the image stays as it was."""
        return self.guides.mask

    @mask.setter
    def mask(self, mask: Any) -> None:
        self._guide(lambda: self._guiding.set_mask(mask))

    @property
    def time_axis(self) -> int | None:
        """Axis of a stack along which colours are held steady; None is the first."""
        return self.session.time_axis

    @time_axis.setter
    def time_axis(self, axis: int | None) -> None:
        self.session.time_axis = axis
        self._planes.show_time_axis(axis or 0)

    @property
    def controls(self) -> dict[str, SettingControl]:
        """The control of each setting."""
        return self._forms.controls

    @property
    def stack(self) -> Any:
        """The pictures of all planes as one array, after `colorize_all`; None before."""
        return None if self._colors is None else self._colors.array()

    def set_settings(self, **settings: Any) -> None:
        """Turn some knobs, the others stay; see `ColorizeSettings`."""
        self.settings = settings_from({**vars(self.settings), **settings})

    def colorize_all(self) -> None:
        """Colorize every plane of a stack, for `stack`.

        Raises
        ------
        ImageError
            If there is no source.
        """
        self._stays, self._colors = False, None
        self._run = self.session.colorize_stack()
        self._show_controls()

    def sweep(self, render_factors: Sequence[int] | None = None) -> None:
        """Show the plane looked at with several render factors, to choose from.

        Raises
        ------
        ImageError, SettingsError
            If there is no source, or a render factor is out of range.
        """
        used = self._recommended()["render_factor"]
        factors = factors_around(used) if render_factors is None else list(render_factors)
        self._stays = False
        self.session.sweep(factors)
        self._sweep.start(factors)

    def cancel(self) -> None:
        """Stop what is being done; what is shown stays."""
        self.session.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; False after `timeout` seconds.

        A cell that needs `result` at once calls this first: results come between cells.
        """
        began = time.monotonic()
        while True:
            left = None if timeout is None else max(0.0, began + timeout - time.monotonic())
            is_done = self.session.wait(left)
            self._loop.deliver()  # which may ask for more
            if not is_done or self.session.wait(0):
                return is_done

    def close(self) -> None:
        """End the session, free its memory and remove the widget."""
        self._loop.close()
        self.session.close(wait=1.0)
        self._saturation.close()
        self._painting.close()
        self.view.close()
        super().close()

    # What it is made of

    def _make_widgets(self) -> None:
        self.view = ImageView()
        self.view.layout.width = "100%"
        self._images, self._planes, self._models = ImageChooser(), PlaneChooser(), ModelChooser()
        self._others = ModelChooser(is_optional=True)
        self._references = ReferenceChooser()
        self._painting = PaintPanel(self.view)
        self._guiding = GuideInputs(self.session, self._painting, self._references)
        self._forms = SettingForms()
        self._saturation = widgets.jslink(  # in the browser: no kernel has to be asked
            (self.controls["saturation"].slider, "value"), (self.view, "saturation")
        )
        self._toolbox, self._sweep = Toolbox(self.session, self.view, self._painting), SweepGrid()
        self._all = _button("Colorize all planes", "")
        self._stop = _button("Stop", "What is shown stays.")
        self._stop.add_class("stop")
        self._path = widgets.Text("colorized.png", layout=flexible_layout())
        self._save = _button("Save", "Write the picture where the kernel runs.")
        self._sentence = widgets.HTML()
        self._notes = widgets.HTML()
        show_message(self._notes, "")

    def _laid_out(self) -> list[widgets.Widget]:
        forms = self._forms.groups
        self._stacked = widgets.VBox([forms["Video and stacks"], self._planes.time_row, self._all])
        self._stacked.layout.display = "none"
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
                self._stacked,
                labeled_row("save as", self._path, self._save),
                widgets.Accordion(list(groups.values()), titles=tuple(groups)),
            ]
        )
        panel.add_class("panel")
        message_row = widgets.HBox([self._sentence, self._stop])
        message_row.add_class("message-row")
        left = widgets.VBox([self.view, self._planes, message_row, self._notes])
        left.add_class("left")
        body = widgets.HBox([left, panel])
        body.add_class("body")
        return [style_sheet(), body, self._sweep]

    def _connect(self) -> None:
        self.view.detached.connect(self._release_memory)
        self._images.chosen.connect(self._open)
        self._planes.chosen.connect(lambda plane: self._guard(lambda: self._look_at(plane)))
        self._planes.time_axis_chosen.connect(lambda axis: setattr(self, "time_axis", axis))
        self._models.chosen.connect(lambda model: setattr(self, "model", model))
        self._others.chosen.connect(lambda model: setattr(self, "blend_with", model))
        self._guiding.failed.connect(self._show_error)
        self._references.chosen.connect(lambda _: self._show_lacks())
        self._forms.changed.connect(self._turn)
        self._toolbox.failed.connect(self._show_error)
        self._toolbox.sweep_button.on_click(lambda _: self._guard(self.sweep))
        self._sweep.picked.connect(lambda factor: self.set_settings(render_factor=factor))
        self._all.on_click(lambda _: self._guard(self.colorize_all))
        self._stop.on_click(lambda _: self.cancel())
        self._save.on_click(lambda _: self._guard(self._write))

    def _listen(self) -> None:
        carry, session = self._loop.connect, self.session
        carry(session.result_ready, self._on_result)
        carry(session.plane_ready, self._take_plane)
        carry(session.sweep_ready, self._sweep.show_result)
        carry(session.attention_ready, self._toolbox.attention.show)
        carry(session.expected_error_ready, self._toolbox.expected_error.show)
        carry(session.disagreement_ready, self._toolbox.disagreement.show)
        carry(session.run_finished, self._end_run)
        carry(session.progress, self._show_progress)
        carry(session.state, self._show_state)
        carry(session.failed, self._show_error)

    # What was clicked

    def _guard(self, work: Callable[[], object]) -> None:
        """Do it; what cannot be done is told in one sentence."""
        try:
            work()
        except ColorizeError as error:
            self._show_error(error)

    def _open(
        self, source: Any, plane: Sequence[int] | None = None, rgb: bool | None = None
    ) -> None:
        self._stays = False
        self._forget()
        self._guard(lambda: self._look(source, plane, rgb))
        self._show_controls()

    def _look(self, source: Any, plane: Sequence[int] | None, rgb: bool | None) -> None:
        """Let the session see an array, or what a file holds."""
        if isinstance(source, (str, os.PathLike)):
            opened = open_path(source)
            source, rgb = opened.array, opened.rgb
            self.set_settings(contrast_limits=opened.contrast_limits)
        self._say_what_is_shown()
        guides = self._guiding.reset_for_new_source()
        self.session.update(source=source, plane=plane, rgb=rgb, guides=guides)

    def _forget(self) -> None:
        """Another picture is wanted: nothing of the last one is shown."""
        self.session.source = None
        self.session.cancel()
        self._colors = self._run = None
        self.set_trait("result", None)
        self.view.clear()
        self._toolbox.clear()
        self._sweep.clear()
        show_message(self._notes, "")
        self._planes.show_plane((), ())

    def _look_at(self, plane: tuple[int, ...]) -> None:
        self._stays = False
        self._toolbox.attention.clear()
        self._sweep.clear()
        self.session.plane = plane

    def _guide(self, work: Callable[[], object]) -> None:
        self._stays = False
        work()
        self._show_lacks()

    def _turn(self, name: str, value: Any) -> None:
        self._guard(lambda: self.set_settings(**{name: value}))

    @traitlets.observe("settings")
    def _choose(self, change: Any) -> None:
        self._stays = False
        self.session.settings = change["new"]
        self._show_settings()

    def _release_memory(self) -> None:
        """Nobody looks: give back the network's memory until something is wanted again."""
        if self.session.status == "idle":
            self.session.release_memory()

    def _write(self) -> None:
        if self.result is None:
            raise ImageError("There are no colours yet: wait for the first picture.")
        path = self.result.save(Path(self._path.value.strip()).expanduser())
        self._stays = True
        self._say(f"Saved as {path.absolute()}.")

    # What is shown

    def _on_result(self, result: Colorized) -> None:
        if self.session.result is not result:
            return  # a newer one is on its way
        self.set_trait("result", result)
        self.view.show(result)
        self._toolbox.on_result(result)
        show_message(self._notes, " ".join(result.notes))
        self._show_settings()
        self._show_lacks()
        self._show_planes()
        self._show_controls()
        self._say_what_is_shown()

    def _take_plane(self, index: tuple[int, ...], result: Colorized, origin: PlaneSource) -> None:
        if self._run is None or origin.run != self._run:
            return
        from napari_colorize.display import DisplayRange
        from napari_colorize.display.stack import StackColors

        if self._colors is None:
            rgb = len(origin.source.shape) - len(index) == 3
            colors = StackColors(
                origin.source, DisplayRange(rgb, result.plane.limits, result.settings.gamma)
            )
            try:
                colors.allocate_all()
            except ColorizeError as error:
                self.session.cancel_run(self._run)
                self._run = None
                self._show_error(error)
                return
            self._colors = colors
        self._colors.put(index, result)

    def _end_run(self, end: RunFinished) -> None:
        where = ""
        if end.run == self._run:
            self._run = None
            where = " They are in box.stack." if self.stack is not None else ""
        elif not self._sweep.buttons:
            return  # of a picture that is gone
        self._stays = True
        self._say(messages.run_end(end) + where)
        self._show_controls()

    def _show_settings(self) -> None:
        self._forms.show_settings(self.settings, self._recommended())

    def _show_model(self) -> None:
        model, other = self.session.model, self.session.blend_with
        if isinstance(model, str):
            self._models.refresh(model)
        if other is None or isinstance(other, str):
            self._others.refresh(other or "")

    def _show_lacks(self) -> None:
        """What has no use is switched off with the reason; what the model lacks is at its default.

        So are knobs of what was not given: a reference, a second model.
        """
        lacks = self.session.unsupported_settings
        idle = without_effect(
            self.settings,
            has_reference=self.reference is not None,
            has_second=self.blend_with is not None,
        )
        self._forms.disable({**idle, **lacks})
        usual = ColorizeSettings()
        self.set_settings(**{name: getattr(usual, name) for name in lacks})

    def _show_planes(self) -> None:
        from napari_colorize.imaging.planes import spatial_axes  # torch, which is here by now

        shape = tuple(getattr(self.source, "shape", ()))
        if len(shape) > 2:
            leading = shape[: -spatial_axes(self.source, self.session.rgb)]
            self._planes.show_plane(leading, self.plane or (0,) * len(leading))
            self._planes.show_time_axis(self.time_axis or 0)

    def _show_controls(self) -> None:
        has_result = self.result is not None
        is_free = has_result and self._run is None
        self._toolbox.set_enabled(is_free)
        self._save.disabled = not is_free
        self._painting.tool.disabled = not has_result
        self._stacked.layout.display = "" if self._planes.sliders else "none"
        self._all.disabled = not is_free

    def _show_state(self, state: str) -> None:
        is_busy = state not in ("idle", "composing")
        self.view.progress = -1.0 if is_busy else None
        (self._stop.add_class if is_busy else self._stop.remove_class)("waits")
        if state == "idle":
            self._show_model()
            self._say_what_is_shown()
        elif state in messages.STATES and not self._stays and self._run is None:
            self._say(messages.STATES[state])

    def _say_what_is_shown(self) -> None:
        if not self._stays and self._run is None:
            self._say(NOTHING if self.result is None else messages.done(self.result))

    def _show_progress(self, told: RunProgress) -> None:
        self.view.progress = told.done / max(1, told.total)
        self._say(messages.progress(told))

    def _show_error(self, error: ColorizeError) -> None:
        self._stays = True  # to be read until something else is done
        show_message(self._sentence, str(error), kind="error")
        if self.session.source is not None and self.result is None:
            self._guard_planes()
        self._show_controls()

    def _guard_planes(self) -> None:
        """A stack may have other planes that can be looked at."""
        try:
            self._show_planes()
        except ColorizeError:
            self._planes.show_plane((), ())

    def _say(self, sentence: str) -> None:
        show_message(self._sentence, sentence)

    def _recommended(self) -> dict[str, Any]:
        """What stands for settings that are left to the model: what it used, or will."""
        if self.result is not None:
            used = vars(self.result.settings)
            return {**used, "contrast_limits": self.result.plane.limits}
        checkpoint = CATALOGUE.get(str(self.session.model), CATALOGUE["embedded"])
        return {"render_factor": checkpoint.render_factor, "saturation": checkpoint.saturation}


def _button(text: str, tooltip: str) -> widgets.Button:
    return widgets.Button(
        description=text, tooltip=tooltip, layout=widgets.Layout(width="auto", flex="0 1 auto")
    )
