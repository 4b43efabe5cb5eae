"""FinetuneWidget: the dock widget that fine-tunes a model on the user's own images.

It has two pages: `SetupPage` for training data and options, `TrainingPage` for the progress.
Training runs in a detached process (`finetune.training_run`), which continues when the viewer is
closed or crashes; a panel that is opened later, in this viewer or another, displays it again.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_colorize.errors import ColorizeError, OutputError
from napari_colorize.finetune import form
from napari_colorize.finetune.monitor import POLL_SECONDS, RunMonitor, find_run
from napari_colorize.finetune.training_run import (
    State,
    TrainingRequest,
    TrainingRun,
    new_run_folder,
)
from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.finetune.preview import PreviewLayer
from napari_colorize.napari.finetune.setup_page import SetupPage
from napari_colorize.napari.finetune.training_data import (
    CancelledError,
    TrainingData,
    add_correction,
    colors_of,
)
from napari_colorize.napari.finetune.training_page import TrainingPage
from napari_colorize.napari.panels import ScrollPanel, button, column

if TYPE_CHECKING:
    from napari import Viewer


class FinetuneWidget(ScrollPanel):
    """Dock widget that fine-tunes a model.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer that contains the dock, or its proxy.
    """

    model_added = Signal(object)  # Path: path of a new model in `user_models_folder()`
    _prepared = Signal(object)  # from the thread that writes training images

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.controller = get_controller(napari_viewer)
        self.controller.attach_panel(self)
        self._viewer = self.controller.viewer
        self.monitor: RunMonitor | None = None  # of the displayed run
        self._poll_timer = QTimer(self)
        self._poll_timer.timeout.connect(self._poll)
        self._is_cancelled = threading.Event()
        self._preview = PreviewLayer(self._viewer)
        self.setup = SetupPage(self._viewer)
        self.training = TrainingPage()
        self._arrange()
        self._connect()
        self._show_page(self.setup)
        run = find_run(with_finished=True)
        if run is not None:
            self._follow(run)

    @property
    def run(self) -> TrainingRun | None:
        """The displayed run."""
        return None if self.monitor is None else self.monitor.run

    # User actions

    def start(self) -> None:
        """Start a run; images of layers are written first, in a thread."""
        try:
            request, data = self._request()
        except ColorizeError as error:
            show_error(str(error))
            return
        folder = new_run_folder(request.name)
        self._is_cancelled.clear()
        message = "Writing the images of layers…" if data.layers else "Starting…"
        self.training.begin(request.name, message)
        self._show_page(self.training)
        threading.Thread(target=self._prepare, args=(request, data, folder), daemon=True).start()

    def resume(self, run: TrainingRun) -> None:
        """Resume a run that was stopped or interrupted."""
        try:
            run.launch()
        except ColorizeError as error:
            self._fail(str(error))
            return
        self._follow(run)

    def stop(self) -> None:
        """End the process; the run can be resumed."""
        self._is_cancelled.set()
        if self.run is None:
            self.show_setup("Stopped before training started.")
        else:
            self._send("stop")

    def correct(self) -> None:
        """Keep the displayed plane of the selected color layer as a correction."""
        from napari_colorize.napari.layers import plane_of

        layer = self._viewer.layers.selection.active
        try:
            stack = colors_of(layer)
            index = plane_of(layer, self._viewer.dims)
            add_correction(stack, index if len(index) == stack.data.ndim - 3 else ())
        except ColorizeError as error:
            show_error(str(error))
            return
        self.setup.data.show_corrections()
        self.setup.data.check_corrections()
        show_info(f"{stack.name} was added to your corrections. The next training run uses it.")

    def use(self) -> None:
        """Use the new model in the Colorize panel."""
        if self.run is not None:
            self.controller.use_model(self.run.request.model)

    def show_setup(self, text: str = "") -> None:
        """Display the setup page with a message."""
        self._stop_following()
        self.setup.refresh(text)
        self._show_page(self.setup)

    def close(self) -> None:
        """Disconnect from the run, which continues."""
        self._is_cancelled.set()
        self._stop_following()

    # Layout

    def _arrange(self) -> None:
        pages = QWidget()
        layout = QVBoxLayout(pages)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self.setup)
        layout.addWidget(self.training)
        layout.addStretch(1)
        self.correction = button(
            "Add this correction",
            "Keeps the displayed plane of the selected color layer on this computer. Training "
            "runs that are started later use it.",
            self.correct,
        )
        bottom = column(QLabel("Corrected a result by hand?"), self.correction)
        bottom.setContentsMargins(8, 0, 8, 8)
        self.set_content(pages, bottom)

    def _connect(self) -> None:
        self.setup.started.connect(self.start)
        self.setup.resumed.connect(self.resume)
        actions = {
            "pause": partial(self._send, "pause"),
            "finish": partial(self._send, "finish"),
            "stop": self.stop,
            "use": self.use,
            "new": self.show_setup,
        }
        for key, action in actions.items():
            # The lambda drops the `checked` argument of the signal.
            self.training.buttons[key].clicked.connect(lambda _=False, action=action: action())
        self._prepared.connect(self._on_prepared)

    def _show_page(self, page: QWidget) -> None:
        self.setup.setVisible(page is self.setup)
        self.training.setVisible(page is self.training)

    # Start of a run

    def _request(self) -> tuple[TrainingRequest, TrainingData]:
        data = self.setup.data.selection
        form.require_ready(bool(data), restart="napari")
        request = form.training_request(
            data.folders,
            base=self.setup.base.base,
            name=self.setup.name.text(),
            **self.setup.options.values,
        )
        return request, data

    def _prepare(self, request: TrainingRequest, data: TrainingData, folder: Path) -> None:
        """In a thread: write images of layers and corrections, and launch the process."""
        outcome: TrainingRun | Exception
        try:
            outcome = data.prepare_run(request, folder, self._is_cancelled)
            outcome.launch()
        except CancelledError:
            rmtree(folder, ignore_errors=True)
            return
        except ColorizeError as error:
            outcome = error
        # A lazy layer may run any code, which may raise any exception.
        except Exception as error:  # noqa: BLE001
            outcome = OutputError(f"The training images could not be written: {error}")
        with suppress(RuntimeError):  # the panel was deleted meanwhile
            self._prepared.emit(outcome)

    def _on_prepared(self, outcome: TrainingRun | Exception) -> None:
        if isinstance(outcome, Exception):
            self._fail(str(outcome))
            return
        if self._is_cancelled.is_set():
            outcome.control("stop")
        self._follow(outcome)

    # Progress of a run

    def _follow(self, run: TrainingRun) -> None:
        self._stop_following()
        self._preview.begin()
        self.monitor = RunMonitor(run)
        self.training.begin(run.request.name, self.monitor.status.sentence)
        self._show_page(self.training)
        self._poll_timer.start(0)

    def _stop_following(self) -> None:
        self._poll_timer.stop()
        self.monitor = None

    def _poll(self) -> None:
        monitor = self.monitor
        if monitor is None:
            return
        has_events = monitor.poll()
        # A long history is read in pieces without a pause; other Qt events are handled between.
        self._poll_timer.setInterval(0 if has_events else round(1000 * POLL_SECONDS))
        if has_events:
            self.training.show_run(monitor)
            preview = monitor.take_preview()
            if preview is not None and self.training.shows_preview:
                self._preview.show(preview)
        if monitor.end_state is not None:
            self._poll_timer.stop()
            self._on_end(monitor)

    def _on_end(self, monitor: RunMonitor) -> None:
        run = monitor.run
        if monitor.end_state is State.DONE:
            run.tidy()
            self.training.show_run(monitor)
            self.setup.refresh()
            self.model_added.emit(Path(run.request.model))
            self.controller.models_changed.emit()
        elif monitor.end_state is State.STOPPED:
            self.show_setup(f"Training of {run.request.name} was stopped. It can be resumed below.")
        else:
            self._fail(monitor.failure())

    def _send(self, command: str) -> None:
        if self.monitor is None:
            return
        try:
            self.monitor.send(command)
        except ColorizeError as error:
            show_error(str(error))
        self.training.show_message(self.monitor.status.sentence)

    def _fail(self, text: str) -> None:
        show_error(text)
        self.show_setup(text)
