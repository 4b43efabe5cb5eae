"""Large images: composed at the shown size, sharp when zoomed in, and released when hidden."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from recorder import SOON

from napari_colorize.jupyter import array_file, browser_encoding
from napari_colorize.jupyter import box as box_module
from napari_colorize.jupyter.shown_size import ShownSize, crop_of
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints


@pytest.fixture
def small_display(monkeypatch):
    """Display images of more than 1200 pixels at reduced size."""
    monkeypatch.setattr(browser_encoding, "MAX_PIXELS", 1200)


def means(pixels, size):
    """Area means of an image whose sides are multiples of those of `size`."""
    rows, columns = (full // small for full, small in zip(pixels.shape[:2], size, strict=True))
    return pixels.reshape(size[0], rows, size[1], columns, 3).mean(axis=(1, 3))


def test_a_change_of_saturation_composes_the_shown_size_only(box_of, photo, small_display):
    box = box_of(photo)  # 96 x 128

    box.set_settings(saturation=2.0)
    box.wait(SOON)

    shown = box.view.shown.pixels(box.result)
    assert shown.shape == (30, 40, 3)
    assert "pixels" not in vars(box.result)  # the full size is composed when it is read
    assert box.result.pixels.shape == (96, 128, 3)


def test_the_shown_pixels_are_the_means_of_all_pixels(tiny_colorizer, photo, monkeypatch):
    monkeypatch.setattr(browser_encoding, "MAX_PIXELS", 48 * 64)
    result = tiny_colorizer(photo, saturation=1.5)

    shown = ShownSize().pixels(result)

    expected = means(result.pixels.astype(float), (48, 64))
    assert shown.shape == expected.shape
    difference = np.abs(shown - expected)  # large only where colors leave the gamut in part
    assert np.quantile(difference, 0.98) <= 6 and difference.mean() < 1


def guided(name, photo):
    """Guides whose edges are finer than the shown pixels."""
    mask = np.zeros(photo.shape, bool)
    mask[10:41, 20:51] = True
    if name == "mask":
        return Guides(mask=mask)
    return Guides(hints=Hints(mask, np.full((*photo.shape, 3), (0.9, 0.2, 0.1), np.float32)))


@pytest.mark.parametrize("name", ["mask", "hints"])
def test_fine_edges_are_reduced_from_all_pixels(tiny_colorizer, photo, name, monkeypatch):
    monkeypatch.setattr(browser_encoding, "MAX_PIXELS", 48 * 64)
    result = tiny_colorizer(photo, guides=guided(name, photo))

    shown = ShownSize().pixels(result)

    np.testing.assert_allclose(shown, means(result.pixels.astype(float), (48, 64)), atol=0.51)


@pytest.mark.parametrize("name", ["none", "mask", "hints"])
@pytest.mark.parametrize("area", [(0, 0, 1, 1), (0.1, 0.3, 0.4, 0.8), (0.98, 0.0, 1.0, 0.02)])
def test_a_crop_has_the_pixels_of_the_whole_image(tiny_colorizer, photo, name, area):
    guides = Guides() if name == "none" else guided(name, photo)
    result = tiny_colorizer(photo, guides=guides)

    crop = crop_of(result, area, 10**6)

    height, width = photo.shape
    top, left, bottom, right = (
        round(edge * length)
        for edge, length in zip(crop.area, (height, width, height, width), strict=True)
    )
    assert top <= area[0] * height and bottom >= area[2] * height
    np.testing.assert_allclose(crop.rgb, result.pixels[top:bottom, left:right].astype(int), atol=1)
    np.testing.assert_allclose(crop.gray, photo[top:bottom, left:right], atol=1)


def test_a_large_crop_is_reduced(tiny_colorizer, photo):
    result = tiny_colorizer(photo)

    crop = crop_of(result, (0, 0, 0.5, 0.5), 24 * 32)

    assert crop.rgb.shape == (24, 32, 3)
    expected = means(result.pixels[:48, :64].astype(float), (24, 32))
    assert np.abs(crop.rgb - expected).mean() < 2


def test_the_visible_part_is_sent_at_full_resolution(box_of, photo, small_display, sent):
    box = box_of(photo, saturation=1.5)
    request = {"kind": "request_crop", "serial": box.view.serial, "saturation": 1.5, "zoom": 4}

    box.view._on_message(None, {**request, "area": [0.25, 0.25, 0.5, 0.5]}, [])
    box.view._on_message(None, {**request, "saturation": 3.0, "area": [0, 0, 1, 1]}, [])

    ((message, (gray, rgb)),) = [one for one in sent if one[0]["kind"] == "crop"]
    assert tuple(message["size"]) == (24, 32) and message["saturation"] == 1.5
    pixels = np.frombuffer(rgb, np.uint8).reshape(24, 32, 3)
    np.testing.assert_allclose(pixels, box.result.pixels[24:48, 32:64].astype(int), atol=1)
    assert len(gray) == 24 * 32


def hide(box):
    """Display a box and remove it, as when its cell is run again."""
    view = {"page": "a", "view": "1"}
    box.view._on_message(None, {"kind": "attached", **view}, [])
    box.view._on_message(None, {"kind": "detached", **view}, [])
    assert box.wait(SOON)


@pytest.fixture
def large(monkeypatch):
    """Treat every image as a large one."""
    monkeypatch.setattr(box_module, "KEPT_BYTES", 0)
    monkeypatch.setattr(box_module, "HIDDEN_BYTES", 0)


def test_a_large_result_is_freed_with_its_view_and_comes_back(box_of, photo, large):
    box = box_of(photo)
    pixels, seen = box.result.pixels, []
    gray = weakref.ref(box.result.plane.gray)
    box.observe(seen.append, "result")

    hide(box)
    assert gray() is None and box.is_released and seen == []

    np.testing.assert_array_equal(box.result.pixels, pixels)  # computed again
    assert not box.is_released


def test_a_released_box_is_shown_again(box_of, photo, large):
    box = box_of(photo)
    hide(box)

    box.view._on_message(None, {"kind": "attached", "page": "a", "view": "2"}, [])
    box.wait(SOON)

    assert not box.is_released and box._newest is not None
    assert not box._saving.save.disabled


def test_a_released_box_follows_its_settings(box_of, photo, large):
    box = box_of(photo)
    hide(box)

    box.set_settings(saturation=2.0)

    assert box.result.settings.saturation == 2.0


def test_running_a_cell_again_keeps_one_large_image(box_of, photo, large):
    grays = []
    for _ in range(4):
        box = box_of(photo.copy())
        grays.append(weakref.ref(box.result.plane.gray))

    assert [gray() is None for gray in grays] == [True, True, True, False]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_array_of_a_hidden_box_is_freed_and_read_again(box_of, photo, large, dtype):
    source = (photo[:, ::-1].astype(dtype)[:, ::-1] * (1 if dtype == "uint8" else 3.0)).astype(
        dtype
    )
    values, array = source.copy(), weakref.ref(source)
    box = box_of(source)
    pixels = box.result.rgb
    del source

    for _ in range(2):
        hide(box)
        gc.collect()

        assert array() is None  # also after the box was shown, and hidden again
        np.testing.assert_array_equal(box.source, values)
        np.testing.assert_array_equal(box.result.rgb, pixels)


def test_planes_of_a_hidden_stack_keep_their_common_range(box_of, photo, large):
    stack = np.stack([photo // 4, photo]).astype(np.float32)
    box = box_of(stack, plane=(0,))
    limits = box.result.plane.limits

    hide(box)

    assert box.result.plane.limits == limits and limits[1] > stack[0].max()


def test_hidden_boxes_of_one_array_share_a_file(box_of, photo, large):
    boxes = [box_of(photo) for _ in range(3)]

    for box in boxes:
        hide(box)

    assert all(np.shares_memory(boxes[0].source, box.source) for box in boxes)
    assert not np.shares_memory(boxes[0].source, photo)


def test_an_array_that_was_changed_in_place_gets_a_file_of_its_own(box_of, photo, large):
    source = photo.copy()
    before = source.copy()
    first = box_of(source)
    hide(first)
    source[:] = 255 - source
    second = box_of(source)

    hide(second)

    np.testing.assert_array_equal(first.source, before)
    np.testing.assert_array_equal(second.source, 255 - before)


@pytest.mark.parametrize("reason", ["space", "size", "kind"])
def test_a_source_that_cannot_be_moved_to_a_file_stays(box_of, photo, large, monkeypatch, reason):
    def full(*_):
        raise OSError("No space left on device")

    if reason == "space":
        monkeypatch.setattr(array_file, "TemporaryFile", full)
    elif reason == "size":
        monkeypatch.setattr(array_file, "MAX_BYTES", photo.nbytes - 1)
    source = photo.tolist() if reason == "kind" else photo
    box = box_of(source)
    pixels = box.result.pixels

    hide(box)

    assert box.source is source
    np.testing.assert_array_equal(box.result.pixels, pixels)


def test_another_source_replaces_one_in_a_file(box_of, photo, large):
    box = box_of(photo)
    hide(box)
    mapped = weakref.ref(box._file)

    box.source = photo[::-1]
    box.wait(SOON)
    gc.collect()

    assert mapped() is None
    np.testing.assert_array_equal(box.result.plane.gray, photo[::-1] / np.float32(255))


def test_small_results_stay(box_of, photo):
    box = box_of(photo)
    result = box.result

    hide(box)

    assert box.result is result and not box.is_released


def test_a_released_box_ends_its_thread_and_starts_another(box_of, photo, large):
    box = box_of(photo)
    thread = box.session._worker._thread

    hide(box)
    thread.join(SOON)
    assert not thread.is_alive()  # the work memory that libraries keep for it is free

    box.set_settings(saturation=2.0)
    assert box.wait(SOON) and box.result.settings.saturation == 2.0
    hide(box)
    box.close()  # without a thread
    assert box.session.is_closed and box.session.source is None
