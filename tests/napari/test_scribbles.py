"""Points, strokes, areas and labels of layers as pixels of an image, and references."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes
from napari.utils.colormaps import DirectLabelColormap

from napari_colorize.napari.crop import PlaneCrop, whole_plane
from napari_colorize.napari.guide.grid import Grid, grid_of
from napari_colorize.napari.guide.guide_layers import add_hints
from napari_colorize.napari.guide.guide_values import (
    is_reference,
    reference_from,
    reference_plane,
    reference_regions,
)
from napari_colorize.napari.guide.labels import labels_at
from napari_colorize.napari.guide.scribbles import scribbles_from

RED, BLUE = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)
PLACED = {"scale": (2.0, 3.0), "translate": (7.0, -5.0), "rotate": 20.0}


def grid_on(image: Image, plane: tuple[int, ...] = (), **changes) -> Grid:
    viewer = ViewerModel()
    viewer.layers.append(image)
    viewer.dims.set_point(range(len(plane)), plane)
    return grid_of(image, changes.get("crop", whole_plane(image)), image.data, plane, viewer.dims)


def drawn(layer, grid: Grid) -> np.ndarray:
    """Colors of the hints `(Y, X, 3)`, NaN where there are none."""
    hints = scribbles_from(layer, grid).hints()
    if hints is None:
        return np.full((*grid.size, 3), np.nan)
    return np.where(hints.mask[..., None], hints.rgb, np.nan)


def is_red(colors: np.ndarray) -> np.ndarray:
    return np.all(colors == RED[:3], axis=-1)


@pytest.fixture
def image() -> Image:
    return Image(np.zeros((40, 60), np.uint8))


@pytest.mark.parametrize("size", [1, 5, 12.5])
def test_points_are_discs_of_their_size_and_color(image, size):
    points = Points([[10, 20], [30, 41]], size=size, face_color=[RED, BLUE])

    colors = drawn(points, grid_on(image))

    rows, columns = np.indices((40, 60))
    around = np.hypot(rows - 10, columns - 20) <= size / 2
    np.testing.assert_array_equal(is_red(colors), around)
    assert colors[30, 41].tolist() == [0, 0, 1] and np.isnan(colors[0, 0]).all()


def test_later_points_cover_earlier_ones_and_transparent_ones_are_ignored(image):
    points = Points([[10, 20]] * 3, size=9, face_color=[BLUE, RED, (0, 1, 0, 0)])

    colors = drawn(points, grid_on(image))

    assert is_red(colors).sum() > 50 and is_red(colors).sum() == np.isfinite(colors[..., 0]).sum()


def test_a_point_smaller_than_a_pixel_is_one_pixel():
    coarse = grid_on(Image(np.zeros((40, 60)), scale=(50, 50)))

    colors = drawn(Points([[510, 980]], size=10, face_color=[RED]), coarse)

    assert np.argwhere(is_red(colors)).tolist() == [[10, 20]]


def test_points_of_other_planes_are_ignored():
    stack = Image(np.zeros((5, 40, 60)), scale=(4, 1, 1))
    points = Points(
        [[8, 10, 20], [9.5, 11, 21], [12, 12, 22]], size=1, face_color=[RED] * 3
    )  # in the world, where planes are 4 apart: the second is half between two

    assert np.argwhere(is_red(drawn(points, grid_on(stack, (2,))))).tolist() == [[10, 20]]
    assert not is_red(drawn(points, grid_on(stack, (1,)))).any()


def test_two_dimensional_points_are_in_all_planes():
    stack = Image(np.zeros((5, 40, 60)))
    points = Points([[10, 20]], size=1, face_color=[RED])

    for plane in (0,), (4,):
        assert np.argwhere(is_red(drawn(points, grid_on(stack, plane)))).tolist() == [[10, 20]]


@pytest.mark.parametrize("moved", ["image", "points"])
def test_points_are_converted_through_world_coordinates(image, moved):
    points = Points([[10, 20]], size=1, face_color=[RED])
    layer = {"image": image, "points": points}[moved]
    for name, value in PLACED.items():
        setattr(layer, name, value)
    target = image.data_to_world((15, 25))

    points.data = [points.world_to_data(target)]

    assert is_red(drawn(points, grid_on(image)))[15, 25]


def test_filled_shapes_have_their_face_color(image):
    shapes = Shapes([[[5, 10], [5, 30], [20, 30], [20, 10]]], face_color=[RED], edge_color=[BLUE])

    colors = drawn(shapes, grid_on(image))

    expected = np.zeros((40, 60), bool)
    expected[5:21, 10:31] = True
    np.testing.assert_array_equal(is_red(colors), expected)


@pytest.mark.parametrize("kind", ["path", "line", "polygon"])
def test_strokes_have_their_edge_color_and_width(image, kind):
    corners = [[10, 10], [10, 50]] if kind == "line" else [[10, 10], [10, 50], [30, 50]]
    shapes = Shapes(
        [corners], shape_type=kind, edge_color=[RED], edge_width=5, face_color="transparent"
    )

    colors = drawn(shapes, grid_on(image))

    assert is_red(colors)[8:13, 10:51].all() and is_red(colors)[:8].sum() == 0
    assert is_red(colors)[25, 50] == (kind != "line")
    assert is_red(colors)[20, 30] == (kind == "polygon")  # the way back
    assert not is_red(colors)[16, 44]


def test_the_shape_in_front_covers_others(image):
    box = [[5, 10], [5, 30], [20, 30], [20, 10]]
    shapes = Shapes([box, box], face_color=[RED, BLUE], z_index=[1, 0])

    assert is_red(drawn(shapes, grid_on(image)))[10, 20]


def test_shapes_of_other_planes_are_ignored():
    stack = Image(np.zeros((5, 40, 60)))
    box = [[2, 5, 10], [2, 5, 30], [2, 20, 30], [2, 20, 10]]
    shapes = Shapes([box], face_color=[RED])

    assert is_red(drawn(shapes, grid_on(stack, (2,)))).any()
    assert not is_red(drawn(shapes, grid_on(stack, (3,)))).any()


def test_labels_have_the_colors_of_their_colormap(image):
    data = np.zeros((40, 60), int)
    data[3:6, 7:9], data[20, 30], data[30, 31] = 4, 9, 11
    colormap = DirectLabelColormap(color_dict={None: (0, 0, 0, 0), 4: RED, 9: BLUE})

    colors = drawn(Labels(data, colormap=colormap), grid_on(image))

    np.testing.assert_array_equal(is_red(colors), data == 4)
    assert colors[20, 30].tolist() == [0, 0, 1]
    assert np.isfinite(colors[..., 0]).sum() == 7  # label 11 is transparent


@pytest.mark.parametrize("moved", ["image", "labels"])
@pytest.mark.parametrize("placed", [PLACED, {"scale": (0.5, 2.0), "translate": (3.0, 4.0)}])
def test_each_pixel_has_the_label_at_its_position(image, moved, placed):
    numbers = np.arange(1, 50 * 70 + 1).reshape(50, 70)
    labels = Labels(numbers)
    layer = {"image": image, "labels": labels}[moved]
    for name, value in placed.items():
        setattr(layer, name, value)

    found = labels_at(labels, grid_on(image))

    for pixel in [(0, 0), (7, 9), (39, 59), (20, 3)]:
        place = np.rint(labels.world_to_data(image.data_to_world(pixel))).astype(int)
        inside = np.all((place >= 0) & (place < numbers.shape))
        assert found[pixel] == (numbers[tuple(place)] if inside else 0)


def test_a_crop_has_its_own_pixels(image):
    part = PlaneCrop(10, 20, 30, 50)
    grid = Grid(image, part, (5, 10), (), np.zeros(2))  # of two by two pixels each
    labels = Labels(np.arange(1, 2401).reshape(40, 60))

    found = labels_at(labels, grid)

    assert found.shape == (5, 10)
    corners = labels.data[10:12, 30:32]
    assert found[0, 0] in corners and found[-1, -1] in labels.data[18:20, 48:50]


def test_a_small_level_of_multiscale_labels_is_read(image):
    full = np.zeros((160, 240), int)
    full[40:80, 80:160] = 1
    labels = Labels([full, full[::2, ::2], full[::4, ::4]], scale=(0.25, 0.25))
    labels.translate = (-0.375, -0.375)

    found = labels_at(labels, grid_on(image))

    expected = np.zeros((40, 60), int)
    expected[10:20, 20:40] = 1
    np.testing.assert_array_equal(found, expected)


def test_new_hints_are_on_top_and_placed_like_the_image():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((3, 40, 60)), scale=(2, 3, 4), translate=(1, 2, 3))

    hints = add_hints(viewer, image)

    assert viewer.layers[-1] is hints and viewer.layers.selection.active is hints
    assert hints.mode == "add" and hints.ndim == 3
    np.testing.assert_array_equal(hints.data_to_world((1, 2, 3)), image.data_to_world((1, 2, 3)))


def test_a_reference_is_a_color_image_that_does_not_follow_settings():
    pixels = np.zeros((8, 9, 3), np.uint8)

    assert is_reference(Image(pixels, rgb=True))
    assert is_reference(
        Image(pixels, rgb=True, metadata={"napari-colorize": {}, "napari-colorize kept": True})
    )
    assert not is_reference(Image(pixels, rgb=True, metadata={"napari-colorize": {}}))
    assert not is_reference(Image(pixels[..., 0])) and not is_reference(Labels(pixels[..., 0]))


def test_the_nearest_plane_of_a_reference_is_used(image):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    layer = Image(pixels, rgb=True)
    stack = Image(np.zeros((9, 40, 60)))

    for position, expected in ((1, 1), (7, 2)):
        grid = grid_on(stack, (position,))
        plane = reference_plane(layer, grid)
        np.testing.assert_array_equal(reference_from(layer, plane, None).rgb, pixels[expected])


def test_regions_of_a_reference_are_read_at_its_pixels(image):
    layer = Image(np.zeros((20, 30, 3), np.uint8), rgb=True, translate=(100, 0))
    numbers = np.arange(600).reshape(20, 30)
    regions = Labels(numbers, translate=(100, 0))

    found = reference_regions(layer, (), regions, grid_on(image))

    np.testing.assert_array_equal(found, numbers)
