"""Reading of layers, displayed planes, regions, and placement of result layers."""

from __future__ import annotations

import time
from collections.abc import Callable

import dask.array
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from napari.components import Dims, ViewerModel
from napari.layers import Image, Labels, Points, Shapes
from skimage.draw import polygon
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.display import PyramidColors, colors_for
from napari_colorize.errors import ColorizeError
from napari_colorize.napari import layers
from napari_colorize.napari.layers import (
    add_channels,
    add_plane,
    add_result,
    displayed_gamma,
    displayed_limits,
    plane_of,
    read,
    reason_not_colorizable,
    refresh_result,
    region_of,
    result_name,
    time_axis_of,
)
from napari_colorize.napari.regions import outline_of
from napari_colorize.napari.transforms import placement

DTYPES = ["bool", "uint8", "int8", "uint16", "int32", "uint64", "float16", "float32", "float64"]
INFO = {layers.METADATA: {"model": "tint"}}


@pytest.fixture
def viewer():
    return ViewerModel()


def colorized(layer, plane=()):
    """Color arrays of a layer with one plane computed, and the result of that plane."""
    colors = colors_for(**read(layer))
    image = np.asarray(colors.source[plane]) if plane else np.asarray(colors.source)
    result = colorizer_of(TintNetwork())(
        image, rgb=layer.rgb, contrast_limits=displayed_limits(layer)
    )
    colors.put(plane, result)
    return colors, result


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (None, "open an image"),
        (Labels(np.ones((5, 5), int)), "only image layers"),
        (Points(np.ones((5, 2))), "Points layer"),
        (Shapes(), "Shapes layer"),
        (Image(np.ones((5, 5)), metadata=INFO), "already"),
        (Image(np.ones((5, 5))), None),
        (Image(np.ones((5, 5, 3), "u1"), rgb=True), None),
    ],
)
def test_the_reason_why_a_layer_cannot_be_colorized(layer, expected):
    reason = reason_not_colorizable(layer)

    assert reason is None if expected is None else expected in reason


@pytest.mark.parametrize(("dtype", "expected"), [(complex, "complex"), (object, "real numbers")])
def test_dtypes_that_are_not_real_numbers_are_refused(monkeypatch, dtype, expected):
    layer = Image(np.ones((5, 5)))
    monkeypatch.setattr(Image, "dtype", np.dtype(dtype))  # napari draws none today

    assert expected in reason_not_colorizable(layer)


@pytest.mark.parametrize("point", [0.0, 0.49, 0.5, 1.5, 2.7, 6.6, -3.0, 90.0])
@pytest.mark.parametrize(("scale", "translate"), [(1, 0), (0.4, 3), (-2, 1)])
def test_the_plane_is_the_one_that_napari_slices(viewer, point, scale, translate):
    stack = np.arange(8)[:, None, None] * np.ones((8, 6, 5))
    layer = viewer.add_image(stack, scale=(scale, 1, 1), translate=(translate, 0, 0))
    viewer.dims.set_point(0, translate + scale * point)

    plane = plane_of(layer, viewer.dims)

    assert plane == (int(layer._slice.image.raw[0, 0]),)


def test_an_image_among_stacks_has_one_plane(viewer):
    viewer.add_image(np.zeros((3, 4, 6, 5)))
    volume = viewer.add_image(np.zeros((4, 6, 5)))
    image = viewer.add_image(np.zeros((6, 5, 3), "u1"), rgb=True)
    viewer.dims.current_step = (2, 1, 0, 0)

    assert plane_of(volume, viewer.dims) == (1,) and plane_of(image, viewer.dims) == ()


def test_a_position_beyond_the_layer_is_its_nearest_plane():
    layer = Image(np.zeros((4, 6, 5)))

    assert plane_of(layer, Dims(ndim=3, range=((0, 50, 1),) * 3, point=(30, 0, 0))) == (3,)


def test_different_units_of_layers_are_converted(viewer):
    stack = np.arange(8)[:, None, None] * np.ones((8, 6, 5))
    viewer.add_image(stack, scale=(0.001, 1, 1), units=("mm", "mm", "mm"))
    layer = viewer.add_image(stack, units=("um", "um", "um"))
    viewer.dims.set_current_step(0, 5)

    assert plane_of(layer, viewer.dims) == (int(layer._slice.image.raw[0, 0]),)


def test_limits_and_gamma_are_in_the_range_of_the_settings():
    layer = Image(np.zeros((5, 5), "u1"), contrast_limits=(3, 200), gamma=0.01)
    endless = Image(np.zeros((5, 5)), contrast_limits=(0, np.inf))

    assert displayed_limits(layer) == (3, 200) and displayed_gamma(layer) == 0.05
    assert displayed_limits(endless) == (0, 1)


