"""napari, Jupyter, the shell and Python give the same pixels: all of them only translate."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import napari_colorize as nc
from napari_colorize.cli import app
from napari_colorize.jupyter import ColorizeBox

SETTINGS = [
    {},
    {"saturation": 1.7},
    {"render_factor": 7, "self_attention": False, "saturation": 0.6},
]


def in_napari(make_napari_viewer, panel_of, settle, photo, settings) -> np.ndarray:
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    panel.controller.presenter.set_settings(**settings)
    settle(panel.controller)
    return np.asarray(panel.controller.result_layer.data)


def in_jupyter(photo, settings) -> np.ndarray:
    box = ColorizeBox(photo, **settings)
    assert box.wait(60)
    pixels = np.asarray(box.result.pixels)
    box.close()
    return pixels


def in_the_shell(photo, settings, folder) -> np.ndarray:
    Image.fromarray(photo).save(folder / "gray.png")
    words = ["image", str(folder / "gray.png"), "-o", str(folder / "colors.png")]
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        words += [option, str(value)] if not isinstance(value, bool) else [f"--no-{option[2:]}"]
    assert CliRunner().invoke(app, words).exit_code == 0
    return np.asarray(Image.open(folder / "colors.png"))


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_front_end_gives_the_same_pixels(
    make_napari_viewer, panel_of, settle, photo, tmp_path, settings
):
    expected = nc.colorize(photo, **settings).pixels

    np.testing.assert_array_equal(
        in_napari(make_napari_viewer, panel_of, settle, photo, settings), expected
    )
    np.testing.assert_array_equal(in_jupyter(photo, settings), expected)
    np.testing.assert_array_equal(in_the_shell(photo, settings, tmp_path), expected)
