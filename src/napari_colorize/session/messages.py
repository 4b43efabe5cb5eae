"""Status messages, labels and suggested values that the front ends share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_colorize.zoo import CATALOGUE, is_local, user_models

if TYPE_CHECKING:
    from napari_colorize.result import Colorized
    from napari_colorize.session import RunFinished, RunProgress

STATES = {
    "getting ready": "Loading the model…",
    "downloading": "Downloading the model…",
    "predicting": "Colorizing…",
    "cancelling": "Cancelling…",
}
FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # multiples of the present render factor
MAX_RENDER_FACTOR = 100
HIGH_ERROR = 10  # CIEDE2000 above which a color is a guess
# Typical error of images that a model of photographs has no business with: those of 66 of 67
# held-out photographs are lower (`embedded`).
HIGHEST_ERROR = 15


def result_summary(result: Colorized) -> str:
    """Model and settings of the displayed result."""
    used = result.settings
    attention = "" if used.self_attention else ", self-attention off"
    model = result.record.get("model", "")
    return (
        f"{model}, render factor {used.render_factor}{attention}. "
        "Colors are predicted, not measured."
    )


def typical_error_line(
    value: float | None, *, is_estimating: bool = False, is_unlike: bool = False
) -> str:
    """What predicted colors are worth, given their typical CIEDE2000 error, None if unknown.

    `is_unlike` is whether the image is unlike the photographs from which the error is known.
    """
    if value is not None and is_unlike:
        return (
            f"Predicted colors; typical error about {value:.0f} (CIEDE2000) for photographs; this "
            "image is unlike them"
        )
    if value is not None:
        return f"Predicted colors; typical error about {value:.0f} (CIEDE2000)"
    if is_estimating:
        return "Predicted colors; typical error is being estimated…"
    return "Predicted colors; typical error not known"


def unlike_photographs(name: str) -> str:
    """Why an image is not colorized before the user asks for it: the model flagged it."""
    return (
        f"{name!r} looks unlike the photographs that the model was trained on, so its colors would "
        "mean little. Press Colorize to predict them anyway."
    )


def guessed_colors(name: str, value: float) -> str:
    """Why an image is not colorized before the user asks for it: its typical CIEDE2000 error."""
    return (
        f"The colors of {name!r} would be guesses: typical error about {value:.0f} (CIEDE2000). "
        "Press Colorize to predict them anyway."
    )


def kept_name(layer: str, result: Colorized) -> str:
    """Layer name of a copy of a result, with the settings in which copies differ."""
    used = result.settings
    attention = "" if used.self_attention else ", self-attention off"
    model = result.record.get("model", "unknown model")
    return (
        f"{layer} (kept: {model}, render factor {used.render_factor}, "
        f"saturation {used.saturation:g}{attention})"
    )


def stack_cost(planes: int, seconds_each: float | None, nbytes: int) -> str:
    """Button text with the expected time and memory of a run over a stack."""
    time = "" if seconds_each is None else f"about {duration(seconds_each * planes)}, "
    return f"Colorize all {planes} planes ({time}{byte_size(nbytes)})"


def progress(event: RunProgress) -> str:
    """Progress of a download or a run."""
    text = event.text
    if text.startswith("Downloading"):
        text += f": {event.done / 1e6:.0f} of {event.total / 1e6:.0f} MB"
    if event.seconds_left is not None:
        text += f", {duration(event.seconds_left)} left"
    return text + "."


def run_summary(event: RunFinished) -> str:
    """Outcome of a run."""
    if not event.cancelled:
        return f"Done: {event.done} of {event.total}."
    outcome = "kept" if event.keep else "discarded"
    return f"Stopped after {event.done} of {event.total}; finished planes are {outcome}."


def duration(seconds: float) -> str:
    """A duration with its unit, rounded."""
    if seconds < 1:
        return "a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def byte_size(nbytes: float) -> str:
    """A number of bytes with its unit, rounded."""
    for unit in ("bytes", "kB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} GB"


def factors_around(render_factor: int) -> list[int]:
    """Render factors to compare with the present one, ascending and unique."""
    return sorted(
        {min(MAX_RENDER_FACTOR, max(1, round(render_factor * factor))) for factor in FACTORS}
    )


def model_choices(files: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Label and name or path of each model: of the catalogue, of the user, and other files."""
    catalogue = [(f"{name}{download_note(name)}", name) for name in CATALOGUE]
    own = [*map(str, user_models()), *files]
    return catalogue + [(Path(path).stem, path) for path in own]


def needs_download(model: str) -> bool:
    """Whether the file of a model is not on this computer yet."""
    return model in CATALOGUE and not is_local(CATALOGUE[model])


def download_label(model: str) -> str:
    """Label of the button that downloads a model of the catalogue."""
    return f"Download {CATALOGUE[model].size / 1e6:.0f} MB"


def download_note(model: str) -> str:
    """Download size or state of a catalogue model, to append to its name; "" for bundled ones."""
    checkpoint = CATALOGUE[model]
    if not checkpoint.urls:
        return ""
    if is_local(checkpoint):
        return " (downloaded)"
    return f" ({checkpoint.size / 1e6:.0f} MB download)"
