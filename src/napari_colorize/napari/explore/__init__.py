"""The Explore panel: attention maps, error maps, comparison of models, before/after curtain."""

from napari_colorize.napari.explore.panel import ExploreWidget

__all__ = ["ExploreWidget"]
