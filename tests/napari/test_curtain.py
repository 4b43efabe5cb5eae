"""The before/after curtain: gray up to a draggable line, colors beyond it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image
from qtpy.QtCore import QPoint, Qt

from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.crop import PlaneCrop
from napari_colorize.napari.explore.curtain import Curtain, draw_line, left_crop, left_part
from napari_colorize.napari.explore.overlay_layer import camera_of, placement_over


@pytest.fixture
def curtain_of(settle) -> Iterator[Callable[[Any], Curtain]]:
    """Draws the curtain over the first layer of a viewer."""
    drawn = []

    def draw(viewer: Any) -> Curtain:
        controller = get_controller(viewer)
        controller.choose_layer(viewer.layers[0])
        settle(controller)
        curtain = Curtain(controller)
        curtain.start()
        drawn.append((curtain, controller))
        return curtain

    yield draw
    for curtain, controller in drawn:
        curtain.stop()
        controller.close()


@given(st.floats(0, 1), st.integers(1, 50))
def test_the_crop_ends_with_the_last_gray_column(share, columns):
    whole = PlaneCrop(0, 30, 10, 110)
    gray = left_part(np.zeros((3, columns)), share)

    left = left_crop(whole, share, columns)

    assert (left.left, left.top, left.bottom) == (10, 0, 30)
    assert left.pixel_size(gray.shape)[1] == pytest.approx(100 / columns)
    assert left.right == pytest.approx(10 + 100 * share, abs=100 / columns + 1e-9)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 50))
def test_the_line_is_drawn_inside_the_image_around_its_position(share, width, count):
    cells = np.ones((1, count), np.uint8)

    draw_line(cells, share, width)

    (covered,) = np.nonzero(cells[0])
    assert len(covered) == max(1, round(width * count))
    np.testing.assert_array_equal(np.diff(covered), 1)
    is_at_an_edge = covered[0] == 0 or covered[-1] == count - 1
    middle = (covered[0] + covered[-1] + 1) / 2
    assert is_at_an_edge or abs(middle - share * count) <= 0.5 + 1e-9


numbers = st.floats(-3, 3)
sizes = st.floats(0.1, 5)


@given(
    scale=st.tuples(sizes, sizes, sizes),
    translate=st.tuples(numbers, numbers, numbers),
    angle=st.floats(-180, 180),
    shear=st.tuples(numbers, numbers, numbers),
    plane=st.integers(0, 4),
    corner=st.tuples(st.integers(0, 8), st.integers(0, 6)),
)
def test_an_overlay_covers_its_crop_in_world_coordinates(
    scale, translate, angle, shear, plane, corner
):
    source = Image(
        np.zeros((5, 12, 8)), scale=scale, translate=translate, rotate=(angle, 7, 3), shear=shear
    )
    top, left = corner
    part = PlaneCrop(top, top + 4, left, left + 2)  # two rows and one column of two by two pixels

    over = Image(np.zeros((1, 2, 1)), **placement_over(source, part, (2, 1), (plane,)))

    for row in (0, 1):
        middle = (plane, top + 2 * row + 0.5, left + 0.5)
        np.testing.assert_allclose(
            over.data_to_world((0, row, 0)), source.data_to_world(middle), atol=1e-6
        )


def test_left_of_the_line_is_the_gray_network_input(make_napari_viewer, photo, curtain_of):
    viewer = make_napari_viewer()
    gray = viewer.add_image(photo, name="p")

    curtain_of(viewer).move_to(0.25)

    before = viewer.layers["p (before)"]
    np.testing.assert_array_equal(before.data, photo[:, :64])
    assert viewer.layers.selection.active is gray
    assert viewer.layers.index(before) > viewer.layers.index("p (colorized)")


def test_the_line_is_dragged_with_the_mouse(make_napari_viewer, photo, curtain_of, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(photo)
    curtain = curtain_of(viewer)
    canvas, camera = viewer.window._qt_viewer.canvas.native, camera_of(viewer)
    qtbot.waitExposed(canvas, timeout=60_000)

    def at(column: float) -> QPoint:
        offset = (column - camera.center[-1]) * camera.zoom
        return QPoint(round(canvas.width() / 2 + offset), canvas.height() // 2)

    center = camera.center
    qtbot.mouseMove(canvas, at(127.5))
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=at(127.5))

    def is_there() -> bool:
        qtbot.mouseMove(canvas, at(63.5))
        return curtain.share == pytest.approx(0.25, abs=0.01)

    qtbot.waitUntil(is_there, timeout=60_000)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=at(63.5))

    assert camera.center == center and camera.mouse_pan  # the camera did not pan


def test_it_follows_the_displayed_plane(make_napari_viewer, stack, curtain_of, settle):
    viewer = make_napari_viewer()
    viewer.add_image(stack, name="s", scale=(3, 1, 1))
    curtain = curtain_of(viewer)

    viewer.dims.set_current_step(0, 2)
    settle(get_controller(viewer))

    before = viewer.layers["s (before)"]
    assert before.data_to_world((0, 0, 0)) == (6, 0, 0)
    np.testing.assert_array_equal(before.data[0], left_part(stack[2], curtain.share))


def test_with_shapes_it_covers_their_bounding_box(make_napari_viewer, photo, curtain_of, settle):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p", scale=(2, 2))
    curtain_of(viewer)
    corners = [[80, 100], [80, 400], [320, 400], [320, 100]]
    shapes = viewer.add_shapes([corners], shape_type="rectangle")

    get_controller(viewer).use_region(shapes)
    settle(get_controller(viewer))

    before, (rows, columns) = viewer.layers["p (before)"], (slice(40, 160), slice(50, 125))
    assert before.data_to_world((0, 0)) == (80, 100)
    np.testing.assert_allclose(before.data.shape, photo[rows, columns].shape, atol=1)
    np.testing.assert_array_equal(
        before.data, photo[40:, 50:][tuple(map(slice, before.data.shape))]
    )


def test_removing_one_of_its_layers_ends_it(make_napari_viewer, photo, curtain_of):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    callbacks = list(viewer.mouse_drag_callbacks)
    curtain = curtain_of(viewer)

    viewer.layers.remove("p (curtain)")

    assert [layer.name for layer in viewer.layers] == ["p", "p (colorized)"]
    assert not curtain.is_on
    assert viewer.mouse_drag_callbacks == callbacks
