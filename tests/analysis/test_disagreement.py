from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from skimage.color import deltaE_ciede2000, rgb2lab, yuv2rgb
from stand_ins import TintNetwork, UnevenNetwork, colorizer_of
from torch import Tensor

from napari_colorize.analysis.disagreement import disagreement
from napari_colorize.errors import SettingsError

GRAY = skimage.data.camera()[::4, ::4]
MIDDLE = np.full((64, 64), 128, np.uint8)


class FlatNetwork(TintNetwork):
    """Network with one color everywhere, optionally proportional to the width of its input."""

    def __init__(self, u: float = 0.0, v: float = 0.0, by_size: bool = False) -> None:
        super().__init__()
        self.u, self.v, self.by_size = u, v, by_size

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        uv = super().forward(gray, self_attention) * 0
        scale = gray.shape[-1] / 64 if self.by_size else 1.0
        return uv + scale * torch.tensor([self.u, self.v])[:, None, None]


def lab(u: float, v: float, gray: float = 128 / 255) -> np.ndarray:
    return rgb2lab(yuv2rgb(np.array([[[gray, u, v]]])).clip(0, 1))[0, 0]


def test_equal_variants_have_no_disagreement():
    found = disagreement(colorizer_of(TintNetwork(), fit="square"), MIDDLE)

    assert found.map.shape == MIDDLE.shape and found.map.dtype == np.float32
    assert found.map.max() < 0.1
    assert found.expected_error is None


def test_it_names_the_variants():
    colorizer, other = (colorizer_of(TintNetwork(), name=name) for name in ("one", "two"))

    usual = disagreement(colorizer, GRAY, others=[other], render_factor=8)
    chosen = disagreement(colorizer, GRAY, flips=False, render_factors=(4, 4, 3), render_factor=4)

    assert usual.variants == (
        "one, render factor 8",
        "one, render factor 8, mirrored",
        "one, render factor 6",
        "one, render factor 11",
        "two, render factor 8",
        "two, render factor 8, mirrored",
    )
    assert chosen.variants == ("one, render factor 4", "one, render factor 3")


def test_it_is_the_mean_difference_to_the_mean_color():
    colorizer, other = (
        colorizer_of(FlatNetwork(0.1, 0.05)),
        colorizer_of(FlatNetwork(-0.1, 0.05)),
    )

    found = disagreement(colorizer, MIDDLE, others=[other], flips=False, render_factors=())

    common = lab(0.0, 0.05)
    wanted = np.mean([deltaE_ciede2000(lab(u, 0.05), common) for u in (0.1, -0.1)])
    np.testing.assert_allclose(found.map, wanted, rtol=1e-3)


def test_flips_show_where_a_network_is_asymmetric():
    colorizer = colorizer_of(UnevenNetwork())

    found = disagreement(colorizer, GRAY, render_factors=())

    assert found.map[:50].max() < 0.5 < found.map[80:].min()


def test_render_factors_show_where_the_size_matters():
    colorizer = colorizer_of(FlatNetwork(v=0.05, by_size=True))

    found = disagreement(colorizer, MIDDLE, flips=False, render_factors=(6,), render_factor=2)

    sizes = 2 / 4, 6 / 4
    common = lab(0.0, 0.05 * np.mean(sizes))
    wanted = np.mean([deltaE_ciede2000(lab(0.0, 0.05 * size), common) for size in sizes])
    np.testing.assert_allclose(found.map, wanted, rtol=1e-3)


def test_each_model_uses_its_recommended_saturation_by_default():
    colorizer = colorizer_of(FlatNetwork(0.1))
    other = colorizer_of(FlatNetwork(0.05), saturation=2.0)

    def difference(**settings: object) -> float:
        found = disagreement(
            colorizer, MIDDLE, others=[other], flips=False, render_factors=(), **settings
        )
        return float(found.map.max())

    assert difference() < 0.05 < 1 < difference(saturation=1.0)


def test_contrast_limits_and_gamma_apply_to_all_variants():
    deep, limits = GRAY.astype(np.uint16) * 16, (0, 255 * 16)
    asymmetric, tint = colorizer_of(UnevenNetwork()), colorizer_of(TintNetwork())

    plain = disagreement(asymmetric, GRAY, gamma=0.5)
    scaled = disagreement(asymmetric, deep, gamma=0.5, contrast_limits=limits)
    mirrored = disagreement(tint, deep, contrast_limits=limits, gamma=0.5, render_factors=())

    np.testing.assert_allclose(plain.map, scaled.map, atol=1e-3)
    assert mirrored.map.max() < 0.5  # the network is symmetric


def test_colors_alpha_and_nan_are_accepted():
    image = np.dstack([GRAY, GRAY[::-1], GRAY, GRAY]).astype(np.float32) / 255
    image[3, 4, :3] = np.nan

    found = disagreement(colorizer_of(UnevenNetwork()), image)

    assert found.map.shape == GRAY.shape and np.isfinite(found.map).all()


def test_progress_is_reported_and_can_stop_it():
    calls: list[tuple[int, int]] = []

    def stop_at_three(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        disagreement(colorizer_of(TintNetwork()), GRAY, progress=stop_at_three)

    assert calls == [(1, 4), (2, 4), (3, 4)]


def test_a_single_variant_is_refused():
    colorizer = colorizer_of(TintNetwork())

    with pytest.raises(SettingsError, match="nothing to compare"):
        disagreement(colorizer, GRAY, flips=False, render_factors=())


def test_a_fidelity_is_refused():
    colorizer = colorizer_of(TintNetwork(), architecture="deoldify-deep")

    with pytest.raises(SettingsError, match="fidelity"):
        disagreement(colorizer, GRAY, fidelity="deoldify", render_factor=2)


def test_unsupported_settings_are_dropped_for_other_models():
    colorizer = colorizer_of(TintNetwork())
    other = colorizer_of(FlatNetwork(), name="plain", architecture="pix2pix", fit="square")
    other.network.forward = lambda x, self_attention=True: torch.zeros(1, 2, *x.shape[2:])

    found = disagreement(colorizer, GRAY, others=[other], self_attention=False, render_factors=())

    assert found.variants[-1] == "plain, render factor 4, mirrored"


def test_the_expected_error_of_the_embedded_model_is_included():
    from napari_colorize.colorizer import Colorizer

    found = disagreement(Colorizer.from_pretrained(), GRAY, render_factor=4, render_factors=())

    assert found.expected_error is not None
    assert found.expected_error.shape == found.map.shape and found.map.mean() > 0.1
