"""Refinement in the finished image: effect of settings and guides on predicted colors."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2yuv
from stand_ins import TintNetwork, UnevenNetwork, colorizer_of

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints
from napari_colorize.refine.palette_transfer import Reference


@pytest.fixture
def halves():
    """Gray image: dark left half, bright right half, with a little noise."""
    gray = np.full((96, 128), 0.3, np.float32)
    gray[:, 64:] = 0.7
    return gray + np.random.default_rng(0).normal(0, 0.004, gray.shape).astype(np.float32)


def dot(shape, row, column, color, size=5.0):
    return Guides(hints=Hints.from_points([(row, column)], [color], size, shape))


def uv_of(result):
    return rgb2yuv(np.asarray(result.pixels, np.float64))[..., 1:]


@pytest.mark.parametrize("saturation", [0.0, 1.0, 2.0])
def test_a_hint_colors_only_its_own_half(tiny_colorizer, halves, saturation):
    color = (0.45, 0.3, 0.3)
    before = tiny_colorizer(halves, saturation=saturation)

    after = before.with_(guides=dot(halves.shape, 48, 20, color))

    expected = rgb2yuv(np.array(color))[1:]
    np.testing.assert_allclose(
        uv_of(after)[:, :56], np.broadcast_to(expected, (96, 56, 2)), atol=0.02
    )
    np.testing.assert_allclose(after.pixels[:, 72:], before.pixels[:, 72:], atol=1 / 255)
    np.testing.assert_allclose(uv_of(after)[48, 20], expected, atol=2 / 255)


def test_hints_keep_the_luminance(tiny_colorizer, halves):
    result = tiny_colorizer(halves, guides=dot(halves.shape, 48, 20, (0.5, 0.3, 0.2)))
    np.testing.assert_allclose(rgb2yuv(result.pixels)[..., 0], halves, atol=1e-5)


def test_a_reference_transfers_its_palette(tiny_colorizer, ramp):
    red = np.zeros((20, 20, 3), np.uint8) + np.array([200, 60, 60], np.uint8)

    plain = tiny_colorizer(ramp)
    transferred = plain.with_(guides=Guides(reference=Reference(red)))

    assert uv_of(transferred)[..., 1].mean() > uv_of(plain)[..., 1].mean() + 0.05
    np.testing.assert_array_equal(transferred.with_(reference_strength=0.0).pixels, plain.pixels)


def test_a_blend_lies_between_its_two_models(ramp):
    one, other = colorizer_of(TintNetwork()), colorizer_of(UnevenNetwork(), name="handed")

    blended = one(ramp, blend_with=other, edges=False)

    first, second = one(ramp, edges=False), other(ramp, edges=False)
    mean = (first.chroma.uv + second.chroma.uv) / 2
    np.testing.assert_allclose(blended.chroma_layers.colors.offset, mean, atol=1e-7)
    np.testing.assert_array_equal(blended.with_(blend=0.0).pixels, first.pixels)
    np.testing.assert_array_equal(blended.with_(blend=1.0).pixels, second.pixels)
    assert blended.provenance["blended_with"]["model"] == "handed"


def test_a_blend_by_expected_error_computes_the_errors_of_both_models(ramp):
    one, other = colorizer_of(TintNetwork()), colorizer_of(UnevenNetwork(), name="handed")

    blended = one(ramp, blend_with=other, blend_by="confidence")

    assert blended.chroma.errors is not None
    assert blended.second_chroma.errors is not None
    with pytest.raises(SettingsError, match='blend_by="confidence"'):
        _ = one(ramp, blend_with=other).with_(blend_by="confidence").pixels


def test_chroma_layers_are_shared_by_all_saturations(tiny_colorizer, ramp):
    result = tiny_colorizer(ramp)
    layers = result.chroma_layers

    assert result.with_(saturation=2.0).chroma_layers is layers
    assert result.with_(edges=False).chroma_layers is not layers


@pytest.mark.parametrize("name", ["mask", "regions"])
def test_the_error_for_guides_of_another_size_names_both_sizes(tiny_colorizer, ramp, name):
    guides = Guides(**{name: np.ones((3, 4), int)})
    with pytest.raises(ImageError, match="expected 64 x 48 pixels .width x height., got 4 x 3"):
        tiny_colorizer(ramp, guides=guides)
    with pytest.raises(ImageError, match="got 4 x 3"):
        tiny_colorizer(ramp).with_(guides=guides)


@pytest.mark.parametrize("shape", [(48, 63), (47, 64)])
def test_guides_must_match_in_height_and_in_width(tiny_colorizer, ramp, shape):
    with pytest.raises(ImageError, match="expected 64 x 48"):
        tiny_colorizer(ramp, guides=Guides(mask=np.ones(shape, bool)))


def test_damping_of_all_hues_removes_all_chroma(tiny_colorizer, ramp):
    result = tiny_colorizer(ramp, edges=False)

    damped = result.with_(hue_damping=1.0, hue_from=0.0, hue_to=360.0)

    assert np.abs(uv_of(result)).max() > 0.05
    np.testing.assert_allclose(uv_of(damped), 0, atol=1e-5)


def test_guides_are_recorded_in_the_provenance(tiny_colorizer, ramp):
    mask = np.zeros(ramp.shape, bool)
    mask[:12] = True

    result = tiny_colorizer(ramp, guides=Guides(mask=mask))

    assert result.provenance["guides"] == {"mask": "25.0% of the image"}
    assert "guides" not in result.with_(guides=Guides()).provenance


def test_guides_are_refused_in_a_fidelity_mode(ramp):
    colorizer = colorizer_of(TintNetwork(), architecture="deoldify-deep")
    mask = Guides(mask=np.ones(ramp.shape, bool))
    with pytest.raises(SettingsError, match="leave fidelity"):
        colorizer(ramp, fidelity="deoldify", guides=mask)


def test_white_pixels_are_uncolored(tiny_colorizer):
    gray = np.full((32, 32), 0.5, np.float32)
    gray[:, 16:] = 1.0

    uncolored = tiny_colorizer(gray, edges=False).uncolored()

    assert uncolored.shape == gray.shape
    assert uncolored[:, -8:].all()  # white has no color
