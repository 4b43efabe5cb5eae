from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from napari_colorize_training.schedule import (
    SCHEDULES,
    Plateau,
    cyclic_momentum,
    one_cycle,
    rate_factor,
)

from napari_colorize.errors import SettingsError

SHARES = [float(share) for share in np.linspace(0, 1, 1000, endpoint=False)]


@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_schedule_is_a_share_of_the_peak(kind):
    rates = [rate_factor(kind, share, warmup=0.3) for share in SHARES]

    assert max(rates) == pytest.approx(1, abs=1e-2)
    assert all(0 < rate <= 1 for rate in rates)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.8])
def test_linear_cosine_starts_and_ends_near_zero(warmup):
    rates = [rate_factor("linear-cosine", share, warmup=warmup) for share in SHARES]

    for share, rate in zip(SHARES, rates, strict=True):
        if share < warmup:
            assert rate == pytest.approx(max(0.01, share / warmup))
        else:
            assert rate == pytest.approx(
                (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))) / 2
            )
    assert rates[-1] < 1e-4


def test_linear_constant_stays_at_the_peak():
    rates = [rate_factor("linear-constant", share, warmup=0.25) for share in (0, 0.1, 0.25, 0.999)]

    assert rates == [0.01, 0.4, 1, 1]


def test_ipols_cycle_ends_at_its_first_rate():
    rates = [rate_factor("ipol", share, warmup=0.8) for share in SHARES]

    np.testing.assert_allclose(rates[:801], np.linspace(1 / 25, 1, 801))
    assert rates[-1] == pytest.approx(1 / 25, abs=1e-4)
    middle = 1 / 25 + (1 - 1 / 25) / 2  # half a cosine is half way down in its middle
    assert rates[900] == pytest.approx(middle)


def test_the_ipol_article_ends_at_zero():
    assert one_cycle(0.9999, warmup=0.8, end=0.0) < 1e-5


def test_with_deoldifys_warmup_the_rate_only_falls():
    rates = [rate_factor("fastai", share, warmup=1e-8) for share in SHARES[1:]]

    assert rates[0] == pytest.approx(1, abs=1e-4)
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert rates[-1] < 1e-4


def test_fastais_cycle_rises_and_falls_as_a_cosine():
    first, top, last = (rate_factor("fastai", share, warmup=0.3) for share in (0, 0.3, 1))

    assert (first, top) == (pytest.approx(1 / 25), pytest.approx(1))
    assert last == pytest.approx(1 / 250_000)
    assert rate_factor("fastai", 0.15, warmup=0.3) == pytest.approx((1 / 25 + 1) / 2)
    # A cosine starts flat; a straight line would be at 1/10 of the way.
    assert rate_factor("fastai", 0.03, warmup=0.3) < 1 / 25 + 0.03


def test_pix2pixs_rate_falls_in_the_second_half():
    assert [rate_factor("linear-decay", share) for share in (0, 0.49, 0.75)] == [1, 1, 0.5]
    assert rate_factor("linear-decay", 0.999) == pytest.approx(0.002)


def test_zhangs_rate_falls_in_steps():
    shares = [step / 500_000 for step in (0, 224_999, 225_000, 449_999, 450_000)]

    rates = [rate_factor("step", share) for share in shares]

    np.testing.assert_allclose(rates, [1, 1, 0.1, 0.1, 0.01])


def test_momentum_is_lowest_where_the_rate_is_highest():
    shares = np.array(SHARES)
    for warmup in (0.3, 0.8):
        rates = [one_cycle(share, warmup, start=0.0, end=0.0) for share in shares]
        momenta = [cyclic_momentum(share, warmup) for share in shares]

        np.testing.assert_allclose(momenta, 0.95 - 0.1 * np.array(rates))
        assert min(momenta) == pytest.approx(0.85) and momenta[0] == pytest.approx(0.95)


def test_a_share_of_one_is_valid():
    assert all(math.isfinite(rate_factor(kind, 1.0, warmup=1.0)) for kind in SCHEDULES)


def test_an_unknown_schedule_or_option_is_refused_by_name():
    with pytest.raises(
        SettingsError, match="Choose one of: constant, linear-constant, linear-cosine"
    ):
        rate_factor("exponential", 0.5)
    with pytest.raises(SettingsError, match="'warm'. Available: end, every"):
        rate_factor("ipol", 0.5, warm=0.3)


def test_options_of_other_schedules_are_ignored():
    assert rate_factor("constant", 0.5, warmup=0.3) == 1


def test_the_rate_is_reduced_after_measures_without_improvement():
    plateau = Plateau(cut=0.1, patience=2)

    cuts = [plateau.update(measure) for measure in (1.0, 0.9, 0.95, 0.9, 0.9, 0.9)]

    assert cuts == [False, False, False, False, True, False]
    assert plateau.factor == pytest.approx(0.1)


def test_improvement_keeps_the_rate():
    plateau = Plateau(patience=0)

    assert not any(plateau.update(0.9**step) for step in range(50))
    assert plateau.factor == 1


def test_an_improvement_below_the_threshold_does_not_count():
    plateau = Plateau(patience=1, threshold=1e-3)

    assert [plateau.update(1 - step * 1e-4) for step in range(3)] == [False, False, True]


def test_nan_is_no_improvement():
    plateau = Plateau(patience=0)

    assert plateau.update(math.nan) and plateau.best == math.inf
    assert not plateau.update(1.0) and plateau.best == 1


def test_the_rate_has_a_lower_limit():
    plateau = Plateau(cut=0.1, patience=0, lowest=0.05)
    plateau.update(1.0)

    assert [plateau.update(1.0) for _ in range(3)] == [True, True, False]
    assert plateau.factor == 0.05


@pytest.mark.parametrize("stop", [0, 1, 3, 7])
def test_a_plateau_can_be_resumed(stop):
    measures = [1.0, 0.9, 0.91, 0.92, 0.93, 0.8, 0.81, 0.82, 0.83]
    whole, first = Plateau(patience=1), Plateau(patience=1)
    factors = [(whole.update(measure), whole.factor) for measure in measures]

    for measure in measures[:stop]:
        first.update(measure)
    resumed = Plateau(patience=1)
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))

    assert [(resumed.update(m), resumed.factor) for m in measures[stop:]] == factors[stop:]
