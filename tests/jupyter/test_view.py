"""The view in a real browser, on a page without Jupyter."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_colorize.color import rgb_from_yuv
from napari_colorize.jupyter.view import LONGEST, MOST, pixels_of, shown_size
from napari_colorize.pipeline import compose
from napari_colorize.planes import to_plane

COMPOSE = """([gray, uv, size, grid, matrix, bounds, saturation]) => {
  const parts = view.prepare({
    gray: new Uint16Array(decoded(gray).buffer), uv: new Float32Array(decoded(uv).buffer),
    size, grid, matrix, bounds,
  });
  const image = new ImageData(size[1], size[0]);
  view.compose(parts, saturation, new Uint32Array(image.data.buffer));
  return [...image.data];
}"""


@pytest.fixture
def result(tiny_colorizer):
    """Dark and blue on the left, bright and orange on the right; uint8 (60, 90)."""
    image = np.tile(np.linspace(20, 235, 90), (60, 1)).astype(np.uint8)
    return tiny_colorizer(image)


def is_gray(pixel: list[int]) -> bool:
    return max(pixel) - min(pixel) <= 1


@pytest.mark.parametrize("limits", [(0, 65535), (-20000, 90000)], ids=["all", "beyond"])
@pytest.mark.parametrize(
    ("size", "grid"), [((1, 1), (1, 1)), ((7, 5), (3, 9)), ((64, 48), (16, 12)), ((5, 300), (4, 4))]
)
def test_the_browser_composes_as_the_kernel_does(open_view, result, size, grid, limits):
    random = np.random.default_rng(0)
    plane = to_plane(random.integers(0, 65536, size).astype(np.uint16), limits=limits)
    gray = np.rint(plane.gray.numpy() * 65535).astype(np.uint16)
    uv = random.uniform(-0.4, 0.4, (*grid, 2)).astype(np.float32)
    sent = [base64.b64encode(values.tobytes()).decode() for values in (gray, uv)]
    matrix = rgb_from_yuv()[:, 1:].flatten().tolist()
    page = open_view(result).page

    for saturation in (0.0, 1.0, 2.5, 4.0):
        got = page.evaluate(COMPOSE, [*sent, size, grid, matrix, list(plane.bounds), saturation])

        pixels = compose(plane, torch.from_numpy(uv), saturation).astype(np.float64)
        wanted = (pixels - limits[0]) / (limits[1] - limits[0]) * 255
        np.testing.assert_allclose(np.reshape(got, (*size, 4))[..., :3], wanted, atol=2)


def test_gray_is_left_of_the_divider_and_colour_right_of_it(open_view, result):
    page = open_view(result)

    assert is_gray(page.pixel(0.2, 0.5)) and not is_gray(page.pixel(0.8, 0.5))

    page.set("divider", 0.1)
    assert not is_gray(page.pixel(0.2, 0.5))
    page.set("divider", 0.9)
    assert is_gray(page.pixel(0.8, 0.5))


def test_saturation_is_followed_though_no_kernel_answers(open_view, result):
    page = open_view(result)
    before = page.pixel(0.8, 0.5)

    page.set("saturation", 0)
    gray = page.pixel(0.8, 0.5)
    page.set("saturation", 2)

    assert is_gray(gray)
    assert np.ptp(page.pixel(0.8, 0.5)) > np.ptp(before)


def test_at_rest_the_exact_picture_is_asked_for_and_shown(open_view, result):
    page = open_view(result)
    page.wait_sent("rest")
    page.page.evaluate("() => [1.2, 1.4, 1.6].forEach((s) => model.set('saturation', s))")
    page.page.wait_for_function("() => model.sent.at(-1).saturation === 1.6")
    asked = page.sent()[-1]
    assert asked == {"kind": "rest", "serial": page.get("serial"), "saturation": 1.6}
    assert not {1.2, 1.4} & {told.get("saturation") for told in page.sent()}

    red = np.full((60, 90, 3), (255, 0, 0), np.uint8)
    page.tell({**asked, "kind": "exact"}, red)

    assert page.pixel(0.8, 0.5) == [255, 0, 0]
    assert page.page.locator(".napari-colorize-view").get_attribute("data-exact") == "true"


@pytest.mark.parametrize("stale", [{"saturation": 0.5}, {"serial": 0}], ids=str)
def test_an_exact_picture_that_comes_too_late_is_left_out(open_view, result, stale):
    page = open_view(result)
    told = {"kind": "exact", "serial": page.get("serial"), "saturation": page.get("saturation")}

    page.tell({**told, **stale}, np.zeros((60, 90, 3), np.uint8))

    assert page.pixel(0.8, 0.5) != [0, 0, 0]


def test_the_divider_follows_the_mouse(open_view, result):
    page = open_view(result)

    page.drag((0.5, 0.5), (0.75, 0.4))
    assert page.get("divider") == pytest.approx(0.75, abs=0.01)
    assert is_gray(page.pixel(0.7, 0.5)) and not is_gray(page.pixel(0.8, 0.5))

    page.drag((0.75, 0.5), (1.4, 0.5))  # beyond the edge
    assert page.get("divider") == 1


def test_the_divider_follows_the_keys(open_view, result):
    page = open_view(result)
    divider = page.page.get_by_role("slider")
    divider.focus()

    for key, place in [("ArrowRight", 52), ("Shift+ArrowLeft", 42), ("Home", 0), ("End", 100)]:
        page.page.keyboard.press(key)
        page.settle()
        assert divider.get_attribute("aria-valuenow") == str(place)


def test_the_divider_follows_a_finger(open_view, result):
    page = open_view(result, has_touch=True)
    touch = page.page.context.new_cdp_session(page.page)
    places = [page.place(share, 0.5) for share in (0.5, 0.4, 0.25)]

    for kind, place in zip(("touchStart", "touchMove", "touchMove"), places, strict=True):
        points = [{"x": place[0], "y": place[1]}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.settle()

    assert page.get("divider") == pytest.approx(0.25, abs=0.02)


def test_two_fingers_zoom(open_view, result):
    page = open_view(result, has_touch=True)
    touch = page.page.context.new_cdp_session(page.page)

    for kind, half in (("touchStart", 0.1), ("touchMove", 0.2), ("touchMove", 0.3)):
        points = [
            {"x": x, "y": y, "id": number}
            for number, (x, y) in enumerate(
                [page.place(0.5 - half, 0.5), page.place(0.5 + half, 0.5)]
            )
        ]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.settle()

    assert page.get("camera")[0] == pytest.approx(3, abs=0.3)
    assert page.get("divider") == 0.5


def test_the_wheel_zooms_with_ctrl_only(open_view, result):
    page = open_view(result)
    page.page.mouse.move(*page.place(0.9, 0.5))

    page.page.mouse.wheel(0, -200)
    assert page.get("camera")[0] == 1
    page.page.keyboard.down("Control")
    page.page.mouse.wheel(0, -200)
    page.page.wait_for_function("() => model.get('camera')[0] > 1")
    page.page.keyboard.up("Control")

    zoom, x, _ = page.get("camera")
    assert zoom == pytest.approx(np.e, abs=0.01)
    assert x + (0.9 - 0.5) / zoom == pytest.approx(0.9, abs=0.01)  # what is under the mouse stays


def test_a_zoomed_picture_is_dragged_and_stays_on_the_stage(open_view, result):
    page = open_view(result)
    for _ in range(2):
        page.page.get_by_role("button", name="Larger").click()

    page.drag((0.3, 0.5), (0.4, 0.5))
    zoom, x, y = page.get("camera")
    assert (zoom, y) == (2.25, 0.5) and x == pytest.approx(0.5 - 0.1 / 2.25, abs=0.005)
    page.drag((0.3, 0.3), (1.5, 1.5))
    assert page.get("camera")[1:] == pytest.approx([0.5 / 2.25] * 2)
    assert page.get("divider") == 0.5

    page.page.get_by_role("button", name="The whole picture").click()
    assert page.get("camera") == [1, 0.5, 0.5]


def test_a_click_asks_only_if_it_shall(open_view, result):
    page = open_view(result)
    page.page.mouse.click(*page.place(0.25, 0.75))
    assert not [told for told in page.sent() if told["kind"] == "click"]

    page.set("asks", True)
    page.page.mouse.click(*page.place(0.25, 0.75))

    (asked,) = [told for told in page.sent() if told["kind"] == "click"]
    assert asked["point"] == pytest.approx([0.75, 0.25], abs=0.01)


def test_a_map_lies_over_the_picture_until_it_is_taken_away(open_view, result):
    page = open_view(result)
    before = page.pixel(0.8, 0.5)
    red = base64.b64encode(bytes([255, 0, 0, 255])).decode()
    page.page.evaluate("red => Object.assign(model.state, {overlay: decoded(red)})", red)

    page.page.evaluate("() => Object.assign(model.state, {overlay_size: [1, 1], opacity: 0.5})")
    page.set("overlay_serial", 7)
    covered = page.pixel(0.8, 0.5)
    page.set("overlay_size", [0, 0])
    page.set("overlay_serial", 8)

    np.testing.assert_allclose(covered, np.add(before, [255, 0, 0]) / 2, atol=2)
    assert page.pixel(0.8, 0.5) == before


def test_a_view_that_is_gone_listens_no_longer(open_view, result):
    page = open_view(result)
    page.page.evaluate("() => forget()")
    page.set("saturation", 2)
    assert page.sent()[-1] == {"kind": "gone"}

    assert all(
        not slots
        for slots in page.page.evaluate(
            "() => Object.values(model.heard).map((slots) => slots.size)"
        )
    )


def test_a_finished_picture_is_shown_as_it_comes(open_view, result):
    random = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    result = replace(result, chroma=None, fixed=random)
    page = open_view(result)
    asked = page.wait_sent("rest")

    page.tell({**asked, "kind": "exact"}, pixels_of(result))

    page.page.get_by_role("button", name="Larger").click(click_count=9, delay=0)
    page.settle()
    assert page.pixel(0.8, 0.5) in random.reshape(-1, 3).tolist()


@pytest.mark.parametrize("size", [(10, 10), (1, 10**7), (9000, 12000)], ids=str)
def test_no_more_pixels_are_sent_than_a_browser_composes_in_a_moment(size):
    height, width = shown_size(*size)

    assert height * width <= MOST
    assert max(height, width) <= LONGEST
    assert size == (height, width) or height * width > 0.99 * MOST or 1 in size
