"""Latency of the Jupyter box in JupyterLab and a real browser: saturation slider and brush.

    python benchmarks/jupyter_box.py

Requires the packages for the tests, and Chromium at /usr/bin/chromium.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine import describe_machine
from playwright.sync_api import Page, sync_playwright

TURNS = 24  # steps of the slider
TOKEN = "benchmark"
CODE = """
from skimage import data
from napari_colorize.jupyter import ColorizeBox
ColorizeBox(data.retina()[200:1224, 200:1224, 1].copy())
"""
RUN_ALL = """async () => {
  const panel = jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await jupyterapp.commands.execute("notebook:run-all-cells");
}"""
TURN = """async (turns) => {
  const handle = document.querySelectorAll(".noUi-handle")[1];
  const view = document.querySelector(".napari-colorize-view");
  const canvas = view.querySelector("canvas");
  const pixels = canvas.getContext("2d");
  const frame = () => new Promise(requestAnimationFrame);
  const sum = () => {
    const {data} = pixels.getImageData(0.6 * canvas.width, 0.3 * canvas.height, 60, 60);
    return data.reduce((total, value, at) => total + value * (at % 7), 0);
  };
  const found = [];
  for (let turn = 0; turn < turns; turn++) {
    const before = sum();
    const [key, keyCode] = turn % 12 < 6 ? ["ArrowRight", 39] : ["ArrowLeft", 37];
    await frame();
    const began = performance.now();
    const event = {key, code: key, keyCode, bubbles: true};
    handle.dispatchEvent(new KeyboardEvent("keydown", event));
    const handled = performance.now() - began;
    while (sum() === before) await frame();
    const seen = performance.now() - began;
    while (view.dataset.exact !== "true") await frame();
    found.push([handled, seen, performance.now() - began]);
    await new Promise((done) => setTimeout(done, 250));
  }
  return found;
}"""
PAINT = """async (turns) => {
  const view = document.querySelector(".napari-colorize-view");
  const canvas = view.querySelector("canvas");
  const stage = view.querySelector(".stage");
  const ink = document.querySelector(".napari-colorize-box input[type=color]");
  const frame = () => new Promise(requestAnimationFrame);
  const beside = () => {
    const at = [0.7 * canvas.width, 0.43 * canvas.height, 8, 8];
    return canvas.getContext("2d").getImageData(...at).data.join();
  };
  const point = (kind, x, y) => {
    const box = stage.getBoundingClientRect();
    const where = {clientX: box.left + x * box.width, clientY: box.top + y * box.height};
    const event = {...where, bubbles: true, pointerId: 1, pointerType: "mouse", isPrimary: true};
    stage.dispatchEvent(new PointerEvent(kind, event));
  };
  stage.setPointerCapture = () => {};
  const found = [];
  for (let turn = 0; turn < turns; turn++) {
    ink.value = ["#c04020", "#2060c0", "#40a040"][turn % 3];
    ink.dispatchEvent(new Event("input", {bubbles: true}));
    ink.dispatchEvent(new Event("change", {bubbles: true}));
    await new Promise((done) => setTimeout(done, 400));
    const before = beside();
    point("pointerdown", 0.6, 0.5);
    point("pointermove", 0.8, 0.5);
    point("pointerup", 0.8, 0.5);
    const began = performance.now();
    while (beside() === before) await frame();
    const seen = performance.now() - began;
    while (view.dataset.exact !== "true") await frame();
    found.push([seen, performance.now() - began]);
  }
  return found;
}"""
BRUSH_STEPS = "end of stroke to neighboring colors updated", "end of stroke to exact image"
SLIDER_STEPS = ("event handled and composed in the browser", "to new frame", "to exact image")


def main() -> None:
    """Print medians and 90th percentiles in milliseconds."""
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as page:
        page.wait_for_selector(".napari-colorize-view[data-exact=true]", timeout=120_000)
        page.wait_for_timeout(3000)  # JupyterLab finishes its layout
        page.locator(".noUi-handle").nth(1).focus()
        rounds = page.evaluate(TURN, TURNS)
        page.get_by_text("Paint hints").click()
        page.get_by_role("button", name="Paint", exact=True).click()
        page.wait_for_selector(".napari-colorize-view.painting")
        painted = page.evaluate(PAINT, TURNS)
    print(describe_machine())
    print_latencies(SLIDER_STEPS, rounds)
    print_latencies(BRUSH_STEPS, painted)


def print_latencies(names: tuple[str, ...], rounds: list[list[float]]) -> None:
    """Print median and 90th percentile of each measure."""
    for name, values in zip(names, zip(*rounds, strict=True), strict=True):
        ordered = sorted(values)
        middle, high = ordered[len(ordered) // 2], ordered[9 * len(ordered) // 10]
        print(f"{name}: median {middle:.1f} ms, 90 % {high:.1f} ms")


@contextmanager
def lab(folder: Path) -> Iterator[Page]:
    """Run JupyterLab with a notebook of one cell in headless Chromium."""
    cell = {"cell_type": "code", "id": "box", "metadata": {}, "execution_count": None}
    notebook = {
        "cells": [cell | {"outputs": [], "source": CODE}],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "box.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    options += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    options += ["--expose-app-in-browser", "--LabApp.extension_manager=readonly"]
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    command = [sys.executable, "-m", "jupyter", "lab", *options]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=environment, **silent)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api/status?token={TOKEN}")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
            )
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"{address}/lab/tree/box.ipynb?token={TOKEN}&reset")
            page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext")
            page.evaluate(RUN_ALL)
            yield page
            browser.close()
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str, seconds: float = 60.0) -> None:
    """Wait until a server responds at an address."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            opener.open(address).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(f"No server responded at {address} within {seconds:g} s.")


if __name__ == "__main__":
    main()
