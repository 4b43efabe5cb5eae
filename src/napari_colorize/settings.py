"""Every knob, once: its range, its default and its help, for all front ends."""

from __future__ import annotations

import sys
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, get_args

from napari_colorize.errors import SettingsError

Fidelity = Literal["exact", "deoldify", "ipol"]
ReferenceMethod = Literal["statistics", "patches"]
BlendBy = Literal["mean", "confidence", "luminance"]
LARGEST = sys.float_info.max

# What is made of predicted colours before saturation: no network has to be asked for these.
REFINING = (
    "edges",
    "shadows",
    "hue_damping",
    "hue_from",
    "hue_to",
    "temporal_smoothing",
    "blend",
    "blend_by",
    "reference_strength",
    "reference_method",
)


@dataclass(frozen=True)
class Setting:
    """What a front end needs to show a setting; kept in the metadata of the dataclass field."""

    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None


def setting(
    default: Any,
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field that knows its range and its help text."""
    return field(default=default, metadata={"knob": Setting(help, low, high, choices)})


@dataclass(frozen=True, kw_only=True)
class ColorizeSettings:
    """Every knob with its default, range and help; all front ends build themselves from this.

    `None` means: as the checkpoint recommends (`render_factor`, `saturation`), or as the dtype
    says (`contrast_limits`).

    Raises
    ------
    SettingsError
        If a value is out of its range, in one sentence with the range.
    """

    render_factor: int | None = setting(
        None,
        low=1,
        high=100,
        help="The network sees sides of 16 x this many pixels: small is bold and even, large "
        "follows details. Default: what the model recommends.",
    )
    saturation: float | None = setting(
        None,
        low=0.0,
        high=4.0,
        help="Factor on the predicted colours; 1 is as predicted, 0 is gray. Default: what the "
        "model recommends.",
    )
    self_attention: bool = setting(
        True, help="Off: parts of the picture far apart no longer consult each other."
    )
    edges: bool = setting(
        True, help="Colours stop at the edges of the picture; off: they fade over."
    )
    shadows: float = setting(
        0.0,
        low=0.0,
        high=1.0,
        help="Luminance below which colours fade out: 0.1 or so calms blue or red shadows.",
    )
    hue_damping: float = setting(
        0.0,
        low=0.0,
        high=1.0,
        help="How much the colours between two hues are damped; 1 makes them gray.",
    )
    hue_from: float = setting(
        290.0,
        low=0.0,
        high=360.0,
        help="First hue that is damped, in degrees: 0 red, 120 green, 240 blue.",
    )
    hue_to: float = setting(
        360.0, low=0.0, high=360.0, help="Last hue that is damped; the range may pass through 360."
    )
    temporal_smoothing: float = setting(
        0.0,
        low=0.0,
        high=1.0,
        help="How steady colours are held from one plane or frame to the next; 0 leaves each as "
        "the model sees it.",
    )
    blend: float = setting(
        0.5, low=0.0, high=1.0, help="Share of the second model, where there is one."
    )
    blend_by: BlendBy = setting(
        "mean",
        choices=get_args(BlendBy),
        help="How two models are merged: mean everywhere alike; confidence, whichever is surer "
        "counts more; luminance, the second one counts more the brighter it is.",
    )
    reference_strength: float = setting(
        1.0, low=0.0, high=1.0, help="How much of a reference picture's palette is taken over."
    )
    reference_method: ReferenceMethod = setting(
        "statistics",
        choices=get_args(ReferenceMethod),
        help="statistics takes over mean and spread of the reference's colours; patches the "
        "colours of places that look alike.",
    )
    contrast_limits: tuple[float, float] | None = setting(
        None,
        help="Values of black and white. Default: 0 and the largest value of 8- and 16-bit "
        "images without a sign, 0 and 1 for floats within them, else the smallest and largest "
        "value. What lies beyond becomes black or white, in the result too.",
    )
    gamma: float = setting(
        1.0, low=0.05, high=20.0, help="Exponent on gray, in the result too; 1 leaves it."
    )
    fidelity: Fidelity = setting(
        "exact",
        choices=get_args(Fidelity),
        help="exact keeps the luminance; deoldify and ipol repeat those programs' own 8-bit steps.",
    )
    retry_smaller: bool = setting(
        True, help="When memory runs out, try again with a smaller render factor."
    )
    retry_on_cpu: bool = setting(True, help="When the GPU's memory runs out, try again on the CPU.")
    provenance: bool = setting(
        True, help="Write into results which model made the colours, with which settings."
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None or item.default is not None:
                object.__setattr__(self, item.name, _checked(item, value))


def _describe(item: Field[Any]) -> str:
    wanted = setting_of(item)
    scope = f", one of {', '.join(wanted.choices)}" if wanted.choices else ""
    scope = f", {wanted.low:g} to {wanted.high:g}" if wanted.high is not None else scope
    return f"    {item.name} : {item.type}, default {item.default}{scope}\n        {wanted.help}"


def setting_of(item: Field[Any]) -> Setting:
    """The `Knob` of a field of `ColorizeSettings`."""
    found: Setting = item.metadata["knob"]
    return found


# Written once, in the knobs: `help(ColorizeSettings)` shows them too.
ColorizeSettings.__doc__ = (
    f"{ColorizeSettings.__doc__}\n    Parameters\n    ----------\n"
    + "\n".join(map(_describe, fields(ColorizeSettings)))
)


def settings_from(chosen: dict[str, Any]) -> ColorizeSettings:
    """`ColorizeSettings` from keywords, with one sentence for a name that does not exist.

    Raises
    ------
    SettingsError
        If a name is unknown or a value is out of its range.
    """
    known = {item.name for item in fields(ColorizeSettings)}
    for name in chosen.keys() - known:
        raise SettingsError(
            f"There is no setting {name!r}. Choose among: {', '.join(sorted(known))}."
        )
    return ColorizeSettings(**chosen)


def _checked(item: Field[Any], value: Any) -> Any:
    """A value of a setting as Python's own, so that no NumPy type overflows further on."""
    wanted = setting_of(item)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if item.name == "contrast_limits":
        return _checked_limits(value)
    if wanted.choices is not None:
        if not isinstance(value, str) or value not in wanted.choices:
            raise SettingsError(
                f"{item.name} must be one of {', '.join(wanted.choices)}, got {value!r}."
            )
        return value
    if wanted.low is not None and wanted.high is not None:
        return _checked_number(item.name, value, wanted.low, wanted.high)
    if not isinstance(value, bool):
        raise SettingsError(f"{item.name} must be True or False, got {value!r}.")
    return value


def _checked_number(name: str, value: Any, low: float, high: float) -> float:
    whole = isinstance(low, int)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise SettingsError(f"{name} must be {kind} from {low:g} to {high:g}, got {value!r}.")
    return int(value) if whole else float(value)


def _checked_limits(limits: Any) -> tuple[float, float]:
    if hasattr(limits, "tolist"):
        limits = limits.tolist()
    numbers = []
    for value in limits if isinstance(limits, (tuple, list)) else ():
        plain = value.item() if hasattr(value, "item") else value
        if isinstance(plain, (int, float)) and not isinstance(plain, bool):
            numbers.append(plain)
    if len(numbers) != 2 or len(limits) != 2:
        raise SettingsError(
            f"contrast_limits must be two numbers, black and white, got {limits!r}."
        )
    low, high = numbers
    if not (low < high and abs(low) <= LARGEST and abs(high) <= LARGEST):
        raise SettingsError(
            f"contrast_limits must be two finite numbers, the smaller first, got {limits!r}."
        )
    return low, high
