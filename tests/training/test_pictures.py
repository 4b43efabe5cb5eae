from __future__ import annotations

import torch
from napari_colorize_training.objective import target
from napari_colorize_training.pictures import Pictures, small_colors

from napari_colorize.networks import ARCHITECTURES

UV = ARCHITECTURES["compact"]


def pictures(rgb: torch.Tensor, seed: int = 0) -> Pictures:
    gray = rgb.mean(1, keepdim=True)
    random = [torch.Generator().manual_seed(seed + index) for index in range(len(rgb))]
    return Pictures(rgb=rgb, gray=gray, clean=gray, random=random)


def test_small_colors_are_the_truth_at_a_quarter_of_its_size():
    rgb = torch.tensor([0.7, 0.4, 0.2]).view(1, 3, 1, 1).expand(3, 3, 32, 48)

    small = small_colors(UV, pictures(rgb))

    assert small.shape == (3, 2, 8, 12)
    torch.testing.assert_close(small, target(UV, rgb)[..., ::4, ::4])


def test_every_picture_is_blurred_its_own_way_and_keeps_its_mean():
    torch.manual_seed(0)
    rgb = torch.rand(1, 3, 64, 64).expand(4, -1, -1, -1)
    sharp = torch.nn.functional.avg_pool2d(target(UV, rgb), 4)

    small = small_colors(UV, pictures(rgb))

    spread = small.std((1, 2, 3))
    assert len({round(float(value), 5) for value in spread}) == 4
    assert (spread <= sharp.std((1, 2, 3)) * 1.001).all()
    torch.testing.assert_close(small.mean((2, 3)), sharp.mean((2, 3)), atol=3e-3, rtol=0)
    torch.testing.assert_close(small, small_colors(UV, pictures(rgb)))
