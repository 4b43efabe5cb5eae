"""ColorizeSession: when to predict, in which thread, and which result is still wanted.

A front end says what it looks at and how (`wish`); it may change its mind at any moment and is
never kept waiting. One worker thread (`session`) compares the newest wish with what was shown
last and does what is missing: nothing, a new composition, or a new prediction. It reads the plane
(`reading`), loads the network (`model`) and remembers what it predicted (`cache`).

Importing this brings no torch: that is done on the worker.
"""

from napari_colorize.session.session import ColorizeSession
from napari_colorize.session.told import Progress, RunEnd, State

__all__ = ["ColorizeSession", "Progress", "RunEnd", "State"]
