"""FinetuneBox: fine-tunes a model on the user's own images from a notebook.

Training runs in a detached process (`finetune.training_run`), which continues when the kernel
ends; a box that is created later displays it again.
"""

from __future__ import annotations

import asyncio
import html
import os
import time
from collections.abc import Iterable
from pathlib import Path

import ipywidgets as widgets
import traitlets

from napari_colorize.errors import ColorizeError
from napari_colorize.finetune import form
from napari_colorize.finetune.monitor import BUTTONS, POLL_SECONDS, RunMonitor, find_run
from napari_colorize.finetune.status import INTRO
from napari_colorize.finetune.training_run import (
    State,
    TrainingRequest,
    TrainingRun,
    new_run_folder,
)
from napari_colorize.jupyter.controls import flexible_layout, labeled_row, show_message, style_sheet
from napari_colorize.jupyter.main_thread import main_thread_relay

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class FinetuneBox(widgets.VBox):
    """Form for a training run, its progress and live curves.

    Training runs in a separate process: it continues when the kernel ends, and a box that is
    created later displays it again. It ends by itself and reports whether the model has improved.

    Parameters
    ----------
    data : path or paths
        Folders and files with color images.
    base : str
        Name or file of the model that is fine-tuned.
    name : str
        Name of the new model; a number is appended if it is taken.
    augment, degrade, group : str, optional
        Options of `napari-colorize-train finetune`.
    steps : int, optional
        Maximum number of steps; automatic by default.

    Attributes
    ----------
    model : str or None
        File of the new model when training is done: `ColorizeBox(image, model=box.model)`.

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
        name: str = form.DEFAULT_NAME,
        augment: str | None = None,
        degrade: str | None = None,
        group: str | None = None,
        steps: int | None = None,
    ) -> None:
        self.monitor: RunMonitor | None = None
        self._group = group
        self._relay = main_thread_relay()
        self._timer: asyncio.TimerHandle | None = None
        paths = [data] if isinstance(data, (str, os.PathLike)) else list(data)
        self._make_form([os.fspath(path) for path in paths], base, name, augment, degrade, steps)
        self._make_training_page()
        super().__init__()
        self.add_class("napari-colorize-box")
        self._relay.receive(self)
        self._connect()
        self._show_page(is_training=False)
        run = find_run(with_finished=False)
        if run is not None:
            self._follow(run)

    @property
    def run(self) -> TrainingRun | None:
        """The displayed run."""
        return None if self.monitor is None else self.monitor.run

    # Actions

    def start(self) -> None:
        """Start a run with the options of the form, or resume the displayed one."""
        try:
            run = self.run
            if run is None or run.state is State.DONE:
                request = self._request()
                run = TrainingRun.create(request, new_run_folder(request.name))
            run.launch()
        except ColorizeError as error:
            show_message(self._message, str(error), kind="error")
        else:
            self._follow(run)

    def pause(self) -> None:
        """Pause after the current step, or resume."""
        self._command("pause")

    def finish(self) -> None:
        """End training with the best checkpoint so far."""
        self._command("finish")

    def stop(self) -> None:
        """End the process; `start` resumes the run."""
        self._command("stop")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until training has ended; False after `timeout` seconds.

        Buttons do not react while a cell waits.
        """
        start = time.monotonic()
        while not self._poll():
            if timeout is not None and time.monotonic() - start > timeout:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def close(self) -> None:
        """Remove the widget; training continues."""
        self._disconnect()
        super().close()

    # Layout

    def _make_form(
        self,
        data: list[str],
        base: str,
        name: str,
        augment: str | None,
        degrade: str | None,
        steps: int | None,
    ) -> None:
        self._data = widgets.Textarea("\n".join(data), rows=2, layout=flexible_layout())
        self._data.placeholder = "one folder or file per line"
        models = [str(choice.value) for choice in form.base_models()]
        self._base = widgets.Combobox(value=base, options=models, layout=flexible_layout())
        self._name = widgets.Text(name, layout=flexible_layout())
        self._augment = _choice_list(form.AUGMENTATION, augment)
        self._degrade = _choice_list(form.DEGRADATION, degrade)
        self._steps = widgets.BoundedIntText(
            steps or 0, max=form.MAX_STEPS, layout=flexible_layout()
        )
        fields = {
            form.DATA: self._data,
            form.BASE: self._base,
            form.NAME: self._name,
            form.AUGMENTATION: self._augment,
            form.DEGRADATION: self._degrade,
            form.STEPS: self._steps,
        }
        for field, widget in fields.items():
            widget.tooltip = field.tooltip
        self._start_button = widgets.Button(description="Start training", button_style="primary")
        self._form = widgets.VBox(
            [
                widgets.HTML(f'<span class="message">{INTRO}</span>'),
                *(labeled_row(field.label, widget) for field, widget in fields.items()),
                self._start_button,
            ],
            layout=widgets.Layout(max_width="560px"),
        )

    def _make_training_page(self) -> None:
        self._title, self._message = widgets.HTML(), widgets.HTML()
        self._bar, self._figures, self._curve = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._preview = widgets.Image(layout=widgets.Layout(max_width="100%", display="none"))
        # A notebook uses the model through the attribute `model`, without a button.
        self._buttons = {
            key: widgets.Button(
                description=label, tooltip=tooltip, layout=widgets.Layout(width="auto")
            )
            for key, (label, tooltip) in BUTTONS.items()
            if key != "use"
        }
        buttons = widgets.HBox(list(self._buttons.values()))
        self._training = widgets.VBox(
            [self._bar, self._figures, self._curve, buttons, self._preview],
            layout=widgets.Layout(max_width="680px"),
        )
        self._style = style_sheet()

    def _connect(self) -> None:
        actions = {
            self._start_button: self.start,
            self._buttons["resume"]: self.start,
            self._buttons["pause"]: self.pause,
            self._buttons["finish"]: self.finish,
            self._buttons["stop"]: self.stop,
            self._buttons["new"]: self._show_form,
        }
        for button, action in actions.items():
            button.on_click(lambda _, action=action: action())

    def _show_page(self, *, is_training: bool) -> None:
        training = [self._title, self._message, self._training]
        self.children = [self._style, *(training if is_training else [self._form, self._message])]

    def _show_form(self) -> None:
        self._disconnect()
        self.monitor = None
        show_message(self._message, "")
        self._show_page(is_training=False)

    # Start of a run

    def _request(self) -> TrainingRequest:
        data = [line.strip() for line in self._data.value.splitlines() if line.strip()]
        form.require_ready(bool(data), restart="the kernel")
        return form.training_request(
            [str(Path(path).expanduser().absolute()) for path in data],
            base=self._base.value.strip(),
            name=self._name.value,
            augment=self._augment.value,
            degrade=self._degrade.value,
            group=self._group,
            steps=self._steps.value,
        )

    def _command(self, command: str) -> None:
        monitor = self.monitor
        if monitor is None:
            return
        try:
            monitor.send(command)
        except ColorizeError as error:
            show_message(self._message, str(error), kind="error")
        else:
            show_message(self._message, monitor.status.sentence)

    # Progress of a run

    def _follow(self, run: TrainingRun) -> None:
        self._disconnect()
        self.monitor = RunMonitor(run)
        self._preview.layout.display = "none"
        self._show_page(is_training=True)
        self._show_run(self.monitor)
        self._poll_repeatedly()

    def _poll_repeatedly(self) -> None:
        """Poll now, and again from the kernel's event loop until the run has ended."""
        if self._poll():
            return
        try:
            self._timer = asyncio.get_running_loop().call_later(POLL_SECONDS, self._poll_repeatedly)
        except RuntimeError:
            self._timer = None  # without an event loop (a script), `wait` polls

    def _disconnect(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _poll(self) -> bool:
        """Display new events; returns whether the run has ended."""
        monitor = self.monitor
        if monitor is None or monitor.end_state is not None:
            return True
        has_events = False
        while monitor.poll():
            has_events = True
        if has_events:
            self._show_run(monitor)
        if monitor.end_state is not None:
            self._end(monitor)
        return monitor.end_state is not None

    def _show_run(self, monitor: RunMonitor) -> None:
        status = monitor.status
        percent = 100 * status.done / max(1, status.total)
        self._title.value = f"<b>{html.escape(monitor.title)}</b>"
        self._bar.value = f'<div class="bar"><i style="width:{percent:.1f}%"></i></div>'
        self._figures.value = f'<span class="message">{html.escape(status.figures)}</span>'
        self._curve.value = monitor.curves.svg()
        self._buttons["pause"].description = monitor.pause_label
        for key, button in self._buttons.items():
            button.layout.display = "" if key in monitor.buttons else "none"
        show_message(self._message, status.sentence)
        preview = monitor.take_preview()
        if preview is not None and preview.is_file():
            self._preview.value = preview.read_bytes()
            self._preview.layout.display = ""

    def _end(self, monitor: RunMonitor) -> None:
        self._show_run(monitor)
        if monitor.end_state is State.DONE:
            monitor.run.tidy()
            self.set_trait("model", monitor.run.request.model)
        elif monitor.end_state is not State.STOPPED:
            show_message(self._message, monitor.failure(), kind="error")


def _choice_list(field: form.FormField, value: str | None) -> widgets.Dropdown:
    options = [(choice.label, choice.value) for choice in field.choices]
    if value == "none" and "none" not in [choice.value for choice in field.choices]:
        value = None  # as the command accepts it for its default
    return widgets.Dropdown(options=options, value=value, layout=flexible_layout())
