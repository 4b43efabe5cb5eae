"""What the README shows, pasted as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}

    for block in blocks:
        exec(block, names)

    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"colors.png", "warm.png", "guided.png"}
    assert names["out"].std() > 0


def test_everything_that_the_readme_names_is_there():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8"))

    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")
def test_the_python_of_docs_stacks_runs(tmp_path, monkeypatch):
    page = README.parent / "docs" / "stacks.md"
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}

    for block in blocks:
        exec(block, names)

    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"hinted.png", "lent.png", *(f"frame-{t}.png" for t in range(8))}
    assert names["found"].map.shape == names["photo"].shape
