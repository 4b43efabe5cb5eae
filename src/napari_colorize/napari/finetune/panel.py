"""FinetuneWidget: a model made better on pictures of one's own, without leaving the viewer.

Two pages: what to learn from, with one button that starts (`_SetupPage`), and what is learned
(`_TrainingPage`). The training is a process of its own that goes on when the viewer is closed or
crashes (`training_run`); a panel that is opened later, in this viewer or the next, finds it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shutil import copyfile, rmtree
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_colorize.errors import ColorizeError, OutputError, SettingsError
from napari_colorize.finetune.status import INTRO, TrainingStatus
from napari_colorize.finetune.training_run import (
    State,
    TrainingRequest,
    TrainingRun,
    missing_packages,
    new_run_folder,
    runs,
)
from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.finetune.choices import BaseChooser, TrainingOptions
from napari_colorize.napari.finetune.data import Chosen, DataList
from napari_colorize.napari.finetune.loss_curve import LossCurve
from napari_colorize.napari.finetune.pictures import add_correction, colors_of, write_pictures
from napari_colorize.napari.finetune.preview import PreviewLayer
from napari_colorize.napari.finetune.process import TrainingProcess
from napari_colorize.zoo.user_models import new_model_path

if TYPE_CHECKING:
    from napari import Viewer

WITHOUT_DATA = "Choose what to learn from first: a folder, a colour layer or your corrections."


class FinetuneWidget(QWidget):
    """The dock that fine-tunes a model.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer that it is docked in, or its proxy.

    Attributes
    ----------
    model_added : Signal(object)
        Path of a model that has come into `own_folder()`.
    """

    model_added = Signal(object)
    _written = Signal(object)  # from the thread that writes pictures

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.controller = get_controller(napari_viewer)
        self.controller.attach_panel(self)
        self._viewer = self.controller.viewer
        self._process: TrainingProcess | None = None
        self._is_cancelled = threading.Event()
        self._preview = PreviewLayer(self._viewer)
        self.setup = _SetupPage(self._viewer)
        self.training = _TrainingPage()
        self._arrange()
        self._connect()
        self._find()

    @property
    def run(self) -> TrainingRun | None:
        """The training that is shown."""
        return None if self._process is None else self._process.run

    # What a person does

    def start(self) -> None:
        """Begin to learn from what is chosen; pictures are written first, in the background."""
        try:
            asked, chosen = self._asked()
        except ColorizeError as error:
            show_error(str(error))
            return
        folder = new_run_folder(asked.name)
        self._is_cancelled.clear()
        self.training.begin(asked)
        self.training.say("Writing the pictures of layers…" if chosen.layers else "Starting…")
        self._show_page(self.training)
        colorized_layer = threading.Thread(
            target=self._write, args=(asked, chosen, folder), daemon=True
        )
        colorized_layer.start()

    def resume(self, run: TrainingRun) -> None:
        """Let a training go on that was stopped, or ended by accident."""
        try:
            run.launch()
        except ColorizeError as error:
            self._fail(str(error))
            return
        self._follow(run)

    def pause(self) -> None:
        """Wait after the present step, or go on."""
        is_paused = self.training.is_paused
        self._order("resume" if is_paused else "pause")
        self.training.say("Going on…" if is_paused else "Pausing after this step…")

    def finish(self) -> None:
        """End here, with the best so far."""
        self._order("finish")
        self.training.say("Finishing: the best so far becomes the model…")

    def stop(self) -> None:
        """End the process; it can be resumed."""
        self._is_cancelled.set()
        if self.run is None:
            self.show_setup("Stopped before it began.")
            return
        self._order("stop")
        self.training.say("Stopping after this step…")

    def correct(self) -> None:
        """Keep the selected colour layer, as it is now, among what is learned from."""
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
        self.setup.data.tick_corrections()
        show_info(f"{stack.name} is kept among your corrections; the next training learns from it.")

    def use(self) -> None:
        """Colorize with the model that came out."""
        if self.run is not None:
            self.controller.use_model(self.run.asked.model)

    def show_setup(self, text: str = "") -> None:
        """Back to the first page, with a word about what happened."""
        self._stop_following()
        self.setup.refresh(text)
        self._show_page(self.setup)

    # How it is built

    def _arrange(self) -> None:
        pages = QWidget()
        column = QVBoxLayout(pages)
        column.setContentsMargins(8, 8, 8, 8)
        column.addWidget(self.setup)
        column.addWidget(self.training)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(pages)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.correction = QPushButton("Add this correction")
        self.correction.setToolTip(
            "Select the colour layer and press here: the picture that you see is kept on this "
            "computer, and trainings that you start from now on learn from it."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll, 1)
        low = QVBoxLayout()
        low.setContentsMargins(8, 0, 8, 8)
        low.addWidget(QLabel("Corrected a result by hand?"))
        low.addWidget(self.correction)
        layout.addLayout(low)
        self.setMinimumWidth(320)

    def _connect(self) -> None:
        self.setup.started.connect(self.start)
        self.setup.resumed.connect(self.resume)
        self.training.pause.clicked.connect(self.pause)
        self.training.finish.clicked.connect(self.finish)
        self.training.stop.clicked.connect(self.stop)
        self.training.use.clicked.connect(self.use)
        self.training.again.clicked.connect(lambda: self.show_setup())
        self.correction.clicked.connect(self.correct)
        self._written.connect(self._begin)

    def _show_page(self, page: QWidget) -> None:
        self.setup.setVisible(page is self.setup)
        self.training.setVisible(page is self.training)

    def _find(self) -> None:
        """A training that is at work, or came to its end while no panel was open."""
        self._show_page(self.setup)
        for run in runs():
            state = run.state
            if state is State.RUNNING or (state is State.DONE and run.is_whole):
                self._follow(run)
                return

    # From choice to process

    def _asked(self) -> tuple[TrainingRequest, Chosen]:
        missing = missing_packages()
        if missing:
            raise SettingsError(
                f"Training needs {' and '.join(missing)}: run pip install "
                '"napari-colorize[training]" and start napari again.'
            )
        chosen = self.setup.data.chosen
        if not chosen:
            raise SettingsError(WITHOUT_DATA)
        if any(run.is_running for run in runs()):
            raise SettingsError("A training is at work already: let it end, or stop it, first.")
        asked = TrainingRequest(
            base=self.setup.base.base,
            data=chosen.folders,
            model=str(new_model_path(self.setup.name.text())),
            **self.setup.recipe.chosen,
        )
        return asked, chosen

    def _write(self, asked: TrainingRequest, chosen: Chosen, folder: Path) -> None:
        """In a thread: pictures of layers and corrections into the run, and off it goes."""
        written: TrainingRun | Exception
        try:
            written = _prepared(asked, chosen, folder, self._is_cancelled)
            written.launch()
        except _CancelledError:
            rmtree(folder, ignore_errors=True)
            return
        except ColorizeError as error:
            written = error
        # A layer's array may be computed by anyone's code, in any way that may fail.
        except Exception as error:  # noqa: BLE001
            written = OutputError(f"The pictures could not be written: {error}")
        with suppress(RuntimeError):  # the panel has gone meanwhile
            self._written.emit(written)

    def _begin(self, run: TrainingRun | Exception) -> None:
        if isinstance(run, Exception):
            self._fail(str(run))
            return
        if self._is_cancelled.is_set():
            run.order("stop")
        self._follow(run)

    # What the process tells

    def _follow(self, run: TrainingRun) -> None:
        self._stop_following()
        self._preview.begin()
        self.training.begin(run.asked)
        self._show_page(self.training)
        self._process = TrainingProcess(run, self)
        self._process.told.connect(self._hear)
        self._process.ended.connect(self._end)
        self._process.follow()

    def close(self) -> None:
        """The panel is gone; the training stays."""
        self._is_cancelled.set()
        self._stop_following()

    def _stop_following(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process.deleteLater()
            self._process = None

    def _hear(self, event: dict[str, Any]) -> None:
        self.training.hear(event)
        if event["event"] == "preview" and self.training.shows_preview:
            self._preview.show(Path(event["path"]))

    def _end(self, state: State) -> None:
        assert self.run is not None  # it has just told its end
        run = self.run
        if state is State.DONE:
            run.tidy()
            self.training.end(Path(run.asked.model))
            self.setup.refresh()
            self.model_added.emit(Path(run.asked.model))
            self.controller.models_changed.emit()
        elif state is State.STOPPED:
            self.show_setup(f"{run.asked.name} was stopped; it can go on from there, see below.")
        else:
            reason = run.why() or "it was ended from outside. It can go on, see below"
            self._fail(f"The training of {run.asked.name} ended early: {reason.rstrip('.')}.")

    def _order(self, word: str) -> None:
        try:
            if self.run is not None:
                self.run.order(word)
        except ColorizeError as error:
            show_error(str(error))

    def _fail(self, text: str) -> None:
        show_error(text)
        self.show_setup(text)


class _SetupPage(QWidget):
    """What to learn from, and one button."""

    started = Signal()
    resumed = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.base = BaseChooser()
        self.data = DataList(viewer)
        self.name = QLineEdit("my-model")
        self.name.setToolTip(
            "What the new model is called in all lists; a number is added if taken."
        )
        self.recipe = TrainingOptions()
        self.go = QPushButton("Start training")
        self.go.setToolTip(
            "Learns in a process of its own: you can go on working, and it goes on even when "
            "napari is closed. It ends by itself and says whether the model has become better."
        )
        self.go.setMinimumHeight(36)
        self.go.setStyleSheet("font-weight: bold;")
        self.word = _sentence("")
        self.unfinished = _Unfinished()
        self._arrange()
        self.go.clicked.connect(self.started)
        self.unfinished.resumed.connect(self.resumed)
        self.data.changed.connect(self._allow)
        self.refresh()

    def refresh(self, text: str = "") -> None:
        """Look again which models, corrections and trainings there are."""
        self.base.relist()
        self.data.show_corrections()
        self.unfinished.relist()
        self.word.setText(text)
        self.word.setVisible(bool(text))
        self._allow()

    def _allow(self) -> None:
        ready = bool(self.data.chosen)
        self.go.setEnabled(ready)
        self.hint.setVisible(not ready)

    def _arrange(self) -> None:
        self.hint = _sentence(WITHOUT_DATA)
        more = QCollapsible("More choices, with good defaults", expandedIcon="▾", collapsedIcon="▸")
        more.setDuration(0)
        more.addWidget(self.recipe)
        form = QFormLayout()
        form.addRow("Begin with", self.base)
        form.addRow("Call it", self.name)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.word)
        column.addWidget(_sentence(INTRO))
        column.addWidget(QLabel("Learn from"))
        column.addWidget(self.data)
        column.addLayout(form)
        column.addWidget(more)
        column.addWidget(self.go)
        column.addWidget(self.hint)
        column.addWidget(self.unfinished)


class _TrainingPage(QWidget):
    """What is learned, live, and what can be done about it."""

    def __init__(self) -> None:
        super().__init__()
        self._title = QLabel()
        self._title.setStyleSheet("font-weight: bold;")
        self._bar = QProgressBar()
        self._word = _sentence("")
        self._figures = _sentence("")
        self.curve = LossCurve()
        self.pause = _button("Pause", "Wait after this step; memory stays taken.")
        self.finish = _button(
            "Finish now", "End the training here: the best so far becomes the model."
        )
        self.stop = _button(
            "Stop", "End it and give its memory back. Nothing is lost: it can go on later."
        )
        self._previews = QCheckBox("Show previews in the viewer")
        self._previews.setChecked(True)
        self._previews.setToolTip(
            "A layer beside the others with pictures held back: gray, as predicted now, and true."
        )
        self.use = _button("Colorize with it", "Make the new model the one of the Colorize panel.")
        self.again = _button("New training", "Back to the choices.")
        self._arrange()
        self._told = TrainingStatus("", "")

    @property
    def is_paused(self) -> bool:
        """Whether it waits."""
        return self._told.is_paused

    @property
    def shows_preview(self) -> bool:
        """Whether previews go into the viewer."""
        return self._previews.isChecked()

    @property
    def text(self) -> str:
        """The sentence that is shown."""
        return self._word.text()

    def begin(self, asked: TrainingRequest) -> None:
        """Show a training of which nothing is known yet."""
        self._told = TrainingStatus(asked.name, asked.base)
        self._title.setText(f"Training {asked.name}")
        self.curve.clear()
        self._figures.setText("")
        self._bar.setRange(0, 0)  # busy
        self.say(self._told.sentence)
        self._allow(is_over=False)

    def say(self, text: str) -> None:
        """Tell what happens."""
        self._word.setText(text)

    def hear(self, event: dict[str, Any]) -> None:
        """Show one event."""
        told = self._told
        told.update(event)
        kind = event["event"]
        if kind == "start":
            self.curve.steps = event["steps"]
            self.curve.go_back(event["step"])
        elif kind == "step":
            self.curve.add_loss(event["step"], event["losses"].get("G", 0.0))
        elif kind == "validation":
            names = ("ciede2000", "ciede2000_gray", "measure")
            self.curve.add_error(event["step"], *(event[f"validation_{name}"] for name in names))
        self._bar.setRange(0, told.total)
        self._bar.setValue(told.done)
        self._figures.setText(told.figures)
        self.pause.setText("Resume" if told.is_paused else "Pause")
        self.say(told.sentence)

    def end(self, model: Path) -> None:
        """It is done."""
        self._bar.setRange(0, 1)
        self._bar.setValue(1)
        word = "is ready" if self._told.is_better else "is no better than its base"
        self._title.setText(f"{model.stem} {word}")
        self._allow(is_over=True)

    def _allow(self, *, is_over: bool) -> None:
        for button in (self.pause, self.finish, self.stop, self._previews):
            button.setVisible(not is_over)
        for button in (self.use, self.again):
            button.setVisible(is_over)

    def _arrange(self) -> None:
        row = QHBoxLayout()
        for button in (self.pause, self.finish, self.stop, self.use, self.again):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self._title, self._bar, self._word, self.curve, self._figures):
            column.addWidget(part)
        column.addLayout(row)
        column.addWidget(self._previews)


class _Unfinished(QWidget):
    """Trainings that were stopped or broke off; hidden while there are none."""

    resumed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._list = QListWidget()
        self._list.setFixedHeight(self._list.fontMetrics().height() * 6)
        self._list.setWordWrap(True)
        self.go_on = _button("Go on", "Let the selected training go on where it was.")
        self.delete = _button("Delete", "Remove the selected training and what it has learned.")
        row = QHBoxLayout()
        row.addWidget(self.go_on)
        row.addWidget(self.delete)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.addWidget(QLabel("Unfinished trainings"))
        column.addWidget(self._list)
        column.addLayout(row)
        self.go_on.clicked.connect(self._go_on)
        self.delete.clicked.connect(self._delete)

    @property
    def runs(self) -> list[TrainingRun]:
        """Those that are listed."""
        return [self._run_of(self._list.item(at)) for at in range(self._list.count())]

    def relist(self) -> None:
        """Look again."""
        self._list.clear()
        for run in runs():
            state = run.state
            if state in (State.STOPPED, State.FAILED, State.INTERRUPTED):
                self._add(run, state)
        self._list.setCurrentRow(0)
        self.setVisible(bool(self._list.count()))

    def _add(self, run: TrainingRun, state: State) -> None:
        step = run.last_event().get("step")
        reached = "" if step is None else f" at step {step}"
        why = f" ({run.why()})" if state is State.FAILED else ""
        row = QListWidgetItem(f"{run.asked.name}: {state.value}{reached}{why}")
        row.setData(Qt.ItemDataRole.UserRole, run)
        row.setToolTip(f"From {run.asked.base}, in {run.folder}")
        self._list.addItem(row)

    def _run_of(self, row: QListWidgetItem) -> TrainingRun:
        run: TrainingRun = row.data(Qt.ItemDataRole.UserRole)
        return run

    def _go_on(self) -> None:
        row = self._list.currentItem()
        if row is not None:
            # When this click is done with: going on empties this very list.
            run = self._run_of(row)
            QTimer.singleShot(0, lambda: self.resumed.emit(run))

    def _delete(self) -> None:
        row = self._list.currentItem()
        if row is None:
            return
        run = self._run_of(row)
        question = f"Delete the training of {run.asked.name} and what it has learned so far?"
        if QMessageBox.question(self, "Delete", question) == QMessageBox.StandardButton.Yes:
            run.remove()
            self.relist()


class _CancelledError(Exception):
    """Who started it has stopped it while pictures were written."""


def _prepared(
    asked: TrainingRequest, chosen: Chosen, folder: Path, cancelled: threading.Event
) -> TrainingRun:
    """The folder of a run with all that is to be learned from in it, or named."""

    def check(*_: int) -> None:
        if cancelled.is_set():
            raise _CancelledError

    data = list(asked.data)
    if chosen.layers:
        write_pictures(chosen.layers, folder / "pictures" / "layers", check)
        data.append(str(folder / "pictures" / "layers"))
    if chosen.corrections:
        place = folder / "pictures" / "corrections"
        place.mkdir(parents=True, exist_ok=True)
        for path in chosen.corrections:
            check()
            copyfile(path, place / path.name)
        data.append(str(place))
    return TrainingRun.begin(replace(asked, data=tuple(data)), folder)


def _sentence(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    return label


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button
