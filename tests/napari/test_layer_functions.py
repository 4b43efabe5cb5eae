"""Functions that add colorized layers to a viewer, without a panel or a window."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from skimage.color import rgb2yuv
from stand_ins import UnevenNetwork, colorizer_of

from napari_colorize.errors import ColorizeError, SettingsError
from napari_colorize.napari import add_colorized_plane, add_colorized_stack
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
def test_the_colors_of_an_image_are_a_layer_above_it(viewer, ramp, tiny_colorizer, by_name):
    layer = viewer.add_image(ramp, name="ramp", contrast_limits=(0, 1))

    added = add_colorized_plane("ramp" if by_name else layer, viewer, model=tiny_colorizer)

    assert [each.name for each in viewer.layers] == ["ramp", "ramp (colorized)"]
    assert added is viewer.layers[1] and added.rgb
    np.testing.assert_array_equal(added.data, tiny_colorizer(ramp, contrast_limits=(0, 1)).pixels)


def test_limits_and_gamma_of_the_layer_are_used(viewer, ramp, tiny_colorizer):
    layer = viewer.add_image(ramp, contrast_limits=(0.2, 0.7), gamma=0.5)

    added = add_colorized_plane(layer, viewer, model=tiny_colorizer, saturation=2)

    display = {"contrast_limits": (0.2, 0.7), "gamma": 0.5}
    np.testing.assert_array_equal(added.data, tiny_colorizer(ramp, saturation=2, **display).pixels)


def test_a_second_call_updates_the_layer(viewer, ramp, tiny_colorizer):
    layer = viewer.add_image(ramp)
    first = add_colorized_plane(layer, viewer, model=tiny_colorizer)
    second = add_colorized_plane(layer, viewer, model=tiny_colorizer, saturation=0)

    assert second is first and len(viewer.layers) == 2
    assert np.ptp(second.data, axis=-1).max() < 1e-6
    assert second.metadata["napari-colorize"]["settings"]["saturation"] == 0


def test_the_displayed_plane_of_a_stack_keeps_its_position(viewer, stack, tiny_colorizer):
    layer = viewer.add_image(stack, name="video", scale=(5, 2, 2), translate=(1, 0, 3))
    viewer.dims.set_current_step(0, 2)

    added = add_colorized_plane(layer, viewer, model=tiny_colorizer)

    assert added.name == "video [2] (colorized)" and added.data.shape == (1, 20, 30, 3)
    np.testing.assert_allclose(added.data_to_world((0, 7, 8)), layer.data_to_world((2, 7, 8)))


def test_a_stack_is_colorized_plane_by_plane(viewer, stack, tiny_colorizer):
    layer = viewer.add_image(stack, contrast_limits=(0, 40000))

    added = add_colorized_stack(layer, viewer, model=tiny_colorizer)

    planes = dict(tiny_colorizer.iter_planes(stack, contrast_limits=(0, 40000)))
    assert isinstance(added.data, np.ndarray) and added.data.dtype == np.uint16
    for index, result in planes.items():
        np.testing.assert_array_equal(added.data[index], result.pixels)


def test_only_displayed_planes_of_a_lazy_stack_are_computed(viewer, stack, tiny_colorizer):
    read = []
    planes = da.from_array(stack, chunks=(1, 20, 30)).map_blocks(
        lambda block, block_info: read.append(block_info[0]["chunk-location"][0]) or block,
        dtype=stack.dtype,
        meta=stack[:0],
    )
    layer = viewer.add_image(planes, contrast_limits=(0, 40000))
    read.clear()

    added = add_colorized_stack(layer, viewer, model=tiny_colorizer)

    assert isinstance(added.data, da.Array) and added.data.dtype == np.uint16
    # napari slices a new layer at 0, then at the current step of the viewer.
    assert set(read) <= {0, viewer.dims.current_step[0]}
    expected = tiny_colorizer(stack[3], contrast_limits=(0, 40000)).pixels
    np.testing.assert_array_equal(added.data[3], expected)


def test_a_lazy_rgba_stack_keeps_its_alpha(viewer, tiny_colorizer):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 28, 4), dtype=np.uint8)
    layer = viewer.add_image(da.from_array(pixels), rgb=True)

    added = add_colorized_stack(layer, viewer, model=tiny_colorizer)

    assert added.data.shape == pixels.shape
    np.testing.assert_array_equal(added.data[1, ..., 3], pixels[1, ..., 3])


@pytest.mark.parametrize("colorize", [add_colorized_plane, add_colorized_stack])
def test_invalid_arguments_are_refused_in_one_sentence(viewer, ramp, tiny_colorizer, colorize):
    labels = viewer.add_labels(np.zeros((8, 8), int), name="cells")
    with pytest.raises(ColorizeError, match="'cells' is a Labels layer"):
        colorize(labels, viewer, model=tiny_colorizer)
    with pytest.raises(ColorizeError, match="no layer 'nobody'. Choose one of: cells"):
        colorize("nobody", viewer, model=tiny_colorizer)
    with pytest.raises(SettingsError, match="no setting 'color'"):
        colorize(viewer.add_image(ramp), viewer, model=tiny_colorizer, color=1)


@pytest.mark.parametrize(
    ("limits", "used"),
    [(None, (5, 500)), ("auto", (5, 500)), ("dtype", (0, 65535)), ((0, 90), (0, 90))],
)
@pytest.mark.parametrize("colorize", [add_colorized_plane, add_colorized_stack])
def test_limits_are_those_of_the_layer_unless_others_are_given(
    viewer, ramp, tiny_colorizer, colorize, limits, used
):
    gray = (4000 * ramp).astype(np.uint16)
    layer = viewer.add_image(np.stack([gray, gray // 9]), contrast_limits=(5, 500))

    added = colorize(layer, viewer, model=tiny_colorizer, contrast_limits=limits)

    assert tuple(added.contrast_limits) == used


def test_an_empty_viewer_is_reported(viewer, tiny_colorizer):
    with pytest.raises(ColorizeError, match="The viewer is empty: open an image first"):
        add_colorized_plane("photo", viewer, model=tiny_colorizer)


def test_a_layer_of_another_viewer_is_refused(viewer, ramp, tiny_colorizer):
    other = ViewerModel()
    layer = viewer.add_image(ramp)

    with pytest.raises(ColorizeError, match="has no layer|is empty"):
        add_colorized_plane(layer, other, model=tiny_colorizer)
    add_colorized_plane(layer, viewer, model=tiny_colorizer)

    assert len(viewer.layers) == 2 and not other.layers


@pytest.mark.parametrize("leading", [(), (3,)])
def test_a_multiscale_layer_has_colors_on_every_level(viewer, tiny_colorizer, leading):
    shape = (*leading, 64, 96)
    gray = np.random.default_rng(0).random(shape, dtype=np.float32)
    layer = viewer.add_image([gray, gray[..., ::2, ::2]], multiscale=True, name="slide")

    added = add_colorized_stack(layer, viewer, model=tiny_colorizer)

    assert added.multiscale and [level.shape for level in added.data] == [
        (*shape, 3),
        (*leading, 32, 48, 3),
    ]
    rgb, (low, high) = np.asarray(added.data[0])[(0,) * len(leading)], layer.contrast_limits
    display = (gray[(0,) * len(leading)] - low) / (high - low)
    np.testing.assert_allclose(rgb2yuv(rgb)[..., 0], display.clip(0, 1), atol=1e-4)
    assert np.ptp(rgb, axis=-1).max() > 0.1  # it is in color


def test_guides_and_a_second_model_are_used(viewer, ramp, tiny_colorizer):
    layer = viewer.add_image(ramp, contrast_limits=(0, 1))
    mask = np.zeros(ramp.shape, bool)
    mask[10:30] = True
    red = Hints.from_points([[20, 30]], [(1, 0, 0)], 5, ramp.shape)
    extras = {"guides": Guides(mask=mask, hints=red), "blend_with": colorizer_of(UnevenNetwork())}

    added = add_colorized_plane(layer, viewer, model=tiny_colorizer, blend=0.7, **extras)

    expected = tiny_colorizer(ramp, contrast_limits=(0, 1), blend=0.7, **extras)
    np.testing.assert_array_equal(added.data, expected.pixels)


def test_a_stack_is_smoothed_along_an_axis(viewer, tiny_colorizer):
    stack = np.random.default_rng(0).random((2, 4, 20, 30), np.float32)
    layer = viewer.add_image(stack, contrast_limits=(0, 1))
    options = {"temporal_smoothing": 0.7, "time_axis": 1}

    added = add_colorized_stack(layer, viewer, model=tiny_colorizer, **options)

    for index, result in tiny_colorizer.iter_planes(stack, contrast_limits=(0, 1), **options):
        np.testing.assert_array_equal(added.data[index], result.pixels)


def test_a_lazy_stack_takes_guides_but_no_temporal_smoothing(viewer, stack, tiny_colorizer):
    layer = viewer.add_image(da.from_array(stack, chunks=(1, 20, 30)), contrast_limits=(0, 40000))
    mask = np.zeros((20, 30), bool)
    mask[:, 10:] = True

    added = add_colorized_stack(layer, viewer, model=tiny_colorizer, guides=Guides(mask=mask))

    plane = np.asarray(added.data[2]).astype(int)
    assert np.ptp(plane[:, :10], axis=-1).max() == 0 and np.ptp(plane[:, 10:], axis=-1).max() > 9
    assert added.metadata["napari-colorize"]["guides"] == {"mask": "66.7% of the image"}
    with pytest.raises(SettingsError, match="load it first"):
        add_colorized_stack(layer, viewer, model=tiny_colorizer, temporal_smoothing=0.5)


def test_guides_of_a_large_image_are_resized(viewer, tiny_colorizer):
    gray = np.full((1720, 2600), 90, np.uint8)
    layer = viewer.add_image([gray, gray[::2, ::2]], multiscale=True)
    mask = np.zeros(gray.shape, bool)
    mask[:, 1300:] = True
    dot = Hints.from_points([[801, 1701]], [(1, 0, 0)], 1, gray.shape)

    added = add_colorized_plane(
        layer, viewer, model=tiny_colorizer, guides=Guides(mask=mask, hints=dot)
    )

    left, right = (np.asarray(added.data[0])[801, columns].astype(int) for columns in (1290, 1702))
    assert np.ptp(left) == 0 and right[0] - right[1] > 60


def test_the_default_is_the_current_viewer(make_napari_viewer, ramp, tiny_colorizer):
    in_front = make_napari_viewer()
    in_front.add_image(ramp, name="ramp")

    added = add_colorized_plane("ramp", model=tiny_colorizer)

    assert list(in_front.layers)[1] is added
    assert not in_front.window.dock_widgets  # no panel is needed
