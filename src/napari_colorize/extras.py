"""Optional dependencies (extras): which package belongs to which, and how to install it."""

from __future__ import annotations

import json
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from napari_colorize.errors import MissingExtraError

PROJECT = "napari-colorize"
PACKAGES = {
    "cluster": ("dask", "distributed"),
    "dicom": ("pydicom",),
    "jupyter": ("anywidget", "ipywidgets"),
    "napari": ("magicgui", "napari", "qtpy", "superqt"),
    "onnx": ("onnx",),
    "training": ("accelerate", "jinja2", "tensorboard", "timm", "torchmetrics"),
    "video": ("av", "zarr"),
}
"""Importable packages of each extra."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Error with the command that installs the missing package; None if it is of no extra."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in PACKAGES.items():
        if package in packages:
            return MissingExtraError(
                f"{package} is not installed. To install it: {install_command(extra)}"
            )
    return None


def install_command(extra: str) -> str:
    """Command that installs an extra, from where this package was installed (PEP 610).

    That is an index, a folder with the source code, a file, or a repository. If the folder or file
    does not exist any more, the command names the packages of the extra.
    """
    try:
        installed = distribution(PROJECT)
    except PackageNotFoundError:  # imported from a folder with the source code
        return f'pip install "{PROJECT}[{extra}]"'
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    url = origin.get("url", "")
    if not url:
        return f'pip install "{PROJECT}[{extra}]"'
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return f'pip install "{PROJECT}[{extra}] @ {vcs["vcs"]}+{url}@{vcs["commit_id"]}"'
    if not url.startswith("file:"):
        return f'pip install "{PROJECT}[{extra}] @ {url}"'
    path = Path(url2pathname(urlsplit(url).path))
    if not path.exists():
        return "pip install " + " ".join(f'"{each}"' for each in _requirements(installed, extra))
    option = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f'pip install {option}"{path}[{extra}]"'


def _requirements(installed: Distribution, extra: str) -> list[str]:
    pattern = re.compile(rf"""\s*;.*\bextra\s*==\s*['"]{extra}['"]""")
    requirements = installed.requires or []
    return [pattern.split(each)[0] for each in requirements if pattern.search(each)]
