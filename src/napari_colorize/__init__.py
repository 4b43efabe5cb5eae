"""Colour for grayscale images.

>>> import napari_colorize as nc
>>> result = nc.colorize(gray, saturation=1.4)  # doctest: +SKIP
>>> result.with_(saturation=2.0).save("warm.png")  # doctest: +SKIP

Importing this package is light: a name below brings its module, and torch, when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer, colorize
    from napari_colorize.errors import ColorizeError, ColorizeNote, ColorizeWarning
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession
    from napari_colorize.settings import ColorizeSettings

__version__ = "0.1.0.dev0"

__all__ = [
    "ColorizeError",
    "ColorizeNote",
    "ColorizeSession",
    "ColorizeSettings",
    "ColorizeWarning",
    "Colorized",
    "Colorizer",
    "__version__",
    "colorize",
]

_MODULES = {
    "ColorizeError": "errors",
    "ColorizeNote": "errors",
    "ColorizeSession": "session",
    "ColorizeSettings": "settings",
    "ColorizeWarning": "errors",
    "Colorized": "result",
    "Colorizer": "colorizer",
    "colorize": "colorizer",
}


def __getattr__(name: str) -> Any:
    """Import the module of a name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value  # from now on an ordinary attribute
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
