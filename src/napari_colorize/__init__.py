"""Colorize grayscale images.

>>> import napari_colorize as nc
>>> result = nc.colorize("photo.jpg", saturation=1.4)  # doctest: +SKIP
>>> result.with_(saturation=2.0).save("warm.png")  # doctest: +SKIP

Importing this package is cheap: modules, and torch, are imported on first use of a name.
"""

import os
import sys
from typing import TYPE_CHECKING

from napari_colorize.lazy_imports import lazy_names
from napari_colorize.version import __version__

if TYPE_CHECKING:
    from napari_colorize.analysis.disagreement import disagreement
    from napari_colorize.analysis.maps import (
        attention_map,
        disagreement_map,
        expected_error_map,
        uncolored_map,
    )
    from napari_colorize.api import colorize
    from napari_colorize.batch.contact_sheet import contact_sheet
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.dask_arrays import LazyColorized
    from napari_colorize.errors import (
        CheckpointError,
        ColorizeError,
        ColorizeNote,
        ColorizeWarning,
        DownloadError,
        ImageError,
        OutOfMemoryError,
        OutputError,
        SettingsError,
        UnknownModelError,
        UnknownSettingError,
    )
    from napari_colorize.io.images import read_image, write_image
    from napari_colorize.refine.guides import Guides
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.palette_transfer import Reference
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession
    from napari_colorize.settings import ColorizeSettings
    from napari_colorize.video.lazy_frames import open_video
    from napari_colorize.zoo import list_models

__all__ = [
    "CheckpointError",
    "ColorizeError",
    "ColorizeNote",
    "ColorizeSession",
    "ColorizeSettings",
    "ColorizeWarning",
    "Colorized",
    "Colorizer",
    "DownloadError",
    "Guides",
    "Hints",
    "ImageError",
    "LazyColorized",
    "OutOfMemoryError",
    "OutputError",
    "Reference",
    "SettingsError",
    "UnknownModelError",
    "UnknownSettingError",
    "__version__",
    "attention_map",
    "colorize",
    "contact_sheet",
    "disagreement",
    "disagreement_map",
    "expected_error_map",
    "list_models",
    "open_video",
    "read_image",
    "uncolored_map",
    "write_image",
]

_MODULES = {
    "CheckpointError": "errors",
    "ColorizeError": "errors",
    "ColorizeNote": "errors",
    "ColorizeSession": "session",
    "ColorizeSettings": "settings",
    "ColorizeWarning": "errors",
    "Colorized": "result",
    "Colorizer": "colorizer",
    "DownloadError": "errors",
    "Guides": "refine.guides",
    "Hints": "refine.hints",
    "ImageError": "errors",
    "LazyColorized": "dask_arrays",
    "OutOfMemoryError": "errors",
    "OutputError": "errors",
    "Reference": "refine.palette_transfer",
    "SettingsError": "errors",
    "UnknownModelError": "errors",
    "UnknownSettingError": "errors",
    "attention_map": "analysis.maps",
    "colorize": "api",
    "contact_sheet": "batch.contact_sheet",
    "disagreement": "analysis.disagreement",
    "disagreement_map": "analysis.maps",
    "expected_error_map": "analysis.maps",
    "list_models": "zoo",
    "open_video": "video.lazy_frames",
    "read_image": "io.images",
    "uncolored_map": "analysis.maps",
    "write_image": "io.images",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)


def _use_one_thread() -> None:
    """A forked process has none of the threads of torch's pool, and would wait for them forever."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


# Here, because a program may use torch, and fork, before it uses a name of this package.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_use_one_thread)
