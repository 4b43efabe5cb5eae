"""The Jupyter widgets: a picture in gray and in colour with the knobs, and fine-tuning.

>>> from napari_colorize.jupyter import ColorizeBox
>>> box = ColorizeBox("old.jpg", saturation=1.4)  # doctest: +SKIP
>>> box  # the last line of a cell shows it  # doctest: +SKIP
>>> box.result.save("colors.png")  # doctest: +SKIP

How the files fit: `box` translates between a `ColorizeSession` and its parts: `view` (with *.js,
which compose and paint in the browser), `forms` of `knobs`, `choosers`, `painting`, `sweep` and the
`toolbox` with what there is to `explore`; `guiding` sees to hints, mask and reference. `loop`
brings what the session says into the kernel's loop; `finetune` is a box of its own, with `curves`.
`sending` and `paint` (what travels to and from the browser), `maps` and `opening` know no toolkit.
Importing this package is light: a name brings its module when it is first used.
"""

from typing import TYPE_CHECKING

from napari_colorize.lazy_imports import lazy_names

if TYPE_CHECKING:
    from napari_colorize.jupyter.box import ColorizeBox
    from napari_colorize.jupyter.finetune import FinetuneBox

__all__ = ["ColorizeBox", "FinetuneBox"]

_MODULES = {"ColorizeBox": "box", "FinetuneBox": "finetune"}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
