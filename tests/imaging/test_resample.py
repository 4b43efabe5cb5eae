from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mps import limited_like_mps

from napari_colorize.imaging.resample import area_mean

SIZES = [((64, 48), (16, 12)), ((61, 47), (16, 12)), ((512, 512), (208, 336)), ((5, 7), (5, 3))]


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_means_by_matrix_products_equal_those_by_pooling(before, after):
    x = torch.rand(2, 3, *before)

    with limited_like_mps():
        means = area_mean(x, after)

    torch.testing.assert_close(means, F.adaptive_avg_pool2d(x, after), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_means_are_pooled_where_the_device_can(before, after):
    x = torch.rand(2, 3, *before)

    assert torch.equal(area_mean(x, after), F.adaptive_avg_pool2d(x, after))
