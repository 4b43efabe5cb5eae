"""The Jupyter widgets: a picture in gray and in colour with the knobs, and fine-tuning.

>>> from napari_colorize.jupyter import ColorizeBox
>>> box = ColorizeBox("old.jpg", saturation=1.4)  # doctest: +SKIP
>>> box  # the last line of a cell shows it  # doctest: +SKIP
>>> box.result.save("colors.png")  # doctest: +SKIP

How the files fit: `box` translates between a `ColorizeSession` and its parts: `view` (with view.js,
which composes in the browser), `knobs`, `choosers`, `sweep`, `explore`. `loop` brings what the
session says into the kernel's loop; `finetune` is a box of its own, with `curves`. `maps` and
`words` know no toolkit. Importing this package is light: a name brings its module when it is first
used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_colorize.jupyter.box import ColorizeBox
    from napari_colorize.jupyter.finetune import FinetuneBox

__all__ = ["ColorizeBox", "FinetuneBox"]

_MODULES = {"ColorizeBox": "box", "FinetuneBox": "finetune"}


def __getattr__(name: str) -> Any:
    """Import the module of a name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value  # from now on an ordinary attribute
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
