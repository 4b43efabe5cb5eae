"""The napari plugin: colorize the layers of a viewer.

Three dock widgets (`ColorizeWidget`, `FinetuneWidget`, `ExploreWidget`) open from napari's menus,
from the command palette, or with `napari photo.png -w napari-colorize`. Scripts and notebooks that
drive a viewer do not need a widget:

>>> import napari
>>> from napari_colorize.napari import add_colorized_plane, add_colorized_stack
>>> viewer = napari.Viewer()  # doctest: +SKIP
>>> layer = viewer.open_sample("napari-colorize", "coffee")[0]  # doctest: +SKIP
>>> add_colorized_plane(layer, viewer, saturation=1.4)  # doctest: +SKIP

`colorize_layer` and `ColorizeSettings`, imported from here, work in magicgui widgets:

>>> from napari_colorize.napari import colorize_layer
>>> viewer.window.add_function_widget(colorize_layer)  # doctest: +SKIP

How the modules fit together: `controller` holds the state of the plugin in one viewer; `widget`,
`finetune`, `explore` and `commands` call it. `layers` reads image layers and adds result layers;
`colorized_layer` and `result_layers` keep a source and its result layer together; `layer_actions`
implements Keep, Replace and Undo; `layer_functions` works without a controller. Importing this
package is fast: each name imports its module on first use.
"""

from typing import TYPE_CHECKING

from napari_colorize.lazy_imports import lazy_names

if TYPE_CHECKING:
    from napari_colorize.napari.controls import ColorizeSettings
    from napari_colorize.napari.explore import ExploreWidget
    from napari_colorize.napari.finetune import FinetuneWidget
    from napari_colorize.napari.layer_functions import (
        add_colorized_plane,
        add_colorized_stack,
        colorize_layer,
    )
    from napari_colorize.napari.widget import ColorizeWidget

__all__ = [
    "ColorizeSettings",
    "ColorizeWidget",
    "ExploreWidget",
    "FinetuneWidget",
    "add_colorized_plane",
    "add_colorized_stack",
    "colorize_layer",
]

_MODULES = {
    "ColorizeSettings": "controls",
    "ColorizeWidget": "widget",
    "ExploreWidget": "explore",
    "FinetuneWidget": "finetune",
    "add_colorized_plane": "layer_functions",
    "add_colorized_stack": "layer_functions",
    "colorize_layer": "layer_functions",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
