"""Immutable description of what a front end displays, comparable between two points in time.

`RequestInputs` is the only list of a session's inputs. `RenderRequest` holds one set of their
values, and `ColorizeSession` has the same attributes, which read and replace its newest request.
Does not import torch.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    overload,
)

from napari_colorize.array_types import PlaneIndex
from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.settings import REFINING, ColorizeSettings

if TYPE_CHECKING:
    import torch

    from napari_colorize.colorizer import Colorizer
    from napari_colorize.imaging.intensity_range import IntensityRange
    from napari_colorize.refine.guides import Guides, PlaneGuides
    from napari_colorize.runtime.devices import Precision

Value = TypeVar("Value")
Accepted = TypeVar("Accepted")
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

# Settings of the prediction that enter its key as they are; the others are treated by themselves.
PREDICTION_SETTINGS = tuple(
    item.name
    for item in fields(ColorizeSettings)
    if item.name not in (*REFINING, "render_factor", "saturation", "provenance")
)


def accepts(
    like: Callable[Parameters, Any],
) -> Callable[[Callable[..., Returned]], Callable[Concatenate[Any, Parameters], Returned]]:
    """Decorator: a type checker gives the method the keyword parameters of `like`."""
    return lambda method: method


class Input(Generic[Value, Accepted]):
    """One input of a request: read as `Value`, set as `Accepted`.

    `normalize` converts an accepted value to the form in which values are compared.
    """

    def __init__(
        self, default: Value, doc: str, normalize: Callable[[Any], Value] | None = None
    ) -> None:
        self.default, self.normalize, self.__doc__ = default, normalize, doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Accepted: ...
    @overload
    def __get__(self, instance: RequestInputs, owner: type) -> Value: ...
    def __get__(self, instance: RequestInputs | None, owner: type) -> Any:
        return self.default if instance is None else instance._input_values()[self._name]

    def __set__(self, instance: RequestInputs, value: Accepted) -> None:
        instance._set_input(self._name, value)


def as_index(plane: Any) -> PlaneIndex:
    """The index of a plane as a tuple of Python integers.

    Raises
    ------
    ImageError
        If `plane` is not a sequence of integers.
    """
    try:
        return tuple(operator.index(position) for position in plane)
    except TypeError as error:
        raise ImageError(
            f"A plane is an index of whole numbers, such as (3,); got {plane!r}."
        ) from error


def _as_settings(settings: Any) -> ColorizeSettings:
    if not isinstance(settings, ColorizeSettings):
        raise SettingsError(f"settings must be ColorizeSettings, got {settings!r}.")
    return settings


def _as_model(model: Any) -> Any:
    return os.fspath(model) if isinstance(model, os.PathLike) else model


@dataclass(kw_only=True, eq=False, repr=False)
class RequestInputs:
    """The eleven inputs of a session, each with type, default and documentation.

    A dataclass only so that type checkers derive the keyword parameters of `ColorizeSession`,
    `update` and `RenderRequest` from this list (see `accepts`); subclasses define `__init__`.
    """

    source: Input[Any, Any] = Input(
        None,
        "An image or a stack (NumPy, dask, zarr, torch), or None. Of a lazy stack only the "
        "displayed plane is computed. A new source starts at its first plane, without guides.",
    )
    plane: Input[PlaneIndex | None, Sequence[int] | None] = Input(
        None,
        "Index of the displayed plane, `source[plane]`. None: the first plane.",
        lambda plane: None if plane is None else as_index(plane),
    )
    rgb: Input[bool | None, bool | None] = Input(
        None,
        "Whether the last axis of the source holds color channels. None: if its length is 3 or 4.",
    )
    settings: Input[ColorizeSettings, ColorizeSettings] = Input(
        ColorizeSettings(), "All settings.", _as_settings
    )
    model: Input[str | Colorizer, str | os.PathLike[str] | Colorizer] = Input(
        "embedded",
        "Name in the catalogue (downloaded if necessary), file, or Colorizer.",
        _as_model,
    )
    blend_with: Input[str | Colorizer | None, str | os.PathLike[str] | Colorizer | None] = Input(
        None,
        "Second model, whose colors are blended with those of the first. None: no second model.",
        _as_model,
    )
    guides: Input[Guides | PlaneGuides | None, Guides | PlaneGuides | None] = Input(
        None,
        "Mask, hints and reference for the planes of the source, or None. A callable is called "
        "with the index of a plane, in the worker thread, and returns the guides of this plane; "
        "set another callable when its answers change. Guides need no new prediction, except "
        "hints of a network that takes hints as input.",
        lambda guides: guides or None,
    )
    declared_range: Input[IntensityRange | None, IntensityRange | None] = Input(
        None,
        "Intensity range that the file or the layer of the source declares; used unless the "
        "settings have contrast limits. Default: `source.declared_range`, if there is one.",
    )
    time_axis: Input[int | None, int | None] = Input(
        None, "Axis of a stack for temporal smoothing. None: the first axis."
    )
    device: Input[str, str | torch.device] = Input(
        "auto", 'Device of the network: "auto", "cpu", "cuda", ...', str
    )
    precision: Input[Precision, Precision] = Input(
        "auto", 'Precision of the network: "auto", "float32" or "bfloat16".'
    )

    def _input_values(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def _set_input(self, name: str, value: Any) -> None:
        raise NotImplementedError


INPUTS: dict[str, Input[Any, Any]] = {
    item.name: vars(RequestInputs)[item.name] for item in fields(RequestInputs)
}


class RenderRequest(RequestInputs):
    """Immutable values of all inputs; `generation` counts the sources of a session.

    Equality is identity. Requests are compared by the keys below, each of which leaves out what
    does not matter for one step.

    Raises
    ------
    SettingsError, ImageError
        If `settings` are not ColorizeSettings, or `plane` is not an index.
    """

    @accepts(RequestInputs)
    def __init__(self, **inputs: Any) -> None:
        self._values = {name: each.default for name, each in INPUTS.items()} | normalized(inputs)
        self.generation = 0

    def _input_values(self) -> Mapping[str, Any]:
        return self._values

    def _set_input(self, name: str, value: Any) -> None:
        raise AttributeError(f"A RenderRequest is immutable: use replace({name}=...).")

    @property
    def plane_key(self) -> tuple[Any, ...]:
        """Key of the displayed plane; an index of zeros equals None."""
        return self.generation, self.plane if any(self.plane or ()) else None, self.rgb

    @property
    def input_key(self) -> tuple[Any, ...]:
        """Key of the gray plane: the displayed plane, intensity range, gamma and fidelity."""
        chosen = self.settings
        limits = (chosen.contrast_limits, self.declared_range)
        return *self.plane_key, *limits, chosen.gamma, chosen.fidelity

    @property
    def model_key(self) -> tuple[Any, ...]:
        """Key of the loaded network."""
        return self.model, self.device, self.precision

    @property
    def second_model(self) -> RenderRequest | None:
        """The same request for the second model; None if there is none."""
        if self.blend_with is None:
            return None
        return self.replace(model=self.blend_with, blend_with=None)

    @property
    def rendering_key(self) -> tuple[Any, ...]:
        """Key of the rendering step: saturation, refinement settings, guides and time axis."""
        refining = tuple(getattr(self.settings, name) for name in REFINING)
        return self.settings.saturation, refining, self.guides, self.time_axis

    @property
    def hints(self) -> object:
        """Hints of the guides, or the callable that returns the guides of each plane."""
        return getattr(self.guides, "hints", self.guides)

    @property
    def needs_confidence(self) -> bool:
        """Whether the two networks have to estimate their errors."""
        return self.blend_with is not None and self.settings.blend_by == "confidence"

    def prediction_key(
        self, render_factor: int | None = None, *, takes_hints: bool = False
    ) -> tuple[Any, ...]:
        """Key of the prediction: everything except what only the rendering step uses.

        `render_factor` is what the model recommends, used if the settings do not set one;
        `takes_hints` is whether a network takes hints as input.
        """
        chosen = self.settings
        # Other fidelities return finished 8-bit images, so their saturation cannot change later.
        saturation = None if chosen.fidelity == "exact" else chosen.saturation
        return (
            *self.plane_key,
            self.declared_range,
            *self.model_key,
            self.blend_with,
            chosen.render_factor or render_factor,
            saturation,
            chosen.blend_by if self.needs_confidence else None,
            self.hints if takes_hints else None,
            *(getattr(chosen, name) for name in PREDICTION_SETTINGS),
        )

    @accepts(RequestInputs)
    def replace(self, **inputs: Any) -> RenderRequest:
        """A copy with other values of some inputs, of the same generation."""
        return self._copy(normalized(inputs), self.generation)

    @accepts(RequestInputs)
    def with_changes(self, **inputs: Any) -> RenderRequest:
        """A copy with changed inputs; this request itself if nothing changes.

        A new source starts a new generation at its first plane, without guides.
        """
        changes = normalized(inputs)
        if changes.get("source", self.source) is not self.source:
            names = ("plane", "rgb", "guides", "declared_range", "time_axis")
            return self._copy({**dict.fromkeys(names), **changes}, self.generation + 1)
        if all(_is_same(self._values[name], value) for name, value in changes.items()):
            return self
        return self._copy(changes, self.generation)

    def with_new_generation(self) -> RenderRequest:
        """A copy for a source whose values have changed in place."""
        return self._copy({}, self.generation + 1)

    def _copy(self, normalized_changes: dict[str, Any], generation: int) -> RenderRequest:
        copy = RenderRequest.__new__(RenderRequest)
        copy._values, copy.generation = self._values | normalized_changes, generation
        return copy


def normalized(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs in the form in which they are compared.

    Raises
    ------
    TypeError
        If an input does not exist.
    SettingsError, ImageError
        If `settings` are not ColorizeSettings, or `plane` is not an index.
    """
    for name in inputs.keys() - INPUTS.keys():
        raise TypeError(f"A session has no {name!r}: choose among {', '.join(sorted(INPUTS))}.")
    return {
        name: value if (normalize := INPUTS[name].normalize) is None else normalize(value)
        for name, value in inputs.items()
    }


def _is_same(old: Any, new: Any) -> bool:
    """Whether two values of an input are equal; arrays only if they are the same object."""
    return old is new or (type(old) is type(new) and not hasattr(old, "shape") and old == new)