def numbers(low, high, size):
    return arrays(float, size, elements=st.floats(low, high))


@st.composite
def placed(draw):
    """Where a layer of 2 or 3 axes may be, in every way that napari knows."""
    ndim = draw(st.integers(2, 3))
    pairs = ndim * (ndim - 1) // 2
    signs = draw(arrays(float, ndim, elements=st.sampled_from([-1.0, 1.0])))
    matrix = np.eye(ndim + 1)
    matrix[:-1, :-1] += draw(numbers(-0.2, 0.2, (ndim, ndim)))
    matrix[:-1, -1] = draw(numbers(-50, 50, ndim))
    turned = draw(st.floats(-180, 180)) if ndim == 2 else tuple(draw(numbers(-180, 180, 3)))
    return {
        "scale": draw(numbers(0.1, 10, ndim)) * signs,
        "translate": draw(numbers(-100, 100, ndim)),
        "rotate": turned,
        "shear": draw(numbers(-1, 1, pairs)),
        "affine": matrix,
        "units": draw(st.sampled_from([("pixel",) * ndim, ("um",) * ndim])),
        "axis_labels": tuple("zyx"[-ndim:]),
    }


@settings(max_examples=60)
@given(place=placed(), data=st.data())
def test_every_pixel_of_a_result_is_placed_as_in_its_source(place, data):
    ndim = len(place["scale"])
    shape = (3, 5, 7)[-ndim:]
    source = Image(np.zeros(shape), **place)

    whole = Image(np.zeros((*shape, 3)), rgb=True, **placement(source))

    for corner in np.ndindex(*shape):
        world = source.data_to_world(corner)
        np.testing.assert_allclose(whole.data_to_world(corner), world, rtol=1e-6, atol=1e-6)
    assert whole.units == source.units and whole.axis_labels == source.axis_labels
    if ndim == 3:
        at = data.draw(st.integers(0, 2))
        plane = Image(np.zeros((1, 5, 7, 3)), rgb=True, **placement(source, (at,)))
        for row, column in np.ndindex(5, 7):
            world = source.data_to_world((at, row, column))
            found = plane.data_to_world((0, row, column))
            np.testing.assert_allclose(found, world, rtol=1e-6, atol=1e-6)


