"""ColorizeView: image and main settings in one anywidget, for hosts without ipywidgets' layout."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from traitlets import Any as AnyTrait
from traitlets import Bool, Int, Unicode

from napari_colorize.errors import ColorizeError
from napari_colorize.jupyter.image_input import check_image, open_path
from napari_colorize.jupyter.main_thread import SingleShotTimer
from napari_colorize.jupyter.view import ImageView
from napari_colorize.session import ColorizeSession
from napari_colorize.session.events import MainThreadRelay
from napari_colorize.session.presenter import Presenter
from napari_colorize.settings import ColorizeSettings, settings_from

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.result import Colorized

NO_IMAGE = "No image was given: set the attribute source."


class ColorizeView(ImageView):
    """Image in gray and in color with saturation, render factor and self-attention.

    The view is one anywidget without children, which marimo displays by `mo.ui.anywidget(view)`.
    It needs no event loop: results are shown from the worker thread, one at a time with what the
    browser and the caller change.

    Parameters
    ----------
    source : array or path, optional
        An image, or the file of one.
    model : str, path or Colorizer
        Name in the catalogue, file, or Colorizer.
    **settings
        See `ColorizeSettings`.

    Attributes
    ----------
    result : Colorized or None
        The displayed result; `observe` reports a new one, in the worker thread.

    Examples
    --------
    >>> view = ColorizeView(gray, saturation=1.4)  # doctest: +SKIP
    >>> view.wait()  # doctest: +SKIP
    >>> view.result.save("colors.png")  # doctest: +SKIP
    """

    result = AnyTrait(None, read_only=True)
    has_controls = Bool(True).tag(sync=True)
    render_factor = Int(12).tag(sync=True)
    self_attention = Bool(True).tag(sync=True)
    message = Unicode().tag(sync=True)

    def __init__(
        self,
        source: Any = None,
        *,
        model: str | os.PathLike[str] | Colorizer = "embedded",
        **settings: Any,
    ) -> None:
        chosen = settings_from(settings)
        self._lock = threading.RLock()
        self._is_showing = False
        super().__init__()
        self.session = ColorizeSession(model=model, settings=chosen)
        self.session.compose_with(self.shown.pixels)
        self.presenter = Presenter(
            self.session,
            _LockedRelay(self._lock),
            lambda update: SingleShotTimer(update, 0.0),  # of stacks, which are not shown
            empty_status=lambda: NO_IMAGE,
        )
        self.presenter.status_changed.connect(self._show_status)
        self.presenter.events.result_ready.connect(self._on_result)
        self.presenter.events.state.connect(self._on_state)
        self.received.connect(self._on_file)
        self.observe(self._on_control, ["saturation", "render_factor", "self_attention"])
        self._show_settings()
        self.source = source

    @property
    def source(self) -> Any:
        """The image as an array; set an array, a path, or None.

        One that cannot be opened is reported in the view, which stays as it was.
        """
        return self.session.source

    @source.setter
    def source(self, source: Any) -> None:
        self._guard(lambda: self._open(source))

    @property
    def settings(self) -> ColorizeSettings:
        """All settings."""
        return self.presenter.settings

    def set_settings(self, **settings: Any) -> None:
        """Change some settings; the others stay. See `ColorizeSettings`."""
        with self._lock:
            self.presenter.set_settings(**settings)
            self._show_settings()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; False after `timeout` seconds."""
        began = time.monotonic()
        while self.session.wait(timeout):
            with self._lock:  # results are shown under it
                if self.session.wait(0):
                    return True
            if timeout is not None and time.monotonic() - began > timeout:
                break
        return False

    def close(self) -> None:
        """End the session, free its memory and remove the widget."""
        if hasattr(self, "presenter"):  # not if a setting was refused
            self.presenter.close()
            self.session.close(wait=1.0)
        super().close()

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Receive values from the browser."""
        with self._lock:
            super().set_state(sync_data)

    def _guard(self, function: Callable[[], None]) -> None:
        with self._lock:
            try:
                function()
            except ColorizeError as error:
                self.presenter.show_error(error)

    def _open(self, source: Any) -> None:
        rgb, declared_range = None, None
        if isinstance(source, (str, os.PathLike)):
            source, rgb, declared_range = open_path(source)
        elif source is not None:
            check_image(source, None)
        self.clear()
        self.set_trait("result", None)
        self.presenter.show(None, source=source, rgb=rgb, declared_range=declared_range)
        if source is None:
            self.presenter.show_default_status()

    def _on_file(self, name: str, content: bytes) -> None:
        from pathlib import Path
        from tempfile import TemporaryDirectory

        def open_content() -> None:
            with TemporaryDirectory() as folder:
                path = Path(folder) / (Path(name).name or "image")
                path.write_bytes(content)
                self._open(path)

        self._guard(open_content)

    def _on_control(self, change: Any) -> None:
        if not self._is_showing:
            self._guard(lambda: self.presenter.set_settings(**{change["name"]: change["new"]}))

    def _on_result(self, result: Colorized) -> None:
        self.set_trait("result", result)
        self.show(result)
        self._show_settings()

    def _on_state(self, state: str) -> None:
        self.progress = None if state in ("idle", "composing") else -1.0

    def _show_settings(self) -> None:
        chosen, recommended = self.presenter.settings, self.presenter.recommended()
        self._is_showing = True
        for name in ("saturation", "render_factor", "self_attention"):
            value = getattr(chosen, name)
            setattr(self, name, recommended[name] if value is None else value)
        self._is_showing = False

    def _show_status(self) -> None:
        self.message = self.presenter.status


class _LockedRelay(MainThreadRelay):
    """Calls slots in the thread that emits, under a lock that all other entries take as well."""

    def __init__(self, lock: threading.RLock) -> None:
        super().__init__(lambda deliver: deliver())
        self._lock = lock

    def deliver(self) -> None:
        """Call the slots of all signals that were emitted so far."""
        with self._lock:
            super().deliver()
