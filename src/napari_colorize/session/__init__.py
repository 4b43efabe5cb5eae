"""ColorizeSession: when to predict, in which thread, and which result is still wanted.

A front end says what it looks at and how (`wish`); it may change its mind at any moment and is
never kept waiting. One thread (`worker`) compares the newest wish with what was shown last and does
what is missing: nothing, a new composition, or a new prediction; then it answers `questions`, goes
on with `runs`, and predicts ahead. It reads the plane (`reading`), loads the network (`model`),
makes the picture (`pictures`) and remembers it (`cache`); what front ends hear is in `told`.

Importing this brings no torch: that is done on the worker.
"""

from napari_colorize.session.events import PlaneSource, RunFinished, RunProgress, State
from napari_colorize.session.session import ColorizeSession

__all__ = ["ColorizeSession", "PlaneSource", "RunFinished", "RunProgress", "State"]
