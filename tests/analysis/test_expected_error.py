from __future__ import annotations

import numpy as np
import pytest
import skimage.color
import skimage.data
import torch
import torch.nn.functional as F
from stand_ins import TintNetwork, UnevenNetwork, colorizer_of
from torch import Tensor

from napari_colorize.analysis.expected_error import (
    BY_CLASSES,
    BY_MIRROR,
    CALIBRATED,
    expected_error,
    source_of,
    uncalibrated_error,
)
from napari_colorize.errors import SettingsError

GRAY = skimage.data.camera()[::4, ::4]


class TwoColors(TintNetwork):
    """Network with two equally probable classes at U = ±`spread`; the output can be enlarged."""

    def __init__(self, spread: float, enlarged: int = 1) -> None:
        super().__init__()
        self.register_buffer("centers", torch.tensor([[-spread, 0.05], [spread, 0.05]]))
        self.register_buffer("calibration", None)
        self.enlarged = enlarged

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        uv = self.expected(self.logits(gray, self_attention))
        return F.interpolate(uv, scale_factor=self.enlarged)

    def logits(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        logit = 0.0 if self_attention else 20.0
        scores = torch.zeros_like(gray).expand(-1, 2, -1, -1)[..., ::4, ::4].clone()
        scores[:, 0] += logit
        return scores

    def expected(self, logits: Tensor) -> Tensor:
        return torch.einsum("nkhw,kc->nchw", logits.softmax(1), self.centers)


def distance(gray: float, one: float, other: float) -> float:
    """CIEDE2000 of two values of U at V = 0.05."""
    yuv = np.array([[[gray, u, 0.05] for u in (one, other)]])
    lab = skimage.color.rgb2lab(skimage.color.yuv2rgb(yuv).clip(0, 1))
    return float(skimage.color.deltaE_ciede2000(lab[0, 0], lab[0, 1]))


@pytest.mark.parametrize("enlarged", [1, 2])
def test_it_is_the_mean_distance_of_the_classes_to_the_displayed_color(enlarged):
    gray = np.full((64, 64), 128, np.uint8)
    colorizer = colorizer_of(TwoColors(0.1, enlarged))

    errors = expected_error(colorizer, colorizer(gray))

    assert errors.dtype == np.float32
    assert errors.shape == (16, 16)
    wanted = (distance(128 / 255, 0, -0.1) + distance(128 / 255, 0, 0.1)) / 2
    np.testing.assert_allclose(errors, wanted, rtol=1e-3)


def test_saturation_changes_the_displayed_color_but_not_the_classes():
    gray = np.full((64, 64), 128, np.uint8)
    colorizer = colorizer_of(TwoColors(0.1))
    result = colorizer(gray, self_attention=False)  # the first class has probability 1

    certain, wrong = (
        expected_error(colorizer, result.with_(saturation=value)).mean() for value in (1.0, 0.0)
    )

    assert certain < 0.5
    assert wrong > 5


def test_a_calibration_corrects_the_error_of_the_classes():
    colorizer = colorizer_of(TwoColors(0.1))
    result = colorizer(GRAY)
    errors = uncalibrated_error(colorizer, result)
    assert source_of(colorizer) == BY_CLASSES

    colorizer.network.calibration = torch.tensor([[0.0, 10.0, 200.0], [1.0, 6.0, 6.0]])

    assert source_of(colorizer) == CALIBRATED
    expected = np.where(errors < 10, 1 + errors / 2, 6)
    np.testing.assert_allclose(expected_error(colorizer, result), expected, rtol=1e-5)


def test_without_classes_the_mirror_image_is_compared():
    colorizer = colorizer_of(UnevenNetwork())

    errors = expected_error(colorizer, colorizer(GRAY))

    assert source_of(colorizer) == BY_MIRROR
    assert errors.shape == GRAY.shape
    assert errors[:50].max() < 0.5 < errors[80:].mean()


def test_the_mirror_image_has_the_same_limits():
    colorizer = colorizer_of(TintNetwork())
    deep = GRAY.astype(np.uint16) * 16

    errors = expected_error(colorizer, colorizer(deep, contrast_limits=(0, 4095)))

    assert errors.max() < 0.5  # the network is symmetric


def test_a_result_of_a_fidelity_has_no_expected_error():
    colorizer = colorizer_of(TwoColors(0.1))
    result = colorizer(GRAY)
    finished = type(result)(result.plane, None, result.settings, pixels_8bit=result.pixels)

    with pytest.raises(SettingsError, match="fidelity"):
        expected_error(colorizer, finished)


def test_a_colorizer_returns_the_map_at_full_size():
    colorizer = colorizer_of(TwoColors(0.1))
    result = colorizer(GRAY)

    errors = colorizer.expected_error(result)

    assert errors.shape == GRAY.shape and errors.dtype == np.float32
    assert errors.mean() == pytest.approx(expected_error(colorizer, result).mean(), rel=0.01)


def test_the_expected_error_of_an_image_is_refused(tiny_colorizer, ramp):
    with pytest.raises(SettingsError, match="colorize the image first"):
        tiny_colorizer.expected_error(ramp)
