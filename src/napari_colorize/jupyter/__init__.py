"""Jupyter widgets: `ColorizeBox` colorizes an image, `FinetuneBox` fine-tunes a model.

>>> from napari_colorize.jupyter import ColorizeBox
>>> box = ColorizeBox("old.jpg", saturation=1.4)  # doctest: +SKIP
>>> box  # displayed as the last line of a cell  # doctest: +SKIP
>>> box.result.save("colors.png")  # doctest: +SKIP

`box` connects a `ColorizeSession` with the widgets: `view` (the image; its *.js compose and paint
in the browser), `controls` (the settings), `choosers`, `paint_panel`, and `toolbox` with the
analysis tools of `explore`. `guide_inputs` holds mask, hints and reference.
`main_thread` delivers the session's signals in the kernel's event loop. `finetune` is a box of its
own. `browser_encoding`, `hint_pixels`, `thumbnails` and `image_input` do not import ipywidgets.
Importing this package is fast: each name imports its module on first use.
"""

from typing import TYPE_CHECKING

from napari_colorize.lazy_imports import lazy_names

if TYPE_CHECKING:
    from napari_colorize.jupyter.box import ColorizeBox
    from napari_colorize.jupyter.finetune import FinetuneBox

__all__ = ["ColorizeBox", "FinetuneBox"]

_MODULES = {"ColorizeBox": "box", "FinetuneBox": "finetune"}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
