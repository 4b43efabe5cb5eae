"""Session between a front end and the networks: what to predict, when, and in which thread.

`ColorizeSession` holds the inputs of the displayed plane as an immutable `RenderRequest`
(`request`). Its worker thread (`worker`) compares the newest request with the displayed result
(`displayed`) and does what is missing: nothing, rendering, or a prediction. It reads planes
(`source`), loads networks (`model_cache`), renders (`renderer`, `smoothing`), keeps predictions
(`cache`), answers queries (`queries`) and emits signals, which a front end receives in its main
thread (`events`). The front ends share the rules for their panels (`presenter`, `messages`).

Importing this package does not import torch; the worker thread does.
"""

from napari_colorize.session.events import PlaneSource, RunFinished, RunProgress, State
from napari_colorize.session.session import ColorizeSession

__all__ = ["ColorizeSession", "PlaneSource", "RunFinished", "RunProgress", "State"]
