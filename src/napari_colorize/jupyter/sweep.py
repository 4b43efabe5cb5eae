"""The same picture at several render factors, side by side; a click takes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.jupyter.maps import as_png, thumbnail

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

SIDE = 176  # of a thumbnail, in pixels


class SweepGrid(widgets.VBox):
    """Thumbnails that come one by one; `picked` brings the render factor that was clicked."""

    picked = Signal(int)

    def __init__(self) -> None:
        self._grid = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        said = widgets.Label("Small render factors are bold and even, large ones follow details.")
        super().__init__([said, self._grid], layout=widgets.Layout(display="none"))
        self.buttons: dict[int, widgets.Button] = {}
        self._pictures: dict[int, widgets.Image] = {}

    def begin(self, render_factors: list[int]) -> None:
        """Empty places for these render factors."""
        self.buttons = {factor: self._button(factor) for factor in render_factors}
        self._pictures = {
            factor: widgets.Image(layout=widgets.Layout(display="none"))
            for factor in render_factors
        }
        self._grid.children = [
            widgets.VBox([self._pictures[factor], self.buttons[factor]])
            for factor in render_factors
        ]
        self.layout.display = ""

    def clear(self) -> None:
        """Hide it all."""
        self.layout.display = "none"
        self._grid.children = ()
        self.buttons, self._pictures = {}, {}

    def show_result(self, render_factor: int, result: Colorized) -> None:
        """The picture of one render factor has come."""
        if render_factor not in self.buttons:
            return
        picture, button = self._pictures[render_factor], self.buttons[render_factor]
        picture.value = as_png(thumbnail(result, SIDE))
        picture.layout.display = ""
        button.description, button.disabled = str(render_factor), False

    def _button(self, factor: int) -> widgets.Button:
        button = widgets.Button(
            description=f"{factor} …",
            disabled=True,
            tooltip=f"Take render factor {factor}.",
            layout=widgets.Layout(width=f"{SIDE}px"),
        )
        button.on_click(lambda _: self.picked.emit(factor))
        return button
