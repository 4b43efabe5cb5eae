"""What holds for the package as a whole: a light front door, and a wheel with everything in it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import napari_colorize

ROOT = Path(__file__).parents[1]
SECONDS_TO_IMPORT = 0.050  # what napari, which imports every plugin's package, should not feel


def run_python(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True)


def test_importing_the_package_is_light():
    loaded = run_python("import napari_colorize, sys; print(*sys.modules)").split()

    heavy = {"torch", "torchvision", "numpy", "PIL", "skimage", "napari", "qtpy"}
    assert not heavy & set(loaded)


def test_importing_the_package_is_quick():
    code = (
        "from time import process_time as now; start = now(); import napari_colorize;"
        "print(now() - start)"
    )
    # Time of the processor, and the quickest of five: others at work must not count.
    assert min(float(run_python(code)) for _ in range(5)) < SECONDS_TO_IMPORT


def test_settings_and_errors_come_without_torch():
    code = "import sys, napari_colorize as nc; nc.ColorizeSettings; nc.ColorizeError"
    loaded = run_python(f"{code}; print(*sys.modules)").split()

    assert not {"torch", "numpy"} & set(loaded)


@pytest.mark.parametrize("name", napari_colorize.__all__)
def test_every_public_name_is_there(name):
    assert getattr(napari_colorize, name) is not None
    assert name in dir(napari_colorize)


def test_every_name_that_waits_is_public():
    assert set(napari_colorize._MODULES) == set(napari_colorize.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'colourise'"):
        napari_colorize.colourise  # noqa: B018


def test_training_imports_on_a_machine_without_the_download_packages():
    without = "import sys; sys.modules.update(dict.fromkeys(['pooch', 'psygnal', 'platformdirs']))"
    everything = (
        "import pkgutil, importlib, napari_colorize_training as training\n"
        "for module in pkgutil.walk_packages(training.__path__, training.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
        "    print(module.name)"
    )

    imported = run_python(f"{without}\n{everything}").split()

    assert "napari_colorize_training.loop.engine" in imported


def test_the_wheel_holds_both_packages_and_their_data(tmp_path):
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
