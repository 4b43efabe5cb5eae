from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from skimage.color import deltaE_ciede2000, rgb2lab, yuv2rgb
from stand_ins import HandedNetwork, TintNetwork, colorizer_of
from torch import Tensor

from napari_colorize.analysis.disagreement import disagreement
from napari_colorize.errors import SettingsError

GRAY = skimage.data.camera()[::4, ::4]
MIDDLE = np.full((64, 64), 128, np.uint8)


class Flat(TintNetwork):
    """One color everywhere, or one that grows with the size that the network is asked at."""

    def __init__(self, u: float = 0.0, v: float = 0.0, by_size: bool = False) -> None:
        super().__init__()
        self.u, self.v, self.by_size = u, v, by_size

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        uv = super().forward(gray, self_attention) * 0
        scale = gray.shape[-1] / 64 if self.by_size else 1.0
        return uv + scale * torch.tensor([self.u, self.v])[:, None, None]


def lab(u: float, v: float, gray: float = 128 / 255) -> np.ndarray:
    return rgb2lab(yuv2rgb(np.array([[[gray, u, v]]])).clip(0, 1))[0, 0]


def test_variants_that_agree_do_not_disagree():
    found = disagreement(colorizer_of(TintNetwork(), fit="square"), MIDDLE)

    assert found.map.shape == MIDDLE.shape and found.map.dtype == np.float32
    assert found.map.max() < 0.1
    assert found.expected_error is None


def test_it_says_what_was_compared():
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
    colorizer, other = colorizer_of(Flat(0.1, 0.05)), colorizer_of(Flat(-0.1, 0.05))

    found = disagreement(colorizer, MIDDLE, others=[other], flips=False, render_factors=())

    common = lab(0.0, 0.05)
    wanted = np.mean([deltaE_ciede2000(lab(u, 0.05), common) for u in (0.1, -0.1)])
    np.testing.assert_allclose(found.map, wanted, rtol=1e-3)


def test_the_mirror_image_shows_where_a_network_has_hands():
    colorizer = colorizer_of(HandedNetwork())

    found = disagreement(colorizer, GRAY, render_factors=())

    assert found.map[:50].max() < 0.5 < found.map[80:].min()


def test_render_factors_show_where_size_matters():
    colorizer = colorizer_of(Flat(v=0.05, by_size=True))

    found = disagreement(colorizer, MIDDLE, flips=False, render_factors=(6,), render_factor=2)

    sizes = 2 / 4, 6 / 4
    common = lab(0.0, 0.05 * np.mean(sizes))
    wanted = np.mean([deltaE_ciede2000(lab(0.0, 0.05 * size), common) for size in sizes])
    np.testing.assert_allclose(found.map, wanted, rtol=1e-3)


def test_each_model_is_as_vivid_as_it_recommends_unless_told():
    colorizer = colorizer_of(Flat(0.1))
    other = colorizer_of(Flat(0.05), saturation=2.0)

    def apart(**settings: object) -> float:
        found = disagreement(
            colorizer, MIDDLE, others=[other], flips=False, render_factors=(), **settings
        )
        return float(found.map.max())

    assert apart() < 0.05 < 1 < apart(saturation=1.0)


def test_limits_and_gamma_are_those_of_the_image():
    deep, limits = GRAY.astype(np.uint16) * 16, (0, 255 * 16)
    handed, tint = colorizer_of(HandedNetwork()), colorizer_of(TintNetwork())

    plain = disagreement(handed, GRAY, gamma=0.5)
    scaled = disagreement(handed, deep, gamma=0.5, contrast_limits=limits)
    mirrored = disagreement(tint, deep, contrast_limits=limits, gamma=0.5, render_factors=())

    np.testing.assert_allclose(plain.map, scaled.map, atol=1e-3)
    assert mirrored.map.max() < 0.5  # a tint has no hands


def test_colors_alpha_and_pixels_that_are_no_numbers_do_no_harm():
    image = np.dstack([GRAY, GRAY[::-1], GRAY, GRAY]).astype(np.float32) / 255
    image[3, 4, :3] = np.nan

    found = disagreement(colorizer_of(HandedNetwork()), image)

    assert found.map.shape == GRAY.shape and np.isfinite(found.map).all()


def test_progress_is_told_and_may_stop_it():
    told: list[tuple[int, int]] = []

    def stop_at_three(done: int, total: int) -> None:
        told.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        disagreement(colorizer_of(TintNetwork()), GRAY, progress=stop_at_three)

    assert told == [(1, 4), (2, 4), (3, 4)]


def test_a_question_of_one_answer_is_refused():
    colorizer = colorizer_of(TintNetwork())

    with pytest.raises(SettingsError, match="nothing to compare"):
        disagreement(colorizer, GRAY, flips=False, render_factors=())


def test_a_fidelity_is_refused():
    colorizer = colorizer_of(TintNetwork(), architecture="deoldify-deep")

    with pytest.raises(SettingsError, match="fidelity"):
        disagreement(colorizer, GRAY, fidelity="deoldify", render_factor=2)


def test_a_model_that_lacks_a_knob_is_asked_without_it():
    colorizer = colorizer_of(TintNetwork())
    other = colorizer_of(Flat(), name="plain", architecture="pix2pix", fit="square")
    other.network.forward = lambda x, self_attention=True: torch.zeros(1, 2, *x.shape[2:])

    found = disagreement(colorizer, GRAY, others=[other], self_attention=False, render_factors=())

    assert found.variants[-1] == "plain, render factor 4, mirrored"


def test_the_embedded_models_own_confidence_comes_beside_it():
    from napari_colorize.colorizer import Colorizer

    found = disagreement(Colorizer.from_pretrained(), GRAY, render_factor=4, render_factors=())

    assert found.expected_error is not None
    assert found.expected_error.shape == found.map.shape and found.map.mean() > 0.1
