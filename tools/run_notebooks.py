"""`make notebooks`: run notebooks from start to end, twice, and store their outputs.

The second run finds what the first one left. A notebook that leaves files behind is an error. The
seconds of both runs are printed; a reader should not wait longer than `AIM`.

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
RUNS = 2
AIM = 90  # seconds for one run, alone on two cores
UNREACHABLE_PROXY = "http://127.0.0.1:9"  # as a proxy, so that network access fails at once
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "A widget: run the notebook to see it."


def main() -> None:
    """Run the given notebooks, or all, and overwrite their files."""
    for path in map(Path, sys.argv[1:] or sorted(FOLDER.glob("*.ipynb"))):
        seconds = []
        with TemporaryDirectory(ignore_cleanup_errors=True) as home:
            for _ in range(RUNS):
                start = time.perf_counter()
                ran = run(path, Path(home))
                seconds.append(time.perf_counter() - start)
        path.write_text(as_text(normalized(ran)), encoding="utf-8")
        runs = " and ".join(f"{each:.0f}" for each in seconds)
        note = f" (more than {AIM} s)" if max(seconds) > AIM else ""
        print(f"{path.name}  {runs} s{note}, {path.stat().st_size / 1e3:.0f} kB", flush=True)


def run(path: Path, home: Path) -> NotebookNode:
    """Run a notebook offline in a user's home folder and return it with its outputs.

    Raises
    ------
    CellExecutionError
        If a cell fails.
    SystemExit
        If the notebook leaves files behind.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(home)}},
    )
    with TemporaryDirectory(ignore_cleanup_errors=True) as jupyter:
        variables = {**isolated_environment(str(home)), "IPYTHONDIR": jupyter}
        ran: NotebookNode = client.execute(env={**os.environ, **variables})
    left = [str(each.relative_to(home)) for each in home.rglob("*") if each.is_file()]
    if left:
        raise SystemExit(f"{path.name} leaves files behind: {', '.join(sorted(left))}")
    return ran


def isolated_environment(home: str) -> dict[str, str]:
    """Environment variables for a kernel with another home folder, without network and models."""
    folders = ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
    folders += ("NAPARI_COLORIZE_CACHE", "NAPARI_COLORIZE_MODELS", "TMPDIR", "TEMP", "TMP")
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    return {**dict.fromkeys(folders, home), **dict.fromkeys(proxies, UNREACHABLE_PROXY)}


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
