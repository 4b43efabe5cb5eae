"""Images that a model of photographs has no business with wait for the Colorize button."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from skimage import data
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.result import UNLIKE
from napari_colorize.zoo import CATALOGUE, local_path

pytestmark = pytest.mark.usefixtures("judged")


class JudgingNetwork(TintNetwork):
    """Network for which images darker than `least` are unlike photographs."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.least = least
        self.register_buffer("photograph_classifier", torch.zeros(1))

    def forward(self, gray, self_attention=True, with_unlikeness=False):
        uv = super().forward(gray, self_attention)
        return (uv, self.least - gray.mean((1, 2, 3))) if with_unlikeness else uv


@pytest.fixture
def dark(photo) -> np.ndarray:
    return photo // 8


@pytest.fixture
def viewer_with(make_napari_viewer, panel_of, qtbot):
    """A viewer with a panel whose model judges, and one layer, after all work is done."""

    def opened(image, least=0.25, live=True):
        viewer = make_napari_viewer()
        panel = panel_of(viewer)
        panel.controller.session.model = colorizer_of(JudgingNetwork(least))
        panel.controller.is_live = live
        viewer.add_image(image, name="image", contrast_limits=(0, 255))
        wait_until_idle(panel, qtbot)
        return viewer, panel

    return opened


def wait_until_idle(panel, qtbot) -> None:
    session = panel.controller.session
    # Twice: what is delivered may ask for more.
    for _ in range(2):
        qtbot.waitUntil(lambda: session.status == "idle" and session.wait(0), timeout=60_000)
        qtbot.wait(1)


def test_an_image_unlike_photographs_waits_for_the_button(viewer_with, settle, dark):
    viewer, panel = viewer_with(dark)

    assert len(viewer.layers) == 1 and panel.controller.layer is None
    assert "'image' looks unlike the photographs" in panel.state.text()
    assert panel.colorize.isEnabled() and panel.layers.currentText() == "image"
    assert not panel.save.isEnabled() and panel.notes.text() == ""

    panel.colorize.click()
    settle(panel.controller)

    assert "image (colorized)" in viewer.layers and UNLIKE in panel.notes.text()
    viewer.add_labels(np.zeros(dark.shape, int))
    viewer.layers.selection.active = viewer.layers["image"]  # it does not wait again
    assert panel.controller.layer is viewer.layers["image"]


def test_a_photograph_is_colorized_without_a_click(viewer_with, settle, photo):
    viewer, panel = viewer_with(photo)
    settle(panel.controller)

    assert "image (colorized)" in viewer.layers


def test_choosing_the_layer_in_the_panel_is_a_request(viewer_with, settle, dark):
    viewer, panel = viewer_with(dark)

    panel.layers.chosen.emit(viewer.layers["image"])
    settle(panel.controller)

    assert "image (colorized)" in viewer.layers


def test_a_film_may_begin_in_the_dark(viewer_with, settle, photo, dark):
    viewer, panel = viewer_with(np.stack([dark, dark, photo, photo, photo]), live=False)
    viewer.dims.set_current_step(0, 0)
    panel.live.click()
    settle(panel.controller)

    assert panel.controller.plane == (0,)
    colors = viewer.layers["image (colorized)"].data
    np.testing.assert_array_equal(colors[0], panel.controller.result.pixels)


def test_of_a_lazy_stack_no_other_plane_is_read(viewer_with, settle, photo):
    reads = []

    def read(block_info=None):
        at = block_info[None]["array-location"][0][0]
        reads.append(at)
        return np.zeros_like(photo)[None] if at < 6 else photo[None]

    stack = dask.array.map_blocks(
        read, chunks=((1,) * 9, *((side,) for side in photo.shape)), dtype=photo.dtype
    )
    viewer, panel = viewer_with(stack)
    assert "unlike the photographs" in panel.state.text()
    assert panel.controller.layer is None and len(viewer.layers) == 1

    viewer.dims.set_current_step(0, 7)  # black planes say nothing about the stack
    settle(panel.controller)

    assert "image (colorized)" in viewer.layers and not {2, 6} & set(reads)


def test_another_model_may_judge_otherwise(viewer_with, settle):
    viewer, panel = viewer_with(data.camera(), least=0.9)
    assert len(viewer.layers) == 1

    panel.controller.use_model("embedded")
    settle(panel.controller)

    assert "image (colorized)" in viewer.layers


@pytest.fixture
def guessing(tmp_path):
    """File of the embedded model with a calibration of which every color is a guess."""
    file = local_path(CATALOGUE["embedded"])
    tensors = load_file(file)
    tensors["calibration"][1] = 19.0
    with safe_open(file, "pt") as opened:
        save_file(tensors, tmp_path / "guessing.safetensors", opened.metadata())
    return tmp_path / "guessing.safetensors"


def test_an_image_with_a_high_expected_error_waits(
    make_napari_viewer, panel_of, qtbot, guessing, settle
):
    viewer = make_napari_viewer()
    panel = panel_of(viewer)
    panel.controller.use_model(guessing)
    viewer.add_image(data.camera(), name="camera")
    qtbot.waitUntil(lambda: "would be guesses" in panel.state.text(), timeout=60_000)

    assert "'camera'" in panel.state.text() and "about 19 (CIEDE2000)" in panel.state.text()
    assert len(viewer.layers) == 1

    panel.colorize.click()
    settle(panel.controller)
    assert len(viewer.layers) == 2


def test_the_error_of_an_image_unlike_photographs_is_amber(viewer_with, settle, qtbot, dark):
    _, panel = viewer_with(dark)
    panel.colorize.click()
    qtbot.waitUntil(lambda: "typical error about" in panel.error_line.text(), timeout=60_000)

    assert "this image is unlike them" in panel.error_line.text()
    assert "#e3b617" in panel.error_line.styleSheet()


@pytest.mark.parametrize(("name", "waits"), [("camera", False), ("cell", True)])
def test_the_embedded_model_judges(make_napari_viewer, panel_of, qtbot, name, waits):
    viewer = make_napari_viewer()
    viewer.add_image(getattr(data, name)(), name=name)
    panel = panel_of(viewer)

    qtbot.waitUntil(
        lambda: len(viewer.layers) == 2 or "unlike the photographs" in panel.state.text(),
        timeout=60_000,
    )

    assert (len(viewer.layers) == 1) is waits


def test_a_result_on_its_way_is_displayed_when_it_arrives(viewer_with, photo, qtbot):
    viewer, panel = viewer_with(photo, live=False)
    panel.controller.is_live = True
    panel.controller.follow_selection()
    assert panel.controller.session.wait(60)  # the result exists, but no event was delivered

    panel.controller.choose_layer(viewer.layers["image"])

    assert panel.controller.result is not None and panel.controller.result_layer is None
    wait_until_idle(panel, qtbot)
    assert panel.controller.result_layer is not None
