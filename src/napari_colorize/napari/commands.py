"""Commands of the menus, the command palette and the keyboard shortcut.

napari passes the viewer, so that two open windows are not confused. No command blocks: the session
of the controller works in the background, and the Colorize panel shows its progress. Errors are
shown as notifications of one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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


def open_panel(viewer: Viewer) -> ColorizeWidget:
    """Open the Colorize panel of a viewer, or raise it if it is open."""
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, PANEL, tabify=True)
    dock.show()
    dock.raise_()
    return widget


def colorize_selected(viewer: Viewer) -> None:
    """Open the panel and colorize the displayed plane of the selected layer."""
    with _errors_as_notifications():
        _choose_selected(viewer)


def colorize_all_planes(viewer: Viewer) -> None:
    """Colorize all planes of the selected layer."""
    with _errors_as_notifications():
        _choose_selected(viewer).colorize_all()


def sweep(viewer: Viewer) -> None:
    """Show the selected layer at several render factors; a click on one of them uses it."""
    with _errors_as_notifications():
        controller = _choose_selected(viewer)
        open_panel(controller.viewer).begin_sweep()


def add_hints(viewer: Viewer) -> None:
    """Add a Points layer for color hints above the selected layer."""
    with _errors_as_notifications():
        controller = _choose_selected(viewer)
        open_panel(controller.viewer).guide_section.expand(animate=False)
        controller.add_hints()


def keep(viewer: Viewer) -> None:
    """Copy the displayed colors to a layer that no longer changes."""
    with _errors_as_notifications():
        _open_controller(viewer).actions.keep()


def undo(viewer: Viewer) -> None:
    """Undo the last Keep or Replace."""
    controller = existing_controller(viewer)
    if controller is None or controller.actions.undoable is None:
        show_info("There is nothing to undo: no colors were kept or replaced yet.")
        return
    controller.actions.undo()


def cancel(viewer: Viewer) -> None:
    """Cancel the current work; planes that are computed are kept."""
    with _errors_as_notifications():
        _open_controller(viewer).presenter.cancel()


def release_memory(viewer: Viewer) -> None:
    """Free the memory of the model; it is loaded again when colors are needed."""
    with _errors_as_notifications():
        _open_controller(viewer).session.release_memory()
        show_info("The memory of the model was freed. The next change loads the model again.")


def _open_controller(viewer: Viewer) -> ColorizeController:
    """The controller of a viewer that has a panel open; raises `ColorizeError` if there is none."""
    controller = existing_controller(viewer)
    if controller is None:
        raise ColorizeError(
            "Nothing is being colorized in this viewer: open the Colorize panel first."
        )
    return controller


def _choose_selected(viewer: Viewer) -> ColorizeController:
    """Open the panel and choose the selected layer; returns the controller."""
    controller = get_controller(viewer)
    # napari passes a proxy of the viewer, whose layers are proxies too.
    chosen = _selected_layer(controller.viewer)
    open_panel(controller.viewer)
    controller.choose_layer(chosen)
    return controller


def _selected_layer(viewer: Viewer) -> Layer:
    """The layer to colorize: of the selected layers, the topmost that can be colorized.

    Raises `ColorizeError` with the reason if none can.
    """
    selection = viewer.layers.selection
    colorizable = [
        layer
        for layer in viewer.layers
        if layer in selection and reason_not_colorizable(layer) is None
    ]
    chosen = colorizable[-1] if colorizable else selection.active
    reason = reason_not_colorizable(chosen)
    if reason is not None:
        raise ColorizeError(reason)
    return chosen


@contextmanager
def _errors_as_notifications() -> Iterator[None]:
    """Show a `ColorizeError` as a notification instead of a traceback."""
    try:
        yield
    except ColorizeError as error:
        show_error(str(error))