def test_a_lower_shear_is_carried_too():
    shear = np.array([[1, 0, 0], [0.3, 1, 0], [0.2, -0.4, 1]])
    source = Image(np.zeros((3, 5, 7)), shear=shear, scale=(2, 3, 4), rotate=(10, 20, 30))

    whole = Image(np.zeros((3, 5, 7, 3)), rgb=True, **placement(source))

    np.testing.assert_allclose(whole.data_to_world((2, 3, 4)), source.data_to_world((2, 3, 4)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_result_is_displayed_as_bright_as_its_source(viewer, dtype):
    unit = np.linspace(0, 1, 24 * 32).reshape(24, 32)
    kind = np.dtype(dtype).kind
    image = unit > 0.5 if kind == "b" else (unit if kind == "f" else unit * 100).astype(dtype)
    source = viewer.add_image(image, contrast_limits=(0, 1) if kind in "bf" else (0, 100))
    colors, _ = colorized(source)

    result = add_result(viewer, source, colors, metadata=INFO)

    low, high = result.contrast_limits
    luminance = (result.data @ [0.299, 0.587, 0.114] - low) / (high - low)
    gray = (image.astype(float) - source.contrast_limits[0]) / np.ptp(source.contrast_limits)
    np.testing.assert_allclose(luminance, gray, atol=0.011)
    assert result.rgb and result.gamma == 1


def test_a_result_is_above_its_source_and_has_provenance(viewer):
    source = viewer.add_image(np.zeros((12, 15), "u1"), name="cells", interpolation2d="linear")
    viewer.add_image(np.zeros((12, 15), "u1"), name="other")

    result = add_result(viewer, source, colorized(source)[0], metadata=INFO)

    assert [layer.name for layer in viewer.layers] == ["cells", "cells (colorized)", "other"]
    assert result.name == result_name(source) and result.metadata == INFO
    assert result.interpolation2d == "linear" and reason_not_colorizable(result) is not None


def test_the_frame_rate_of_a_video_is_carried_to_every_result_layer(viewer):
    stack = np.zeros((3, 20, 30), np.uint8)
    layer = viewer.add_image(stack, metadata={"frame_rate": 23.976, "path": "video.mp4"})
    rgb = np.zeros((*stack.shape, 3), np.uint8)

    result = layers.add_result(viewer, layer, rgb, metadata={layers.METADATA: {}})
    channels = layers.add_channels(viewer, layer, rgb)

    for added in (result, *channels):
        assert added.metadata == {"frame_rate": 23.976, layers.METADATA: {}}


def test_a_result_is_refreshed_in_place(viewer):
    source = viewer.add_image(np.zeros((3, 12, 15), "u2"), contrast_limits=(0, 900))
    colors, _ = colorized(source, (0,))
    shown = add_result(viewer, source, colors, metadata=INFO)
    redrawn = []
    shown.events.set_data.connect(redrawn.append)

    colors.put((1,), colorized(source, (1,))[1])
    refresh_result(shown, colors, metadata={layers.METADATA: {"model": "other"}})

    assert shown.data is colors.data and redrawn
    assert shown.metadata[layers.METADATA] == {"model": "other"}
    assert tuple(shown.contrast_limits) == (0, 900)


def test_limits_follow_a_change_of_dtype(viewer):
    deep = viewer.add_image(np.zeros((12, 15), "u2"), contrast_limits=(0, 900))
    shown = add_result(viewer, deep, colorized(deep)[0], metadata=INFO)
    deep.data = np.linspace(0, 1, 180, dtype="f4").reshape(12, 15)
    deep.contrast_limits = (0, 1)

    colors, result = colorized(deep)
    refresh_result(shown, colors, metadata=INFO)

    assert shown.data is result.pixels and tuple(shown.contrast_limits) == (0, 1)


def test_one_plane_is_placed_as_in_its_stack(viewer):
    source = viewer.add_image(np.zeros((4, 12, 15), "u1"), scale=(3, 1, 1), translate=(5, 0, 0))
    colors, result = colorized(source, (2,))

    kept = add_plane(viewer, source, (2,), colors, metadata=INFO, name="kept")

    assert kept.data.shape == (1, 12, 15, 3) and kept.name == "kept"
    np.testing.assert_array_equal(kept.data[0], result.pixels)
    np.testing.assert_allclose(kept.data_to_world((0, 3, 4)), source.data_to_world((2, 3, 4)))


def test_the_result_of_a_multiscale_layer_is_multiscale(viewer):
    full = np.random.default_rng(0).integers(0, 255, (3, 64, 80), np.uint8)
    source = viewer.add_image([full, full[:, ::2, ::2]], multiscale=True)
    colors, _ = colorized(source, (1,))

    shown = add_result(viewer, source, colors, metadata=INFO)
    kept = add_plane(viewer, source, (1,), colors, metadata=INFO)

    assert isinstance(colors, PyramidColors) and shown.multiscale and kept.multiscale
    assert kept.data[0].shape == (1, 64, 80, 3)
    viewer.dims.set_current_step(0, 1)
    refresh_result(shown, colors, metadata=INFO)
    seen = shown._slice.image.raw
    assert not np.array_equal(seen[..., 0], seen[..., 2])
    viewer.dims.set_current_step(0, 0)
    seen = shown._slice.image.raw
    np.testing.assert_array_equal(seen[..., 0], seen[..., 2])


def test_only_displayed_gray_planes_of_a_lazy_stack_are_computed(viewer):
    computed = []

    def count(block):
        computed.append(block.shape)
        return block

    lazy = dask.array.zeros((5, 20, 30), dtype="u1", chunks=(1, -1, -1)).map_blocks(
        count, dtype="u1", meta=np.zeros((0, 0, 0), "u1")
    )
    source = viewer.add_image(lazy, contrast_limits=(0, 255))
    colors, _ = colorized(source, (0,))
    viewer.dims.set_current_step(0, 0)
    computed.clear()

    shown = add_result(viewer, source, colors, metadata=INFO)
    source.visible = False
    for step in (0, 3, 0, 4):
        viewer.dims.set_current_step(0, step)

    assert computed == [(1, 20, 30)] * 2 and shown.data.shape == (5, 20, 30, 3)


def test_channels_add_up_to_the_image(viewer):
    source = viewer.add_image(np.zeros((4, 12, 15), "u1"), scale=(3, 1, 1))
    pixels = np.random.default_rng(0).integers(0, 255, (4, 12, 15, 3), np.uint8)

    made = add_channels(viewer, source, pixels)

    assert [layer.colormap.name for layer in made] == ["red", "green", "blue"]
    for channel, layer in enumerate(made):
        np.testing.assert_array_equal(layer.data, pixels[..., channel])
        assert layer.blending == "additive" and tuple(layer.scale) == (3, 1, 1)
        assert reason_not_colorizable(layer) is not None


def test_shapes_are_converted_through_world_coordinates():
    layer = Image(np.zeros((40, 60)), scale=(2, 2), translate=(10, 20))
    shapes = Shapes([[[15, 22], [15, 31], [25, 31], [25, 22]]], translate=(1, 0))

    region = region_of(shapes, layer, (40, 60))

    # Rows 16 to 26 of the world are 3 to 8 of the image, columns 22 to 31 are 1 to 5.5.
    assert (region.rows, region.columns) == (slice(3, 9), slice(1, 6))
    assert region.mask.all() and region.mask.shape == (6, 5)


def test_an_ellipse_is_filled_as_an_ellipse():
    layer = Image(np.zeros((40, 60)))
    shapes = Shapes([[[10, 10], [10, 50], [30, 50], [30, 10]]], shape_type="ellipse")

    region = region_of(shapes, layer, (40, 60))

    rows, columns = np.indices((40, 60))
    inside = ((rows - 20) / 10) ** 2 + ((columns - 30) / 20) ** 2 <= 1
    expected = inside[region.rows, region.columns]
    assert expected.sum() == inside.sum() and (region.mask != expected).mean() < 0.02


def outlines(rng, kind):
    """Corners of a random shape, partly outside an image of 90 x 70 pixels."""
    if kind == "polygon":
        return rng.uniform(-20, 110, (7, 2))
    start, along, across = rng.uniform(-20, 90, 2), rng.uniform(-40, 60, 2), rng.uniform(5, 50)
    turned = across * np.array([along[1], -along[0]]) / np.linalg.norm(along)
    return np.array([start, start + along, start + along + turned, start + turned])


@pytest.mark.parametrize("kind", ["rectangle", "ellipse", "polygon"])
@pytest.mark.parametrize("seed", range(20))
def test_a_region_has_the_pixels_that_scikit_image_fills(kind, seed):
    rng = np.random.default_rng(seed)
    corners = [outlines(rng, kind) for _ in range(3)]
    shapes, layer = Shapes(corners, shape_type=kind), Image(np.zeros((90, 70)))
    expected = np.zeros((90, 70), bool)
    for each in corners:
        rows, columns = polygon(*outline_of(each, kind).T, expected.shape)
        expected[rows, columns] = True

    region = region_of(shapes, layer, (90, 70))

    found = np.zeros_like(expected)
    found[region.rows, region.columns] = region.mask
    np.testing.assert_array_equal(found, expected)
    assert all(region.mask.any(axis)[[0, -1]].all() for axis in (0, 1))  # and no wider


@pytest.mark.parametrize("kind", ["rectangle", "ellipse"])
def test_a_region_costs_less_than_a_pass_over_the_image(kind):
    layer = Image(np.broadcast_to(np.uint8(0), (3, 4096, 4096)))
    square = [[0, 900, 900], [0, 900, 1900], [0, 1900, 1900], [0, 1900, 900]]
    shapes = Shapes([square], shape_type=kind)

    def seconds(function: Callable[[], object]) -> float:
        """Least CPU time of this thread: other processes must not count."""
        times = []
        for _ in range(5):
            began = time.thread_time()
            function()
            times.append(time.thread_time() - began)
        return min(times)

    def pass_over_the_image() -> None:
        mask = np.ones((4096, 4096), bool)
        _ = mask.all(axis=0), mask.all(axis=1)

    # A test of every pixel in the box against every corner takes a hundred times as long.
    assert seconds(lambda: region_of(shapes, layer, (4096, 4096))) < 5 * seconds(
        pass_over_the_image
    )


def test_shapes_on_a_stack_in_other_units_are_converted():
    layer = Image(np.zeros((3, 40, 60)), units=("pixel", "um", "um"))
    square = [[0, 0.010, 0.010], [0, 0.010, 0.020], [0, 0.020, 0.020], [0, 0.020, 0.010]]
    shapes = Shapes([square], units=("pixel", "mm", "mm"))

    region = region_of(shapes, layer, (40, 60))

    assert abs(region.rows.start - 10) <= 1 and abs(region.columns.stop - 21) <= 1


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (Shapes(), "has no rectangle"),
        (Shapes([[[0, 0], [5, 5]]], shape_type="line"), "has no rectangle"),
        (Shapes([[[90, 90], [90, 95], [95, 95], [95, 90]]]), "outside the image"),
    ],
)
def test_shapes_without_pixels_are_refused(shapes, expected):
    with pytest.raises(ColorizeError, match=expected):
        region_of(shapes, Image(np.zeros((40, 60))), (40, 60))


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (["t"], 0),
        (["z"], 0),
        (["c", "T"], 1),
        (["z", "time"], 1),
        (["t", "c"], 0),
        (["c", "z"], 1),
        (["Channel"], 0),
        (["axis 0", "axis 1"], 0),
        ([], 0),
    ],
)
def test_the_time_axis_follows_from_the_labels(axes, expected):
    assert time_axis_of(axes) == expected
