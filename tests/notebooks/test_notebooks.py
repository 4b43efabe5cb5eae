"""The notebooks run offline from start to end; what is kept of them is small and clean."""

from __future__ import annotations

import ast
import base64
import io
import re
import runpy
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
LARGEST_PICTURE = 110_000
WITHIN_A_PAGE = re.compile(r"data:image/\w+;base64,([^\"]+)")
PATH_OF_A_MACHINE = re.compile(
    r"(?<![\w.:/])/(?:home|root|tmp|work|usr|var|opt|Users|private)\b|\w:\\"
)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path) -> NotebookNode:
    """As it is kept."""
    return nbformat.read(path, as_version=4)


def code_of(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures_of(cell: NotebookNode) -> list[bytes]:
    """Files of all pictures that a cell shows, in whatever form."""
    encoded: list[str] = []
    for data in (output.get("data", {}) for output in cell.outputs):
        encoded += [value for form, value in data.items() if form.startswith("image/")][:1]
        encoded += WITHIN_A_PAGE.findall(data.get("text/html", ""))
    return [base64.b64decode(value) for value in encoded]


def words_of(cell: NotebookNode) -> str:
    """All that a cell says, without its pictures."""
    said = [output.get("text", "") for output in cell.outputs]
    for data in (output.get("data", {}) for output in cell.outputs):
        said += [value for form, value in data.items() if form.startswith("text/")]
    return WITHIN_A_PAGE.sub("", "\n".join(said))


def is_a_picture(encoded: bytes) -> bool:
    """Whether it opens and is more than one flat area."""
    return bool(np.asarray(Image.open(io.BytesIO(encoded))).std() > 5)


def test_all_six_are_here():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem) for path in NOTEBOOKS],
)
def test_it_runs_offline_from_start_to_end(path, notebook):
    fresh = TOOL["run"](path)  # raises if a cell fails

    shows = [bool(pictures_of(cell)) for cell in code_of(notebook)]
    assert [
        any(map(is_a_picture, pictures_of(cell))) for cell in code_of(TOOL["tidied"](fresh))
    ] == shows
    streams = [output for cell in code_of(fresh) for output in cell.outputs if "name" in output]
    assert "stderr" not in {output.name for output in streams}


def test_what_is_kept_came_of_one_run_from_start_to_end(notebook):
    counts = [cell.execution_count for cell in code_of(notebook)]
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]

    assert counts == list(range(1, len(counts) + 1))
    assert "error" not in {output.output_type for output in outputs}


def test_what_is_kept_shows_pictures_and_is_small(path, notebook):
    pictures = [picture for cell in code_of(notebook) for picture in pictures_of(cell)]

    assert len(pictures) >= 2 and all(map(is_a_picture, pictures))
    assert max(map(len, pictures)) < LARGEST_PICTURE
    assert path.stat().st_size < LARGEST_NOTEBOOK


def test_what_is_kept_names_no_machine(notebook):
    assert not any(PATH_OF_A_MACHINE.search(words_of(cell)) for cell in code_of(notebook))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)


def test_it_imports_and_shows_and_defines_nothing(notebook):
    whole = ast.parse("\n".join(cell.source for cell in code_of(notebook)))

    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not any(isinstance(node, definitions) for node in ast.walk(whole))


def test_every_file_that_its_text_names_is_there(path, notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")

    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)

    assert [link for link in links if not (path.parent / link).is_file()] == []


@pytest.mark.parametrize(
    ("shown", "kept"),
    [
        ({"text/plain": "3"}, {"text/plain": "3"}),
        ({"image/png": "P", "image/jpeg": "J", "text/plain": "<Image>"}, {"image/jpeg": "J"}),
        ({"text/html": "<img>", "image/png": "P"}, {"text/html": "<img>"}),
        ({TOOL["WIDGET"]: {"model_id": "1"}}, {"text/plain": TOOL["STANDS_HERE"]}),
    ],
    ids=["words", "picture", "page", "widget"],
)
def test_each_thing_is_kept_in_one_form(shown: dict[str, Any], kept: dict[str, Any]):
    assert TOOL["kept"](shown) == kept


@pytest.mark.parametrize("said", ["/tmp/x.py:2: Warning", "in /home/me/a.png", "C:\\Users"])
def test_a_path_of_a_machine_is_found(said):
    assert PATH_OF_A_MACHINE.search(said)
    assert not PATH_OF_A_MACHINE.search("on/off, https://doi.org/tmp, 1/2, ../docs/tmp")
