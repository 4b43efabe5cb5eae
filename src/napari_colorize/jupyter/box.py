"""ColorizeBox, the widget: it shows what the session knows and tells it what was clicked."""

from __future__ import annotations

import html
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.jupyter.choosers import ImageChooser, ModelChooser, PlaneChooser
from napari_colorize.jupyter.explore import Attention, Confidence, Histogram
from napari_colorize.jupyter.knobs import Knobs, growing, row, style
from napari_colorize.jupyter.loop import Loop
from napari_colorize.jupyter.sweep import SweepGrid
from napari_colorize.jupyter.view import View
from napari_colorize.session import ColorizeSession, said
from napari_colorize.session.words import factors_around
from napari_colorize.settings import ColorizeSettings, settings_from
from napari_colorize.zoo import CATALOGUE

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.devices import Precision
    from napari_colorize.result import Colorized
    from napari_colorize.session import Origin, Progress, RunEnd
    from napari_colorize.session.colors.stack import StackColors

FIRST = ("render_factor", "saturation", "self_attention")
NOTHING = "Upload a picture, or give its path."


class ColorizeBox(widgets.VBox):
    """A picture in gray and in colour, and the knobs; colours follow them by themselves.

    What goes wrong is told in the box in one sentence, and the box goes on.

    Parameters
    ----------
    source : array or path, optional
        An image or a stack, or the file of one; see `source`.
    plane : tuple of int, optional
        Which plane of a stack; the first by default.
    rgb : bool, optional
        Whether the last axis holds colours. Default: if it has 3 or 4 entries.
    model : str, path or Colorizer
        A name in the catalogue, a file, or a Colorizer of yours.
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
        device: str = "auto",
        precision: Precision = "auto",
        **settings: Any,
    ) -> None:
        chosen = settings_from(settings)
        self.session = ColorizeSession(
            model=model, device=device, precision=precision, settings=chosen
        )
        self._loop = Loop()
        self._colors: StackColors | None = None  # of a run over all planes
        self._run: int | None = None  # over all planes, while it is on
        self._stays = False  # what is said, until something else is done
        self._make_widgets()
        super().__init__(self._laid_out(), settings=chosen)
        self.add_class("napari-colorize-box")
        self._connect()
        self._listen()
        self.session.get_ready()
        self._show_settings()
        self._show_model()
        self._open(source, plane, rgb)

    # What code uses

    @property
    def source(self) -> Any:
        """The image or stack that is colorized, as an array; set an array, a path, or None."""
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
    def stack(self) -> Any:
        """The pictures of all planes as one array, after `colorize_all`; None before."""
        return None if self._colors is None else self._colors.finished()

    def choose(self, **settings: Any) -> None:
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
        self._run = self.session.run_all()
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
        self._sweep.begin(factors)

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
        self.view.close()
        super().close()

    # What it is made of

    def _make_widgets(self) -> None:
        self.view = View()
        self.view.layout.width = "100%"
        self._images, self._planes, self._models = ImageChooser(), PlaneChooser(), ModelChooser()
        names = [name for name in ColorizeSettings.__dataclass_fields__ if name not in FIRST]
        self.knobs, self.more_knobs = Knobs(FIRST), Knobs(names)
        self._saturation = widgets.jslink(  # in the browser: no kernel has to be asked
            (self.knobs.controls["saturation"].slider, "value"), (self.view, "saturation")
        )
        self._attention = Attention(self.session, self.view)
        self._confidence = Confidence(self.session, self.view)
        self._histogram = Histogram()
        self._sweep = SweepGrid()
        self._attend = _toggle("Attention", "Click a place: bright is where its colour comes from.")
        self._judge = _toggle("Confidence", "How far off the true colours the model expects to be.")
        self._count = _toggle("Histogram", "Which colours there are.")
        self._sweep_button = _button("Sweep", "See several render factors and take one.")
        self._all = _button("Colorize all planes", "")
        self._all.layout.display = "none"
        self._stop = _button("Stop", "What is shown stays.")
        self._stop.add_class("stop")
        self._path = widgets.Text("colorized.png", layout=growing())
        self._save = _button("Save", "Write the picture where the kernel runs.")
        self._sentence = widgets.HTML()
        self._notes, self._told = widgets.HTML(), widgets.HTML()
        for words in (self._notes, self._told):
            self._tell(words, "")

    def _laid_out(self) -> list[widgets.Widget]:
        more = widgets.Accordion([self.more_knobs], titles=("More",))
        panel = widgets.VBox(
            [
                self._images,
                self._models,
                self.knobs,
                widgets.HBox([self._attend, self._judge, self._count, self._sweep_button]),
                self._confidence.legend,
                self._told,
                self._histogram,
                self._all,
                row("save as", self._path, self._save),
                more,
            ]
        )
        panel.add_class("panel")
        said_row = widgets.HBox([self._sentence, self._stop])
        said_row.add_class("said")
        left = widgets.VBox([self.view, self._planes, said_row, self._notes])
        left.add_class("left")
        body = widgets.HBox([left, panel])
        body.add_class("body")
        return [style(), body, self._sweep]

    def _connect(self) -> None:
        self.view.gone.connect(self._rest)
        self._images.chosen.connect(self._open)
        self._planes.chosen.connect(lambda plane: self._guard(lambda: self._look_at(plane)))
        self._models.chosen.connect(lambda model: setattr(self, "model", model))
        for knobs in (self.knobs, self.more_knobs):
            knobs.changed.connect(self._turn)
        for toggle, tool in ((self._attend, self._attention), (self._judge, self._confidence)):
            toggle.observe(lambda change, tool=tool: self._explore(tool, change["new"]), "value")
            tool.told.connect(lambda sentence: self._tell(self._told, sentence))
        self._count.observe(lambda change: self._show_histogram(change["new"]), "value")
        self._sweep_button.on_click(lambda _: self._guard(self.sweep))
        self._sweep.picked.connect(lambda factor: self.choose(render_factor=factor))
        self._all.on_click(lambda _: self._guard(self.colorize_all))
        self._stop.on_click(lambda _: self.cancel())
        self._save.on_click(lambda _: self._guard(self._write))

    def _listen(self) -> None:
        carry, session = self._loop.carry, self.session
        carry(session.composed, self._take)
        carry(session.plane_done, self._take_plane)
        carry(session.swept, self._sweep.show_result)
        carry(session.attended, self._attention.show)
        carry(session.judged, self._confidence.show)
        carry(session.run_ended, self._end_run)
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
            from napari_colorize.media.images import read_picture

            picture = read_picture(source)
            source, rgb = picture.array, picture.rgb
            self.choose(contrast_limits=picture.contrast_limits)
        self._say_what_is_shown()
        self.session.update(source=source, plane=plane, rgb=rgb)

    def _forget(self) -> None:
        """Another picture is wanted: nothing of the last one is shown."""
        self.session.source = None
        self.session.cancel()
        self._colors = self._run = None
        self.set_trait("result", None)
        self.view.clear()
        self._attention.clear()
        self._confidence.clear()
        self._sweep.clear()
        self._tell(self._notes, "")
        self._planes.show_plane((), ())

    def _look_at(self, plane: tuple[int, ...]) -> None:
        self._stays = False
        self._attention.clear()
        self._sweep.clear()
        self.session.plane = plane

    def _turn(self, name: str, value: Any) -> None:
        self._guard(lambda: self.choose(**{name: value}))

    @traitlets.observe("settings")
    def _choose(self, change: Any) -> None:
        self._stays = False
        self.session.settings = change["new"]
        self._show_settings()

    def _explore(self, tool: Attention | Confidence, on: bool) -> None:
        others = {self._attend: self._attention, self._judge: self._confidence}
        self._tell(self._told, "")
        for toggle, other in others.items():
            if on and other is not tool:
                toggle.value = False  # one map at a time lies over the picture
        self._guard(lambda: tool.switch(on))

    def _rest(self) -> None:
        """Nobody looks: give back the network's memory until something is wanted again."""
        if self.session.doing == "idle":
            self.session.unload()

    def _write(self) -> None:
        if self.result is None:
            raise ImageError("There are no colours yet: wait for the first picture.")
        path = self.result.save(Path(self._path.value.strip()).expanduser())
        self._stays = True
        self._say(f"Saved as {path.absolute()}.")

    # What is shown

    def _take(self, result: Colorized) -> None:
        if self.session.result is not result:
            return  # a newer one is on its way
        self.set_trait("result", result)
        self.view.show(result)
        self._attention.follow(result)
        self._confidence.follow(result)
        self._histogram.follow(result)
        self._tell(self._notes, " ".join(result.notes))
        self._show_settings()
        self._show_lacks()
        self._show_planes()
        self._show_controls()
        self._say_what_is_shown()

    def _take_plane(self, index: tuple[int, ...], result: Colorized, origin: Origin) -> None:
        if self._run is None or origin.run != self._run:
            return
        from napari_colorize.session.colors import Look
        from napari_colorize.session.colors.stack import StackColors

        if self._colors is None:
            rgb = len(origin.source.shape) - len(index) == 3
            colors = StackColors(
                origin.source, Look(rgb, result.plane.limits, result.settings.gamma)
            )
            try:
                colors.hold_all()
            except ColorizeError as error:
                self.session.cancel_run(self._run)
                self._run = None
                self._show_error(error)
                return
            self._colors = colors
        self._colors.put(index, result)

    def _end_run(self, end: RunEnd) -> None:
        where = ""
        if end.run == self._run:
            self._run = None
            where = " They are in box.stack." if self.stack is not None else ""
        elif not self._sweep.buttons:
            return  # of a picture that is gone
        self._stays = True
        self._say(said.end(end) + where)
        self._show_controls()

    def _show_histogram(self, on: bool) -> None:
        self._histogram.switch(on)
        if self.result is not None:
            self._histogram.follow(self.result)

    def _show_settings(self) -> None:
        recommended = self._recommended()
        self.knobs.show_settings(self.settings, recommended)
        self.more_knobs.show_settings(self.settings, recommended)

    def _show_model(self) -> None:
        model = self.session.model
        if isinstance(model, str):
            self._models.relist(model)

    def _show_lacks(self) -> None:
        """What this model has no use for is switched off, back at its default, with the reason."""
        lacks = self.session.lacks
        for knobs in (self.knobs, self.more_knobs):
            for name, control in knobs.controls.items():
                control.explain(lacks.get(name))
        usual = ColorizeSettings()
        self.choose(**{name: getattr(usual, name) for name in lacks})

    def _show_planes(self) -> None:
        from napari_colorize.planes import spatial_axes  # torch, which is here by now

        shape = tuple(getattr(self.source, "shape", ()))
        if len(shape) > 2:
            leading = shape[: -spatial_axes(self.source, self.session.rgb)]
            self._planes.show_plane(leading, self.plane or (0,) * len(leading))

    def _show_controls(self) -> None:
        has_result = self.result is not None
        for button in (self._sweep_button, self._save, self._attend, self._judge, self._count):
            button.disabled = not has_result or self._run is not None
        self._all.layout.display = "" if self._planes.sliders else "none"
        self._all.disabled = not has_result or self._run is not None

    def _show_state(self, state: str) -> None:
        is_busy = state not in ("idle", "composing")
        self.view.progress = -1.0 if is_busy else None
        (self._stop.add_class if is_busy else self._stop.remove_class)("waits")
        if state == "idle":
            self._show_model()
            self._say_what_is_shown()
        elif state in said.STATES and not self._stays and self._run is None:
            self._say(said.STATES[state])

    def _say_what_is_shown(self) -> None:
        if not self._stays and self._run is None:
            self._say(NOTHING if self.result is None else said.done(self.result))

    def _show_progress(self, told: Progress) -> None:
        self.view.progress = told.done / max(1, told.total)
        self._say(said.progress(told))

    def _show_error(self, error: ColorizeError) -> None:
        self._stays = True  # to be read until something else is done
        self._tell(self._sentence, str(error), kind="error")
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
        self._tell(self._sentence, sentence)

    def _tell(self, where: widgets.HTML, sentence: str, kind: str = "word") -> None:
        where.value = f'<span class="{kind}">{html.escape(sentence)}</span>' if sentence else ""
        where.layout.display = "" if sentence else "none"

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


def _toggle(text: str, tooltip: str) -> widgets.ToggleButton:
    return widgets.ToggleButton(
        description=text, tooltip=tooltip, layout=widgets.Layout(width="auto", flex="1 1 auto")
    )
