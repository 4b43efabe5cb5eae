"""`make notebooks`: run notebooks from start to end and store their outputs.

Times, versions, duplicate image formats and widgets (which exist only with their kernel) are
removed, so that a notebook changes only if its results do. Paths on the command line select
notebooks.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[1] / "notebooks"
SECONDS = 500  # for one cell
UNREACHABLE_PROXY = "http://127.0.0.1:9"  # as a proxy, so that network access fails at once
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "A widget: run the notebook to see it."


def main() -> None:
    """Run the given notebooks, or all, and overwrite their files."""
    for path in map(Path, sys.argv[1:] or sorted(FOLDER.glob("*.ipynb"))):
        start = time.perf_counter()
        path.write_text(as_text(normalized(run(path))), encoding="utf-8")
        size = path.stat().st_size / 1e3
        print(f"{path.name}  {time.perf_counter() - start:.0f} s, {size:.0f} kB")


def run(path: Path) -> NotebookNode:
    """Run a notebook offline in a temporary folder and return it with its outputs.

    Raises
    ------
    CellExecutionError
        If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": folder}},
        )
        ran: NotebookNode = client.execute(env={**os.environ, **isolated_environment(folder)})
    return ran


def isolated_environment(folder: str) -> dict[str, str]:
    """Environment variables for a kernel without network and without downloaded models."""
    folders = ("NAPARI_COLORIZE_CACHE", "NAPARI_COLORIZE_MODELS", "TMPDIR", "TEMP", "TMP")
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    return {**dict.fromkeys(folders, folder), **dict.fromkeys(proxies, UNREACHABLE_PROXY)}


def normalized(notebook: NotebookNode) -> NotebookNode:
    """Remove metadata that changes between runs, and duplicate image formats."""
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:  # otherwise printed text
                output.metadata, output.data = NotebookNode(), stored_formats(output.data)
    return notebook


def stored_formats(data: dict[str, Any]) -> NotebookNode:
    """Return the output formats that are stored."""
    if WIDGET in data:
        return NotebookNode({"text/plain": WIDGET_TEXT})
    images = [form for form in ("text/html", "image/jpeg", "image/png") if form in data]
    return NotebookNode({form: data[form] for form in images[:1] or data})


def as_text(notebook: NotebookNode) -> str:
    """Return the notebook as text; raise if it is not valid."""
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook)) + "\n"


if __name__ == "__main__":
    main()
