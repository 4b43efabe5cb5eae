"""Saved results have their provenance, placement and source, and are recognized when opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image
from npe2 import PluginManifest
from PIL import Image as PillowImage

import napari_colorize
from napari_colorize.errors import OutputError
from napari_colorize.io.images import read_image, read_provenance
from napari_colorize.napari.image_reader import get_colorized_reader, read_colorized
from napari_colorize.napari.image_writer import write_colorized

MANIFEST = Path(napari_colorize.__file__).with_name("napari.yaml")
RECORD = {"statement": "Colors are predicted.", "software": "napari-colorize", "model": "m"}


def layer_of(dtype, limits=None, **options) -> Image:
    """A result layer, shape (40, 36, 3), whose values span its contrast limits."""
    low, high = limits or ((0, 1) if dtype == np.float32 else (0, np.iinfo(dtype).max))
    values = np.linspace(low, high, 4320).reshape(40, 36, 3)
    return Image(
        values.astype(dtype),
        rgb=True,
        contrast_limits=(low, high),
        metadata={"napari-colorize": RECORD, "napari-colorize source": {"name": "cells"}},
        scale=(0.5, 0.25),
        translate=(3, 4),
        units=("um", "um"),
        axis_labels=("y", "x"),
        **options,
    )


def saved(layer: Image, path: Path) -> Path:
    data, attributes, _ = layer.as_layer_data_tuple()
    assert write_colorized(str(path), data, attributes) == [str(path)]
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".ome.tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_saved_result_is_restored(tmp_path, suffix, dtype):
    path = saved(layer_of(dtype), tmp_path / f"c{suffix}")

    record = read_provenance(path)
    assert record["model"] == "m" and record["source"] == {"name": "cells"} and record["saved"]
    assert get_colorized_reader(str(path)) is read_colorized
    [(values, attributes, kind)] = read_colorized(str(path))
    opened = Image(values, **attributes)
    assert kind == "image" and opened.rgb and opened.data.shape == (40, 36, 3)
    np.testing.assert_allclose(opened.scale, (0.5, 0.25))
    np.testing.assert_allclose(opened.translate, (3, 4))
    assert [str(unit) for unit in opened.units] == ["micrometer"] * 2
    assert opened.metadata["napari-colorize"]["model"] == "m"
    resolution = read_image(path).metadata.resolution
    if suffix == ".jpg":  # 101600 pixels per inch do not fit into 16 bits
        return
    per_cm = resolution.x if resolution.unit == "cm" else resolution.x / 2.54
    assert per_cm == pytest.approx(40_000, rel=0.01)  # 0.25 micrometers


def test_16_bits_are_written_to_png(tmp_path):
    path = saved(layer_of(np.uint16), tmp_path / "c.png")

    values = read_image(path).array
    assert values.dtype == np.uint16 and values.max() == 65535


def test_the_limits_become_black_and_white_in_png_and_jpeg(tmp_path):
    layer = layer_of(np.uint16, (100, 4095))

    assert read_image(saved(layer, tmp_path / "c.png")).array.max() == 65535
    assert np.array(PillowImage.open(saved(layer, tmp_path / "c.jpg"))).max() > 250
    tiff = saved(layer, tmp_path / "c.tif")
    np.testing.assert_array_equal(read_image(tiff).array, layer.data)
    [(_, attributes, _)] = read_colorized(str(tiff))
    assert attributes["contrast_limits"] == [100, 4095]


def test_other_layers_are_written_as_napari_writes_them(tmp_path):
    layer = Image(np.arange(120, dtype=np.uint8).reshape(12, 10))
    path = saved(layer, tmp_path / "gray.tif")

    assert read_provenance(path) is None and get_colorized_reader(str(path)) is None
    np.testing.assert_array_equal(read_image(path).array, layer.data)


def test_the_result_of_the_panel_is_saved(
    make_napari_viewer, panel_of, settle, photo, tmp_path, npe2pm
):
    viewer = make_napari_viewer()
    viewer.add_image(photo.astype(np.uint16) * 257, name="deep", scale=(2, 3))
    panel = panel_of(viewer)
    settle(panel.controller)

    with npe2pm.tmp_plugin(manifest=MANIFEST):
        panel.save_as(str(tmp_path / "deep.png"))
        assert panel.state.text() == "Saved deep.png."
        colors = viewer.layers["deep (colorized)"]
        colors.save(str(tmp_path / "menu.colorized.tif"), plugin="napari-colorize")
        [opened] = viewer.open(tmp_path / "menu.colorized.tif", plugin="napari-colorize")
        assert panel.controller.offer is None  # what was opened is not a source

    record = read_provenance(tmp_path / "deep.png")
    assert record["model"] == "embedded" and record["source"]["name"] == "deep"
    assert opened.metadata["napari-colorize"]["model"] == "embedded"
    np.testing.assert_array_equal(opened.scale, (2, 3))
    np.testing.assert_array_equal(opened.data, colors.data)


def test_a_file_that_another_reader_opened_is_recognized(make_napari_viewer, panel_of, tmp_path):
    path = saved(layer_of(np.uint8), tmp_path / "c.png")
    viewer = make_napari_viewer()
    panel_of(viewer)

    [opened] = viewer.open(path, plugin="napari")

    assert opened.metadata["napari-colorize"]["model"] == "m"
    np.testing.assert_allclose(opened.scale, (0.5, 0.25))


def test_an_incomplete_stack_is_refused(make_napari_viewer, panel_of, settle, stack, tmp_path):
    viewer = make_napari_viewer()
    viewer.add_image(stack)
    panel = panel_of(viewer)
    settle(panel.controller)

    with pytest.raises(OutputError, match="whole stack"):
        panel.save_as(str(tmp_path / "stack.tif"))


@pytest.mark.parametrize(
    "name", ["c.colorized.png", "c.colorized.JPG", "c.colorized.tif", "c.ome.tif"]
)
def test_files_with_a_name_of_this_plugin_are_written_by_it(npe2pm, name):
    npe2pm.register(PluginManifest.from_distribution("napari"))  # as without this plugin
    npe2pm.register(PluginManifest.from_file(MANIFEST))

    writer, _ = npe2pm.get_writer(name, ["image"])
    other, _ = npe2pm.get_writer("c.png", ["image"])

    assert writer.command == "napari-colorize.write_image"
    assert other.command == "napari.write_image"


@pytest.mark.parametrize("name", ["c.png", "c.jpg", "c.tif"])
def test_napari_does_not_ask_for_a_reader_of_common_files(npe2pm, name):
    npe2pm.register(PluginManifest.from_distribution("napari"))
    npe2pm.register(PluginManifest.from_file(MANIFEST))

    readers = {reader.plugin_name for reader in npe2pm.iter_compatible_readers([name])}

    assert readers == {"napari"}


def test_a_stack_is_restored(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (3, 40, 36, 3), dtype=np.uint8)
    layer = Image(
        stack,
        rgb=True,
        metadata={"napari-colorize": RECORD},
        scale=(5, 0.5, 0.25),
        units=("s", "um", "um"),
        axis_labels=("t", "y", "x"),
    )

    [(values, attributes, _)] = read_colorized(str(saved(layer, tmp_path / "c.tif")))

    opened = Image(values, **attributes)
    np.testing.assert_array_equal(opened.data, stack)
    np.testing.assert_allclose(opened.scale, (5, 0.5, 0.25))
    assert [str(unit) for unit in opened.units] == ["second", "micrometer", "micrometer"]
    assert opened.axis_labels == ("t", "y", "x")
