"""What a front end wants to see, frozen, so that two moments can be compared. No torch."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.settings import REFINING, ColorizeSettings

if TYPE_CHECKING:
    import torch

    from napari_colorize.colorizer import Colorizer
    from napari_colorize.refine.guides import Guides, PlaneGuides
    from napari_colorize.runtime.devices import Precision

Index = tuple[int, ...]
USUAL = ColorizeSettings()


class Changes(TypedDict, total=False):
    """What `ColorizeSession.update` can change; see the properties of these names."""

    source: Any
    plane: Sequence[int] | None
    rgb: bool | None
    settings: ColorizeSettings
    model: str | os.PathLike[str] | Colorizer
    blend_with: str | os.PathLike[str] | Colorizer | None
    guides: Guides | PlaneGuides | None
    time_axis: int | None
    device: str | torch.device
    precision: Precision


@dataclass(frozen=True, eq=False)
class RenderRequest:
    """What is wanted at one moment; `generation` counts the sources."""

    source: Any = None
    plane: Index | None = None
    rgb: bool | None = None
    settings: ColorizeSettings = field(default_factory=ColorizeSettings)
    model: str | Colorizer = "embedded"
    blend_with: str | Colorizer | None = None
    guides: Guides | PlaneGuides | None = None
    time_axis: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    generation: int = 0

    @property
    def plane_key(self) -> tuple[Any, ...]:
        """Tells the picture that is looked at from others; the first plane needs no index."""
        return self.generation, self.plane if any(self.plane or ()) else None, self.rgb

    @property
    def input_key(self) -> tuple[Any, ...]:
        """Tells a picture in its present gray from others."""
        chosen = self.settings
        return *self.plane_key, chosen.contrast_limits, chosen.gamma, chosen.fidelity

    @property
    def model_key(self) -> tuple[Any, ...]:
        """Tells a network that is ready from others."""
        return self.model, self.device, self.precision

    @property
    def second_model(self) -> RenderRequest | None:
        """The same wish for the model that is blended with the first; None if there is none."""
        if self.blend_with is None:
            return None
        return replace(self, model=self.blend_with, blend_with=None)

    @property
    def rendering_key(self) -> tuple[Any, ...]:
        """What is made of the networks' answers; saturation as chosen."""
        refining = tuple(getattr(self.settings, name) for name in REFINING)
        return self.settings.saturation, refining, self.guides, self.time_axis

    @property
    def hints(self) -> object:
        """Of the guides, if there are any; or who tells those of each plane."""
        return getattr(self.guides, "hints", self.guides)

    @property
    def needs_confidence(self) -> bool:
        """Whether two networks have to say how sure they are."""
        return self.blend_with is not None and self.settings.blend_by == "confidence"

    def prediction_key(
        self, render_factor: int | None = None, *, takes_hints: bool = False
    ) -> tuple[Any, ...]:
        """What the networks have to answer; what is only composed afterwards left out.

        `render_factor` stands for one that the settings leave to the model; `takes_hints` says
        that a network is shown the hints.
        """
        chosen = self.settings
        render_factor = chosen.render_factor or render_factor
        usual = {name: getattr(USUAL, name) for name in REFINING}
        if self.needs_confidence:
            usual["blend_by"] = chosen.blend_by
        seen = replace(chosen, render_factor=render_factor, provenance=True, **usual)
        if chosen.fidelity == "exact":  # the others make finished pictures, saturation included
            seen = replace(seen, saturation=None)
        hints = self.hints if takes_hints else None
        return *self.plane_key, *self.model_key, self.blend_with, seen, hints

    def with_changes(self, changes: dict[str, Any]) -> RenderRequest:
        """The wish with changes (see `normalized`): itself if they change nothing.

        Another source starts at its first plane, without guides.
        """
        if changes.get("source", self.source) is not self.source:
            anew = {"plane": None, "rgb": None, "guides": None, "time_axis": None}
            return replace(self.with_new_generation(), **{**anew, **changes})
        if all(_is_same(getattr(self, name), value) for name, value in changes.items()):
            return self
        return replace(self, **changes)

    def with_new_generation(self) -> RenderRequest:
        """The same for a source whose values are no longer those seen."""
        return replace(self, generation=self.generation + 1)


def normalized(changes: Changes) -> dict[str, Any]:
    """Changes in the one form in which they are compared.

    Raises
    ------
    SettingsError, ImageError
        If settings are none, or a plane is no index.
    """
    changed: dict[str, Any] = dict(changes)
    known = {item.name for item in fields(RenderRequest)} - {"generation"}
    for name in changed.keys() - known:
        raise TypeError(f"A session has no {name!r}: choose among {', '.join(sorted(known))}.")
    if not isinstance(changed.get("settings", ColorizeSettings()), ColorizeSettings):
        raise SettingsError(f"settings must be ColorizeSettings, got {changed['settings']!r}.")
    if changed.get("plane") is not None:
        changed["plane"] = as_index(changed["plane"])
    for name in ("model", "blend_with"):
        if isinstance(changed.get(name), os.PathLike):
            changed[name] = os.fspath(changed[name])
    if changed.get("guides") is not None and not changed["guides"]:
        changed["guides"] = None
    if "device" in changed:
        changed["device"] = str(changed["device"])
    return changed


def as_index(plane: Any) -> Index:
    """The index of a plane as Python's own whole numbers.

    Raises
    ------
    ImageError
        If it is none.
    """
    try:
        return tuple(operator.index(place) for place in plane)
    except TypeError as error:
        raise ImageError(
            f"A plane is an index of whole numbers, such as (3,); got {plane!r}."
        ) from error


def _is_same(old: Any, new: Any) -> bool:
    """Whether two values of a wish are the same; arrays only if they are one object."""
    return old is new or (type(old) is type(new) and not hasattr(old, "shape") and old == new)
