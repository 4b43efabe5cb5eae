"""What front ends say of a session, in whole sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_colorize.result import Colorized
    from napari_colorize.session import RunFinished, RunProgress

STATES = {
    "getting ready": "Getting ready…",
    "downloading": "Fetching the model…",
    "predicting": "Colorizing…",
    "cancelling": "Cancelling…",
}


def done(result: Colorized) -> str:
    """Which picture is shown."""
    used = result.settings
    attention = "" if used.self_attention else ", self-attention off"
    model = result.record.get("model", "")
    return (
        f"{model}, render factor {used.render_factor}{attention}. "
        "Colours are predicted, not measured."
    )


def kept_name(layer: str, result: Colorized) -> str:
    """A name that tells a kept picture from others of the same layer."""
    used = result.settings
    attention = "" if used.self_attention else ", no attention"
    model = result.record.get("model", "model")
    return f"{layer} ({model} {used.render_factor}, {used.saturation:g}{attention})"


def cost(planes: int, seconds_each: float | None, size: int) -> str:
    """What a run over a stack will take."""
    time = "" if seconds_each is None else f"about {duration(seconds_each * planes)}, "
    return f"Colorize all {planes} planes ({time}{amount(size)})"


def progress(told: RunProgress) -> str:
    """How far a download or a run is."""
    text = told.text
    if text.startswith("Fetching"):
        text += f": {told.done / 1e6:.0f} of {told.total / 1e6:.0f} MB"
    if told.seconds_left is not None:
        text += f", {duration(told.seconds_left)} left"
    return text + "."


def run_end(ended: RunFinished) -> str:
    """How a run ended."""
    if not ended.cancelled:
        return f"Done: {ended.done} of {ended.total}."
    what = "kept" if ended.keep else "dropped"
    return f"Stopped after {ended.done} of {ended.total}; what was done is {what}."


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 1:
        return "a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def amount(size: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
