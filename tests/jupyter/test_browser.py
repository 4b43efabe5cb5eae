"""The boxes in JupyterLab and Notebook 7, driven by a headless browser."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

VARIABLE = "NAPARI_COLORIZE_SCREENSHOTS"
MILLISECONDS = 120_000  # upper bound of waits; test machines are slow and shared
TOKEN = "tests"
VIEW = ".napari-colorize-view"
EXACT = f"{VIEW}[data-exact=true]"
# A preview lasts for a few milliseconds only: its appearance is recorded, not awaited.
RECORD_PREVIEWS = f"""() => {{
  const view = document.querySelector("{VIEW}");
  const record = () => {{
    window.previewWasShown ||= view.dataset.exact === "false";
  }};
  new MutationObserver(record).observe(view, {{ attributes: true }});
}}"""

IMPORTS = """
from skimage import data
from napari_colorize.jupyter import ColorizeBox
gray = data.astronaut()[..., 1]
"""
RUN_ALL = """async () => {
  const panel = jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await jupyterapp.commands.execute("notebook:run-all-cells");
}"""
IN_KERNEL = """async (code) => {
  const {kernel} = jupyterapp.shell.currentWidget.sessionContext.session;
  const future = kernel.requestExecute({code, store_history: false});
  let output = "";
  future.onIOPub = (message) => {
    output += message.content.text ?? message.content.traceback?.join("\\n") ?? "";
  };
  await future.done;
  return output.trim();
}"""
COLORS = """(number) => {
  const canvas = document.querySelectorAll(".napari-colorize-view canvas")[number];
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let left = 0, right = 0;
  for (let at = 0; at < data.length; at += 4) {
    const [r, g, b] = data.subarray(at, at + 3);
    const color = Math.max(r, g, b) - Math.min(r, g, b);
    if ((at / 4) % canvas.width < canvas.width / 2) left += color; else right += color;
  }
  return [left, right].map((sum) => sum / (data.length / 8));
}"""
SHORTENED = """() => [...document.querySelectorAll(".tools button")]
  .filter((button) => button.scrollWidth > button.clientWidth)
  .map((button) => button.textContent)"""


def start(folder: Path, kind: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a Jupyter server for the notebooks in a folder; returns the process and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = str(folder / "models")  # an empty folder, not the user's models
    quiet = folder / ".settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    news = {"fetchNews": "false", "checkForUpdates": False}
    (quiet / "notification.jupyterlab-settings").write_text(json.dumps(news))
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    options = [
        *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        *("--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"),
        *(f"--ServerApp.root_dir={folder}", "--expose-app-in-browser"),
        "--LabApp.extension_manager=readonly",
    ]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", kind, *options],
            env={
                **env,
                "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
                "NAPARI_COLORIZE_MODELS": models,
            },
            stdout=log,
            stderr=log,
        )
    return server, port


def wait_for_server(port: int, server: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(MILLISECONDS // 200):
        try:
            opener.open(f"http://127.0.0.1:{port}/api/status?token={TOKEN}").close()
            return
        except OSError:
            assert server.poll() is None, "The Jupyter server ended."
            time.sleep(0.2)
    raise AssertionError("The Jupyter server did not start.")


class Notebook:
    """A notebook that is open in a browser, with its cells executed."""

    def __init__(self, browser: Any, folder: Path, port: int, kind: str, cells: list[str]) -> None:
        self.folder = folder
        self._write(cells)
        self.page = browser.new_context(viewport={"width": 1280, "height": 960}).new_page()
        self.page.set_default_timeout(MILLISECONDS)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        where = "lab/tree/box.ipynb?reset&" if kind == "lab" else "notebooks/box.ipynb?"
        self.page.goto(f"http://127.0.0.1:{port}/{where}token={TOKEN}")
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext && true"
        )
        if kind == "lab":
            self.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
        self.page.evaluate(RUN_ALL)

    def close(self) -> None:
        """Shut the kernel down without a dialog."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.context.close()

    def _write(self, cells: list[str]) -> None:
        nodes = [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": source.strip(),
            }
            for number, source in enumerate(cells)
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {"cells": nodes, "metadata": {"kernelspec": kernel}, "nbformat": 4}
        (self.folder / "box.ipynb").write_text(json.dumps({**notebook, "nbformat_minor": 5}))

    def kernel(self, code: str) -> str:
        """Run code in the kernel and return what it prints."""
        return str(self.page.evaluate(IN_KERNEL, code))

    def colors(self, number: int = 0) -> tuple[float, float]:
        """Mean colorfulness of a view, left and right of its center."""
        left, right = self.page.evaluate(COLORS, number)
        return left, right

    def wait_exact(self) -> None:
        """Wait until all views display the exact pixels of the kernel."""
        self.page.wait_for_function(
            """(view) => {
              const all = [...document.querySelectorAll(view)];
              return all.length && all.every((one) => one.dataset.exact === "true");
            }""",
            arg=VIEW,
        )

    def wait_message(self, text: str) -> Any:
        """Wait for a message that matches this pattern."""
        found = self.page.locator(".napari-colorize-box .message-row").get_by_text(re.compile(text))
        found.first.wait_for()
        return found.first

    def wait_output(self, code: str, answer: str) -> None:
        """Run code until it prints this: clicks reach the kernel with a delay."""
        end = time.monotonic() + MILLISECONDS / 1000
        while (output := self.kernel(code)) != answer and time.monotonic() < end:
            self.page.wait_for_timeout(50)
        assert output == answer

    def slide(self, number: int, steps: int) -> None:
        """Move a slider of the box by keys; 0 is the render factor, 1 the saturation."""
        self.page.locator(".napari-colorize-box .noUi-handle").nth(number).focus()
        for _ in range(abs(steps)):
            self.page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")

    def unfold(self, title: str) -> None:
        """Open a group of settings, by keyboard."""
        self.page.get_by_role("button", name=title).focus()
        self.page.keyboard.press("Enter")

    def paint(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a stroke; positions are fractions of the image."""
        box, mouse = self.page.locator(".stage").bounding_box(), self.page.mouse
        places = [
            (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)
        ]
        mouse.move(*places[0])
        mouse.down()
        mouse.move(*places[1], steps=8)
        mouse.up()

    def shoot(self, name: str) -> None:
        """Write a screenshot with a reduced palette."""
        path = Path(os.environ.get(VARIABLE, self.folder)) / f"jupyter-{name}.png"
        self.page.screenshot(path=path)
        with Image.open(path) as image:
            full = image.convert("RGB")
            palette = full.quantize(256, kmeans=2)
            full.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(
                path, optimize=True
            )


@pytest.fixture(params=["lab", "notebook"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def server_of(tmp_path_factory) -> Iterator[Any]:
    """Start a server of JupyterLab or Notebook 7, once; returns its folder and port."""
    servers: dict[str, tuple[subprocess.Popen[bytes], Path, int]] = {}

    def started(kind: str) -> tuple[Path, int]:
        if kind not in servers:
            folder = tmp_path_factory.mktemp(kind)
            server, port = start(folder, kind)
            servers[kind] = server, folder, port
            wait_for_server(port, server)
        return servers[kind][1:]

    yield started
    for server, _, _ in servers.values():
        server.terminate()
    for server, _, _ in servers.values():
        server.wait(60)


@pytest.fixture
def open_notebook(chromium, server_of) -> Iterator[Any]:
    """Open a notebook with these cells in JupyterLab or Notebook 7."""
    notebooks: list[Notebook] = []

    def opened(kind: str, *cells: str) -> Notebook:
        folder, port = server_of(kind)
        notebooks.append(Notebook(chromium, folder, port, kind, list(cells)))
        return notebooks[-1]

    yield opened
    for notebook in notebooks:
        notebook.close()


def test_an_image_is_adjusted_and_saved(open_notebook, kind):
    watch = "states, serial = [], box.view.serial; box.session.state.connect(states.append)"
    facts = "[states, box.settings.saturation, box.view.serial - serial]"
    notebook = open_notebook(kind, IMPORTS, "box = ColorizeBox(gray)\nbox")
    page = notebook.page
    notebook.wait_exact()
    left, right = notebook.colors()
    assert left < 1 < right
    assert page.evaluate(SHORTENED) == []
    if kind == "lab":
        notebook.shoot(kind)

    # Saturation: the image is composed in the browser and no prediction runs.
    notebook.kernel(watch)
    handle = page.locator(".noUi-handle").nth(1).bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(RECORD_PREVIEWS)
    page.mouse.move(x + 30, y, steps=8)
    page.wait_for_function("() => window.previewWasShown")
    page.mouse.up()
    notebook.wait_exact()
    assert notebook.colors()[1] > 1.3 * right
    values = json.loads(notebook.kernel(f"import json; print(json.dumps({facts}))"))
    assert "predicting" not in values[0] and values[1] > 1.3
    assert values[2] == 0  # nothing but the exact image was sent

    # The divider, by mouse and by keys, without triggering Jupyter's shortcuts.
    stage = page.locator(".stage").bounding_box()
    page.mouse.move(stage["x"] + stage["width"] / 2, stage["y"] + 40)
    page.mouse.down()
    page.mouse.move(stage["x"] + 2, stage["y"] + 40, steps=5)
    page.mouse.up()
    page.wait_for_function(f"() => ({COLORS})(0)[0] > 2")
    divider = page.get_by_role("slider", name="Divider")
    divider.focus()
    for key in ("End", "0", "0", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    page.locator("[aria-valuenow='90']").wait_for()
    assert page.locator(".jp-Dialog").count() == 0  # 0, 0 would restart the kernel
    page.keyboard.press("Home")

    # Render factor and self-attention need another prediction.
    before = page.locator("canvas").evaluate("(canvas) => canvas.toDataURL()")
    page.locator(".widget-readout").first.fill("16")  # Notebook 7 keeps a slider's arrow keys
    page.keyboard.press("Enter")
    notebook.wait_message("render factor 16")
    page.locator(".napari-colorize-box input[type=checkbox]").first.uncheck()
    notebook.wait_message("self-attention off")
    notebook.wait_exact()
    assert page.locator("canvas").evaluate("(canvas) => canvas.toDataURL()") != before

    # The saved file is the result of the box.
    page.get_by_role("textbox", name="save as").fill("colors.png")
    page.get_by_role("button", name="Save", exact=True).last.click()
    notebook.wait_message("Saved as")
    shape = notebook.kernel("print(box.result.pixels.shape, box.result.settings.render_factor)")
    assert shape == "(512, 512, 3) 16"
    saved = np.asarray(Image.open(notebook.folder / "colors.png"))
    assert saved.shape == (512, 512, 3) and np.ptp(saved.astype(int), axis=-1).mean() > 5
    assert kind == "notebook" or notebook.errors == []  # Notebook 7 has one of its own


def test_a_saved_notebook_shows_the_picture_without_a_kernel(open_notebook):
    notebook = open_notebook("lab", IMPORTS, "box = ColorizeBox(gray)\nbox")
    page = notebook.page
    notebook.wait_exact()
    picture = page.get_by_alt_text("Grayscale and color")
    picture.wait_for(state="attached")
    assert not picture.is_visible()  # the box itself is displayed
    page.get_by_role("button", name="Keep in notebook").click()
    picture.wait_for()
    notebook.shoot("kept")

    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    outputs = json.loads((notebook.folder / "box.ipynb").read_text())["cells"][1]["outputs"]
    assert len(json.dumps(outputs)) < 300_000
    page.reload()

    picture.wait_for()
    assert picture.evaluate("(image) => image.naturalWidth") > 1000
    notebook.shoot("saved")


FOCUSED = """() => {
  const element = document.activeElement;
  const name = element.getAttribute("aria-label") || element.textContent || element.title;
  return element.closest(".napari-colorize-box") ? name.trim() : "";
}"""
WIDTHS = """() => {
  const box = document.querySelector(".napari-colorize-box");
  const parts = [".stage", ".panel"].map((part) => box.querySelector(part).getBoundingClientRect());
  const inside = parts.every((part) => part.right <= innerWidth + 1);
  return [inside, box.scrollWidth <= box.clientWidth + 1, parts.every((part) => part.width >= 250)];
}"""


def test_the_keyboard_and_screen_readers_reach_every_control(open_notebook):
    notebook = open_notebook("lab", IMPORTS, "box = ColorizeBox(gray)\nbox")
    page = notebook.page
    notebook.wait_exact()
    for title in ("Paint hints", "Edges and damping", "Reference image", "Second model"):
        notebook.unfold(title)
    page.get_by_role("slider", name="shadows").wait_for()

    page.locator(".napari-colorize-box .stage").focus()
    names = []
    while (name := page.evaluate(FOCUSED)) and len(names) < 100:
        names.append(name)
        page.keyboard.press("Tab")

    groups = {"Paint hints", "Reference image", "Second model", "Input range", "Output and memory"}
    controls = {"Upload an image from this computer.", "render factor", "saturation", "shadows"}
    assert groups | controls <= set(names)
    unnamed = """() => [...document.querySelectorAll(
      ".napari-colorize-box :is(input:not([type=file]), select, [role=slider], button)")]
      .filter((one) => one.checkVisibility() && !(one.getAttribute("aria-label") ||
        one.labels?.length || one.textContent.trim())).map((one) => one.outerHTML)"""
    assert page.evaluate(unnamed) == []

    # axe-core checks the rest, such as contrasts and roles.
    page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text())
    found = page.evaluate("() => axe.run('.napari-colorize-box')")["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def test_the_box_fits_pages_of_any_width(open_notebook):
    notebook = open_notebook("lab", IMPORTS, "box = ColorizeBox(gray)\nbox")
    notebook.wait_exact()

    for width, height in ((1600, 1000), (820, 700), (640, 480), (360, 640)):
        notebook.page.set_viewport_size({"width": width, "height": height})
        notebook.page.evaluate("() => new Promise((done) => requestAnimationFrame(done))")
        notebook.shoot(f"width-{width}")
        assert notebook.page.evaluate(WIDTHS)[:2] == [True, True], width


def test_after_a_restart_the_box_shows_its_image_and_one_sentence(open_notebook):
    notebook = open_notebook("lab", IMPORTS, "box = ColorizeBox(gray)\nbox")
    page = notebook.page
    notebook.wait_exact()

    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.locator(".napari-colorize-box.jupyter-widgets-disconnected").first.wait_for()

    assert notebook.colors()[1] > 1
    content = """() => [...document.querySelectorAll(".jupyter-widgets-disconnected")]
      .map((one) => getComputedStyle(one, "::before").content)
      .filter((text) => text !== "none" && text !== "normal")"""
    sentences = page.evaluate(content)
    assert len(sentences) == 1 and "run its cell again" in sentences[0]
    notebook.shoot("restarted")


def test_a_run_over_a_stack_is_cancelled(open_notebook):
    stack = """
import numpy as np
stack = np.stack([np.roll(gray, k, 1)[:256, :256] for k in range(300)])
"""
    notebook = open_notebook("lab", IMPORTS, stack, "box = ColorizeBox(stack)\nbox")
    notebook.wait_exact()

    notebook.page.get_by_role("button", name="Colorize all planes").click()
    notebook.wait_message(r"Plane \d+ of 300")
    notebook.shoot("run")
    notebook.page.get_by_role("button", name="Stop", exact=True).click()
    notebook.wait_message("Stopped after")

    notebook.slide(0, -4)  # the plane slider comes before those of the settings
    notebook.slide(0, 2)
    notebook.wait_output("print(box.plane)", "(2,)")


def test_several_boxes_keep_their_state_when_displayed_again(open_notebook):
    notebook = open_notebook(
        "lab",
        IMPORTS,
        "one = ColorizeBox(gray, saturation=2)\none",
        "two = ColorizeBox(data.camera())\ntwo",
        "one",
    )
    notebook.page.wait_for_function(f"() => document.querySelectorAll('{EXACT}').length == 3")
    assert notebook.colors(0) == notebook.colors(2)

    again = notebook.page.locator(".napari-colorize-box").nth(2)
    again.scroll_into_view_if_needed()
    handle = again.locator(".noUi-handle").nth(1)
    handle.focus()
    for _ in range(40):
        notebook.page.keyboard.press("ArrowLeft")
    notebook.page.wait_for_function(f"() => ({COLORS})(0)[1] < 1")

    assert notebook.colors(2)[1] < 1 < notebook.colors(1)[1]
    notebook.kernel("one.set_settings(saturation=1.5)")  # from code to the controls
    notebook.page.wait_for_function(f"() => ({COLORS})(0)[1] > 2")
    assert again.locator(".widget-readout").nth(1).inner_text() == "1.50"


def test_analysis_maps_and_sweep_are_displayed(open_notebook):
    notebook = open_notebook("lab", IMPORTS, "box = ColorizeBox(gray)\nbox")
    page = notebook.page
    notebook.wait_exact()

    page.get_by_role("button", name="Attention").click()
    page.get_by_text("Click a pixel of the image to show its self-attention map.").wait_for()
    stage = page.locator(".stage").bounding_box()
    page.mouse.click(stage["x"] + stage["width"] * 0.75, stage["y"] + stage["height"] * 0.2)
    page.get_by_text("half of the attention").wait_for()
    notebook.shoot("attention")
    page.get_by_role("button", name="Expected error").click()
    page.get_by_text("Expected error in CIEDE2000").wait_for()
    page.get_by_role("button", name="Histogram").click()
    page.locator("img.histogram").wait_for()
    notebook.shoot("expected-error")
    page.get_by_role("button", name="Expected error").click()
    page.get_by_role("button", name="Sweep").click()
    notebook.wait_message("Done: 6 of 6")
    page.get_by_role("button", name="18", exact=True).scroll_into_view_if_needed()
    notebook.shoot("sweep")
    # A click on the image, not on the number below it.
    cell = page.get_by_role("button", name="18", exact=True).bounding_box()
    page.mouse.click(cell["x"] + cell["width"] / 2, cell["y"] + 40)
    notebook.wait_message("render factor 18")
    page.locator(".sweep-cell .chosen", has_text="18").wait_for()
    page.get_by_role("button", name="Close", exact=True).last.click()
    page.locator(".sweep-cell").first.wait_for(state="detached")


def test_hints_are_painted_and_undone(open_notebook):
    notebook = open_notebook("lab", IMPORTS, "box = ColorizeBox(gray)\nbox")
    page = notebook.page
    notebook.wait_exact()
    notebook.kernel("before, chroma = box.result.pixels, box.result.chroma")

    notebook.unfold("Paint hints")
    page.get_by_role("button", name="Paint", exact=True).click()
    page.locator(".napari-colorize-box input[type=color]").fill("#e06a1c")
    notebook.paint((0.2, 0.7), (0.12, 0.9))
    notebook.paint((0.6, 0.6), (0.66, 0.68))
    page.locator("[data-unsent=false]").wait_for()
    suit = "[int(p[330, 310, 0]) - int(p[330, 310, 2]) > 60 for p in (box.result.pixels, before)]"
    notebook.wait_output(f"print({suit})", "[True, False]")  # between the strokes: orange now
    notebook.wait_output("print(box.result.chroma is chroma)", "True")
    for swatch, *positions in ((2, (0.6, 0.05), (0.66, 0.3)), (1, (0.4, 0.12), (0.45, 0.06))):
        page.locator(".swatch").nth(swatch).click()
        notebook.paint(*positions)
    page.locator("[data-unsent=false][data-pending=false][data-exact=true]").wait_for()
    notebook.wait_output("print(box.view.stroke_count)", "4")
    notebook.shoot("paint")

    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Clear").click()
    notebook.wait_output("print(box.hints, (box.result.pixels == before).all())", "None True")


def test_a_reference_and_the_disagreement_map_are_displayed(open_notebook):
    notebook = open_notebook("lab", IMPORTS, "box = ColorizeBox(gray)\nbox")
    notebook.wait_exact()

    notebook.unfold("Reference image")
    notebook.kernel("box.reference = data.coffee()")
    notebook.page.locator(".panel img:not(.histogram)").wait_for()
    notebook.wait_output("print(box.result.guides.reference is box.reference)", "True")
    notebook.page.get_by_role("button", name="Disagreement").click()
    notebook.page.get_by_text("4 predictions").wait_for()
    notebook.shoot("disagreement")


def test_a_missing_file_is_reported_in_the_box(open_notebook):
    notebook = open_notebook("lab", IMPORTS, "box = ColorizeBox('nowhere.png')\nbox")
    notebook.wait_message("nowhere.png does not exist")

    notebook.kernel("from napari_colorize.io.images import write_image")
    notebook.kernel("write_image('here.png', data.coffee())")
    path = notebook.page.get_by_role("textbox").first
    notebook.page.locator(".napari-colorize-box input[type=text]").first.fill("here.png")
    notebook.page.keyboard.press("Enter")

    notebook.wait_exact()
    notebook.wait_message("render factor 12")
    assert path.count() == 1


def test_a_result_is_displayed_before_and_after(open_notebook):
    notebook = open_notebook(
        "lab", IMPORTS, "import napari_colorize as nc\nnc.colorize(gray, saturation=1.4)"
    )
    before = notebook.page.get_by_alt_text("grayscale")
    after = notebook.page.get_by_alt_text("colorized")
    before.wait_for()

    assert before.bounding_box()["width"] == pytest.approx(after.bounding_box()["width"], abs=1)
    half = before.locator("..")
    box = half.bounding_box()
    assert box["width"] == pytest.approx(256, abs=3)
    mouse = notebook.page.mouse
    corner = box["x"] + box["width"] - 6, box["y"] + box["height"] - 5
    mouse.move(*corner)
    mouse.down()
    mouse.move(corner[0] - 100, corner[1], steps=4)
    mouse.up()
    assert half.bounding_box()["width"] == pytest.approx(156, abs=4)


def test_a_training_run_is_followed(open_notebook):
    child = next(Path(__file__).parents[1].rglob("finetune_child.py"))
    fake_process = f"""
import sys
from skimage import data
from napari_colorize.jupyter import FinetuneBox
from napari_colorize.io.images import write_image
from napari_colorize.finetune.training_run import TrainingRun
from napari_colorize.zoo import CATALOGUE, local_path
command = TrainingRun.command.fget
TrainingRun.command = property(lambda self: [sys.executable, {str(child)!r}, *command(self)[3:]])
write_image("tiles/one.png", data.coffee())
base = str(local_path(CATALOGUE["embedded"]))
"""
    notebook = open_notebook("lab", fake_process, "box = FinetuneBox('tiles', base=base)\nbox")
    page = notebook.page

    page.get_by_role("button", name="Start training").click()
    page.get_by_text(re.compile(r"Step \d+ of")).wait_for()
    page.locator("svg polyline").first.wait_for(state="attached")
    page.get_by_role("button", name="Finish now").click()
    page.get_by_text("my-model is ready").wait_for()

    assert notebook.kernel("print(box.model)").endswith("my-model.safetensors")
