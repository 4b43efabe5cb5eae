"""Side-by-side comparison: variants, the grid, and the restored view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from napari_colorize.errors import ImageError
from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.explore.compare import Comparison, Variant
from napari_colorize.napari.explore.overlay_layer import camera_of
from napari_colorize.napari.explore.side_by_side import SideBySide, grid_of, rows_and_columns
from napari_colorize.settings import ColorizeSettings


@pytest.fixture
def comparison_of(settle) -> Iterator[Callable[[Any], Comparison]]:
    """A comparison for the first layer of a viewer, A being there."""
    created = []

    def compare(viewer: Any) -> Comparison:
        controller = get_controller(viewer)
        controller.choose_layer(viewer.layers[0])
        settle(controller)
        created.append((Comparison(controller), controller))
        return created[-1][0]

    yield compare
    for comparison, controller in created:
        comparison.stop()
        controller.close()


def is_displayed(comparison: Comparison) -> bool:
    """Whether B is computed and displayed in its layer."""
    layer, result = comparison.layer, comparison.result
    if layer is None or result is None or not comparison.wait(0):
        return False
    return bool(layer.metadata["napari-colorize"] == result.provenance)


@pytest.mark.parametrize(
    ("variant", "words", "changed"),
    [
        (Variant(), "self-attention off", {"self_attention": False}),
        (Variant(render_factor=20), "render factor 20", {"render_factor": 20}),
        (Variant(model="/home/me/mine.safetensors"), "mine", {}),
    ],
)
def test_a_variant_changes_one_thing(variant, words, changed):
    settings = ColorizeSettings(saturation=1.5)

    assert variant.apply(settings) == ColorizeSettings(saturation=1.5, **changed)
    assert variant.describe(settings) == words


def test_b_has_attention_if_a_has_none():
    settings = ColorizeSettings(self_attention=False)

    assert Variant().apply(settings).self_attention
    assert Variant().describe(settings) == "self-attention on"


@pytest.mark.parametrize(
    ("canvas", "shape"), [((400, 1200), (1, 3)), ((800, 800), (2, 2)), ((1200, 400), (3, 1))]
)
def test_the_grid_makes_the_images_as_large_as_possible(canvas, shape):
    assert rows_and_columns(3, canvas, (100, 100)) == shape


def test_the_view_is_restored_after_side_by_side(make_napari_viewer, photo):
    viewer = make_napari_viewer()
    layers = [viewer.add_image(photo, name=name) for name in "abcd"]
    layers[1].visible = False
    camera_of(viewer).center, camera_of(viewer).zoom = (0, 30, 40), 3.5
    beside = SideBySide(viewer)

    beside.show([layers[3], layers[1]])
    assert [layer.visible for layer in layers] == [False, True, False, True]
    assert grid_of(viewer).enabled
    viewer.layers.remove("c")
    late = viewer.add_image(photo, name="late")
    beside.restore()

    assert list(viewer.layers) == [layers[0], layers[1], layers[3], late]
    assert [layer.visible for layer in viewer.layers] == [True, False, True, True]
    assert not grid_of(viewer).enabled
    assert (camera_of(viewer).center, camera_of(viewer).zoom) == ((0, 30, 40), 3.5)


def test_b_is_the_result_of_its_settings(make_napari_viewer, photo, comparison_of, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p", scale=(2, 3))
    comparison = comparison_of(viewer)

    comparison.start(Variant(render_factor=5))
    qtbot.waitUntil(lambda: is_displayed(comparison), timeout=60_000)

    b = viewer.layers["p (B: render factor 5)"]
    assert comparison.result.chroma.render_factor == 5
    np.testing.assert_array_equal(b.data, comparison.result.pixels)
    np.testing.assert_array_equal(b.scale, (2, 3))
    assert grid_of(viewer).enabled and len(viewer.layers) == 3


def test_b_follows_settings_and_plane(make_napari_viewer, stack, comparison_of, qtbot, settle):
    viewer = make_napari_viewer()
    viewer.add_image(stack, name="s")
    comparison = comparison_of(viewer)
    comparison.start(Variant())

    get_controller(viewer).presenter.set_settings(saturation=0.5)
    viewer.dims.set_current_step(0, 3)
    settle(get_controller(viewer))
    qtbot.waitUntil(
        lambda: is_displayed(comparison) and comparison.result.settings.saturation == 0.5,
        timeout=60_000,
    )

    assert comparison.result.settings.self_attention is False
    np.testing.assert_array_equal(comparison.result.gray, get_controller(viewer).result.gray)
    np.testing.assert_array_equal(comparison.layer.data[3], comparison.result.pixels)


def test_b_has_the_guides_of_a(make_napari_viewer, photo, comparison_of, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    mask = viewer.add_labels(np.zeros((256, 256), int), visible=False)
    comparison = comparison_of(viewer)
    comparison.start(Variant())
    qtbot.waitUntil(lambda: is_displayed(comparison), timeout=60_000)

    get_controller(viewer).guiding.assign("mask", mask)
    qtbot.waitUntil(
        lambda: is_displayed(comparison) and np.ptp(comparison.layer.data, axis=-1).max() == 0,
        timeout=60_000,
    )

    assert "guides" in comparison.result.provenance


@pytest.mark.parametrize("gone", ["p", "p (B: self-attention off)"])
def test_it_ends_when_one_of_its_layers_is_removed(
    make_napari_viewer, photo, comparison_of, qtbot, gone
):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    comparison, ended = comparison_of(viewer), []
    comparison.ended.connect(lambda: ended.append(True))
    comparison.start(Variant())
    qtbot.waitUntil(lambda: is_displayed(comparison), timeout=60_000)

    viewer.layers.remove(gone)

    assert ended == [True] and not comparison.is_on
    assert not grid_of(viewer).enabled
    assert not any("(B:" in layer.name for layer in viewer.layers)


def test_an_error_of_b_is_reported_and_ends_the_comparison(
    make_napari_viewer, photo, comparison_of, qtbot, tmp_path
):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    comparison, errors = comparison_of(viewer), []
    comparison.failed.connect(errors.append)

    comparison.start(Variant(model=str(tmp_path / "none.safetensors")))
    qtbot.waitUntil(lambda: bool(errors), timeout=60_000)

    assert "none.safetensors" in str(errors[0])
    assert not comparison.is_on and not grid_of(viewer).enabled


def test_the_model_of_a_is_refused_for_b(make_napari_viewer, photo, comparison_of):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    comparison = comparison_of(viewer)

    with pytest.raises(ImageError, match="another model for B"):
        comparison.start(Variant(model="embedded"))

    assert not comparison.is_on
