"""Properties of the whole package: cheap import, lazy public names, complete wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import napari_colorize

ROOT = Path(__file__).parents[1]


def run_python(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True)


def test_importing_the_package_imports_no_large_dependency():
    loaded = run_python("import napari_colorize, sys; print(*sys.modules)").split()

    heavy = {"torch", "torchvision", "numpy", "PIL", "skimage", "napari", "qtpy"}
    assert not heavy & set(loaded)


def test_importing_the_package_imports_two_small_modules():
    loaded = run_python("import napari_colorize, sys; print(*sys.modules)").split()

    ours = {name for name in loaded if name.startswith("napari_colorize")}
    assert ours == {"napari_colorize", "napari_colorize.lazy_imports", "napari_colorize.version"}


def test_settings_and_errors_do_not_import_torch():
    code = "import sys, napari_colorize as nc; nc.ColorizeSettings; nc.ColorizeError"
    loaded = run_python(f"{code}; print(*sys.modules)").split()

    assert not {"torch", "numpy"} & set(loaded)


@pytest.mark.parametrize("name", napari_colorize.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(napari_colorize, name) is not None
    assert name in dir(napari_colorize)


def test_every_lazy_name_is_public():
    assert set(napari_colorize._MODULES) == set(napari_colorize.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'colorise'"):
        napari_colorize.colorise  # noqa: B018


def test_training_imports_without_the_download_packages():
    names = ["requests", "psygnal", "platformdirs"]
    without = f"import sys; sys.modules.update(dict.fromkeys({names}))"
    everything = (
        "import pkgutil, importlib, napari_colorize_training as training\n"
        "for module in pkgutil.walk_packages(training.__path__, training.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
        "    print(module.name)"
    )

    imported = run_python(f"{without}\n{everything}").split()

    assert "napari_colorize_training.loop.engine" in imported


def test_the_wheel_contains_both_packages_and_their_data(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", tmp_path], cwd=ROOT, check=True, capture_output=True)

    (wheel,) = tmp_path.glob(f"napari_colorize-{napari_colorize.__version__}-py3-none-any.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert packed == {
        path.relative_to(folder).as_posix()
        for folder in (ROOT / "src", ROOT / "training")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
