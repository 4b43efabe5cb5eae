"""The code in README and docs runs as it is printed, and their links point to files."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_videos import make_video
from typer.testing import CliRunner

from napari_colorize.cli import app

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


def commands_of(page: Path) -> list[list[str]]:
    """The lines of `napari-colorize` in the code blocks of a page, without comments."""
    lines = page.read_text(encoding="utf-8").splitlines()
    commands = (line for line in lines if line.startswith("napari-colorize "))
    return [shlex.split(line, comments=True)[1:] for line in commands]


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", ["README.md", "docs/getting-started.md", "docs/how-to/command-line.md"]
)
def test_the_commands_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", str(tmp_path))
    Path("scans").mkdir()
    gray = Image.fromarray(np.tile(np.arange(0, 240, 4, dtype=np.uint8), (48, 1)))
    for name in ("photo.jpg", "scans/a.png", "scans/b.png"):
        gray.save(name)
    Image.new("RGBA", gray.size, (200, 80, 40, 255)).save("scribbles.png")
    make_video(Path("film.mp4"), frames=3)
    # Without downloads, and models that another command of the page would have trained.
    commands = [
        words
        for words in commands_of(ROOT / page)
        if words[:2] != ["models", "fetch"] and "slides.safetensors" not in words
    ]

    assert commands
    for words in commands:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (words, done.stderr)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_result_of_a_page_is_written_twice(page):
    text = page.read_text(encoding="utf-8")
    written = re.findall(r'\.save\("([^"{]+)"', text) if page.name == "README.md" else []
    for words in commands_of(page):
        written += [words[words.index("-o") + 1]] if "-o" in words else []
        written += words[2:3] if words[:1] == ["video"] else []

    assert len(written) == len(set(written))


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


def test_the_command_line_page_is_generated_from_the_programs():
    tool = runpy.run_path(str(ROOT / "tools" / "command_line_page.py"))

    page = ROOT / "docs" / "reference" / "command-line.md"
    assert page.read_text(encoding="utf-8") == tool["page"]()


def test_the_settings_page_is_generated_from_the_settings():
    tool = runpy.run_path(str(ROOT / "tools" / "settings_table.py"))

    assert (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8") == tool[
        "page"
    ]()
