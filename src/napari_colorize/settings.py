"""Settings of a colorization: range, default, label and help text of each, for all front ends."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, TypedDict, TypeVar, cast, get_args

from napari_colorize.errors import SettingsError, UnknownSettingError, suggestion

Fidelity = Literal["exact", "deoldify", "ipol"]
ReferenceMethod = Literal["statistics", "patches"]
BlendBy = Literal["mean", "confidence", "luminance"]
RangeRule = Literal["auto", "dtype", "data", "percentile"]
ContrastLimits = tuple[float, float] | RangeRule | None
"""Values of black and white, or the rule by which they are found; None is "auto"."""
LARGEST = sys.float_info.max

Function = TypeVar("Function", bound=Callable[..., Any])

RENAMED_SETTINGS = {"steadiness": "temporal_smoothing"}
"""Former names of settings in records of earlier versions, and their present names."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Description of a setting for front ends, kept in the metadata of its dataclass field."""

    help: str  # what the setting changes, with its default; complete sentences
    label: str  # text beside the control, lower case, with the unit if there is one
    group: str  # title of the group in `SETTING_GROUPS`
    unit: str = ""  # unit of the value; empty if it has none
    # Range, both ends included; integers for a setting of integers
    low: float | None = None
    high: float | None = None
    step: float | None = None  # smallest useful change, the step of a slider or spin box
    choices: tuple[str, ...] | None = None  # permitted words


def setting(default: Any, *, help: str, label: str, group: str, **description: Any) -> Any:
    """Return a dataclass field with a `Setting` of these texts and ranges in its metadata."""
    described = Setting(help=help, label=label, group=group, **description)
    return field(default=default, metadata={"setting": described})


