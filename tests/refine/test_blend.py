from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from napari_colorize.refine.blend import STEP_WIDTH, blend

MODES = ("mean", "confidence", "luminance")


def random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def weight_of(share: float, by: str, size: tuple[int, int] = (6, 5), **changes) -> Tensor:
    """Weight of the second model: the blend of 0 and 1."""
    inputs = {"gray": random(*size), "errors": (10 * random(*size), 12 * random(*size))} | changes
    return blend(torch.zeros(*size, 2), torch.ones(*size, 2), share, by=by, **inputs)


@pytest.mark.parametrize("by", MODES)
def test_shares_of_0_and_1_return_the_inputs_unchanged(by):
    one, other = random(4, 6, 2) - 0.5, random(8, 3, 2) - 0.5
    inputs = {"gray": random(20, 20), "errors": (random(4, 6), random(8, 3))}

    assert torch.equal(blend(one, other, 0.0, by=by, **inputs), one)
    assert torch.equal(blend(one, other, 1.0, by=by, **inputs), other)


@pytest.mark.parametrize("by", MODES)
def test_the_weight_is_continuous_at_shares_of_0_and_1(by):
    assert weight_of(1e-6, by).max() < 1e-2
    assert weight_of(1 - 1e-6, by).min() > 1 - 1e-2


@pytest.mark.parametrize("by", MODES)
@given(share=st.floats(0, 1), more=st.floats(0, 1))
def test_the_weight_does_not_decrease_with_the_share(by, share, more):
    less, greater = sorted((share, more))

    weight, larger = weight_of(less, by), weight_of(greater, by)

    assert weight.min() >= 0 and larger.max() <= 1
    assert (larger - weight).min() >= -1e-6


def test_mode_mean_is_the_weighted_mean():
    one, other = random(4, 6, 2), random(4, 6, 2) - 1

    torch.testing.assert_close(blend(one, other, 0.25, by="mean"), 0.75 * one + 0.25 * other)


@pytest.mark.parametrize("by", MODES)
def test_the_result_has_the_larger_height_and_width(by):
    one, other = torch.full((4, 9, 2), 0.1), torch.full((8, 3, 2), 0.3)
    errors = torch.full((2, 2), 5.0), torch.full((3, 3), 5.0)

    merged = blend(one, other, 0.5, by=by, gray=torch.full((50, 40), 0.5), errors=errors)

    torch.testing.assert_close(merged, torch.full((8, 9, 2), 0.2))


def test_mode_confidence_weights_by_inverse_squared_errors():
    errors = torch.tensor([[12.0, 4.0, 0.0]]), torch.tensor([[4.0, 12.0, 0.5]])

    weight = weight_of(0.5, "confidence", (1, 3), errors=errors)[..., 0]

    torch.testing.assert_close(weight, torch.tensor([[0.9, 0.1, 0.5]]))


def test_mode_confidence_has_minimum_variance_at_equal_shares():
    torch.manual_seed(0)
    errors = torch.full((300, 300), 9.0), torch.full((300, 300), 3.0)
    one, other = (error[..., None] * torch.randn(300, 300, 2) for error in errors)

    variances = {
        share: float(blend(one, other, share, by="confidence", errors=errors).var())
        for share in (0.3, 0.5, 0.7)
    }

    assert variances[0.5] == min(variances.values()) < 9.0
    assert variances[0.5] == pytest.approx(1 / (1 / 81 + 1 / 9), rel=0.02)


def test_mode_luminance_uses_the_second_model_in_bright_regions():
    gray = torch.tensor([[0.0, 0.2, 0.5, 0.8, 1.0]])

    weight = weight_of(0.5, "luminance", (1, 5), gray=gray)[..., 0]

    torch.testing.assert_close(weight, torch.tensor([[0.0, 0.0, 0.5, 1.0, 1.0]]))


def test_mode_luminance_uses_a_cubic_step():
    weight = weight_of(0.5, "luminance", (1, 1), gray=torch.tensor([[0.5 - STEP_WIDTH / 4]]))

    torch.testing.assert_close(weight[0, 0, 0], torch.tensor(0.15625))  # t^2 (3 - 2 t) at 1/4


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_raises(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        blend(torch.zeros(2, 2, 2), torch.zeros(2, 2, 2), share, by="mean")


@pytest.mark.parametrize("by", ["confidence", "luminance", "other"])
def test_a_missing_gray_or_errors_raises(by):
    with pytest.raises(ValueError, match="with errors.* with gray"):
        blend(torch.zeros(2, 2, 2), torch.zeros(2, 2, 2), 0.5, by=by)
