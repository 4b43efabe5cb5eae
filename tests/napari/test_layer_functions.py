"""Colours as layers from a script: no panel, no window, the Colorizer that is handed in."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from skimage.color import rgb2yuv
from stand_ins import HandedNetwork, colorizer_of

from napari_colorize.errors import ColorizeError, SettingsError
from napari_colorize.napari import colorize_layer, colorize_stack
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def stack():
    """A stack (4, 20, 30) of 16 bits, each plane brighter than the one before."""
    ramp = np.linspace(0, 9000, 20 * 30).reshape(20, 30)
    return np.stack([ramp + 10000 * plane for plane in range(4)]).astype(np.uint16)


@pytest.mark.parametrize("by_name", [False, True])
def test_an_image_gets_its_colours_in_a_layer_above_it(viewer, ramp, tiny_colorizer, by_name):
    layer = viewer.add_image(ramp, name="ramp", contrast_limits=(0, 1))

    made = colorize_layer("ramp" if by_name else layer, viewer, model=tiny_colorizer)

    assert [each.name for each in viewer.layers] == ["ramp", "ramp (colorized)"]
    assert made is viewer.layers[1] and made.rgb
    np.testing.assert_array_equal(made.data, tiny_colorizer(ramp, contrast_limits=(0, 1)).pixels)


def test_the_network_sees_the_limits_and_gamma_of_the_layer(viewer, ramp, tiny_colorizer):
    layer = viewer.add_image(ramp, contrast_limits=(0.2, 0.7), gamma=0.5)

    made = colorize_layer(layer, viewer, model=tiny_colorizer, saturation=2)

    seen = {"contrast_limits": (0.2, 0.7), "gamma": 0.5}
    np.testing.assert_array_equal(made.data, tiny_colorizer(ramp, saturation=2, **seen).pixels)


def test_once_more_changes_the_same_layer(viewer, ramp, tiny_colorizer):
    layer = viewer.add_image(ramp)
    first = colorize_layer(layer, viewer, model=tiny_colorizer)
    pale = colorize_layer(layer, viewer, model=tiny_colorizer, saturation=0)

    assert pale is first and len(viewer.layers) == 2
    assert np.ptp(pale.data, axis=-1).max() < 1e-6
    assert pale.metadata["napari-colorize"]["settings"]["saturation"] == 0


def test_of_a_stack_the_plane_looked_at_lies_where_it_was(viewer, stack, tiny_colorizer):
    layer = viewer.add_image(stack, name="film", scale=(5, 2, 2), translate=(1, 0, 3))
    viewer.dims.set_current_step(0, 2)

    made = colorize_layer(layer, viewer, model=tiny_colorizer)

    assert made.name == "film [2] (colorized)" and made.data.shape == (1, 20, 30, 3)
    np.testing.assert_allclose(made.data_to_world((0, 7, 8)), layer.data_to_world((2, 7, 8)))


def test_a_stack_is_colorized_plane_by_plane(viewer, stack, tiny_colorizer):
    layer = viewer.add_image(stack, contrast_limits=(0, 40000))

    made = colorize_stack(layer, viewer, model=tiny_colorizer)

    planes = dict(tiny_colorizer.iter_planes(stack, contrast_limits=(0, 40000)))
    assert isinstance(made.data, np.ndarray) and made.data.dtype == np.uint16
    for index, result in planes.items():
        np.testing.assert_array_equal(made.data[index], result.pixels)


def test_of_a_lazy_stack_only_what_is_shown_is_computed(viewer, stack, tiny_colorizer):
    read = []
    planes = da.from_array(stack, chunks=(1, 20, 30)).map_blocks(
        lambda block, block_info: read.append(block_info[0]["chunk-location"][0]) or block,
        dtype=stack.dtype,
        meta=stack[:0],
    )
    layer = viewer.add_image(planes, contrast_limits=(0, 40000))
    read.clear()

    made = colorize_stack(layer, viewer, model=tiny_colorizer)

    assert isinstance(made.data, da.Array) and made.data.dtype == np.uint16
    # napari slices a layer at 0 when it is made, then where the viewer looks.
    assert set(read) <= {0, viewer.dims.current_step[0]}
    expected = tiny_colorizer(stack[3], contrast_limits=(0, 40000)).pixels
    np.testing.assert_array_equal(made.data[3], expected)


def test_a_lazy_stack_of_colours_keeps_its_alpha(viewer, tiny_colorizer):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 28, 4), dtype=np.uint8)
    layer = viewer.add_image(da.from_array(pixels), rgb=True)

    made = colorize_stack(layer, viewer, model=tiny_colorizer)

    assert made.data.shape == pixels.shape
    np.testing.assert_array_equal(made.data[1, ..., 3], pixels[1, ..., 3])


@pytest.mark.parametrize("colorize", [colorize_layer, colorize_stack])
def test_what_is_no_image_is_refused_in_one_sentence(viewer, ramp, tiny_colorizer, colorize):
    labels = viewer.add_labels(np.zeros((8, 8), int), name="cells")
    with pytest.raises(ColorizeError, match="'cells' is a Labels layer"):
        colorize(labels, viewer, model=tiny_colorizer)
    with pytest.raises(ColorizeError, match="'nobody' is no layer .* Choose one of: cells"):
        colorize("nobody", viewer, model=tiny_colorizer)
    with pytest.raises(SettingsError, match="no setting 'colour'"):
        colorize(viewer.add_image(ramp), viewer, model=tiny_colorizer, colour=1)


def test_an_empty_viewer_is_told_from_a_wrong_name(viewer, tiny_colorizer):
    with pytest.raises(ColorizeError, match="The viewer is empty: open an image first"):
        colorize_layer("photo", viewer, model=tiny_colorizer)


def test_two_viewers_are_not_mistaken_for_one_another(viewer, ramp, tiny_colorizer):
    other = ViewerModel()
    layer = viewer.add_image(ramp)

    with pytest.raises(ColorizeError, match="no layer of this viewer|is empty"):
        colorize_layer(layer, other, model=tiny_colorizer)
    colorize_layer(layer, viewer, model=tiny_colorizer)

    assert len(viewer.layers) == 2 and not other.layers


@pytest.mark.parametrize("leading", [(), (3,)])
def test_a_multiscale_layer_gets_colours_on_every_level(viewer, tiny_colorizer, leading):
    shape = (*leading, 64, 96)
    gray = np.random.default_rng(0).random(shape, dtype=np.float32)
    layer = viewer.add_image([gray, gray[..., ::2, ::2]], multiscale=True, name="slide")

    made = colorize_stack(layer, viewer, model=tiny_colorizer)

    assert made.multiscale and [level.shape for level in made.data] == [
        (*shape, 3),
        (*leading, 32, 48, 3),
    ]
    picture, (low, high) = np.asarray(made.data[0])[(0,) * len(leading)], layer.contrast_limits
    seen = (gray[(0,) * len(leading)] - low) / (high - low)
    np.testing.assert_allclose(rgb2yuv(picture)[..., 0], seen.clip(0, 1), atol=1e-4)
    assert np.ptp(picture, axis=-1).max() > 0.1  # there is colour


def test_guides_and_a_second_model_are_followed(viewer, ramp, tiny_colorizer):
    layer = viewer.add_image(ramp, contrast_limits=(0, 1))
    mask = np.zeros(ramp.shape, bool)
    mask[10:30] = True
    red = Hints.from_points([[20, 30]], [(1, 0, 0)], 5, ramp.shape)
    beside = {"guides": Guides(mask=mask, hints=red), "blend_with": colorizer_of(HandedNetwork())}

    made = colorize_layer(layer, viewer, model=tiny_colorizer, blend=0.7, **beside)

    expected = tiny_colorizer(ramp, contrast_limits=(0, 1), blend=0.7, **beside)
    np.testing.assert_array_equal(made.data, expected.pixels)


def test_a_stack_is_held_steady_along_an_axis(viewer, tiny_colorizer):
    stack = np.random.default_rng(0).random((2, 4, 20, 30), np.float32)
    layer = viewer.add_image(stack, contrast_limits=(0, 1))
    wanted = {"temporal_smoothing": 0.7, "time_axis": 1}

    made = colorize_stack(layer, viewer, model=tiny_colorizer, **wanted)

    for index, result in tiny_colorizer.iter_planes(stack, contrast_limits=(0, 1), **wanted):
        np.testing.assert_array_equal(made.data[index], result.pixels)


def test_a_lazy_stack_takes_guides_but_is_not_held_steady(viewer, stack, tiny_colorizer):
    layer = viewer.add_image(da.from_array(stack, chunks=(1, 20, 30)), contrast_limits=(0, 40000))
    mask = np.zeros((20, 30), bool)
    mask[:, 10:] = True

    made = colorize_stack(layer, viewer, model=tiny_colorizer, guides=Guides(mask=mask))

    plane = np.asarray(made.data[2]).astype(int)
    assert np.ptp(plane[:, :10], axis=-1).max() == 0 and np.ptp(plane[:, 10:], axis=-1).max() > 9
    assert made.metadata["napari-colorize"]["guides"] == {"mask": "66.7% of the picture"}
    with pytest.raises(SettingsError, match="load it first"):
        colorize_stack(layer, viewer, model=tiny_colorizer, temporal_smoothing=0.5)


def test_guides_of_a_large_picture_are_brought_to_the_size_that_is_seen(viewer, tiny_colorizer):
    gray = np.full((1720, 2600), 90, np.uint8)
    layer = viewer.add_image([gray, gray[::2, ::2]], multiscale=True)
    mask = np.zeros(gray.shape, bool)
    mask[:, 1300:] = True
    dot = Hints.from_points([[801, 1701]], [(1, 0, 0)], 1, gray.shape)

    made = colorize_layer(layer, viewer, model=tiny_colorizer, guides=Guides(mask=mask, hints=dot))

    left, right = (np.asarray(made.data[0])[801, places].astype(int) for places in (1290, 1702))
    assert np.ptp(left) == 0 and right[0] - right[1] > 60


def test_without_a_viewer_the_one_in_front_is_meant(make_napari_viewer, ramp, tiny_colorizer):
    in_front = make_napari_viewer()
    in_front.add_image(ramp, name="ramp")

    made = colorize_layer("ramp", model=tiny_colorizer)

    assert list(in_front.layers)[1] is made
    assert not in_front.window.dock_widgets  # no panel is needed