@dataclass(frozen=True, kw_only=True, repr=False)
class ColorizeSettings:
    """All settings of a colorization; the controls of every front end are built from them.

    `None` stands for the value that the checkpoint recommends (`render_factor`, `saturation`) or
    that is found by the rule "auto" (`contrast_limits`).

    Raises
    ------
    SettingsError
        If a value is outside its range.
    """

    render_factor: int | None = setting(
        None,
        low=1,
        high=100,
        step=1,
        label="render factor",
        group="Prediction",
        help="Size of the network input: about 16 x this many pixels a side. Low values give "
        "uniform colors, high values follow small structures. Default: recommended by the model.",
    )
    saturation: float | None = setting(
        None,
        low=0.0,
        high=4.0,
        step=0.05,
        label="saturation",
        group="Prediction",
        help="Factor on the predicted chroma: 0 is gray, 1 is as predicted. Default: recommended "
        "by the model.",
    )
    self_attention: bool = setting(
        True,
        label="self-attention",
        group="Prediction",
        help="Use the self-attention layer, which relates distant image regions. Off: only local "
        "context.",
    )
    edges: bool = setting(
        True,
        label="edges",
        group="Edges and damping",
        help="Align colors with image edges. Off: bilinear upsampling, colors bleed across edges.",
    )
    shadows: float = setting(
        0.0,
        low=0.0,
        high=1.0,
        step=0.01,
        label="shadows",
        group="Edges and damping",
        help="Reduce chroma below this luminance. About 0.1 suppresses blue or red casts in "
        "shadows.",
    )
    hue_damping: float = setting(
        0.0,
        low=0.0,
        high=1.0,
        step=0.05,
        label="hue damping",
        group="Edges and damping",
        help="Reduce chroma in the hue range: 0 changes nothing, 1 makes these hues gray.",
    )
    hue_from: float = setting(
        290.0,
        low=0.0,
        high=360.0,
        step=1.0,
        label="hue from (degrees)",
        group="Edges and damping",
        unit="degrees",
        help="Start of the damped hue range in degrees: 0 is red, 120 green, 240 blue.",
    )
    hue_to: float = setting(
        360.0,
        low=0.0,
        high=360.0,
        step=1.0,
        label="hue to (degrees)",
        group="Edges and damping",
        unit="degrees",
        help="End of the damped hue range in degrees. The range may pass through 360.",
    )
    temporal_smoothing: float = setting(
        0.0,
        low=0.0,
        high=1.0,
        step=0.05,
        label="temporal smoothing",
        group="Video and stacks",
        help="Temporal smoothing of colors between planes or frames. 0: each frame is predicted "
        "independently.",
    )
    blend: float = setting(
        0.5,
        low=0.0,
        high=1.0,
        step=0.05,
        label="blend",
        group="Second model",
        help="Weight of the second model if one is given: 0 is the first model, 1 the second.",
    )
    blend_by: BlendBy = setting(
        "mean",
        choices=get_args(BlendBy),
        label="blend by",
        group="Second model",
        help="mean: the same weight everywhere. confidence: the model with the smaller expected "
        "error gets more weight. luminance: the second model gets more weight in bright regions.",
    )
    reference_strength: float = setting(
        1.0,
        low=0.0,
        high=1.0,
        step=0.05,
        label="reference strength",
        group="Reference image",
        help="Weight of the colors taken from the reference image: 0 ignores it.",
    )
    reference_method: ReferenceMethod = setting(
        "statistics",
        choices=get_args(ReferenceMethod),
        label="reference method",
        group="Reference image",
        help="statistics: match mean and covariance of the reference colors. patches: "
        "copy colors from reference pixels with similar luminance and texture.",
    )
    contrast_limits: ContrastLimits = setting(
        None,
        choices=get_args(RangeRule),
        label="contrast limits",
        group="Input range",
        help="Input values mapped to black and white: two numbers, or auto (the range that the "
        "file declares, else that of the significant bits; floats: 0 to 1, or minimum to maximum), "
        "dtype (the full range), data (minimum to maximum) or percentile (0.1 to 99.9). Values "
        "outside become black or white in the result too. Default: auto.",
    )
    gamma: float = setting(
        1.0,
        low=0.05,
        high=20.0,
        step=0.05,
        label="gamma",
        group="Input range",
        help="Exponent applied to gray values, in the result too. 1 changes nothing.",
    )
    fidelity: Fidelity = setting(
        "exact",
        choices=get_args(Fidelity),
        label="fidelity",
        group="Output and memory",
        help="exact: luminance is preserved. deoldify, ipol: repeat the 8-bit steps of those "
        "programs.",
    )
    retry_smaller: bool = setting(
        True,
        label="on out-of-memory: smaller render factor",
        group="Output and memory",
        help="If memory is exhausted, retry with a smaller render factor.",
    )
    retry_on_cpu: bool = setting(
        True,
        label="on out-of-memory: CPU",
        group="Output and memory",
        help="If GPU memory is exhausted, retry on the CPU.",
    )
    provenance: bool = setting(
        True,
        label="provenance",
        group="Output and memory",
        help="Store the model and the settings in the metadata of results.",
    )

    def __repr__(self) -> str:
        changed = (
            f"{item.name}={value!r}"
            for item in fields(self)
            if (value := getattr(self, item.name)) != item.default
        )
        return f"ColorizeSettings({', '.join(changed)})"

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None or item.default is not None:
                object.__setattr__(self, item.name, _checked(item, value))


class SettingsDict(TypedDict, total=False):
    """Keyword arguments that are fields of `ColorizeSettings`, for editors and type checkers."""

    render_factor: int | None
    saturation: float | None
    self_attention: bool
    edges: bool
    shadows: float
    hue_damping: float
    hue_from: float
    hue_to: float
    temporal_smoothing: float
    blend: float
    blend_by: BlendBy
    reference_strength: float
    reference_method: ReferenceMethod
    contrast_limits: ContrastLimits
    gamma: float
    fidelity: Fidelity
    retry_smaller: bool
    retry_on_cpu: bool
    provenance: bool


def _describe(item: Field[Any]) -> str:
    described = setting_of(item)
    scope = f", one of {', '.join(described.choices)}" if described.choices else ""
    if described.high is not None:
        scope = f", {described.low:g} to {described.high:g}"
    return f"    {item.name} : {item.type}, default {item.default}{scope}\n        {described.help}"


def setting_of(item: Field[Any] | str) -> Setting:
    """The `Setting` of a field of `ColorizeSettings`, given by the field or by its name."""
    if isinstance(item, str):
        item = ColorizeSettings.__dataclass_fields__[item]
    found: Setting = item.metadata["setting"]
    return found


SETTING_GROUPS: dict[str, tuple[str, ...]] = {}
"""Title of each group and its fields of `ColorizeSettings`, in the order of display."""
for _item in fields(ColorizeSettings):
    _title = setting_of(_item).group
    SETTING_GROUPS[_title] = (*SETTING_GROUPS.get(_title, ()), _item.name)

