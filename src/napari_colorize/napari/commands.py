"""What menus, the command palette and keys do: a word to the desk of the viewer in front.

napari hands in the viewer, so that two open windows are not mistaken for one another. Nothing here
waits: the desk's session works in the background, and the panel, which these commands open, shows
how far it is. What cannot be done is said in a notification of one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app_model.types import KeyCode, KeyMod
from napari.utils.notifications import show_error, show_info

from napari_colorize.errors import ColorizeError
from napari_colorize.napari.controller import existing_controller, get_controller
from napari_colorize.napari.layers import reason_not_colorizable
from napari_colorize.napari.preferences import PLUGIN

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.napari.widget import ColorizeWidget

PANEL = "Colorize"
SHORTCUT = KeyMod.CtrlCmd | KeyMod.Alt | KeyCode.KeyC


def open_panel(viewer: Viewer) -> ColorizeWidget:
    """The Colorize panel of this viewer, in front; there is at most one."""
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, PANEL, tabify=True)
    dock.show()
    dock.raise_()
    return widget


def bind_shortcut(viewer: Viewer) -> None:
    """Ctrl+Alt+C (Cmd+Option+C) colorizes the selected layer of this viewer.

    napari reads keys of a manifest but does not bind them, so the panel does when it opens.
    """
    viewer.bind_key(SHORTCUT, colorize_selected, overwrite=True)


def colorize_selected(viewer: Viewer) -> None:
    """Show colours for what is looked at of the selected layer, in the panel's way."""
    with _explained():
        _at_work_on_selected(viewer)


def colorize_every_plane(viewer: Viewer) -> None:
    """Colorize all planes of the selected layer."""
    with _explained():
        _at_work_on_selected(viewer).colorize_all()


def sweep(viewer: Viewer) -> None:
    """Show the selected layer at several render factors, to choose one of them by a click."""
    with _explained():
        controller = _at_work_on_selected(viewer)
        open_panel(controller.viewer).begin_sweep()


def hint(viewer: Viewer) -> None:
    """Add a layer above the selected one, to click colours into that its picture shall have."""
    with _explained():
        controller = _at_work_on_selected(viewer)
        open_panel(controller.viewer).guide_section.expand(animate=False)
        controller.add_hints()


def keep(viewer: Viewer) -> None:
    """Make the colours shown a layer of their own."""
    with _explained():
        _open_controller(viewer).keep()


def undo(viewer: Viewer) -> None:
    """Take back the last keep or replace."""
    controller = existing_controller(viewer)
    if controller is None or controller.undoable is None:
        show_info("There is nothing to take back: nothing was kept or replaced yet.")
        return
    controller.undo()


def cancel(viewer: Viewer) -> None:
    """Stop what is being done; planes that are done stay."""
    with _explained():
        _open_controller(viewer).cancel(keep=True)


def release_memory(viewer: Viewer) -> None:
    """Free the memory of the model until colours are wanted again."""
    with _explained():
        _open_controller(viewer).release_memory()
        show_info("The model was let go of; the next change loads it again.")


def _open_controller(viewer: Viewer) -> ColorizeController:
    """The desk of a viewer that has a panel open.

    Raises
    ------
    ColorizeError
        If it has none: there is nothing to keep, stop or free.
    """
    controller = existing_controller(viewer)
    if controller is None:
        raise ColorizeError("Nothing is being colorized in this viewer: open the Colorize panel.")
    return controller


def _at_work_on_selected(viewer: Viewer) -> ColorizeController:
    """The desk, with the panel open and the selected layer on it."""
    controller = get_controller(viewer)
    chosen = _selected(controller.viewer)  # napari hands in a proxy, whose layers are proxies too
    open_panel(controller.viewer)
    controller.choose_layer(chosen)
    return controller


def _selected(viewer: Viewer) -> Layer:
    """The layer to colorize: the active one, or of several the topmost that can be.

    Raises
    ------
    ColorizeError
        If there is none, in the sentence that says why.
    """
    selection = viewer.layers.selection
    able = [
        layer
        for layer in viewer.layers
        if layer in selection and reason_not_colorizable(layer) is None
    ]
    chosen = able[-1] if able else selection.active
    reason = reason_not_colorizable(chosen)
    if reason is not None:
        raise ColorizeError(reason)
    return chosen


@contextmanager
def _explained() -> Iterator[None]:
    """What went wrong as a notification of one sentence, not as a traceback."""
    try:
        yield
    except ColorizeError as error:
        show_error(str(error))
