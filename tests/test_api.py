"""The public names: `colorize`, signatures, representations and messages."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from PIL import Image

import napari_colorize as nc
from napari_colorize.dask_arrays import LazyColorized
from napari_colorize.result import RECOMPOSABLE
from napari_colorize.settings import ColorizeSettings, SettingsDict

GRAY = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (40, 1))
SETTINGS = set(SettingsDict.__annotations__)

pytestmark = pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")


def test_the_dictionary_of_settings_has_the_fields_and_types_of_the_settings():
    assert get_type_hints(SettingsDict) == get_type_hints(ColorizeSettings)


@pytest.mark.parametrize(
    "function",
    [
        nc.colorize,
        nc.disagreement,
        nc.Colorizer.__call__,
        nc.Colorizer.predict,
        nc.Colorizer.iter_planes,
        nc.Colorizer.stream,
        nc.Colorizer.attention_map,
    ],
)
def test_signatures_list_every_setting_with_its_default(function):
    parameters = inspect.signature(function).parameters

    defaults = vars(ColorizeSettings())
    assert {name: parameters[name].default for name in SETTINGS} == defaults


def test_with_lists_the_settings_that_it_can_change():
    parameters = inspect.signature(nc.Colorized.with_).parameters

    assert parameters.keys() & SETTINGS == RECOMPOSABLE


def test_dir_holds_the_public_names_only():
    assert dir(nc) == sorted(nc.__all__)
    assert all(getattr(nc, name) is not None for name in nc.__all__)


def test_models_are_listed_by_name():
    assert nc.list_models()[0] == "embedded"
    assert nc.list_models("deoldify-*") == [
        "deoldify-artistic",
        "deoldify-stable",
        "deoldify-video",
    ]
    assert nc.list_models("nothing*") == []


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: nc.colorize(GRAY, saturatoin=1), "Did you mean 'saturation'"),
        (lambda: nc.colorize(GRAY, renderFactor=1), "Did you mean 'render_factor'"),
        (lambda: nc.ColorizeSession().set_settings(saturatoin=1), "Did you mean 'saturation'"),
        (lambda: nc.colorize(GRAY).with_(shadow=0.1), "Did you mean 'shadows'"),
        (lambda: nc.colorize(GRAY, qqq=1), "Choose one of: blend, "),
    ],
)
def test_an_unknown_setting_is_a_type_error_with_a_suggestion(call, sentence):
    with pytest.raises(nc.UnknownSettingError, match=sentence) as found:
        call()

    assert isinstance(found.value, TypeError)
    assert isinstance(found.value, nc.SettingsError)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("deoldfy-artistic", "Did you mean 'deoldify-artistic'"),
        ("Embedded", "Did you mean 'embedded'"),
        ("xyz", "Choose one of: embedded, deoldify-artistic"),
        (12, "got int"),
        (None, "got NoneType"),
    ],
)
def test_an_unknown_model_is_refused_with_a_suggestion(model, sentence):
    with pytest.raises(nc.UnknownModelError, match=sentence):
        nc.colorize(GRAY, model)


@pytest.mark.parametrize("name", ["embedded", Path("model.safetensors")])
def test_a_colorizer_is_not_made_from_a_name(name):
    with pytest.raises(TypeError, match=rf"Colorizer\.from_pretrained\('{name}'\)"):
        nc.Colorizer(name)


@pytest.mark.parametrize("image", [None, object(), {"a": 1}])
def test_an_object_that_is_no_array_is_named(image):
    with pytest.raises(nc.ImageError, match=f"got {type(image).__name__}"):
        nc.colorize(image)


def test_representations_are_short_and_name_model_shape_and_dtype():
    result = nc.colorize(GRAY.astype(np.uint16), saturation=1.4)
    colorizer = nc.Colorizer.from_pretrained()

    assert repr(colorizer) == "Colorizer('embedded', cpu, float32)"
    assert repr(result) == (
        "Colorized((40, 48, 3) uint16, 'embedded', render_factor=12, saturation=1.4)"
    )
    assert repr(nc.colorize(GRAY > 50)).startswith("Colorized((40, 48, 3) uint8,")
    assert "pixels" not in vars(result)  # nothing was composed
    assert repr(ColorizeSettings()) == "ColorizeSettings()"
    settings = ColorizeSettings(saturation=1.4, contrast_limits=(0, 9))
    assert eval(repr(settings), {"ColorizeSettings": ColorizeSettings}) == settings


@pytest.mark.parametrize("convert", [str, Path, nc.read_image])
def test_files_are_colorized_like_their_pixels(convert, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(GRAY).save(path, dpi=(300, 300))

    result = nc.colorize(convert(path))
    saved = result.with_(saturation=2.0).save(tmp_path / "colors.png")

    np.testing.assert_array_equal(result.rgb, nc.colorize(GRAY).rgb)
    assert nc.read_image(saved).metadata.resolution.x == pytest.approx(300, abs=0.1)


def test_notes_of_a_file_are_notes_of_the_result(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "a.tif")
    record = nc.read_image(tmp_path / "a.tif")
    noted = type(record)(array=record.array, is_stack=False, rgb=False, notes=("A note.",))

    with pytest.warns(nc.ColorizeNote, match="A note"):
        result = nc.colorize(noted)

    assert "A note." in result.notes


def test_the_file_decides_whether_its_last_axis_holds_colors(tmp_path):
    narrow = GRAY[:, :3]  # a gray image 3 pixels wide, not one row of colors
    Image.fromarray(narrow).save(tmp_path / "a.png")

    assert nc.colorize(tmp_path / "a.png").rgb.shape == (40, 3, 3)


def test_a_missing_file_is_an_image_error():
    with pytest.raises(nc.ImageError, match="nope.png does not exist"):
        nc.colorize("nope.png")


def test_a_dask_array_gives_a_lazy_result():
    dask = pytest.importorskip("dask.array")

    lazy = nc.colorize(dask.from_array(np.stack([GRAY, GRAY]), chunks=(1, -1, -1)))

    assert isinstance(lazy, LazyColorized)
    assert repr(lazy).startswith("LazyColorized((2, 40, 48, 3) uint8, 'embedded'")
    np.testing.assert_array_equal(lazy.rgb[0].compute(), nc.colorize(GRAY).rgb)


def test_xarray_is_colorized_like_its_data():
    xarray = pytest.importorskip("xarray")
    dask = pytest.importorskip("dask.array")
    eager, lazy = (
        xarray.DataArray(data, dims=("y", "x")) for data in (GRAY, dask.from_array(GRAY))
    )

    np.testing.assert_array_equal(nc.colorize(eager).rgb, nc.colorize(GRAY).rgb)
    assert isinstance(nc.colorize(lazy), LazyColorized)


TYPED = """
import numpy as np
import dask.array

