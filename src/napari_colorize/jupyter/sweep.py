"""Grid of the same image colorized at several render factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.jupyter.thumbnails import as_png, thumbnail

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

THUMBNAIL = 176  # px


class SweepGrid(widgets.VBox):
    """Thumbnails that are filled in as results arrive.

    Attributes
    ----------
    picked : Signal(int)
        Render factor of the clicked thumbnail.
    """

    picked = Signal(int)

    def __init__(self) -> None:
        self._grid = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        caption = widgets.Label(
            "Low render factors give uniform colors, high ones follow small structures."
        )
        super().__init__([caption, self._grid], layout=widgets.Layout(display="none"))
        self.buttons: dict[int, widgets.Button] = {}
        self._thumbnails: dict[int, widgets.Image] = {}

    def start(self, render_factors: list[int]) -> None:
        """Show an empty place for each render factor."""
        self.buttons = {factor: self._button(factor) for factor in render_factors}
        self._thumbnails = {
            factor: widgets.Image(layout=widgets.Layout(display="none"))
            for factor in render_factors
        }
        self._grid.children = [
            widgets.VBox([self._thumbnails[factor], self.buttons[factor]])
            for factor in render_factors
        ]
        self.layout.display = ""

    def clear(self) -> None:
        """Remove all thumbnails and hide the grid."""
        self.layout.display = "none"
        self._grid.children = ()
        self.buttons, self._thumbnails = {}, {}

    def show_result(self, render_factor: int, result: Colorized) -> None:
        """Display the result of one render factor."""
        if render_factor not in self.buttons:
            return
        image, button = self._thumbnails[render_factor], self.buttons[render_factor]
        image.value = as_png(thumbnail(result, THUMBNAIL))
        image.layout.display = ""
        button.description, button.disabled = str(render_factor), False

    def _button(self, factor: int) -> widgets.Button:
        button = widgets.Button(
            description=f"{factor} …",
            disabled=True,
            tooltip=f"Use render factor {factor}.",
            layout=widgets.Layout(width=f"{THUMBNAIL}px"),
        )
        button.on_click(lambda _: self.picked.emit(factor))
        return button
