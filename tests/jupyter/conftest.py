"""What tests of the widget share: a browser, and the view on a page without Jupyter."""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from recorder import SOON
from skimage import data

from napari_colorize.jupyter import ColorizeBox
from napari_colorize.jupyter.view import SCRIPT, STYLE, ImageView

FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MODEL = """
class Model {
  constructor(state) {
    Object.assign(this, { state, heard: {}, sent: [], saved: 0 });
  }
  get(name) { return this.state[name]; }
  set(name, value) {
    this.state[name] = value;
    this.tell(`change:${name}`);
  }
  save_changes() { this.saved += 1; }
  on(event, slot) { (this.heard[event] ??= new Set()).add(slot); }
  off(event, slot) { this.heard[event]?.delete(slot); }
  tell(event, ...values) { this.heard[event]?.forEach((slot) => slot(...values)); }
  send(message) { this.sent.push(message); }
}
const decoded = (text) =>
  new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
/** With bytes, which came as text, in the place of all { bytes }. */
const whole = (value) => {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  if ("bytes" in value) return decoded(value.bytes);
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, whole(part)]));
};
"""
BEGIN = """async ([source, style, model, state]) => {
  const load = (text) => import(URL.createObjectURL(new Blob([text], {type: "text/javascript"})));
  window.view = await load(source);
  const made = await load(model + "export { Model, whole };");
  window.whole = made.whole;
  window.model = new made.LoadedModels(whole(state));
  document.head.append(Object.assign(document.createElement("style"), {textContent: style}));
  document.body.innerHTML = '<div style="width: 400px"></div>';
  window.forget = view.default.render({model: window.model, el: document.body.firstChild});
}"""
PIXEL = """([x, y]) => {
  const canvas = document.querySelector("canvas");
  const place = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
  return [...canvas.getContext("2d").getImageData(...place, 1, 1).data];
}"""
SHOW = """(state) => {
  Object.assign(model.state, whole(state));
  model.tell("change:serial");
}"""
PLAIN = (bytes, int, float, str, list, dict, type(None))
FRAME = "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"


def encoded(value: Any) -> Any:
    """A value with its bytes as text, for a browser."""
    if isinstance(value, dict):
        return {name: encoded(part) for name, part in value.items()}
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


class Page:
    """A page with the view of a result.

    Parameters
    ----------
    browser : Browser
        From Playwright.
    result : Colorized
        What is shown.
    """

    def __init__(self, browser: Any, result: Any, **context: Any) -> None:
        self.view = ImageView()
        self.view.show(result)
        self.page = browser.new_context(
            viewport={"width": 500, "height": 600}, **context
        ).new_page()
        self.page.evaluate(BEGIN, [SCRIPT, STYLE, MODEL, self.state()])
        self.stage = self.page.locator(".stage")
        self.settle()

    def state(self) -> dict[str, Any]:
        """All that the kernel's side has for the browser."""
        state = {name: getattr(self.view, name) for name in self.view.trait_names(sync=True)}
        return {
            name: encoded(value)
            for name, value in state.items()
            if name[0] != "_" and isinstance(value, PLAIN)
        }

    def show(self, result: Any) -> None:
        """Show another result, as a kernel that is connected would."""
        before = self.state()
        self.view.show(result)
        new = {name: value for name, value in self.state().items() if value != before[name]}
        self.page.evaluate(SHOW, new)
        self.settle()

    def settle(self) -> None:
        """Wait until what is to be drawn is drawn."""
        self.page.evaluate(FRAME)

    def get(self, name: str) -> Any:
        return self.page.evaluate("name => model.get(name)", name)

    def set(self, name: str, value: Any) -> None:
        self.page.evaluate("([name, value]) => model.set(name, value)", [name, value])
        self.settle()

    def paint(self) -> np.ndarray:
        """The strokes that the kernel was sent last, RGBA; once there are any."""
        self.page.wait_for_function("() => model.get('paint').byteLength && model.saved")
        self.page.wait_for_selector("[data-unsent=false]")
        png = bytes(self.page.evaluate("() => [...new Uint8Array(model.get('paint').buffer)]"))
        return np.asarray(Image.open(io.BytesIO(png)))

    def sent(self) -> list[dict[str, Any]]:
        """What the view told the kernel."""
        return list(self.page.evaluate("() => model.sent"))

    def wait_sent(self, kind: str) -> dict[str, Any]:
        """The last thing of a kind that it told the kernel, once there is one."""
        self.page.wait_for_function("kind => model.sent.some((one) => one.kind === kind)", arg=kind)
        return [told for told in self.sent() if told["kind"] == kind][-1]

    def tell(self, message: dict[str, Any], pixels: np.ndarray) -> None:
        """Say something as the kernel does."""
        self.page.evaluate(
            "([message, data]) => model.tell('msg:custom', message, [whole(data)])",
            [message, encoded(pixels.tobytes())],
        )
        self.settle()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where on the page a share of the stage is."""
        box = self.stage.bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def pixel(self, x: float, y: float) -> list[int]:
        """Red, green and blue of what is drawn at a share of the stage."""
        return self.page.evaluate(PIXEL, [x, y])[:3]

    def wait_pixel(self, x: float, y: float, color: list[int]) -> None:
        """Until a colour is drawn there."""
        self.page.wait_for_function(
            f"([place, color]) => ({PIXEL})(place).slice(0, 3).join() === color",
            arg=[[x, y], ",".join(map(str, color))],
        )

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the mouse, in shares of the stage."""
        mouse = self.page.mouse
        mouse.move(*self.place(*start))
        mouse.down()
        mouse.move(*self.place(*end), steps=4)
        mouse.up()
        self.settle()


@pytest.fixture
def photo() -> np.ndarray:
    """A gray photograph, uint8 (96, 128)."""
    return data.astronaut()[:96, 128:256, 1].copy()


@pytest.fixture
def box_of(tiny_colorizer):
    """Opens a box of the quick model and waits for its picture."""
    boxes = []

    def opened(source=None, **wanted):
        boxes.append(ColorizeBox(source, **{"model": tiny_colorizer, **wanted}))
        assert boxes[-1].wait(SOON)
        return boxes[-1]

    yield opened
    for box in boxes:
        box.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless browser; where tests must not be skipped (CI), its absence is a failure."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = "Chromium is not here: `make test` installs it where it may (apt install chromium)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_view(chromium) -> Iterator[Callable[..., Page]]:
    """Opens the view of a result on a page of its own."""
    pages: list[Page] = []

    def opened(result: Any, **context: Any) -> Page:
        pages.append(Page(chromium, result, **context))
        return pages[-1]

    yield opened
    for page in pages:
        page.page.context.close()
