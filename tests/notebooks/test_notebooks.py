"""The notebooks run offline from top to bottom; the stored outputs are small and clean."""

from __future__ import annotations

import ast
import base64
import io
import re
import runpy
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "run_notebooks.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST_NOTEBOOK = 1_000_000  # bytes
LARGEST_IMAGE = 110_000
EMBEDDED_IMAGE = re.compile(r"data:image/\w+;base64,([^\"]+)")
PUBLIC_PACKAGES = {"napari_colorize", "napari_colorize.jupyter", "napari_colorize_training"}
LOCAL_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|usr|var|opt|Users|private)\b|\w:\\")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path) -> NotebookNode:
    """The notebook as stored in the repository."""
    return nbformat.read(path, as_version=4)


def code_of(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def images_of(cell: NotebookNode) -> list[bytes]:
    """Encoded files of all images in the outputs of a cell, in any MIME type."""
    encoded: list[str] = []
    for data in (output.get("data", {}) for output in cell.outputs):
        encoded += [value for form, value in data.items() if form.startswith("image/")][:1]
        encoded += EMBEDDED_IMAGE.findall(data.get("text/html", ""))
    return [base64.b64decode(value) for value in encoded]


def text_of(cell: NotebookNode) -> str:
    """Text outputs of a cell without embedded images."""
    texts = [output.get("text", "") for output in cell.outputs]
    for data in (output.get("data", {}) for output in cell.outputs):
        texts += [value for form, value in data.items() if form.startswith("text/")]
    return EMBEDDED_IMAGE.sub("", "\n".join(texts))


def is_an_image(encoded: bytes) -> bool:
    """Whether the file opens and is not a uniform area."""
    return bool(np.asarray(Image.open(io.BytesIO(encoded))).std() > 5)


def test_there_are_six_notebooks():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


def test_a_notebook_runs_offline_from_top_to_bottom(path, notebook, tmp_path):
    fresh = TOOL["run"](path, tmp_path)  # raises if a cell fails, or files are left

    expected = [bool(images_of(cell)) for cell in code_of(notebook)]
    assert [
        any(map(is_an_image, images_of(cell))) for cell in code_of(TOOL["normalized"](fresh))
    ] == expected
    streams = [output for cell in code_of(fresh) for output in cell.outputs if "name" in output]
    assert "stderr" not in {output.name for output in streams}


def test_stored_outputs_come_from_one_run(notebook):
    counts = [cell.execution_count for cell in code_of(notebook)]
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]

    assert counts == list(range(1, len(counts) + 1))
    assert "error" not in {output.output_type for output in outputs}


def test_stored_outputs_contain_images_and_are_small(path, notebook):
    images = [image for cell in code_of(notebook) for image in images_of(cell)]

    assert len(images) >= 2 and all(map(is_an_image, images))
    assert max(map(len, images)) < LARGEST_IMAGE
    assert path.stat().st_size < LARGEST_NOTEBOOK


def test_stored_outputs_contain_no_local_paths(notebook):
    assert not any(LOCAL_PATH.search(text_of(cell)) for cell in code_of(notebook))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)


def test_a_notebook_defines_no_functions_or_classes(notebook):
    module = ast.parse("\n".join(cell.source for cell in code_of(notebook)))

    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not any(isinstance(node, definitions) for node in ast.walk(module))


def test_a_notebook_uses_the_public_api_only(notebook):
    module = ast.parse("\n".join(cell.source for cell in code_of(notebook)))
    imported = [
        (node.module or "", alias.name)
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    imported += [
        (alias.name, "")
        for node in ast.walk(module)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    own = [(name, member) for name, member in imported if name.startswith("napari_colorize")]

    assert own
    assert {name for name, _ in own} <= PUBLIC_PACKAGES
    assert [one for one in own if one[1] not in ("", *import_module(one[0]).__all__)] == []
    attributes = {node.attr for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    assert [name for name in attributes if name.startswith("_")] == []


def test_a_notebook_that_leaves_a_file_is_refused(tmp_path):
    path = tmp_path / "leaves.ipynb"
    cell = nbformat.v4.new_code_cell("from pathlib import Path\nPath('left.txt').write_text('')")
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
    home = tmp_path / "home"
    home.mkdir()

    with pytest.raises(SystemExit, match=r"leaves\.ipynb leaves files behind: left\.txt"):
        TOOL["run"](path, home)


def test_every_link_of_a_notebook_points_to_a_file(path, notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")

    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)

    assert [link for link in links if not (path.parent / link).is_file()] == []


@pytest.mark.parametrize(
    ("output", "stored"),
    [
        ({"text/plain": "3"}, {"text/plain": "3"}),
        ({"image/png": "P", "image/jpeg": "J", "text/plain": "<Image>"}, {"image/jpeg": "J"}),
        ({"text/html": "<img>", "image/png": "P"}, {"text/html": "<img>"}),
        ({TOOL["WIDGET"]: {"model_id": "1"}}, {"text/plain": TOOL["WIDGET_TEXT"]}),
    ],
    ids=["text", "image", "html", "widget"],
)
def test_one_format_of_each_output_is_stored(output: dict[str, Any], stored: dict[str, Any]):
    assert TOOL["stored_formats"](output) == stored


@pytest.mark.parametrize("text", ["/tmp/x.py:2: Warning", "in /home/me/a.png", "C:\\Users"])
def test_local_paths_are_recognized(text):
    assert LOCAL_PATH.search(text)
    assert not LOCAL_PATH.search("on/off, https://doi.org/tmp, 1/2, ../docs/tmp")
