"""Learning-rate schedules: functions from the share of steps done to a factor of the peak rate.

The share is 0 at the first step and just below 1 at the last. `rate_factor` selects a schedule by
name. `Plateau` depends on validation and therefore has a state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import signature
from typing import Any, Literal

from napari_colorize.errors import SettingsError

Rise = Literal["linear", "cosine"]

MIN_WARMUP_FACTOR = 0.01  # a first step with a learning rate of 0 would be wasted
START_FACTOR = 1 / 25  # first learning rate in fastai and in the IPOL program
FASTAI_END_FACTOR = 1 / 250_000  # fastai 1.x; 1e-5 in fastai 2


def constant(share: float) -> float:
    """Constant peak rate."""
    return 1.0


def linear_constant(share: float, warmup: float = 0.1) -> float:
    """Linear warmup from 0, then the constant peak rate."""
    return max(share / warmup, MIN_WARMUP_FACTOR) if share < warmup else 1.0


def linear_cosine(share: float, warmup: float = 0.1) -> float:
    """Linear warmup from 0, then cosine decay to 0."""
    if share < warmup:
        return linear_constant(share, warmup)
    return _cosine_decay(share, warmup)


def one_cycle(
    share: float,
    warmup: float = 0.3,
    start: float = START_FACTOR,
    end: float = START_FACTOR,
    rise: Rise = "linear",
) -> float:
    """1cycle (Smith 2018): warmup from `start` to 1, then cosine decay to `end`.

    Parameters
    ----------
    share : float
        Share of the steps done, 0 to 1.
    warmup : float
        Share of the steps in which the rate rises; 0 for none (DeOldify: 1e-8).
    start, end : float
        First and last factor. The last is the first in IPOL's program, and zero in the article.
    rise : {"linear", "cosine"}
        Shape of the warmup: IPOL's program uses "linear", fastai "cosine".
    """
    height = _one_cycle_height(share, warmup, rise)
    lowest = start if share < warmup else end
    return lowest + (1 - lowest) * height


def fastai_cycle(
    share: float, warmup: float = 0.3, start: float = START_FACTOR, end: float = FASTAI_END_FACTOR
) -> float:
    """fastai's 1cycle: cosine warmup and cosine decay to almost 0."""
    return one_cycle(share, warmup, start, end, rise="cosine")


def linear_decay(share: float, start: float = 0.5) -> float:
    """Peak rate until `start`, then linear decay to 0: pix2pix's PyTorch program."""
    return 1.0 if share < start else (1 - share) / (1 - start)


def step_decay(share: float, every: float = 0.45, factor: float = 0.1) -> float:
    """Step decay by `factor` after each share `every` of the steps (Zhang et al.'s program)."""
    return float(factor ** math.floor(share / every))


SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "linear-constant": linear_constant,
    "linear-cosine": linear_cosine,
    "ipol": one_cycle,
    "fastai": fastai_cycle,
    "linear-decay": linear_decay,
    "step": step_decay,
}


def rate_factor(kind: str, share: float, **options: Any) -> float:
    """Return the factor of the peak rate after a share of the steps.

    Parameters
    ----------
    kind : str
        A key of `COURSES`.
    share : float
        Share of the steps done, 0 to 1.
    **options
        Options of the schedule. Options of other schedules (`warmup` with "constant") are ignored,
        so that the schedule of a recipe can be changed on its own.

    Raises
    ------
    SettingsError
        If there is no such schedule, or no schedule has such an option.
    """
    if kind not in SCHEDULES:
        raise SettingsError(
            f"No schedule is named {kind!r}. Choose one of: {', '.join(SCHEDULES)}."
        )
    known = {name for function in SCHEDULES.values() for name in signature(function).parameters}
    for option in options:
        if option not in known:
            names = ", ".join(sorted(known - {"share"}))
            raise SettingsError(f"No schedule has an option {option!r}. Available: {names}.")
    schedule = SCHEDULES[kind]
    accepted = signature(schedule).parameters
    return schedule(share, **{name: options[name] for name in options if name in accepted})


def cyclic_momentum(
    share: float, warmup: float, high: float = 0.95, low: float = 0.85, rise: Rise = "linear"
) -> float:
    """Return the momentum of 1cycle, which falls while the learning rate rises.

    For Adam and AdamW it is beta1. IPOL's program writes it to a field that AdamW does not read,
    so that it has no effect there.
    """
    return high - (high - low) * _one_cycle_height(share, warmup, rise)


class Plateau:
    """Learning-rate factor that is reduced when a validation measure stops falling.

    Parameters
    ----------
    cut : float
        The factor is multiplied by this.
    patience : int
        Number of measures in a row without improvement before the factor is reduced.
    threshold : float
        Relative improvement that is required.
    lowest : float
        Lower limit of the factor.

    Attributes
    ----------
    factor : float
        Initially 1.
    """

    def __init__(
        self,
        cut: float = 0.1,
        patience: int = 5,
        threshold: float = 1e-3,
        lowest: float = 1e-3,
    ) -> None:
        if not 0 < cut < 1:
            raise SettingsError(f"cut must be between 0 and 1, got {cut}.")
        self.cut, self.patience = cut, patience
        self.threshold, self.lowest = threshold, lowest
        self.factor, self.best, self.failures = 1.0, math.inf, 0

    def update(self, measure: float) -> bool:
        """Add a validation measure (lower is better); returns whether the factor was reduced."""
        margin = self.threshold * abs(self.best) if math.isfinite(self.best) else 0.0
        if measure < self.best - margin:  # False for NaN
            self.best, self.failures = measure, 0
            return False
        self.failures += 1
        if self.failures <= self.patience or self.factor <= self.lowest:
            return False
        self.factor = max(self.factor * self.cut, self.lowest)
        self.failures = 0
        return True

    def state_dict(self) -> dict[str, float]:
        """Return what is needed to resume."""
        return {"factor": self.factor, "best": self.best, "failures": self.failures}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore `state_dict`."""
        self.factor, self.best = state["factor"], state["best"]
        self.failures = int(state["failures"])


def _one_cycle_height(share: float, warmup: float, rise: Rise) -> float:
    """Return 0 at the start, 1 after `warmup`, 0 at the end."""
    if share >= warmup:
        return _cosine_decay(share, warmup)
    progress = share / warmup
    return progress if rise == "linear" else 0.5 * (1 - math.cos(math.pi * progress))


def _cosine_decay(share: float, warmup: float) -> float:
    """Return half a cosine, from 1 at `warmup` to 0 at the end."""
    if share >= 1:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))
