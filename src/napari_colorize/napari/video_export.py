"""A film of a viewer, colorized as its desk is set and written while the viewer goes on.

The network colorizes in a thread of its own, with a Colorizer of its own: the desk's session looks
after what is seen. What was done when it ends early lies beside the result, and saving under the
same name goes on from there (see `media.film.ledger`).
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.utils.notifications import show_error, show_info
from psygnal import Signal

from napari_colorize.errors import ColorizeError, ImageError, OutputError
from napari_colorize.napari import layers
from napari_colorize.napari.activity import ActivityBar
from napari_colorize.napari.qt_relay import QtRelay
from napari_colorize.session.events import RunProgress, seconds_left
from napari_colorize.session.worker_errors import (
    as_colorize_error,
    clear_traceback,
    without_warnings,
)

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

    from napari_colorize.colorizer import Colorizer
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.refine.guides import Guides
    from napari_colorize.runtime.devices import Precision
    from napari_colorize.settings import ColorizeSettings
    from napari_colorize.video.lazy_frames import VideoFrames
    from napari_colorize.video.plan import VideoPlan

SECONDS_TO_STOP = 5.0  # when Python ends
SUFFIX = ".mp4"  # where none was typed
NAMES = "Films (*.mp4 *.mkv *.mov *.m4v *.webm);;Stacks (*.tif *.zarr)"

logger = logging.getLogger(__name__)

_savings: dict[int, VideoExport] = {}  # one at a time for a viewer, by its id


def export_video(
    controller: ColorizeController, path: str | os.PathLike[str], *, overwrite: bool = False
) -> VideoExport:
    """Colorize all of the film that a desk looks at, and write it; returns at once.

    Model, settings and guides are those of the controller at this moment. Audio, subtitles and
    chapters are copied.

    Parameters
    ----------
    desk : Desk
        What it colorizes is a film.
    path : path-like
        Its suffix tells what is written, as for `napari-colorize video`.
    overwrite : bool
        Whether what is there may be replaced.

    Raises
    ------
    ColorizeError
        If there is no film, or it cannot be written there. What fails later is told by `ended`.
    """
    from napari_colorize.video.plan import ExportOptions, plan_video

    busy = _savings.get(id(controller.viewer))
    if busy is not None:
        raise OutputError(f"{busy.target.name} is being saved: wait, or stop it in its bar first.")
    order = ExportJob.of(controller)
    saving = VideoExport(
        controller.viewer, plan_video(order.film, path, ExportOptions(overwrite=overwrite)), order
    )
    saving.start()
    return saving


def ask_and_export(viewer: Viewer) -> None:
    """Save the film selected, or the one that is colorized, under a name that is asked for."""
    from qtpy.QtWidgets import QFileDialog

    from napari_colorize.napari.controller import get_controller

    controller = get_controller(viewer)
    try:
        film = _take_up_film(controller)
        suggested = film.with_name(f"{film.stem} (colorized){SUFFIX}")
        title = "Save colorized film"
        path, _ = QFileDialog.getSaveFileName(None, title, str(suggested), NAMES)
        if not path:
            return
        if not Path(path).suffix:  # then nobody was asked whether it may be replaced
            export_video(controller, f"{path}{SUFFIX}")
        else:
            export_video(controller, path, overwrite=True)
    except ColorizeError as error:
        show_error(str(error))


def _take_up_film(controller: ColorizeController) -> Path:
    """The film to save, on the desk from now on, with the panel open."""
    from napari_colorize.napari.commands import open_panel

    active = controller.viewer.layers.selection.active
    chosen = active if _frames(active) is not None else controller.layer
    found = _frames(chosen)
    if found is None:
        raise ImageError("Open a film and select its layer: there is none to save.")
    open_panel(controller.viewer)
    controller.choose_layer(chosen)
    return found.film.path


def _frames(layer: Layer | None) -> VideoFrames | None:
    """What a layer shows, if that is a film."""
    from napari_colorize.video.lazy_frames import VideoFrames

    data = None if layer is None else layer.data
    return data if isinstance(data, VideoFrames) else None


@dataclass(frozen=True, eq=False)
class ExportJob:
    """What is to be saved and how, as it is when it is said.

    Parameters
    ----------
    film : Path
        The file.
    frames : int
        How many it has.
    settings : ColorizeSettings
        Of the colours.
    model, blend_with, device, precision, guides
        As `ColorizeSession` has them.
    """

    film: Path
    frames: int
    settings: ColorizeSettings
    model: str | Colorizer
    blend_with: str | Colorizer | None
    device: str
    precision: Precision
    guides: Guides | None

    @classmethod
    def of(cls, controller: ColorizeController) -> ExportJob:
        """Of what a desk colorizes.

        Raises
        ------
        ImageError
            If that is no film, or only a part of it.
        """
        layer, session = controller.layer, controller.session
        if layer is None:
            raise ImageError(layers.NO_LAYER)
        frames = _frames(layer)
        if frames is None:
            raise ImageError(
                f"{layer.name!r} is no film: colorize the whole stack, and save its colours with "
                "File > Save Selected Layers."
            )
        if controller.region is not None:
            raise ImageError("A film is saved whole: choose no shapes to colorize only, first.")
        if controller.guiding.are_of_one_plane:
            raise ImageError(
                "Hints, masks and references of single frames are not for the whole film: give "
                "each as a single plane, or choose none."
            )
        return cls(
            frames.film.path,
            len(frames),
            _as_seen(controller.settings, layer),
            session.model,
            session.blend_with,
            session.device,
            session.precision,
            cast("Guides | None", session.guides),  # those of single planes were refused
        )

    def models(self) -> tuple[Colorizer, Colorizer | None]:
        """The model, and the one that is blended with it; fetches and loads them."""
        second = None if self.blend_with is None else self._loaded(self.blend_with)
        return self._loaded(self.model), second

    def _loaded(self, model: str | Colorizer) -> Colorizer:
        from napari_colorize.colorizer import Colorizer  # torch

        if isinstance(model, Colorizer):
            return model
        return Colorizer.from_pretrained(model, device=self.device, precision=self.precision)

    def identity(self, colorizer: Colorizer, second: Colorizer | None) -> dict[str, object]:
        """What a former run must have in common with this one to be gone on with."""
        told = {**colorizer.identity, "guides": _sum(self.guides)}
        return told if second is None else {**told, "blend_with": second.identity}


@dataclass(frozen=True)
class ExportFinished:
    """How saving ended: frames that are done, what is to be said of them, what went wrong."""

    done: int
    cancelled: bool = False
    notes: tuple[str, ...] = ()
    error: ColorizeError | None = None


class VideoExport:
    """One film on its way into a file, with a bar in the viewer that stops it.

    To be made in the GUI thread.

    Parameters
    ----------
    viewer : Viewer
        When its window closes, this ends.
    todo : Plan
        From where, to where.
    order : Order
        How.

    Attributes
    ----------
    progress : Signal(Progress)
        From the thread of the work.
    ended : Signal(SavingEnd)
        In the GUI thread.
    """

    progress = Signal(RunProgress)
    ended = Signal(ExportFinished)
    _over = Signal(ExportFinished)

    def __init__(self, viewer: Viewer, todo: VideoPlan, order: ExportJob) -> None:
        _ = self.progress, self.ended, self._over  # made here, not by two threads at once
        self.target = todo.target
        self._viewer, self._todo, self._order = viewer, todo, order
        self._cancelled = threading.Event()
        self._done = 0
        self._bar = ActivityBar(self.cancel)
        self._bridge = QtRelay()
        self._bridge.connect(self.progress, self._bar.show)
        self._bridge.connect(self._over, self._end)
        name = f"napari-colorize saves {self.target.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        _savings[id(self._viewer)] = self
        atexit.register(self._stop)
        window = getattr(self._viewer, "window", None)
        if window is not None:
            window._qt_window.destroyed.connect(self._leave)
        self._thread.start()

    def cancel(self) -> None:
        """Stop after the frames at work; what is done is gone on from another time."""
        self._cancelled.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the thread is done; False after `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _stop(self) -> None:
        """Python ends: a thread inside torch must not outlive what it runs on."""
        self._leave()
        self.wait(SECONDS_TO_STOP)

    def _leave(self) -> None:
        """The window is gone: nobody is there to be told."""
        self.cancel()
        self._bridge.close()
        with suppress(RuntimeError):  # parts of the window may be gone already
            self._bar.close()
        _savings.pop(id(self._viewer), None)

    # In the thread

    def _run(self) -> None:
        without_warnings(self._work_and_tell)

    def _work_and_tell(self) -> None:
        notes: tuple[str, ...] = ()
        error: ColorizeError | None = None
        try:
            notes = self._work()
        except ColorizeError as told:
            error = told
        except Exception as unexpected:
            logger.exception("Saving %s failed.", self.target)
            error = as_colorize_error(unexpected)
        clear_traceback(error)
        atexit.unregister(self._stop)
        self._over.emit(
            ExportFinished(self._done, self._cancelled.is_set() and not notes, notes, error)
        )

    def _work(self) -> tuple[str, ...]:
        """Colorize and write; gives what is to be said, nothing if it was stopped."""
        from napari_colorize.runtime import memory  # torch

        try:
            return self._written(*self._order.models())
        finally:
            memory.empty_device_cache()

    def _written(self, colorizer: Colorizer, second: Colorizer | None) -> tuple[str, ...]:
        from napari_colorize.batch.task import Extras

        work = self._todo.work(
            colorizer,
            colorizer.resolve_settings(asdict(self._order.settings)),
            self._order.identity(colorizer, second),
            **Extras(self._order.guides, second).of_image(),
        )
        began, total = time.monotonic(), self._order.frames
        self._done = work.before
        with closing(work):
            for done in work:
                self._done = done
                left = seconds_left(began, done - work.before, total - work.before)
                self.progress.emit(RunProgress(f"Saving {self.target.name}", done, total, left))
                if self._cancelled.is_set():
                    return ()
        return (f"Saved {self.target}.", *work.ledger.notes, *work.source.notes(), *work.notes)

    # In the GUI thread

    def _end(self, end: ExportFinished) -> None:
        self._bar.close()
        self._bridge.close()
        window = getattr(self._viewer, "window", None)
        if window is not None:
            window._qt_window.destroyed.disconnect(self._leave)
        _savings.pop(id(self._viewer), None)
        if end.error is not None:
            show_error(str(end.error))
        elif end.cancelled:
            show_info(
                f"Stopped after {end.done} of {self._order.frames} frames: save it under the same "
                "name again to go on."
            )
        else:
            show_info(" ".join(end.notes))
        self.ended.emit(end)


def _as_seen(settings: ColorizeSettings, layer: Image) -> ColorizeSettings:
    """With a layer's gamma, and its limits unless they are those of its type: then gray stays."""
    limits = layers.seen_limits(layer)
    is_all = limits == (0, np.iinfo(layer.dtype).max)
    return replace(
        settings, contrast_limits=None if is_all else limits, gamma=layers.seen_gamma(layer)
    )


def _sum(guides: Guides | None) -> str | None:
    """Tells guides from others."""
    if not guides:
        return None
    digest = sha256()
    for name, array in _arrays("guides", guides):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _arrays(name: str, value: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The arrays in a dataclass, and in those within it."""
    if isinstance(value, np.ndarray):
        yield name, value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _arrays(f"{name}.{field.name}", getattr(value, field.name))
