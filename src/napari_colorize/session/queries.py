"""Queries about the displayed image, answered by the worker thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_colorize.analysis.attention import AttentionMap
    from napari_colorize.analysis.disagreement import Disagreement
    from napari_colorize.array_types import Float32Array
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.result import Colorized
    from napari_colorize.session.model_cache import LoadedModels
    from napari_colorize.session.renderer import Renderer
    from napari_colorize.session.request import RenderRequest


class Queries:
    """One method for each kind of query; it returns the arguments of the signal `<kind>_ready`.

    Each gets the newest request and the result that is displayed for it, None if it is not
    rendered yet.
    """

    # Nobody waits for these: dropped if the prediction failed or was cancelled, not tried again.
    ABOUT_RESULT = frozenset({"typical_error"})

    def __init__(self, models: LoadedModels, renderer: Renderer) -> None:
        self._models, self._renderer = models, renderer

    def attention(
        self, request: RenderRequest, displayed: Colorized | None, point: tuple[float, float]
    ) -> tuple[AttentionMap]:
        """Self-attention weights of one point (row, column), in pixels of the plane."""
        colorizer, image, options = self._network_input(request, displayed)
        return (colorizer.attention_map(image, point, **options),)

    def disagreement(
        self, request: RenderRequest, displayed: Colorized | None
    ) -> tuple[Disagreement]:
        """Variation of the colors under flips, other render factors and a second model."""
        from napari_colorize.analysis.disagreement import disagreement

        colorizer, image, options = self._network_input(request, displayed)
        second = self._models.second(request)
        others = () if second is None else (second,)
        return (disagreement(colorizer, image, others=others, **options),)

    def expected_error(
        self, request: RenderRequest, displayed: Colorized | None
    ) -> tuple[Colorized, Float32Array]:
        """The result, and the expected CIEDE2000 error of every pixel."""
        result = self._result(request, displayed)
        return result, self._models.ready(request).expected_error(result)

    def typical_error(
        self, request: RenderRequest, displayed: Colorized | None
    ) -> tuple[Colorized, float | None]:
        """The result, and the median of its expected CIEDE2000 error.

        All models are on one scale. None for results without chroma, which a fidelity makes.
        """
        from napari_colorize.analysis.expected_error import comparable_error

        result = self._result(request, displayed)
        if result.chroma is None:
            return result, None
        errors = comparable_error(self._models.ready(request), result)
        finite = errors[np.isfinite(errors)]
        return result, float(np.median(finite)) if finite.size else None

    def _result(self, request: RenderRequest, displayed: Colorized | None) -> Colorized:
        """The displayed result, or else the result of the request."""
        if displayed is not None:
            return displayed
        renderer = self._renderer
        return renderer.render(request, renderer.cached(request) or renderer.predict(request))

    def _network_input(
        self, request: RenderRequest, displayed: Colorized | None
    ) -> tuple[Colorizer, Any, dict[str, Any]]:
        """The model, the image, and the options of a call."""
        colorizer = self._models.ready(request)
        source, settings = self._renderer.network_input(request, displayed)
        return colorizer, source.image, {"rgb": source.rgb, **vars(settings)}
