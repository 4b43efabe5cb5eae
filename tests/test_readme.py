"""The code in README and docs runs as it is printed, and their links point to files."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def run_python_of(page: Path) -> dict[str, object]:
    """Run the Python blocks of a page in one namespace, in order."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    return names


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")
@pytest.mark.parametrize(
    ("page", "written"),
    [
        ("README.md", {"colors.png", "warm.png", "guided.png"}),
        ("docs/getting-started.md", {"colors.png"}),
        ("docs/how-to/python.md", {"again.png", "warm.png"}),
        ("docs/how-to/guide-colors.md", {"hinted.png", "reference.png"}),
        ("docs/how-to/stacks-and-video.md", {f"frame-{t}.png" for t in range(8)}),
        ("docs/how-to/clusters.md", set()),
    ],
)
def test_the_python_of_a_page_runs_and_writes_what_it_names(page, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    run_python_of(ROOT / page)

    assert {path.name for path in tmp_path.iterdir()} == written


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_local_link_of_a_page_points_to_a_file(page):
    links = re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_anchor_of_a_page_is_a_heading(page):
    missing = []
    for path, anchor in re.findall(
        r"\]\((?!http)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8")
    ):
        target = (page.parent / path) if path else page
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}
        if anchor not in slugs:
            missing.append((path, anchor))
    assert missing == []


def test_the_settings_page_is_generated_from_the_settings():
    tool = runpy.run_path(str(ROOT / "tools" / "settings_table.py"))

    assert (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8") == tool[
        "page"
    ]()
