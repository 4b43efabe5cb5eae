"""What a session tells its front ends besides pictures: what it does, how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

State = Literal["idle", "getting ready", "downloading", "predicting", "composing", "cancelling"]


@dataclass(frozen=True)
class Progress:
    """How far a download (bytes) or a run (planes, render factors) has come.

    `text` is a short phrase to show; `seconds_left` is None until it can be guessed.
    """

    text: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class RunEnd:
    """How a run over a stack or over render factors ended; `keep` is what `cancel` was told."""

    done: int
    total: int
    cancelled: bool
    keep: bool


def seconds_left(began: float, done: int, total: int) -> float | None:
    """Seconds to go if it goes on as since `began`; None before the first piece."""
    return (time.monotonic() - began) / done * (total - done) if done else None
