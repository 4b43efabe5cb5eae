from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from napari_colorize import extras

ROOT = Path(__file__).parents[1]
REQUIRES = ["numpy>=2.0", "av>=18; extra == 'video'", "zarr>=3.0; extra == 'video'"]


class Installed:
    """A distribution that was installed from this place (PEP 610)."""

    requires = REQUIRES

    def __init__(self, origin: dict[str, object] | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        return None if self.origin is None else json.dumps(self.origin)


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, 'pip install "napari-colorize[video]"'),
        ({"url": ROOT.as_uri(), "dir_info": {}}, f'pip install "{ROOT}[video]"'),
        (
            {"url": ROOT.as_uri(), "dir_info": {"editable": True}},
            f'pip install -e "{ROOT}[video]"',
        ),
        ({"url": (ROOT / "gone.whl").as_uri()}, 'pip install "av>=18" "zarr>=3.0"'),
        (
            {"url": "https://example.org/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            'pip install "napari-colorize[video] @ git+https://example.org/a.git@abc"',
        ),
        (
            {"url": "https://example.org/a.whl", "archive_info": {}},
            'pip install "napari-colorize[video] @ https://example.org/a.whl"',
        ),
    ],
)
def test_the_command_is_that_of_the_present_installation(monkeypatch, origin, command):
    monkeypatch.setattr(extras, "distribution", lambda name: Installed(origin))

    assert extras.install_command("video") == command


def test_without_an_installation_the_command_names_the_project(monkeypatch):
    def missing(name: str) -> Installed:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", missing)

    assert extras.install_command("dicom") == 'pip install "napari-colorize[dicom]"'


def test_the_packages_of_extras_are_those_of_the_project_file():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {
        extra: {each.partition("[")[0].partition(">")[0].lower() for each in requirements}
        for extra, requirements in declared["optional-dependencies"].items()
    }

    for extra, packages in extras.PACKAGES.items():
        assert set(packages) <= names[extra]


@pytest.mark.parametrize(
    ("package", "name", "missing", "extra"),
    [
        ("napari_colorize.jupyter", "ColorizeBox", "ipywidgets", "jupyter"),
        ("napari_colorize.jupyter", "FinetuneBox", "ipywidgets", "jupyter"),
        ("napari_colorize.napari", "ColorizeWidget", "qtpy", "napari"),
    ],
)
def test_an_import_without_its_extra_is_one_sentence(package, name, missing, extra):
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom {package} import {name}"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    last = done.stderr.strip().splitlines()[-1]
    assert f"MissingExtraError: {missing} is not installed. To install it: pip install" in last
    assert extra in last
    assert "During handling" not in done.stderr


def test_other_missing_modules_are_reported_by_python():
    assert extras.missing_extra(ModuleNotFoundError("x", name="somewhere")) is None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("napari_colorize.nowhere")


def test_the_conda_recipe_has_the_dependencies_of_the_project_file():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    recipe = (ROOT / "conda" / "recipe.yaml").read_text().partition("  run:")[2]

    for requirement in declared:
        name, bound = requirement.replace("torch>", "pytorch>").split(">=")
        assert f"    - {name} >={bound}\n" in recipe
