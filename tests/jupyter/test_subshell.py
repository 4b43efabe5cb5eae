"""Browser messages that a kernel receives in a subshell, as JupyterLab 4.4 and newer send them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

jupyter_client = pytest.importorskip("jupyter_client")

SECONDS = 120  # upper bound of waits; test machines are slow and shared
OPEN_BOX = """
import json, threading
from ipykernel.comm.comm import BaseComm
# From version 7.4 on, ipykernel sends a message to the shell that used the widget last; before, and
# in a part of the cases since, to the subshell that the browser names.
BaseComm._reply_subshell_for = lambda self, data, default: default
import ipywidgets
from skimage import data
from napari_colorize.jupyter import ColorizeBox
threads = []
def note(change):
    threads.append(threading.current_thread().name)
plain = ipywidgets.IntSlider()
plain.observe(note, "value")
box = ColorizeBox(data.camera()[::8, ::8], render_factor=4)
done = box.wait(100)
"""


class Kernel:
    """A kernel with a subshell, to which messages of widgets are sent."""

    def __init__(self) -> None:
        self.manager = jupyter_client.KernelManager()
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)
        request = self.client.session.msg("create_subshell_request")
        self.client.control_channel.send(request)
        self.subshell = self.client.get_control_msg(timeout=SECONDS)["content"].get("subshell_id")

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code: str) -> str:
        """Run code in the main shell and return what it prints."""
        printed: list[str] = []

        def keep(message: dict[str, Any]) -> None:
            content = message["content"]
            printed.append(content.get("text") or "\n".join(content.get("traceback", [])))

        self.client.execute_interactive(code, output_hook=keep, timeout=SECONDS)
        return "".join(printed).strip()

    def value(self, expression: str) -> Any:
        return json.loads(self.run(f"print(json.dumps({expression}))"))

    def move(self, comm: str, value: Any) -> str:
        """Change the value of a widget as its view does; returns the id of the message."""
        data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def wait_echo(self, message_id: str) -> None:
        """Wait for the answer to a message; the browser ignores one that names another message."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            message = self.client.get_iopub_msg(timeout=SECONDS)
            is_echo = message["content"].get("data", {}).get("method") == "echo_update"
            if is_echo and message["parent_header"].get("msg_id") == message_id:
                return
        raise AssertionError("The kernel did not answer the message.")


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    started = Kernel()
    if started.subshell is None:
        started.close()
        pytest.skip("This ipykernel has no subshells.")
    started.run(OPEN_BOX)
    yield started
    started.close()


def test_messages_are_handled_in_the_main_thread(kernel):
    kernel.run(
        "threads.clear()\n"
        "box.controls['saturation'].slider.observe(note, 'value')\n"
        "box.observe(note, 'result')"
    )
    slider, plain = kernel.value("[box.controls['saturation'].slider.model_id, plain.model_id]")

    kernel.wait_echo(kernel.move(plain, 5))
    assert "subshell" in kernel.value("threads")[0]  # another widget: the subshell is real
    kernel.run("threads.clear()")
    kernel.wait_echo(kernel.move(slider, 1.75))
    kernel.run("done = box.wait(100)")

    assert set(kernel.value("threads")) == {"MainThread"}
    assert kernel.value("box.result.settings.saturation") == 1.75


def test_a_group_that_is_opened_later_is_handled_there_too(kernel):
    kernel.run("threads.clear(); fold = box._groups['Edges and damping']")
    kernel.wait_echo(kernel.move(kernel.value("fold.button.model_id"), True))
    kernel.run("box.controls['shadows'].slider.observe(note, 'value')")

    kernel.wait_echo(kernel.move(kernel.value("box.controls['shadows'].slider.model_id"), 0.25))
    kernel.run("done = box.wait(100)")

    assert set(kernel.value("threads")) == {"MainThread"}
    assert kernel.value("[len(fold.children), box.settings.shadows]") == [2, 0.25]


def test_a_thousand_random_moves_end_in_step(kernel):
    random.seed(0)
    names = {"saturation": 80, "render_factor": None, "shadows": 100}
    comms = {name: kernel.value(f"box.controls[{name!r}].slider.model_id") for name in names}

    for number in range(1000):
        name = random.choice(list(names))
        steps = names[name]
        value = random.randint(2, 6) if steps is None else random.randint(0, steps) / steps
        last = kernel.move(comms[name], value)
        if number % 100 == 50:  # cells change the same settings
            kernel.run(f"box.set_settings(saturation={random.randint(0, 4)}, render_factor=3)")
    kernel.wait_echo(last)
    kernel.run("done = box.wait(100)")

    shown = f"{{name: box.controls[name].slider.value for name in {list(names)}}}"
    chosen = f"{{name: getattr(box.settings, name) for name in {list(names)}}}"
    used = f"{{name: getattr(box.result.settings, name) for name in {list(names)}}}"
    assert kernel.value(shown) == kernel.value(chosen) == kernel.value(used)
    assert kernel.value("[done, box.session.status, box.view._is_setting_paint]") == [
        True,
        "idle",
        False,
    ]
