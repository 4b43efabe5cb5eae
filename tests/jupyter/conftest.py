"""Fixtures of the Jupyter tests: a headless browser and a page with the view, without Jupyter."""

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
MOCK_MODEL = """
class MockModel {
  constructor(state) {
    Object.assign(this, { state, listeners: {}, sent: [], saved: 0 });
  }
  get(name) { return this.state[name]; }
  set(name, value) {
    this.state[name] = value;
    this.emit(`change:${name}`);
  }
  save_changes() { this.saved += 1; }
  on(event, slot) { (this.listeners[event] ??= new Set()).add(slot); }
  off(event, slot) { this.listeners[event]?.delete(slot); }
  emit(event, ...values) { this.listeners[event]?.forEach((slot) => slot(...values)); }
  send(message) { this.sent.push(message); }
}
const decoded = (text) =>
  new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
/** Replaces every { bytes } object, which holds base64 text, by its bytes. */
const withBytes = (value) => {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  if ("bytes" in value) return decoded(value.bytes);
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [name, withBytes(part)]),
  );
};
"""
BEGIN = """async ([source, style, model, state]) => {
  const load = (text) => import(URL.createObjectURL(new Blob([text], {type: "text/javascript"})));
  window.view = await load(source);
  const mock = await load(model + "export { MockModel, withBytes };");
  window.withBytes = mock.withBytes;
  window.model = new mock.MockModel(withBytes(state));
  document.head.append(Object.assign(document.createElement("style"), {textContent: style}));
  document.body.innerHTML = '<div style="width: 400px"></div>';
  window.detach = view.default.render({model: window.model, el: document.body.firstChild});
}"""
PIXEL = """([x, y]) => {
  const canvas = document.querySelector("canvas");
  const position = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
  return [...canvas.getContext("2d").getImageData(...position, 1, 1).data];
}"""
SHOW = """(state) => {
  Object.assign(model.state, withBytes(state));
  model.emit("change:serial");
}"""
PLAIN = (bytes, int, float, str, list, dict, type(None))
FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def encoded(value: Any) -> Any:
    """A value whose bytes are replaced by base64 text, for the browser."""
    if isinstance(value, dict):
        return {name: encoded(part) for name, part in value.items()}
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


class Page:
    """A browser page that displays a result in an `ImageView`.

    Parameters
    ----------
    browser : Browser
        Playwright browser.
    result : Colorized
        Displayed result.
    view : ImageView, optional
        View that displays it. Default: a new one.
    """

    def __init__(
        self, browser: Any, result: Any, view: ImageView | None = None, **context: Any
    ) -> None:
        self.view = view or ImageView()
        self.view.show(result)
        self.page = browser.new_context(
            viewport={"width": 500, "height": 600}, **context
        ).new_page()
        self.page.evaluate(BEGIN, [SCRIPT, STYLE, MOCK_MODEL, self.state()])
        self.stage = self.page.locator(".stage")
        self.settle()

    def state(self) -> dict[str, Any]:
        """Values of all synchronized traits, for the browser."""
        state = {name: getattr(self.view, name) for name in self.view.trait_names(sync=True)}
        return {
            name: encoded(value)
            for name, value in state.items()
            if name[0] != "_" and isinstance(value, PLAIN)
        }

    def show(self, result: Any) -> None:
        """Display another result and send the changed traits to the browser."""
        before = self.state()
        self.view.show(result)
        new = {name: value for name, value in self.state().items() if value != before[name]}
        self.page.evaluate(SHOW, new)
        self.settle()

    def settle(self) -> None:
        """Wait until the pending frame is drawn."""
        self.page.evaluate(FRAME)

    def get(self, name: str) -> Any:
        return self.page.evaluate("name => model.get(name)", name)

    def set(self, name: str, value: Any) -> None:
        self.page.evaluate("([name, value]) => model.set(name, value)", [name, value])
        self.settle()

    def paint(self) -> np.ndarray:
        """Wait for painted hints and return those sent last, RGBA."""
        self.page.wait_for_function("() => model.get('paint').byteLength && model.saved")
        self.page.wait_for_selector("[data-unsent=false]")
        png = bytes(self.page.evaluate("() => [...new Uint8Array(model.get('paint').buffer)]"))
        return np.asarray(Image.open(io.BytesIO(png)))

    def sent(self) -> list[dict[str, Any]]:
        """Messages that the view sent to the kernel."""
        return list(self.page.evaluate("() => model.sent"))

    def wait_sent(self, kind: str) -> dict[str, Any]:
        """Wait for a message of a kind and return the last one."""
        self.page.wait_for_function("kind => model.sent.some((one) => one.kind === kind)", arg=kind)
        return [message for message in self.sent() if message["kind"] == kind][-1]

    def receive(self, message: dict[str, Any], pixels: np.ndarray) -> None:
        """Deliver a message of the kernel with a buffer of pixels."""
        self.page.evaluate(
            "([message, data]) => model.emit('msg:custom', message, [withBytes(data)])",
            [message, encoded(pixels.tobytes())],
        )
        self.settle()

    def position(self, x: float, y: float) -> tuple[float, float]:
        """Page coordinates of a position given as fractions of the stage."""
        box = self.stage.bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def pixel(self, x: float, y: float) -> list[int]:
        """Drawn RGB at a position given as fractions of the stage."""
        return self.page.evaluate(PIXEL, [x, y])[:3]

    def wait_pixel(self, x: float, y: float, color: list[int]) -> None:
        """Wait until this RGB color is drawn at a position."""
        self.page.wait_for_function(
            f"([position, color]) => ({PIXEL})(position).slice(0, 3).join() === color",
            arg=[[x, y], ",".join(map(str, color))],
        )

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the mouse; positions are fractions of the stage."""
        mouse = self.page.mouse
        mouse.move(*self.position(*start))
        mouse.down()
        mouse.move(*self.position(*end), steps=4)
        mouse.up()
        self.settle()


@pytest.fixture
def photo() -> np.ndarray:
    """Grayscale photograph, uint8 (96, 128)."""
    return data.astronaut()[:96, 128:256, 1].copy()


@pytest.fixture
def box_of(tiny_colorizer):
    """Open a box with a small, fast model and wait for its result."""
    boxes = []

    def opened(source=None, **options):
        boxes.append(ColorizeBox(source, **{"model": tiny_colorizer, **options}))
        assert boxes[-1].wait(SOON)
        return boxes[-1]

    yield opened
    for box in boxes:
        box.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Headless Chromium. Tests are skipped without it, but fail in CI."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        reason = "Chromium was not found. Install it with: apt install chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_view(chromium) -> Iterator[Callable[..., Page]]:
    """Open the view of a result on a new page."""
    pages: list[Page] = []

    def opened(result: Any, **context: Any) -> Page:
        pages.append(Page(chromium, result, **context))
        return pages[-1]

    yield opened
    for page in pages:
        page.page.context.close()


@pytest.fixture
def sent(monkeypatch) -> list[tuple[Any, Any]]:
    """Messages of all views to the browser."""
    messages: list[tuple[Any, Any]] = []
    monkeypatch.setattr(
        "napari_colorize.jupyter.view.ImageView.send",
        lambda self, message, buffers=None: messages.append((message, buffers)),
    )
    return messages
