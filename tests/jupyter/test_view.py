"""ImageView in a real browser, on a page without Jupyter."""

from __future__ import annotations

import base64
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from napari_colorize.imaging.planes import to_plane
from napari_colorize.jupyter.browser_encoding import (
    MAX_PIXELS,
    MAX_SIDE,
    display_size,
)
from napari_colorize.jupyter.shown_size import ShownSize
from napari_colorize.pipeline import compose
from napari_colorize.refine.chroma_field import ChromaField, ChromaLayers, FixedPixels

COMPOSE = """(saturation) => {
  const {gray, size, outside_mask} = model.state;
  const parts = view.prepare({...model.state, gray: new Uint16Array(gray.buffer)});
  const image = new ImageData(size[1], size[0]);
  const rgba = new Uint32Array(image.data.buffer);
  view.compose(parts, saturation, rgba);
  view.restoreOutsideMask(view.readOutsideMask(outside_mask), rgba);
  return [...image.data];
}"""


@pytest.fixture
def result(tiny_colorizer):
    """Dark and blue on the left, bright and orange on the right; uint8 (60, 90)."""
    image = np.tile(np.linspace(20, 235, 90), (60, 1)).astype(np.uint8)
    return tiny_colorizer(image)


def is_gray(pixel: list[int]) -> bool:
    return max(pixel) - min(pixel) <= 1


def with_layers(result, plane, layers):
    """A result with this plane and these chroma layers."""
    changed = replace(result, plane=plane)
    vars(changed)["chroma_layers"] = layers  # replaces the cached property
    return changed


def field(random, size, slope=True):
    """Random chroma maps, in part outside the RGB gamut."""
    offset, slopes = (torch.from_numpy(random.uniform(-0.4, 0.4, (*size, 2))) for _ in range(2))
    return ChromaField(offset.float(), 3 * slopes.float() if slope else None)


def fixed_pixels(random, size):
    """Fixed chroma at about 30 % of the pixels."""
    rows, columns = np.nonzero(random.random(size) < 0.3)
    uv = torch.from_numpy(random.uniform(-0.3, 0.3, (len(rows), 2))).float()
    return FixedPixels(torch.from_numpy(rows), torch.from_numpy(columns), uv, size)