import napari_colorize as nc

gray = np.zeros((4, 4), np.uint8)
result = nc.colorize(gray, saturation=1.4, render_factor=12)
reveal_type(result)
result.with_(saturation=2.0).save("warm.png")
lazy = dask.array.Array({}, "name", ((4,), (4,)), np.uint8)
reveal_type(nc.colorize(lazy))
colorizer = nc.Colorizer.from_pretrained("embedded")
for index, colorized in colorizer.iter_planes(np.stack([gray, gray]), contrast_limits=(0, 255)):
    print(index, colorized.gray)
nc.colorize(gray, saturatoin=1)
result.with_(saturation="high")
"""


@pytest.mark.slow
def test_type_checkers_know_settings_and_results(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "typed.py").write_text(TYPED)

    root = Path(__file__).parents[1]
    # With the cache of `make lint`, which makes this fast.
    options = ["--config-file", root / "pyproject.toml", "--cache-dir", root / ".mypy_cache"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, tmp_path / "typed.py"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )

    _, *found = done.stdout.split("typed.py:")
    lines = [line.partition("\n")[0] for line in found]
    assert ["Colorized" in lines[0], "LazyColorized" in lines[0]] == [True, False]
    assert "LazyColorized" in lines[1]
    errors = [line for line in lines if ": error:" in line]
    assert len(errors) >= 2
    assert all(line.startswith(("16:", "17:")) for line in errors)
    assert any("saturatoin" in line for line in errors)
