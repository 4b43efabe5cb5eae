from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from napari_colorize.errors import OutputError, SettingsError
from napari_colorize.io.images import read_image, read_provenance


@pytest.mark.parametrize(("dtype", "suffix"), [("uint8", ".png"), ("uint16", ".tif")])
def test_a_saved_image_is_read_with_its_provenance(tiny_colorizer, ramp, tmp_path, dtype, suffix):
    image = (ramp * np.iinfo(dtype).max).astype(dtype)
    result = tiny_colorizer(image, saturation=1.5)

    path = result.save(tmp_path / f"colors{suffix}")

    np.testing.assert_array_equal(read_image(path).array, result.pixels)
    provenance = read_provenance(path)
    assert provenance["model"] == "tint"
    assert provenance["settings"]["saturation"] == 1.5
    assert "not measured" in provenance["statement"]


def test_without_provenance_a_file_has_no_record(tiny_colorizer, tmp_path, ramp):
    image = (ramp * 255).astype(np.uint8)

    path = tiny_colorizer(image, provenance=False).save(tmp_path / "colors.png")

    assert read_provenance(path) is None


def test_saving_overwrites_only_on_request(tiny_colorizer, tmp_path, ramp):
    result = tiny_colorizer((ramp * 255).astype(np.uint8))
    path = result.save(tmp_path / "colors.png")

    with pytest.raises(OutputError):
        result.save(path)
    result.save(path, overwrite=True)


@pytest.mark.parametrize(
    "image",
    [
        np.linspace(0, 1, 60).reshape(6, 10),
        np.linspace(0, 65535, 60).reshape(6, 10).astype(np.uint16),
        np.linspace(0, 1, 60).reshape(6, 10) > 0.5,
        np.linspace(-300, 900, 60).reshape(6, 10).astype(np.int16),
    ],
    ids=["float64", "uint16", "bool", "int16"],
)
def test_the_notebook_image_spans_black_to_white(tiny_colorizer, image):
    displayed = np.asarray(Image.open(io.BytesIO(tiny_colorizer(image)._repr_png_())))

    assert displayed.shape == (6, 10, 3)
    np.testing.assert_array_equal(displayed[0, 0], [0, 0, 0])
    np.testing.assert_array_equal(displayed[-1, -1], [255, 255, 255])


def test_the_notebook_image_has_alpha(tiny_colorizer):
    image = np.random.default_rng(0).integers(0, 65536, (5, 6, 4), dtype=np.uint16)

    displayed = np.asarray(Image.open(io.BytesIO(tiny_colorizer(image)._repr_png_())))

    np.testing.assert_allclose(displayed[..., 3], image[..., 3] / 257, atol=0.51)


def test_limits_of_zero_and_one_are_displayed_as_black_and_white(tiny_colorizer):
    image = np.tile(np.array([0, 1], np.uint8), (4, 3))

    png = tiny_colorizer(image, contrast_limits=(0, 1))._repr_png_()

    assert np.asarray(Image.open(io.BytesIO(png))).max() == 255


def test_provenance_can_be_switched_on_again(tiny_colorizer, ramp):
    result = tiny_colorizer(ramp, provenance=False)

    assert result.provenance == {}
    assert result.with_(provenance=True).provenance["model"] == "tint"


def test_a_numpy_saturation_is_recorded_as_a_number(tiny_colorizer, ramp):
    result = tiny_colorizer(ramp).with_(saturation=np.float32(2))

    assert json.dumps(result.provenance["settings"]["saturation"]) == "2.0"


def test_gray_is_read_only(tiny_colorizer, ramp):
    with pytest.raises(ValueError, match="read-only"):
        tiny_colorizer(ramp).gray[0, 0] = 1


def test_an_unknown_change_is_refused(tiny_colorizer, ramp):
    with pytest.raises(SettingsError, match="no setting 'color'"):
        tiny_colorizer(ramp).with_(color=2)


def test_a_change_out_of_range_is_refused(tiny_colorizer, ramp):
    with pytest.raises(SettingsError, match="saturation must be"):
        tiny_colorizer(ramp).with_(saturation=5)


def test_the_notebook_comparison_needs_no_script(tiny_colorizer):
    image = np.linspace(0, 255, 40 * 2000).reshape(40, 2000).astype(np.uint8)
    result = tiny_colorizer(image, saturation=2)

    bundle = result._repr_mimebundle_()

    displayed = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
        for encoded in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', bundle["text/html"])
    ]
    assert [image.shape for image in displayed] == [(20, 1024, 3), (20, 1024)]
    assert np.ptp(displayed[0].astype(int), axis=-1).mean() > 20
    assert "saturation 2. Colors are predicted, not measured." in bundle["text/html"]
    assert "<script" not in bundle["text/html"]


def test_the_bundle_contains_a_png(tiny_colorizer, ramp):
    result = tiny_colorizer((ramp * 255).astype(np.uint8))

    displayed = np.asarray(Image.open(io.BytesIO(result._repr_mimebundle_()["image/png"])))

    np.testing.assert_array_equal(displayed, result.pixels)


def test_the_notebook_comparison_has_alpha(tiny_colorizer):
    image = np.full((5, 6, 4), 128, np.uint8)

    assert 'src="data:image/png;' in tiny_colorizer(image)._repr_html_()


def test_a_change_of_saturation_reuses_the_refined_chroma(tiny_colorizer, ramp):
    result = tiny_colorizer(ramp)
    refined = result.chroma_layers

    assert result.with_(saturation=2).chroma_layers is refined
    assert result.with_(edges=False).chroma_layers is not refined
