"""`make notebooks`: every notebook run from start to end and kept with what it shows.

What differs from run to run or only fills the file is left out: times, versions, a second encoding
of an image, widgets, which live only as long as their kernel. So a notebook that was run again
differs only where its images do. Paths on the command line choose some of them.
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
NOWHERE = "http://127.0.0.1:9"  # as a proxy: whoever asks the network fails at once
WIDGET = "application/vnd.jupyter.widget-view+json"
STANDS_HERE = "A widget: run the notebook to see it."


def main() -> None:
    """Run the notebooks that are named, or all, and write them where they are."""
    for path in map(Path, sys.argv[1:] or sorted(FOLDER.glob("*.ipynb"))):
        start = time.perf_counter()
        path.write_text(as_text(tidied(run(path))), encoding="utf-8")
        size = path.stat().st_size / 1e3
        print(f"{path.name}  {time.perf_counter() - start:.0f} s, {size:.0f} kB")


def run(path: Path) -> NotebookNode:
    """The notebook with its outputs, made offline; files that it writes are forgotten.

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
        ran: NotebookNode = client.execute(env={**os.environ, **alone_in(folder)})
    return ran


def alone_in(folder: str) -> dict[str, str]:
    """Variables of an environment without a network, and with no models but the package's own."""
    ours = ("NAPARI_COLORIZE_CACHE", "NAPARI_COLORIZE_MODELS", "TMPDIR", "TEMP", "TMP")
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    return {**dict.fromkeys(ours, folder), **dict.fromkeys(proxies, NOWHERE)}


def tidied(notebook: NotebookNode) -> NotebookNode:
    """Without what differs from run to run, and each image once."""
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:  # else it was printed
                output.metadata, output.data = NotebookNode(), kept(output.data)
    return notebook


def kept(data: dict[str, Any]) -> NotebookNode:
    """What is kept of the forms in which one thing shows itself."""
    if WIDGET in data:
        return NotebookNode({"text/plain": STANDS_HERE})
    pictures = [form for form in ("text/html", "image/jpeg", "image/png") if form in data]
    return NotebookNode({form: data[form] for form in pictures[:1] or data})


def as_text(notebook: NotebookNode) -> str:
    """As a file; refused if it is no valid notebook."""
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook)) + "\n"


if __name__ == "__main__":
    main()
