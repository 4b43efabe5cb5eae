"""Analysis maps: colors, subsampling and sentences."""

from __future__ import annotations

import numpy as np
import pytest

from napari_colorize.analysis import maps
from napari_colorize.analysis.attention import AttentionMap
from napari_colorize.analysis.colormaps import INFERNO, VIRIDIS, apply_colormap
from napari_colorize.analysis.disagreement import Disagreement


def test_a_colormap_interpolates_between_its_colors_and_clips():
    values = np.array([[-1, 0, 0.25, 1, 2, np.nan]], np.float32)

    colors = apply_colormap(values, INFERNO)

    expected = [INFERNO[0], INFERNO[0], INFERNO[1], INFERNO[4], INFERNO[4], INFERNO[0]]
    np.testing.assert_array_equal(colors[0], expected)


def test_attention_is_brightest_at_the_largest_weight():
    weights = np.zeros((4, 5), np.float32)
    weights[1, 2], weights[3, 3] = 0.9, 0.1

    rgba = maps.attention_map(AttentionMap(weights, (7, 9), (40, 50))).rgba()

    brightness = rgba[..., :3].astype(int).sum(-1)
    assert brightness.argmax() == 1 * 5 + 2
    assert brightness[3, 3] > brightness[0, 0]
    assert (rgba[..., 3] == 255).all()


def test_half_of_the_attention_is_on_the_fewest_pixels_that_have_it():
    weights = np.array([[0.1, 0.4], [0.3, 0.2]], np.float32)

    assert maps.half_attention_share(weights) == 0.5
    assert maps.half_attention_share(np.eye(10, dtype=np.float32)[:1]) == 0.1


def test_the_sentence_of_an_attention_map_names_its_pixel():
    weights = np.full((20, 20), 1 / 400, np.float32)

    sentence = maps.attention_map(AttentionMap(weights, (7, 9), (40, 40))).sentence

    assert sentence == "Row 7, column 9: half of the attention is on 50 % of the image."


def test_errors_are_drawn_from_0_to_a_ciede2000_of_25():
    errors = np.array([[0, 12.5, 25, 40]], np.float32)

    analysis_map = maps.expected_error_map(errors)

    expected = [VIRIDIS[0], VIRIDIS[2], VIRIDIS[4], VIRIDIS[4]]
    np.testing.assert_array_equal(analysis_map.rgba()[0, :, :3], expected)
    assert analysis_map.values is errors


def test_a_map_is_subsampled_to_the_largest_side():
    analysis_map = maps.expected_error_map(np.zeros((3000, 10), np.float32))
    assert analysis_map.rgba(512).shape == (500, 2, 4)


def test_the_sentence_of_a_disagreement_has_its_quantiles():
    differences = np.linspace(0, 20, 101, dtype=np.float32).reshape(1, 101)

    analysis_map = maps.disagreement_map(Disagreement(differences, ("a", "b", "c"), None))

    assert analysis_map.sentence == (
        "Disagreement of 3 predictions in CIEDE2000: half of the image is below 10, a tenth "
        "above 18."
    )


@pytest.mark.parametrize("saturation", [0.0, 2.0])
def test_uncolored_pixels_alone_are_marked(tiny_colorizer, ramp, saturation):
    result = tiny_colorizer(ramp, saturation=saturation)

    analysis_map = maps.uncolored_map(result)

    mask, rgba = result.uncolored(), analysis_map.rgba()
    np.testing.assert_array_equal(analysis_map.values, mask)
    assert (rgba[mask] == (255, 0, 255, 255)).all() and not rgba[~mask].any()
    if saturation == 0:
        assert analysis_map.sentence == "100 % of the image is uncolored (CIELAB chroma below 2)."


def test_a_subsampled_uncolored_map_has_every_nth_pixel(tiny_colorizer, ramp):
    result = tiny_colorizer(ramp, saturation=0.2)
    side = max(ramp.shape) // 3

    found = maps.uncolored_map(result, max_side=side).values

    step = -(-max(ramp.shape) // side)
    np.testing.assert_array_equal(found, result.uncolored()[::step, ::step])