# Settings of the refinement: they act on predicted chroma before saturation is applied. Changing
# one of them does not run the network.
REFINING = tuple(
    name
    for title in ("Edges and damping", "Video and stacks", "Second model", "Reference image")
    for name in SETTING_GROUPS[title]
)

# The parameter section is generated from the fields, so that each help text is written once.
ColorizeSettings.__doc__ = (
    f"{ColorizeSettings.__doc__}\n    Parameters\n    ----------\n"
    + "\n".join(map(_describe, fields(ColorizeSettings)))
)


def with_setting_parameters(
    names: Iterable[str] = (), *, has_defaults: bool = True
) -> Callable[[Function], Function]:
    """Decorator: list the settings in the signature of a function with `**settings`.

    `help` and completion in notebooks read this signature; type checkers read `SettingsDict`.

    Parameters
    ----------
    names : iterable of str
        Fields of `ColorizeSettings` that the function accepts. Default: all.
    has_defaults : bool
        Whether a setting that is not given has its default value; else it is left unchanged.
    """
    names = tuple(names)
    accepted = [item for item in fields(ColorizeSettings) if not names or item.name in names]

    def with_signature(function: Function) -> Function:
        signature = inspect.signature(function)
        *own, rest = signature.parameters.values()
        assert rest.kind is inspect.Parameter.VAR_KEYWORD
        settings = (
            inspect.Parameter(
                item.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=item.default if has_defaults else ...,
                annotation=item.type,
            )
            for item in accepted
        )
        listed = signature.replace(parameters=[*own, *settings])
        function.__signature__ = listed  # type: ignore[attr-defined]
        return function

    return with_signature


def settings_from(chosen: Mapping[str, Any]) -> ColorizeSettings:
    """Make `ColorizeSettings` from keyword arguments.

    Raises
    ------
    UnknownSettingError
        If a name is unknown.
    SettingsError
        If a value is outside its range.
    """
    known = sorted(item.name for item in fields(ColorizeSettings))
    for name in chosen.keys() - set(known):
        raise UnknownSettingError(f"There is no setting {name!r}. {suggestion(name, known)}")
    return ColorizeSettings(**chosen)


def with_current_names(record: Mapping[str, Any]) -> dict[str, Any]:
    """Settings read from a file of any version, with renamed keys under their present names."""
    return {RENAMED_SETTINGS.get(name, name): value for name, value in record.items()}


def _checked(item: Field[Any], value: Any) -> Any:
    """Validate a value and convert NumPy scalars to Python numbers, which do not overflow."""
    described = setting_of(item)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if item.name == "contrast_limits":
        return _checked_limits(value)
    if described.choices is not None:
        if not isinstance(value, str) or value not in described.choices:
            raise SettingsError(
                f"{item.name} must be one of {', '.join(described.choices)}, got {value!r}."
            )
        return value
    if described.low is not None and described.high is not None:
        return _checked_number(item.name, value, described.low, described.high)
    if not isinstance(value, bool):
        raise SettingsError(f"{item.name} must be True or False, got {value!r}.")
    return value


def _checked_number(name: str, value: Any, low: float, high: float) -> float:
    is_integer = isinstance(low, int)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (is_integer and value != int(value)):
        kind = "a whole number" if is_integer else "a number"
        raise SettingsError(f"{name} must be {kind} from {low:g} to {high:g}, got {value!r}.")
    return int(value) if is_integer else float(value)


def _checked_limits(limits: Any) -> ContrastLimits:
    """Two numbers or a word; "auto" is stored as None, which is the same."""
    if isinstance(limits, str) and limits in get_args(RangeRule):
        return None if limits == "auto" else cast(RangeRule, limits)
    if hasattr(limits, "tolist"):
        limits = limits.tolist()
    numbers = []
    for value in limits if isinstance(limits, (tuple, list)) else ():
        plain = value.item() if hasattr(value, "item") else value
        if isinstance(plain, (int, float)) and not isinstance(plain, bool):
            numbers.append(plain)
    if len(numbers) != 2 or len(limits) != 2:
        raise SettingsError(
            "contrast_limits must be two numbers, black and white, or one of "
            f"{', '.join(get_args(RangeRule))}; got {limits!r}."
        )
    low, high = numbers
    if not (low < high and abs(low) <= LARGEST and abs(high) <= LARGEST):
        raise SettingsError(
            f"contrast_limits must be two finite numbers, the smaller first, got {limits!r}."
        )
    return low, high
