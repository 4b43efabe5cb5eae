"""The plugin: colours for the layers of a viewer.

Three panels (`ColorizeWidget`, `FinetuneWidget`, `ExploreWidget`) open from napari's menus, its
command palette or with `napari photo.png -w napari-colorize`. Scripts and notebooks that drive a
viewer need no panel:

>>> import napari
>>> from napari_colorize.napari import colorize_layer, colorize_stack
>>> viewer = napari.Viewer()  # doctest: +SKIP
>>> layer = viewer.open_sample("napari-colorize", "coffee")[0]  # doctest: +SKIP
>>> colorize_layer(layer, viewer, saturation=1.4)  # doctest: +SKIP

How the files fit: `desk` is what the plugin does in one viewer, whoever asks; `dock`, `finetune`,
`explore`, `commands` ask it; `layers` is the way into napari's layers and back; `scripts` does
without a desk. Importing this package is light: a name brings its module when it is first used.
"""

from typing import TYPE_CHECKING

from napari_colorize.lazy_imports import lazy_names

if TYPE_CHECKING:
    from napari_colorize.napari.explore import ExploreWidget
    from napari_colorize.napari.finetune import FinetuneWidget
    from napari_colorize.napari.layer_functions import colorize_layer, colorize_stack
    from napari_colorize.napari.widget import ColorizeWidget

__all__ = [
    "ColorizeWidget",
    "ExploreWidget",
    "FinetuneWidget",
    "colorize_layer",
    "colorize_stack",
]

_MODULES = {
    "ColorizeWidget": "widget",
    "ExploreWidget": "explore",
    "FinetuneWidget": "finetune",
    "colorize_layer": "layer_functions",
    "colorize_stack": "layer_functions",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
