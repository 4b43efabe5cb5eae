"""How the learning rate goes: each course is a function of the share of steps that are done.

The share goes from 0 at the first step to just below 1 at the last; the result is a factor on the
peak rate. `rate_at` finds a course by its name. `Plateau` alone looks at how training goes, and so
has a state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import signature
from typing import Any, Literal

from napari_colorize.errors import SettingsError

Rise = Literal["linear", "cosine"]

LOWEST_SHARE = 0.01  # of the peak: the first step of a rise from 0 would teach nothing
FIRST_SHARE = 1 / 25  # fastai's and the IPOL program's first rate, as a share of the peak
FASTAI_LAST_SHARE = 1 / 250_000  # fastai 1.x; 1e-5 in fastai 2


def constant(share: float) -> float:
    """The peak rate all along."""
    return 1.0


def linear_cosine(share: float, warmup: float = 0.1) -> float:
    """A linear rise from 0, then half a cosine down to 0."""
    if share < warmup:
        return max(share / warmup, LOWEST_SHARE)
    return _fall(share, warmup)


def one_cycle(
    share: float,
    warmup: float = 0.3,
    start: float = FIRST_SHARE,
    end: float = FIRST_SHARE,
    rise: Rise = "linear",
) -> float:
    """1cycle (Smith 2018): up from `start` to 1, then half a cosine down to `end`.

    Parameters
    ----------
    share : float
        Of the steps that are done.
    warmup : float
        Share of the steps in which the rate rises; none rises with 0, and with DeOldify's 1e-8.
    start, end : float
        First and last factor. IPOL's program goes back to its start, its article to zero.
    rise : {"linear", "cosine"}
        IPOL's program and fastai.
    """
    height = _height(share, warmup, rise)
    foot = start if share < warmup else end
    return foot + (1 - foot) * height


def fastai_cycle(
    share: float, warmup: float = 0.3, start: float = FIRST_SHARE, end: float = FASTAI_LAST_SHARE
) -> float:
    """fastai's 1cycle: a cosine up and a cosine down, to next to nothing."""
    return one_cycle(share, warmup, start, end, rise="cosine")


def linear_decay(share: float, start: float = 0.5) -> float:
    """The peak rate until `start`, then straight down to 0: pix2pix's PyTorch program."""
    return 1.0 if share < start else (1 - share) / (1 - start)


def step_decay(share: float, every: float = 0.45, factor: float = 0.1) -> float:
    """`factor` more each `every` steps: 225,000 of 500,000 in Zhang et al.'s program."""
    return float(factor ** math.floor(share / every))


COURSES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "linear-cosine": linear_cosine,
    "ipol": one_cycle,
    "fastai": fastai_cycle,
    "linear-decay": linear_decay,
    "step": step_decay,
}


def rate_at(kind: str, share: float, **options: Any) -> float:
    """The factor on the peak rate after a share of the steps.

    Parameters
    ----------
    kind : str
        A key of `COURSES`.
    share : float
        Of the steps that are done, 0 to 1.
    **options
        Of the course. One that only other courses have (`warmup` for "constant", say) is ignored,
        so that a recipe's kind can be changed alone.

    Raises
    ------
    SettingsError
        If there is no such course, or no course has such an option.
    """
    if kind not in COURSES:
        raise SettingsError(f"No schedule is called {kind!r}. Choose one of: {', '.join(COURSES)}.")
    everywhere = {name for course in COURSES.values() for name in signature(course).parameters}
    for option in options:
        if option not in everywhere:
            known = ", ".join(sorted(everywhere - {"share"}))
            raise SettingsError(f"No schedule has an option {option!r}. They have: {known}.")
    own = signature(COURSES[kind]).parameters
    chosen = {name: value for name, value in options.items() if name in own}
    return COURSES[kind](share, **chosen)


def cyclic_momentum(
    share: float, warmup: float, high: float = 0.95, low: float = 0.85, rise: Rise = "linear"
) -> float:
    """Momentum that goes against the rate of 1cycle: least where the rate is highest.

    For Adam and AdamW it is beta1. IPOL's program writes it to a field that AdamW never reads, so
    theirs has no effect.
    """
    return high - (high - low) * _height(share, warmup, rise)


class Plateau:
    """A factor on the rate that is cut when a validation measure stops falling.

    Parameters
    ----------
    cut : float
        What the factor is multiplied by.
    patience : int
        Measures in a row that may fail to improve before it is cut.
    threshold : float
        Share by which a measure must be below the best one to count as better.
    lowest : float
        The factor never falls below this.

    Attributes
    ----------
    factor : float
        1 at first.
    """

    def __init__(
        self,
        cut: float = 0.1,
        patience: int = 5,
        threshold: float = 1e-3,
        lowest: float = 1e-3,
    ) -> None:
        if not 0 < cut < 1:
            raise SettingsError(f"A plateau's cut must be between 0 and 1, got {cut}.")
        self.cut, self.patience = cut, patience
        self.threshold, self.lowest = threshold, lowest
        self.factor, self.best, self.failures = 1.0, math.inf, 0

    def update(self, measure: float) -> bool:
        """Take the next validation measure (small is good); returns whether the rate was cut."""
        margin = self.threshold * abs(self.best) if math.isfinite(self.best) else 0.0
        if measure < self.best - margin:  # never true of NaN
            self.best, self.failures = measure, 0
            return False
        self.failures += 1
        if self.failures <= self.patience or self.factor <= self.lowest:
            return False
        self.factor = max(self.factor * self.cut, self.lowest)
        self.failures = 0
        return True

    def state_dict(self) -> dict[str, float]:
        """What a run needs to go on as if it had never stopped."""
        return {"factor": self.factor, "best": self.best, "failures": self.failures}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from `state_dict`."""
        self.factor, self.best = state["factor"], state["best"]
        self.failures = int(state["failures"])


def _height(share: float, warmup: float, rise: Rise) -> float:
    """0 at the start, 1 after `warmup`, 0 at the end."""
    if share >= warmup:
        return _fall(share, warmup)
    climbed = share / warmup
    return climbed if rise == "linear" else 0.5 * (1 - math.cos(math.pi * climbed))


def _fall(share: float, warmup: float) -> float:
    """Half a cosine from 1 at `warmup` to 0 at the end."""
    if share >= 1:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))
