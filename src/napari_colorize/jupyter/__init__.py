"""Jupyter widgets: `ColorizeBox` and `ColorizeView` colorize an image, `FinetuneBox` fine-tunes.

>>> from napari_colorize.jupyter import ColorizeBox
>>> box = ColorizeBox("old.jpg", saturation=1.4)  # doctest: +SKIP
>>> box  # displayed as the last line of a cell  # doctest: +SKIP
>>> box.result.save("colors.png")  # doctest: +SKIP

`box` connects a `ColorizeSession` with the widgets: `view` (the image; its *.js compose and paint
in the browser), `controls` (the settings), `choosers`, `paint_panel`, and `toolbox` with the
analysis tools of `explore`. `guide_inputs` holds mask, hints and reference.
`main_thread` delivers the session's signals and the browser's messages in the kernel's event loop.
`shown_size` composes what is displayed of a large image, `snapshot` makes the picture that a saved
notebook keeps, `saving` saves and downloads. `compact` is a view that stands alone, without a box,
and `finetune` is a box of its own. `browser_encoding`, `hint_pixels`, `thumbnails` and
`image_input` do not import ipywidgets.
Importing this package is fast: each name imports its module on first use.
"""

from typing import TYPE_CHECKING

from napari_colorize.lazy_imports import lazy_names

if TYPE_CHECKING:
    from napari_colorize.jupyter.box import ColorizeBox
    from napari_colorize.jupyter.compact import ColorizeView
    from napari_colorize.jupyter.finetune import FinetuneBox

__all__ = ["ColorizeBox", "ColorizeView", "FinetuneBox"]

_MODULES = {"ColorizeBox": "box", "ColorizeView": "compact", "FinetuneBox": "finetune"}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
