"""Seeing what the network does: the Explore panel and its tools."""

from napari_colorize.napari.explore.panel import ExploreWidget

__all__ = ["ExploreWidget"]
