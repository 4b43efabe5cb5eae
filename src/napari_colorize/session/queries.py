"""Queries about the displayed image, answered by the worker thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from napari_colorize.result import Colorized
    from napari_colorize.session.model_cache import LoadedModels
    from napari_colorize.session.renderer import Renderer
    from napari_colorize.session.request import RenderRequest


class Query(Protocol):
    """A query; of each kind only the newest is answered."""

    kind: ClassVar[str]  # name of the signal that carries the answer

    def answer(
        self,
        models: LoadedModels,
        renderer: Renderer,
        request: RenderRequest,
        displayed: Colorized | None,
    ) -> tuple[Any, ...]:
        """Arguments of the signal; called in the worker thread.

        Parameters
        ----------
        models, renderer
            Those of the worker.
        request : RenderRequest
            The newest request.
        displayed : Colorized, optional
            Result that is displayed for this request; None if it is not rendered yet.
        """


@dataclass(frozen=True, eq=False)
class AttentionQuery:
    """Self-attention weights of one point (row, column), in pixels of the plane."""

    point: tuple[float, float]
    kind: ClassVar[str] = "attention_ready"

    def answer(
        self,
        models: LoadedModels,
        renderer: Renderer,
        request: RenderRequest,
        displayed: Colorized | None,
    ) -> tuple[Any, ...]:
        """The `AttentionMap`."""
        colorizer = models.ready(request)
        source, settings = renderer.network_input(request, displayed)
        found = colorizer.attention_map(source.image, self.point, rgb=source.rgb, **vars(settings))
        return (found,)


@dataclass(frozen=True, eq=False)
class DisagreementQuery:
    """Variation of the predicted colors under flips, other render factors and a second model."""

    kind: ClassVar[str] = "disagreement_ready"

    def answer(
        self,
        models: LoadedModels,
        renderer: Renderer,
        request: RenderRequest,
        displayed: Colorized | None,
    ) -> tuple[Any, ...]:
        """The `Disagreement`."""
        from napari_colorize.analysis.disagreement import disagreement

        colorizer, second = models.ready(request), models.second(request)
        source, settings = renderer.network_input(request, displayed)
        others = () if second is None else (second,)
        found = disagreement(
            colorizer, source.image, others=others, rgb=source.rgb, **vars(settings)
        )
        return (found,)


@dataclass(frozen=True, eq=False)
class ExpectedErrorQuery:
    """Expected color error of every pixel."""

    kind: ClassVar[str] = "expected_error_ready"

    def answer(
        self,
        models: LoadedModels,
        renderer: Renderer,
        request: RenderRequest,
        displayed: Colorized | None,
    ) -> tuple[Any, ...]:
        """The `Colorized`, and the expected CIEDE2000 of its pixels."""
        colorizer = models.ready(request)
        if displayed is None:
            entry = renderer.cached(request) or renderer.predict(request)
            displayed = renderer.render(request, entry)
        return displayed, colorizer.expected_error(displayed)
