"""Colorize grayscale images.

>>> import napari_colorize as nc
>>> result = nc.colorize(gray, saturation=1.4)  # doctest: +SKIP
>>> result.with_(saturation=2.0).save("warm.png")  # doctest: +SKIP

Importing this package is cheap: modules, and torch, are imported on first use of a name.
"""

from typing import TYPE_CHECKING

from napari_colorize.lazy_imports import lazy_names
from napari_colorize.version import __version__

if TYPE_CHECKING:
    from napari_colorize.api import colorize
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.errors import ColorizeError, ColorizeNote, ColorizeWarning
    from napari_colorize.io.images import read_image, write_image
    from napari_colorize.refine.guides import Guides
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.palette_transfer import Reference
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession
    from napari_colorize.settings import ColorizeSettings

__all__ = [
    "ColorizeError",
    "ColorizeNote",
    "ColorizeSession",
    "ColorizeSettings",
    "ColorizeWarning",
    "Colorized",
    "Colorizer",
    "Guides",
    "Hints",
    "Reference",
    "__version__",
    "colorize",
    "read_image",
    "write_image",
]

_MODULES = {
    "ColorizeError": "errors",
    "ColorizeNote": "errors",
    "ColorizeSession": "session",
    "ColorizeSettings": "settings",
    "ColorizeWarning": "errors",
    "Colorized": "result",
    "Colorizer": "colorizer",
    "Guides": "refine.guides",
    "Hints": "refine.hints",
    "Reference": "refine.palette_transfer",
    "colorize": "api",
    "read_image": "io.images",
    "write_image": "io.images",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
