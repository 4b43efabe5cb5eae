from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import convolve
from skimage.color import rgb2yuv
from skimage.data import astronaut
from torch import Tensor

from napari_colorize.array_types import Float64Array
from napari_colorize.refine.edges import (
    GRAIN_WEIGHT,
    SLOPE_EPSILON,
    TINY_CHROMA,
    TINY_GRAY,
    follow_edges,
)


def enlarged(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge a map (h, w, 2) bilinearly."""
    planes = small.movedim(-1, 0)[None]
    return F.interpolate(planes, size, mode="bilinear", align_corners=False)[0].movedim(0, -1)


def upsampled(gray: Tensor, uv: Tensor) -> Tensor:
    """U and V at full size by edge-aware upsampling."""
    size = gray.shape[0], gray.shape[1]
    slope, offset = follow_edges(gray, uv)
    return enlarged(slope, size) * gray[..., None] + enlarged(offset, size)


def shrunk(full: Float64Array, block: int) -> Float64Array:
    """Means over blocks of an array (Y, X) or (Y, X, C)."""
    height, width = full.shape[:2]
    blocks = full.reshape(height // block, block, width // block, block, -1)
    means: Float64Array = (
        blocks.mean(axis=(1, 3)).squeeze(-1) if full.ndim == 2 else blocks.mean((1, 3))
    )
    return means


def reference_slope(gray: Float64Array, uv: Float64Array, block: int) -> Float64Array:
    """Independent implementation of the slope, with sums over neighbors by scipy."""
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16

    def local_mean(x: Float64Array) -> Float64Array:
        mean: Float64Array = convolve(x, weights, mode="nearest")
        return mean

    mean = shrunk(gray, block)
    inside = local_mean(shrunk(gray**2, block) - mean**2)
    variance = local_mean(mean**2) - local_mean(mean) ** 2
    covariance = [
        local_mean(mean * part) - local_mean(mean) * local_mean(part)
        for part in uv.transpose(2, 0, 1)
    ]
    spread = sum(local_mean(part**2) - local_mean(part) ** 2 for part in uv.transpose(2, 0, 1))
    explained = sum(part**2 for part in covariance) / (
        (variance + TINY_GRAY) * (spread + TINY_CHROMA)
    )
    return np.stack(
        [
            local_mean(part / (variance + GRAIN_WEIGHT * inside + SLOPE_EPSILON) * explained)
            for part in covariance
        ],
        axis=-1,
    )


@pytest.fixture
def photograph() -> tuple[Float64Array, Float64Array]:
    """Gray (512, 512) and true U and V of a photograph."""
    yuv = rgb2yuv(astronaut())
    return yuv[..., 0], yuv[..., 1:]


def test_slopes_agree_with_an_independent_implementation(photograph):
    gray, uv = photograph[0], shrunk(photograph[1], 8)

    slope, _ = follow_edges(torch.from_numpy(gray).float(), torch.from_numpy(uv).float())

    expected = reference_slope(gray, uv, block=8)
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(slope.numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("block", [4, 16])
def test_upsampled_true_chrominance_has_less_error_than_bilinear(photograph, block):
    gray, uv = photograph
    small = torch.from_numpy(shrunk(uv, block)).float()

    bilinear = enlarged(small, gray.shape).numpy()
    edges = upsampled(torch.from_numpy(gray).float(), small).numpy()

    assert np.square(edges - uv).mean() < 0.9 * np.square(bilinear - uv).mean()


@pytest.mark.parametrize("column", [32, 33, 36, 39])  # small pixels begin at multiples of 8
def test_colors_do_not_cross_a_step_edge(column):
    gray = torch.full((64, 64), 0.2)
    gray[:, column:] = 0.9
    left, right = torch.tensor([-0.2, 0.0]), torch.tensor([0.1, 0.3])
    truth = torch.where(gray[..., None] > 0.5, right, left)
    small = torch.from_numpy(shrunk(truth.numpy(), 8))

    edges, bilinear = upsampled(gray, small), enlarged(small, (64, 64))

    error = (edges - truth).abs()
    assert error.max() < 0.4 * (bilinear - truth).abs().max()
    assert error.mean() < 0.4 * (bilinear - truth).abs().mean()
    # No halo: all colors are within the range of the two sides.
    assert (edges >= left - 0.01).all()
    assert (edges <= right + 0.01).all()


@pytest.mark.parametrize(
    ("size", "small"), [((60, 48), (10, 8)), ((7, 5), (3, 2)), ((9, 9), (1, 1))]
)
def test_constant_gray_gives_bilinear_enlarging(size, small):
    uv = torch.rand(*small, 2, generator=torch.Generator().manual_seed(0)) - 0.5

    slope, offset = follow_edges(torch.full(size, 0.7), uv)

    torch.testing.assert_close(slope, torch.zeros_like(uv), atol=1e-3, rtol=0)
    torch.testing.assert_close(offset, uv, atol=1e-3, rtol=0)


def test_constant_colors_stay_constant(photograph):
    gray = torch.from_numpy(photograph[0]).float()
    uv = torch.tensor([0.1, -0.2]).expand(32, 40, 2)

    full = upsampled(gray, uv)

    torch.testing.assert_close(full, torch.tensor([0.1, -0.2]).expand_as(full), atol=1e-4, rtol=0)


@pytest.mark.parametrize("small", [(1, 1), (5, 3), (17, 31), (64, 8), (100, 20)])
@pytest.mark.parametrize("size", [(1, 1), (37, 53), (64, 1)])
def test_chrominance_is_unchanged_at_its_own_size(size, small):
    random = torch.Generator().manual_seed(1)
    gray = torch.rand(*size, generator=random)
    uv = torch.rand(*small, 2, generator=random) - 0.5

    slope, offset = follow_edges(gray, uv)

    common_size = min(size[0], small[0]), min(size[1], small[1])
    mean = F.interpolate(gray[None, None], common_size, mode="area")
    mean = F.interpolate(mean, small, mode="bilinear", align_corners=False)[0, 0]
    assert slope.shape == offset.shape == uv.shape
    assert slope.dtype == offset.dtype == torch.float32
    torch.testing.assert_close(slope * mean[..., None] + offset, uv, atol=1e-6, rtol=0)


@pytest.mark.parametrize("small", [(48, 40), (96, 41)])
def test_the_slope_is_0_for_chrominance_of_full_size(small):
    gray = torch.rand(48, 40, generator=torch.Generator().manual_seed(2))
    uv = torch.rand(*small, 2, generator=torch.Generator().manual_seed(3)) - 0.5

    slope, offset = follow_edges(gray, uv)

    assert slope.count_nonzero() == 0
    torch.testing.assert_close(offset, uv, atol=0, rtol=0)


@pytest.mark.parametrize("small", [(48, 10), (12, 40)])
def test_chrominance_that_is_smaller_along_one_axis_follows_edges(small):
    gray = torch.zeros(48, 40)
    gray[20:, 17:] = 1
    uv = F.interpolate(gray[None, None], small, mode="area")[0].movedim(0, -1).repeat(1, 1, 2)

    slope, _ = follow_edges(gray, uv)

    assert slope.abs().max() > 0.5


def test_grain_does_not_appear_in_the_colors(photograph):
    gray, uv = photograph
    noise = np.random.default_rng(0).normal(0, 0.06, gray.shape)
    grainy = torch.from_numpy((gray + noise).clip(0, 1)).float()
    small = torch.from_numpy(shrunk(uv, 8)).float()

    noise_in_color = upsampled(grainy, small) - upsampled(torch.from_numpy(gray).float(), small)

    # Less than a tenth of the noise in the gray, and less error than bilinear enlarging.
    assert float(noise_in_color.square().mean().sqrt()) < 0.1 * 0.06
    bilinear = np.square(enlarged(small, gray.shape).numpy() - uv).mean()
    assert np.square(upsampled(grainy, small).numpy() - uv).mean() < bilinear


def test_nan_counts_as_black():
    gray = torch.rand(40, 30, generator=torch.Generator().manual_seed(4))
    uv = torch.rand(8, 6, 2, generator=torch.Generator().manual_seed(5)) - 0.5
    gray[3:20, 11] = 0
    holes = gray.clone()
    holes[3:20, 11] = torch.nan

    with_holes, with_black = follow_edges(holes, uv), follow_edges(gray, uv)

    torch.testing.assert_close(with_holes, with_black, atol=0, rtol=0)
    assert with_black[0].abs().max() > 1e-3
    assert holes.isnan().sum() == 17  # the input is not modified