LAYERS = {
    "upsampled": lambda random, size, grid: ChromaLayers(field(random, grid, slope=False)),
    "edge-aligned": lambda random, size, grid: ChromaLayers(field(random, grid)),
    "damped shadows": lambda random, size, grid: ChromaLayers(field(random, grid), shadows=0.6),
    "hinted": lambda random, size, grid: ChromaLayers(
        field(random, grid),
        correction=field(random, (1, grid[1])),
        hinted=field(random, (grid[0], 1), slope=False),
        fixed_pixels=fixed_pixels(random, size),
        shadows=0.3,
    ),
    "strokes only": lambda random, size, grid: ChromaLayers(
        field(random, grid), fixed_pixels=fixed_pixels(random, size)
    ),
    "masked": lambda random, size, grid: ChromaLayers(
        field(random, grid), mask=random.random(size) < 0.5
    ),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
def test_the_browser_composes_the_same_pixels_as_the_kernel(open_view, result, make):
    random = np.random.default_rng(0)
    page = open_view(result)
    sizes = [((1, 1), (1, 1)), ((7, 5), (3, 5)), ((64, 48), (16, 12)), ((5, 300), (4, 4))]
    ranges = (0, 65535), (-20000, 90000)  # the second exceeds the range of the dtype

    for (size, grid), limits in product(sizes, ranges):
        image = random.integers(0, 65536, (*size, 3)).astype(np.uint16)
        plane, layers = to_plane(image, limits=limits), make(random, size, grid)
        page.show(with_layers(result, plane, layers))
        for saturation in (0.0, 1.0, 4.0):
            got = page.page.evaluate(COMPOSE, saturation)

            pixels = compose(plane, layers, saturation).astype(np.float64)
            expected = ((pixels - limits[0]) / (limits[1] - limits[0])).clip(0, 1) * 255
            np.testing.assert_allclose(np.reshape(got, (*size, 4))[..., :3], expected, atol=2)


def test_a_large_image_is_composed_at_display_size(open_view, result, monkeypatch):
    monkeypatch.setattr("napari_colorize.jupyter.browser_encoding.MAX_PIXELS", 600)
    random = np.random.default_rng(0)
    plane = to_plane(np.linspace(0.3, 0.7, 4800, dtype=np.float32).reshape(60, 80))
    strokes = np.zeros((60, 80), bool)
    strokes[10:20, 8:60] = True
    rows, columns = map(torch.from_numpy, np.nonzero(strokes))
    uv = torch.full((len(rows), 2), 0.1)
    mask = np.ones((60, 80), bool)
    mask[40:50, 30:70] = False
    small = ChromaField(torch.from_numpy(random.uniform(-0.1, 0.1, (2, 3, 2))).float())
    layers = ChromaLayers(small, fixed_pixels=FixedPixels(rows, columns, uv, (60, 80)), mask=mask)
    changed = with_layers(result, plane, layers)

    page = open_view(changed)
    got = np.reshape(page.page.evaluate(COMPOSE, 1.0), (*page.get("size"), 4))[..., :3]

    assert page.get("size") == [21, 28]
    difference = np.abs(got - ShownSize().pixels(changed).astype(int)).max(axis=-1)
    assert (difference > 2).mean() < 0.05 and difference.max() < 20  # at the edges of strokes


def test_grayscale_is_left_of_the_divider_and_color_right_of_it(open_view, result):
    page = open_view(result)

    assert is_gray(page.pixel(0.2, 0.5)) and not is_gray(page.pixel(0.8, 0.5))

    page.set("divider", 0.1)
    assert not is_gray(page.pixel(0.2, 0.5))
    page.set("divider", 0.9)
    assert is_gray(page.pixel(0.8, 0.5))


def test_saturation_changes_are_composed_without_the_kernel(open_view, result):
    page = open_view(result)
    before = page.pixel(0.8, 0.5)

    page.set("saturation", 0)
    gray = page.pixel(0.8, 0.5)
    page.set("saturation", 2)

    assert is_gray(gray)
    assert np.ptp(page.pixel(0.8, 0.5)) > np.ptp(before)


def test_the_exact_image_is_requested_when_the_slider_stops(open_view, result):
    page = open_view(result)
    page.wait_sent("request_exact")
    page.page.evaluate("() => [1.2, 1.4, 1.6].forEach((s) => model.set('saturation', s))")
    page.page.wait_for_function("() => model.sent.at(-1).saturation === 1.6")
    request = page.sent()[-1]
    assert request == {"kind": "request_exact", "serial": page.get("serial"), "saturation": 1.6}
    assert not {1.2, 1.4} & {message.get("saturation") for message in page.sent()}

    red = np.full((60, 90, 3), (255, 0, 0), np.uint8)
    page.receive({**request, "kind": "exact"}, red)

    assert page.pixel(0.8, 0.5) == [255, 0, 0]
    assert page.page.locator(".napari-colorize-view").get_attribute("data-exact") == "true"


@pytest.mark.parametrize("stale", [{"saturation": 0.5}, {"serial": 0}], ids=str)
def test_an_outdated_exact_image_is_ignored(open_view, result, stale):
    page = open_view(result)
    current = {"serial": page.get("serial"), "saturation": page.get("saturation")}

    page.receive({"kind": "exact", **current, **stale}, np.zeros((60, 90, 3), np.uint8))

    assert page.pixel(0.8, 0.5) != [0, 0, 0]


def test_the_divider_is_dragged_with_the_mouse(open_view, result):
    page = open_view(result)

    page.drag((0.5, 0.5), (0.75, 0.4))
    assert page.get("divider") == pytest.approx(0.75, abs=0.01)
    assert is_gray(page.pixel(0.7, 0.5)) and not is_gray(page.pixel(0.8, 0.5))

    page.drag((0.75, 0.5), (1.4, 0.5))  # beyond the edge
    assert page.get("divider") == 1


def test_the_divider_is_moved_by_keys(open_view, result):
    page = open_view(result)
    divider = page.page.get_by_role("slider")
    divider.focus()

    for key, percent in [("ArrowRight", 52), ("Shift+ArrowLeft", 42), ("Home", 0), ("End", 100)]:
        page.page.keyboard.press(key)
        page.settle()
        assert divider.get_attribute("aria-valuenow") == str(percent)


def test_the_divider_is_dragged_with_a_finger(open_view, result):
    page = open_view(result, has_touch=True)
    touch = page.page.context.new_cdp_session(page.page)
    positions = [page.position(x, 0.5) for x in (0.5, 0.4, 0.25)]

    for kind, (x, y) in zip(("touchStart", "touchMove", "touchMove"), positions, strict=True):
        points = [{"x": x, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.settle()

    assert page.get("divider") == pytest.approx(0.25, abs=0.02)


def test_a_pinch_zooms(open_view, result):
    page = open_view(result, has_touch=True)
    touch = page.page.context.new_cdp_session(page.page)

    for kind, half in (("touchStart", 0.1), ("touchMove", 0.2), ("touchMove", 0.3)):
        points = [
            {"x": x, "y": y, "id": number}
            for number, (x, y) in enumerate(
                [page.position(0.5 - half, 0.5), page.position(0.5 + half, 0.5)]
            )
        ]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.settle()

    assert page.get("camera")[0] == pytest.approx(3, abs=0.3)
    assert page.get("divider") == 0.5


def test_the_wheel_zooms_only_with_ctrl(open_view, result):
    page = open_view(result)
    page.page.mouse.move(*page.position(0.9, 0.5))

    page.page.mouse.wheel(0, -200)
    assert page.get("camera")[0] == 1
    page.page.keyboard.down("Control")
    page.page.mouse.wheel(0, -200)
    page.page.wait_for_function("() => model.get('camera')[0] > 1")
    page.page.keyboard.up("Control")

    zoom, x, _ = page.get("camera")
    assert zoom == pytest.approx(np.e, abs=0.01)
    assert x + (0.9 - 0.5) / zoom == pytest.approx(0.9, abs=0.01)  # the pixel under the mouse stays


def test_a_zoomed_image_is_panned_inside_the_stage(open_view, result):
    page = open_view(result)
    for _ in range(2):
        page.page.get_by_role("button", name="Zoom in").click()

    page.drag((0.3, 0.5), (0.4, 0.5))
    zoom, x, y = page.get("camera")
    assert (zoom, y) == (2.25, 0.5) and x == pytest.approx(0.5 - 0.1 / 2.25, abs=0.005)
    page.drag((0.3, 0.3), (1.5, 1.5))
    assert page.get("camera")[1:] == pytest.approx([0.5 / 2.25] * 2)
    assert page.get("divider") == 0.5

    page.page.get_by_role("button", name="Fit").click()
    assert page.get("camera") == [1, 0.5, 0.5]


def test_a_click_is_sent_only_while_clicks_are_enabled(open_view, result):
    page = open_view(result)
    page.page.mouse.click(*page.position(0.25, 0.75))
    assert not [message for message in page.sent() if message["kind"] == "click"]

    page.set("emits_clicks", True)
    page.page.mouse.click(*page.position(0.25, 0.75))

    (click,) = [message for message in page.sent() if message["kind"] == "click"]
    assert click["point"] == pytest.approx([0.75, 0.25], abs=0.01)


def test_an_overlay_is_blended_with_the_image_until_it_is_removed(open_view, result):
    page = open_view(result)
    before = page.pixel(0.8, 0.5)
    red = base64.b64encode(bytes([255, 0, 0, 255])).decode()
    page.page.evaluate("red => Object.assign(model.state, {overlay: withBytes({bytes: red})})", red)

    page.page.evaluate("() => Object.assign(model.state, {overlay_size: [1, 1], opacity: 0.5})")
    page.set("overlay_serial", 7)
    covered = page.pixel(0.8, 0.5)
    page.set("overlay_size", [0, 0])
    page.set("overlay_serial", 8)

    np.testing.assert_allclose(covered, np.add(before, [255, 0, 0]) / 2, atol=2)
    assert page.pixel(0.8, 0.5) == before


def test_a_removed_view_has_no_listeners(open_view, result):
    page = open_view(result)
    page.page.evaluate("() => detach()")
    page.set("saturation", 2)
    attached, detached = page.wait_sent("attached"), page.sent()[-1]
    assert detached == {**attached, "kind": "detached"}

    assert all(
        not slots
        for slots in page.page.evaluate(
            "() => Object.values(model.listeners).map((slots) => slots.size)"
        )
    )


def test_a_live_view_answers_the_roll_call(open_view, result):
    page = open_view(result)
    attached = page.wait_sent("attached")

    page.receive({"kind": "roll_call"}, np.zeros(0, np.uint8))

    assert page.sent()[-1] == {**attached, "answers": True}


def test_the_pixel_under_the_pointer_is_described(open_view, result):
    page = open_view(result)
    readout = page.page.locator(".readout")

    page.page.mouse.move(*page.position(0.75, 0.51))
    page.settle()

    gray = int(np.rint(result.plane.gray[30, 67] * 255))
    assert readout.inner_text().startswith(f"row 30, column 67: gray {gray}, RGB ")
    page.page.mouse.move(5, 590)
    page.settle()
    assert readout.is_hidden()


def test_a_view_that_is_zoomed_in_requests_and_draws_real_pixels(open_view, result, monkeypatch):
    monkeypatch.setattr("napari_colorize.jupyter.browser_encoding.MAX_PIXELS", 600)
    page = open_view(result)
    page.page.get_by_role("button", name="Zoom in").click(click_count=4, delay=0)

    # The clicks can be seen as separate: then there is a request for each zoom.
    page.page.wait_for_function(
        "() => model.sent.some((one) => one.kind === 'request_crop' && one.area[0] > 0)"
    )
    request = [one for one in page.sent() if one["kind"] == "request_crop"][-1]
    top, _, bottom, _ = request["area"]
    assert 0 < top < bottom < 1 and bottom - top == pytest.approx(1 / request["zoom"], abs=0.01)
    gray, red = np.full((2, 2), 7, np.uint8), np.full((2, 2, 3), (255, 0, 0), np.uint8)
    crop = {**request, "kind": "crop", "size": [2, 2]}
    page.page.evaluate(
        "([message, gray, rgb]) => model.emit('msg:custom', message, [gray, rgb].map(withBytes))",
        [crop, *({"bytes": base64.b64encode(one.tobytes()).decode()} for one in (gray, red))],
    )
    page.settle()

    assert page.pixel(0.2, 0.5) == [7, 7, 7] and page.pixel(0.8, 0.5) == [255, 0, 0]
    page.set("saturation", 2)  # another image: the crop is outdated
    assert page.pixel(0.8, 0.5) != [255, 0, 0]


DROP = """(kind) => {
  const file = new File([new Uint8Array(5_000_000).fill(7)], "photo.png", { type: "image/png" });
  const data = new DataTransfer();
  data.items.add(file);
  const stage = document.querySelector(".stage");
  stage.focus();
  const event = kind === "drop"
    ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  stage.dispatchEvent(event);
  return event.defaultPrevented;
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_dropped_or_pasted_file_is_sent_in_pieces(open_view, result, kind):
    page = open_view(result)

    assert page.page.evaluate(DROP, kind)  # the browser does not open the file itself

    page.page.wait_for_function("() => model.sent.some((one) => one.last)")
    pieces = [message for message in page.sent() if message["kind"] == "file"]
    assert [piece["first"] for piece in pieces] == [True, False, False]
    assert {piece["name"] for piece in pieces} == {"photo.png"}
    assert len({piece["id"] for piece in pieces}) == 1


def test_without_an_image_the_view_invites_to_choose_one(open_view, result, tmp_path):
    page = open_view(result)
    page.view.clear()
    page.page.evaluate(
        "(state) => { Object.assign(model.state, withBytes(state)); model.emit('change:serial'); }",
        page.state(),
    )
    (tmp_path / "photo.png").write_bytes(b"pixels")

    with page.page.expect_file_chooser() as chooser:
        page.page.get_by_role("button", name="Upload an image").click()
    chooser.value.set_files(tmp_path / "photo.png")

    page.page.wait_for_function("() => model.sent.some((one) => one.last)")
    assert page.wait_sent("file")["name"] == "photo.png"


def test_a_file_is_downloaded_once_for_all_views(open_view, result):
    page = open_view(result)
    message = {"kind": "download", "name": "colors.png", "once": "1"}

    with page.page.expect_download() as download:
        page.receive(message, np.arange(5, dtype=np.uint8))
    assert download.value.suggested_filename == "colors.png"
    assert download.value.path().read_bytes() == bytes(range(5))

    downloads = []
    page.page.on("download", lambda one: downloads.append(one))
    page.receive(message, np.arange(5, dtype=np.uint8))  # as a second view receives it
    page.settle()
    assert downloads == []


def test_the_image_fills_the_screen_and_returns(open_view, result):
    page = open_view(result)
    before = page.stage.bounding_box()["width"]
    button = page.page.get_by_role("button", name="Full screen")

    button.click()
    page.page.wait_for_function(
        "() => document.fullscreenElement?.matches('.napari-colorize-view')"
    )
    page.settle()
    assert page.stage.bounding_box()["width"] > before
    button.click()
    page.page.wait_for_function("() => !document.fullscreenElement")


def test_reduced_motion_is_respected(open_view, result):
    page = open_view(result, reduced_motion="reduce")
    page.set("progress", -1)

    moving = "() => getComputedStyle(document.querySelector('.done')).animationName"
    assert page.page.evaluate(moving) == "none"


def test_a_result_without_chroma_is_displayed_as_sent(open_view, result):
    random = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    result = replace(result, chroma=None, pixels_8bit=random)
    page = open_view(result)
    request = page.wait_sent("request_exact")

    page.receive({**request, "kind": "exact"}, ShownSize().pixels(result))

    page.page.get_by_role("button", name="Zoom in").click(click_count=9, delay=0)
    page.settle()
    assert page.pixel(0.8, 0.5) in random.reshape(-1, 3).tolist()


def test_values_may_arrive_one_after_another(open_view, result):
    """Not all hosts set the values of one message before they report changes."""
    page = open_view(result)
    before = page.pixel(0.2, 0.5), page.pixel(0.8, 0.5)
    other = page.state()

    page.page.evaluate(
        """async (state) => {
          const { serial, plane_serial, ...rest } = withBytes(state);
          Object.assign(model.state, { size: [0, 0], gray: withBytes({bytes: ""}), chroma: {} });
          for (const [name, value] of Object.entries({ serial, plane_serial, ...rest })) {
            model.state[name] = value;
            model.emit(`change:${name}`);
          }
        }""",
        {**other, "serial": other["serial"] + 1, "plane_serial": other["plane_serial"] + 1},
    )
    page.settle()

    assert (page.pixel(0.2, 0.5), page.pixel(0.8, 0.5)) == before


@pytest.mark.parametrize("size", [(10, 10), (1, 10**7), (9000, 12000)], ids=str)
def test_the_display_size_is_limited(size):
    height, width = display_size(*size)

    assert height * width <= MAX_PIXELS
    assert max(height, width) <= MAX_SIDE
    assert size == (height, width) or height * width > 0.99 * MAX_PIXELS or 1 in size
