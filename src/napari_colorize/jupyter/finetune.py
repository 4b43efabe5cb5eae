"""FinetuneBox: a model made better on pictures of one's own, while the notebook goes on.

The training is a process of its own (`session.training.run`) that goes on when the kernel ends; a
box that is made later finds it.
"""

from __future__ import annotations

import asyncio
import html
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import ipywidgets as widgets
import traitlets

from napari_colorize.errors import ColorizeError, SettingsError
from napari_colorize.finetune.status import INTRO, TrainingStatus
from napari_colorize.finetune.training_run import (
    State,
    TrainingRequest,
    TrainingRun,
    missing_packages,
    new_run_folder,
    runs,
)
from napari_colorize.jupyter.controls import flexible_layout, labeled_row, style_sheet
from napari_colorize.jupyter.curves import Curves
from napari_colorize.zoo import CATALOGUE, user_models
from napari_colorize.zoo.user_models import new_model_path

SECONDS = 0.2  # between two looks at what the process tells
AUGMENT = ("automatic", "none", "photographs", "stains")
DEGRADE = ("none", "tone-and-grain", "old-photograph")
WITHOUT_DATA = "Name a folder with colour pictures to learn from first."

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class FinetuneBox(widgets.VBox):
    """What to learn from, a button that starts, and live curves of what is learned.

    The training is a process of its own: it goes on when the kernel ends, and a box that is made
    then shows it again. It ends by itself and says whether the model has become better.

    Parameters
    ----------
    data : path or paths
        Folders and files with colour pictures.
    base : str
        The model to begin with, by name or file.
    name : str
        Of the new model; a number is added if it is taken.
    augment, degrade, group : str, optional
        As `napari-colorize-train finetune` has them.
    steps : int, optional
        At most so many; automatic by default.

    Attributes
    ----------
    model : str or None
        File of the new model once it is there: `ColorizeBox(image, model=box.model)`.

    Examples
    --------
    >>> box = FinetuneBox("tiles", name="stain")  # doctest: +SKIP
    >>> box.start()  # doctest: +SKIP
    """

    model = traitlets.Unicode(None, allow_none=True, read_only=True)

    def __init__(
        self,
        data: Paths = (),
        *,
        base: str = "embedded",
        name: str = "my-model",
        augment: str | None = None,
        degrade: str | None = None,
        group: str | None = None,
        steps: int | None = None,
    ) -> None:
        self.run: TrainingRun | None = None
        self._group = group
        self._told, self._curves = TrainingStatus("", ""), Curves()
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = True  # all that the process told is shown
        paths = [data] if isinstance(data, (str, os.PathLike)) else list(data)
        self._make_widgets([os.fspath(path) for path in paths], base, name, augment, degrade, steps)
        super().__init__()
        self.add_class("napari-colorize-box")
        self._connect()
        self._show_page(is_training=False)
        self._find()

    # What a person or code does

    def start(self) -> None:
        """Begin to learn from what is chosen, or go on with a training that was stopped."""
        self._guard(self._start)

    def pause(self) -> None:
        """Wait after the present step, or go on."""
        self._order("resume" if self._told.is_paused else "pause")

    def finish(self) -> None:
        """End here: the best so far becomes the model."""
        self._order("finish")

    def stop(self) -> None:
        """End the process; `start` goes on from there."""
        self._order("stop")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the training has ended; False after `timeout` seconds.

        Buttons do nothing while a cell waits.
        """
        began = time.monotonic()
        while self.run is not None and not self._look():
            if timeout is not None and time.monotonic() - began > timeout:
                return False
            time.sleep(SECONDS)
        return True

    def close(self) -> None:
        """Remove the widget; the training goes on."""
        self._disconnect()
        super().close()

    # What it is made of

    def _make_widgets(
        self,
        data: list[str],
        base: str,
        name: str,
        augment: str | None,
        degrade: str | None,
        steps: int | None,
    ) -> None:
        models = [*CATALOGUE, *map(str, user_models())]
        self._data = widgets.Textarea("\n".join(data), rows=2, layout=flexible_layout())
        self._data.placeholder = "a folder or a file a line"
        self._base = widgets.Combobox(value=base, options=models, layout=flexible_layout())
        self._name = widgets.Text(name, layout=flexible_layout())
        self._augment = widgets.Dropdown(
            options=AUGMENT, value=augment or AUGMENT[0], layout=flexible_layout()
        )
        self._degrade = widgets.Dropdown(
            options=DEGRADE, value=degrade or DEGRADE[0], layout=flexible_layout()
        )
        self._steps = widgets.BoundedIntText(steps or 0, max=100_000, layout=flexible_layout())
        self._steps.tooltip = "At most so many; 0: 300 to 2000, by the number of pictures."
        self._go = widgets.Button(description="Start training", button_style="primary")
        self._word, self._title = widgets.HTML(), widgets.HTML()
        self._setup = widgets.VBox(
            [
                widgets.HTML(f'<span class="word">{INTRO}</span>'),
                labeled_row("learn from", self._data),
                labeled_row("begin with", self._base),
                labeled_row("call it", self._name),
                labeled_row("vary pictures", self._augment),
                labeled_row("damage gray", self._degrade),
                labeled_row("steps", self._steps),
                self._go,
            ],
            layout=widgets.Layout(max_width="560px"),
        )
        self._bar = widgets.HTML()
        self._figures, self._curve = widgets.HTML(), widgets.HTML()
        self._preview = widgets.Image(layout=widgets.Layout(max_width="100%", display="none"))
        self._pause = _button("Pause", "Wait after this step; memory stays taken.")
        self._finish = _button("Finish now", "The best so far becomes the model.")
        self._stop = _button("Stop", "End it and give its memory back; it can go on later.")
        self._on = _button("Go on", "Go on where it was stopped.")
        self._again = _button("New training", "Back to the choices.")
        buttons = [self._pause, self._finish, self._stop, self._on, self._again]
        self._training = widgets.VBox(
            [self._bar, self._figures, self._curve, widgets.HBox(buttons), self._preview],
            layout=widgets.Layout(max_width="680px"),
        )
        self._style = style_sheet()

    def _connect(self) -> None:
        for button, work in (
            (self._go, self.start),
            (self._on, self.start),
            (self._pause, self.pause),
            (self._finish, self.finish),
            (self._stop, self.stop),
            (self._again, self._begin_anew),
        ):
            button.on_click(lambda _, work=work: work())

    def _show_page(self, *, is_training: bool) -> None:
        training = [self._title, self._word, self._training]
        self.children = [self._style, *(training if is_training else [self._setup, self._word])]

    # From choice to process

    def _guard(self, work: Callable[[], object]) -> None:
        try:
            work()
        except ColorizeError as error:
            self._say(str(error), kind="error")

    def _start(self) -> None:
        if self.run is None or self.run.state is State.DONE:
            asked = self._asked()
            self.run = TrainingRun.begin(asked, new_run_folder(asked.name))
        self.run.launch()
        self._follow(self.run)

    def _asked(self) -> TrainingRequest:
        missing = missing_packages()
        if missing:
            raise SettingsError(
                f"Training needs {' and '.join(missing)}: run pip install "
                '"napari-colorize[training]" and start the kernel again.'
            )
        data = [line.strip() for line in self._data.value.splitlines() if line.strip()]
        if not data:
            raise SettingsError(WITHOUT_DATA)
        if any(run.is_running for run in runs()):
            raise SettingsError("A training is at work already: let it end, or stop it, first.")
        return TrainingRequest(
            base=self._base.value.strip() or "embedded",
            data=tuple(str(Path(path).expanduser().absolute()) for path in data),
            model=str(new_model_path(self._name.value)),
            augment=None if self._augment.value == AUGMENT[0] else self._augment.value,
            degrade=None if self._degrade.value == DEGRADE[0] else self._degrade.value,
            group=self._group,
            steps=self._steps.value or None,
        )

    def _find(self) -> None:
        """A training that is at work, begun by a kernel that is gone."""
        for run in runs():
            if run.is_running:
                self._follow(run)
                return

    def _begin_anew(self) -> None:
        self._disconnect()
        self.run = None
        self._say("")
        self._show_page(is_training=False)

    # What the process tells

    def _follow(self, run: TrainingRun) -> None:
        self._disconnect()
        self.run = run
        run.read_again()
        self._told, self._curves = TrainingStatus(run.asked.name, run.asked.base), Curves()
        self._title.value = f"<b>Training {html.escape(run.asked.name)}</b>"
        self._curve.value = self._curves.svg()
        self._preview.layout.display = "none"
        self._allow(State.RUNNING)
        self._show_page(is_training=True)
        self._say(self._told.sentence)
        self._is_over = False
        self._look_again()

    def _look_again(self) -> None:
        """Look, now and as long as the kernel's loop runs."""
        if self._look():
            return
        try:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._look_again)
        except RuntimeError:
            self._timer = None  # a script looks while it waits

    def _disconnect(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> bool:
        """Show what was told since; whether that was all of it."""
        run = self.run
        if run is None or self._is_over:
            return True
        was_running = run.is_running  # asked first: what it said at its end is read below
        sees_more = False
        preview: str | None = None
        events = []
        while piece := run.read():
            events += piece
        for event in events:
            self._told.update(event)
            sees_more |= self._curves.hear(event)
            preview = event["path"] if event["event"] == "preview" else preview
        if events:
            self._show(sees_more, preview)
        if was_running:
            return False
        self._end(run)
        return True

    def _show(self, sees_more: bool, preview: str | None) -> None:
        told = self._told
        share = 100 * told.done / max(1, told.total)
        self._bar.value = f'<div class="bar"><i style="width:{share:.1f}%"></i></div>'
        self._figures.value = f'<span class="word">{html.escape(told.figures)}</span>'
        self._pause.description = "Resume" if told.is_paused else "Pause"
        self._say(told.sentence)
        if sees_more:
            self._curve.value = self._curves.svg()
        if preview is not None and Path(preview).is_file():
            self._preview.value = Path(preview).read_bytes()
            self._preview.layout.display = ""

    def _end(self, run: TrainingRun) -> None:
        state, self._is_over = run.state, True
        self._allow(state)
        if state is State.DONE:
            run.tidy()
            word = "is ready" if self._told.is_better else "is no better than its base"
            self._title.value = f"<b>{html.escape(run.asked.name)} {word}</b>"
            self.set_trait("model", run.asked.model)
        elif state is not State.STOPPED:
            reason = run.why() or "it was ended from outside. It can go on"
            sentence = f"The training of {run.asked.name} ended early: {reason.rstrip('.')}."
            self._say(sentence, kind="error")

    def _allow(self, state: State) -> None:
        is_running, is_done = state is State.RUNNING, state is State.DONE
        for button in (self._pause, self._finish, self._stop):
            button.layout.display = "" if is_running else "none"
        self._on.layout.display = "none" if is_running or is_done else ""
        self._again.layout.display = "none" if is_running else ""

    def _order(self, word: str) -> None:
        run = self.run
        if run is not None:
            self._guard(lambda: run.order(word))

    def _say(self, sentence: str, kind: str = "word") -> None:
        self._word.value = f'<span class="{kind}">{html.escape(sentence)}</span>'


def _button(text: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=text, tooltip=tooltip, layout=widgets.Layout(width="auto"))
