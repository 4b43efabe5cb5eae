"""Questions about the picture that is looked at, and how they are answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from napari_colorize.result import Colorized
    from napari_colorize.session.model_cache import LoadedModels
    from napari_colorize.session.renderer import Renderer
    from napari_colorize.session.request import RenderRequest


class Query(Protocol):
    """What a session can be asked; of each kind the newest is answered."""

    kind: ClassVar[str]  # the signal that tells the answer

    def answer(
        self,
        model: LoadedModels,
        pictures: Renderer,
        request: RenderRequest,
        shown: Colorized | None,
    ) -> tuple[Any, ...]:
        """What the signal says of a wish, whose picture may be the one shown; on the worker."""


@dataclass(frozen=True, eq=False)
class AttentionQuery:
    """Where self-attention looks from a point."""

    point: tuple[float, float]
    kind: ClassVar[str] = "attention_ready"

    def answer(
        self,
        model: LoadedModels,
        pictures: Renderer,
        request: RenderRequest,
        shown: Colorized | None,
    ) -> tuple[Any, ...]:
        """The `AttentionMap`."""
        colorizer = model.ready(request)
        picture, settings = pictures.network_input(request, shown)
        found = colorizer.attention_map(
            picture.image, self.point, rgb=picture.rgb, **vars(settings)
        )
        return (found,)


@dataclass(frozen=True, eq=False)
class DisagreementQuery:
    """How much a picture's colours change when the network is asked otherwise."""

    kind: ClassVar[str] = "disagreement_ready"

    def answer(
        self,
        model: LoadedModels,
        pictures: Renderer,
        request: RenderRequest,
        shown: Colorized | None,
    ) -> tuple[Any, ...]:
        """The `Disagreement`; a second model, if there is one, has its say too."""
        from napari_colorize.analysis.disagreement import disagreement

        colorizer, second = model.ready(request), model.second(request)
        picture, settings = pictures.network_input(request, shown)
        others = () if second is None else (second,)
        found = disagreement(
            colorizer, picture.image, others=others, rgb=picture.rgb, **vars(settings)
        )
        return (found,)


@dataclass(frozen=True, eq=False)
class ExpectedErrorQuery:
    """How far off the truth a picture's colours are expected to be."""

    kind: ClassVar[str] = "expected_error_ready"

    def answer(
        self,
        model: LoadedModels,
        pictures: Renderer,
        request: RenderRequest,
        shown: Colorized | None,
    ) -> tuple[Any, ...]:
        """The `Colorized`, and the CIEDE2000 of its pixels."""
        colorizer = model.ready(request)
        if shown is None:
            entry = pictures.known(request) or pictures.predict(request)
            shown = pictures.render(request, entry)
        return shown, colorizer.expected_error(shown)
