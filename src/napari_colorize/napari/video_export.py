"""Export of a colorized video in the background, with the settings of a viewer's controller.

A thread of its own with a Colorizer of its own computes the frames; the session of the controller
goes on to serve the viewer. Partial results of an export that was stopped are kept beside the
target. An export to the same name continues from there (see `video.resume`).
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from napari.utils.notifications import show_error, show_info
from psygnal import Signal

from napari_colorize.errors import (
    ColorizeError,
    ImageError,
    OutputError,
    as_colorize_error,
    clear_traceback,
    warnings_suppressed,
)
from napari_colorize.napari import layers
from napari_colorize.napari.activity import ActivityBar
from napari_colorize.napari.signals import main_thread_relay
from napari_colorize.session.events import RunProgress, seconds_left

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

    from napari_colorize.colorizer import Colorizer
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.refine.guides import Guides
    from napari_colorize.session.request import RenderRequest
    from napari_colorize.settings import ColorizeSettings
    from napari_colorize.video.lazy_frames import VideoFrames
    from napari_colorize.video.plan import VideoPlan

EXIT_TIMEOUT = 5.0  # seconds to wait for the thread when Python exits
DEFAULT_SUFFIX = ".mp4"
FILE_FILTER = "Videos (*.mp4 *.mkv *.mov *.m4v *.webm);;Stacks (*.tif *.zarr)"

logger = logging.getLogger(__name__)

_exports: dict[int, VideoExport] = {}  # at most one per viewer, by the id of the viewer


def export_video(
    controller: ColorizeController, path: str | os.PathLike[str], *, overwrite: bool = False
) -> VideoExport:
    """Start to colorize and write the video of a controller; returns at once.

    Model, settings and guides are those of the controller at this moment. Audio, subtitles and
    chapters are copied.

    Parameters
    ----------
    controller : ColorizeController
        A controller whose layer is a video.
    path : path-like
        Target; the suffix determines the format, as for `napari-colorize video`.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ColorizeError
        If the layer is not a video, or the target cannot be written. Later errors are reported by
        `VideoExport.ended`.
    """
    from napari_colorize.video.plan import ExportOptions, plan_video

    running = _exports.get(id(controller.viewer))
    if running is not None:
        raise OutputError(
            f"{running.target.name} is being saved: wait, or cancel it in the activity dock first."
        )
    frames, request = export_job(controller)
    plan = plan_video(frames.video.path, path, ExportOptions(overwrite=overwrite))
    export = VideoExport(controller.viewer, plan, len(frames), request)
    export.start()
    return export


def ask_and_export(viewer: Viewer) -> None:
    """Ask for a file name and export the selected video, or else the one that is colorized."""
    from qtpy.QtWidgets import QFileDialog

    from napari_colorize.napari.controller import get_controller

    controller = get_controller(viewer)
    try:
        source = _choose_video(controller)
        suggested = source.with_name(f"{source.stem} (colorized){DEFAULT_SUFFIX}")
        title = "Save Colorized Video"
        path, _ = QFileDialog.getSaveFileName(None, title, str(suggested), FILE_FILTER)
        if not path:
            return
        # The dialog asks whether to replace a file only for the name as it was typed.
        if not Path(path).suffix:
            export_video(controller, f"{path}{DEFAULT_SUFFIX}")
        else:
            export_video(controller, path, overwrite=True)
    except ColorizeError as error:
        show_error(str(error))


def _choose_video(controller: ColorizeController) -> Path:
    """Open the panel and choose the video to export; returns its path."""
    from napari_colorize.napari.commands import open_panel

    active = controller.viewer.layers.selection.active
    chosen = active if _video_frames(active) is not None else controller.layer
    frames = _video_frames(chosen)
    if frames is None:
        raise ImageError("There is no video to save: open a video and select its layer.")
    open_panel(controller.viewer)
    controller.choose_layer(chosen)
    return frames.video.path


def _video_frames(layer: Layer | None) -> VideoFrames | None:
    """Data of a layer if it is a video, else None."""
    from napari_colorize.video.lazy_frames import VideoFrames

    data = None if layer is None else layer.data
    return data if isinstance(data, VideoFrames) else None


def export_job(controller: ColorizeController) -> tuple[VideoFrames, RenderRequest]:
    """The video of a controller, and everything that determines its colors now.

    Raises `ImageError` if the layer is not a video, or only a part of it is colorized.
    """
    layer = controller.layer
    if layer is None:
        raise ImageError(layers.NO_LAYER)
    frames = _video_frames(layer)
    if frames is None:
        raise ImageError(
            f"{layer.name!r} is not a video: colorize the whole stack, then save its colors "
            "with File > Save Selected Layers."
        )
    if controller.region is not None:
        raise ImageError(
            "A video is saved with whole frames: choose the visible plane instead of shapes first."
        )
    if controller.guiding.depend_on_plane:
        raise ImageError(
            "Hints, masks and references of single frames cannot be used for a whole video: "
            "use layers with a single plane, or none."
        )
    settings = _with_display_range(controller.presenter.settings, layer)
    return frames, controller.session.plane_source.request.replace(settings=settings)


@dataclass(frozen=True)
class ExportFinished:
    """End of an export after `done` frames; `notes` are sentences for the user."""

    done: int
    cancelled: bool = False
    notes: tuple[str, ...] = ()
    error: ColorizeError | None = None


class VideoExport:
    """Export of one video in a thread of its own, with a bar in the activity dock.

    Create it in the GUI thread. Three threads are involved: `_run` and the functions it calls are
    in the export thread, `_stop_at_exit` is in the main thread while Python exits, everything else
    is in the GUI thread. The export thread passes values to the GUI thread by two signals only,
    which a `MainThreadRelay` queues.

    Parameters
    ----------
    viewer : Viewer
        The export ends when the window of this viewer closes.
    plan : VideoPlan
        Source and target.
    frames : int
        Number of frames of the source.
    request : RenderRequest
        Models, guides and settings.
    """

    progress = Signal(RunProgress)  # emitted in the export thread
    ended = Signal(ExportFinished)  # emitted in the GUI thread
    _finished = Signal(ExportFinished)  # emitted in the export thread

    def __init__(
        self, viewer: Viewer, plan: VideoPlan, frames: int, request: RenderRequest
    ) -> None:
        # psygnal creates a signal instance at the first access, which is not thread-safe.
        _ = self.progress, self.ended, self._finished
        self.target = plan.target
        self._viewer, self._plan = viewer, plan
        self._frames, self._request = frames, request
        self._cancelled = threading.Event()
        self._done = 0
        self._bar = ActivityBar(self.cancel)
        self._relay = main_thread_relay()
        self._relay.connect(self.progress, self._bar.show)
        self._relay.connect(self._finished, self._on_finished)
        name = f"napari-colorize export of {self.target.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        _exports[id(self._viewer)] = self
        atexit.register(self._stop_at_exit)
        window = getattr(self._viewer, "window", None)
        if window is not None:
            window._qt_window.destroyed.connect(self._on_window_closed)
        self._thread.start()

    def cancel(self) -> None:
        """Stop after the current frames; an export to the same name continues later."""
        self._cancelled.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended; False after `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _stop_at_exit(self) -> None:
        # A daemon thread inside torch crashes when the interpreter is finalized under it.
        self._on_window_closed()
        self.wait(EXIT_TIMEOUT)

    def _on_window_closed(self) -> None:
        self.cancel()
        # Closed first: a queued call would reach widgets that are deleted.
        self._relay.close()
        with suppress(RuntimeError):  # Qt objects of the window may be deleted already
            self._bar.close()
        _exports.pop(id(self._viewer), None)

    # In the export thread

    def _run(self) -> None:
        with warnings_suppressed():
            self._export_and_report()

    def _export_and_report(self) -> None:
        notes: tuple[str, ...] = ()
        error: ColorizeError | None = None
        try:
            notes = self._export()
        except ColorizeError as expected:
            error = expected
        except Exception as unexpected:
            logger.exception("Saving %s failed.", self.target)
            error = as_colorize_error(unexpected)
        # The traceback refers to frames with tensors, whose memory it would keep.
        clear_traceback(error)
        atexit.unregister(self._stop_at_exit)
        cancelled = self._cancelled.is_set() and not notes
        self._finished.emit(ExportFinished(self._done, cancelled, notes, error))

    def _export(self) -> tuple[str, ...]:
        """Colorize and write; returns notes for the user, none if the export was cancelled."""
        from napari_colorize.runtime import memory  # torch

        try:
            return self._write_frames()
        finally:
            memory.empty_device_cache()

    def _write_frames(self) -> tuple[str, ...]:
        from napari_colorize.batch.task import Extras

        request = self._request
        colorizer = _loaded(request)
        second = None if request.second_model is None else _loaded(request.second_model)
        guides = cast("Guides | None", request.guides)  # those that depend on the plane are refused
        extras = Extras(guides, second)
        work = self._plan.run(
            colorizer,
            colorizer.resolve_settings(vars(request.settings)),
            extras.identity(colorizer),
            trained_rule=colorizer.checkpoint.contrast_limits,
            **extras.arguments,
        )
        began, total = time.monotonic(), self._frames
        self._done = work.resumed_frames
        with closing(work):
            for done in work:
                self._done = done
                left = seconds_left(began, done - work.resumed_frames, total - work.resumed_frames)
                self.progress.emit(RunProgress(f"Saving {self.target.name}", done, total, left))
                if self._cancelled.is_set():
                    return ()
        return (f"Saved {self.target}.", *work.state.notes, *work.source.notes(), *work.notes)

    # In the GUI thread

    def _on_finished(self, end: ExportFinished) -> None:
        self._bar.close()
        self._relay.close()
        window = getattr(self._viewer, "window", None)
        if window is not None:
            window._qt_window.destroyed.disconnect(self._on_window_closed)
        _exports.pop(id(self._viewer), None)
        if end.error is not None:
            show_error(str(end.error))
        elif end.cancelled:
            show_info(
                f"Stopped after {end.done} of {self._frames} frames. Save to the same name to "
                "continue."
            )
        else:
            show_info(" ".join(end.notes))
        self.ended.emit(end)


def _loaded(request: RenderRequest) -> Colorizer:
    """The model of a request, after a download if necessary."""
    from napari_colorize.colorizer import Colorizer  # torch

    if isinstance(request.model, Colorizer):
        return request.model
    return Colorizer.from_pretrained(
        request.model, device=request.device, precision=request.precision
    )


def _with_display_range(settings: ColorizeSettings, layer: Image) -> ColorizeSettings:
    """Settings with the gamma and the contrast limits of a layer.

    Limits that are the range of the dtype are left out, so that gray values stay unchanged.
    """
    limits = layers.displayed_limits(layer)
    is_full_range = limits == (0, np.iinfo(layer.dtype).max)
    return replace(
        settings,
        contrast_limits=None if is_full_range else limits,
        gamma=layers.displayed_gamma(layer),
    )
