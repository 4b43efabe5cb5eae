"""Questions about the picture that is looked at, and how they are answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from napari_colorize.result import Colorized
    from napari_colorize.session.model_cache import Model
    from napari_colorize.session.renderer import Pictures
    from napari_colorize.session.request import Wish


class Question(Protocol):
    """What a session can be asked; of each kind the newest is answered."""

    kind: ClassVar[str]  # the signal that tells the answer

    def answer(
        self, model: Model, pictures: Pictures, wish: Wish, shown: Colorized | None
    ) -> tuple[Any, ...]:
        """What the signal says of a wish, whose picture may be the one shown; on the worker."""


@dataclass(frozen=True, eq=False)
class Attend:
    """Where self-attention looks from a point."""

    point: tuple[float, float]
    kind: ClassVar[str] = "attended"

    def answer(
        self, model: Model, pictures: Pictures, wish: Wish, shown: Colorized | None
    ) -> tuple[Any, ...]:
        """The `AttentionMap`."""
        colorizer = model.ready(wish)
        picture, settings = pictures.seen(wish, shown)
        found = colorizer.attention_map(
            picture.image, self.point, rgb=picture.rgb, **vars(settings)
        )
        return (found,)


@dataclass(frozen=True, eq=False)
class Doubt:
    """How much a picture's colours change when the network is asked otherwise."""

    kind: ClassVar[str] = "doubted"

    def answer(
        self, model: Model, pictures: Pictures, wish: Wish, shown: Colorized | None
    ) -> tuple[Any, ...]:
        """The `Disagreement`; a second model, if there is one, has its say too."""
        from napari_colorize.analysis.disagreement import disagreement

        colorizer, second = model.ready(wish), model.second(wish)
        picture, settings = pictures.seen(wish, shown)
        others = () if second is None else (second,)
        found = disagreement(
            colorizer, picture.image, others=others, rgb=picture.rgb, **vars(settings)
        )
        return (found,)


@dataclass(frozen=True, eq=False)
class Judge:
    """How far off the truth a picture's colours are expected to be."""

    kind: ClassVar[str] = "judged"

    def answer(
        self, model: Model, pictures: Pictures, wish: Wish, shown: Colorized | None
    ) -> tuple[Any, ...]:
        """The `Colorized`, and the CIEDE2000 of its pixels."""
        colorizer = model.ready(wish)
        if shown is None:
            entry = pictures.known(wish) or pictures.predict(wish)
            shown = pictures.composed(wish, entry)
        return shown, colorizer.expected_error(shown)
