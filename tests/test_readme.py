"""The code in README and docs runs as it is printed, and their links point to files."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import napari_colorize_training.finetune
import napari_colorize_training.run
import numpy as np
import pytest
import tifffile
import typer
from napari_colorize_training.__main__ import app as training_app
from napari_colorize_training.recipe import read_recipe, recipe_names
from PIL import Image
from sample_videos import make_video
from tiny_training import draw_images
from typer.testing import CliRunner

from napari_colorize.cli import app
from napari_colorize.zoo import CATALOGUE

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Records of measurements, made with data that are not in the repository.
RECORDS = ROOT / "docs" / "dev"
# Published files cannot be downloaded in a test: the model in the package takes their place.
PUBLISHED = re.compile("|".join(sorted(set(CATALOGUE) - {"embedded"}, key=len, reverse=True)))
# Files that the Python blocks of a page write.
WRITTEN = {
    "README.md": {"colors.png", "warm.png", "guided.png"},
    "docs/explanation/intensity-ranges.md": {"scan.tif"},
    "docs/gallery.md": set(),
    "docs/getting-started.md": {"colors.png"},
    "docs/how-to/clusters.md": set(),
    "docs/how-to/gpu.md": set(),
    "docs/how-to/guide-colors.md": {"hinted.png", "reference.png"},
    "docs/how-to/historical-photographs.md": {"portrait.png"},
    "docs/how-to/microscopy.md": {"plane-0.tif", "plane-1.tif"},
    "docs/how-to/python.md": {"again.png", "warm.png"},
    "docs/how-to/stacks-and-video.md": {f"frame-{t}.png" for t in range(8)},
    "docs/how-to/xray-dicom.md": {"soft-tissue.tif"},
}
# Pages that need a window, a widget or a training, each with a test of its own below.
OF_ITS_OWN = {
    "docs/how-to/fine-tuning.md",
    "docs/how-to/jupyter.md",
    "docs/how-to/napari.md",
    "docs/reference/recipes.md",
}


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def run_python_of(page: Path) -> dict[str, Any]:
    """Run the Python blocks of a page in one namespace, in order; returns it."""
    names: dict[str, Any] = {}
    for block in python_blocks(page):
        code = PUBLISHED.sub("embedded", block)
        exec(compile(code, str(page), "exec", dont_inherit=True), names)
    return names


def test_every_page_with_python_is_tested():
    with_python = {str(page.relative_to(ROOT)) for page in PAGES if python_blocks(page)}

    assert with_python == WRITTEN.keys() | OF_ITS_OWN


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")
@pytest.mark.parametrize(("page", "written"), WRITTEN.items())
def test_the_python_of_a_page_runs_and_writes_what_it_names(page, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    run_python_of(ROOT / page)

    assert {path.name for path in tmp_path.iterdir()} == written


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")
def test_the_python_of_the_jupyter_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "my-slides")

    names = run_python_of(ROOT / "docs" / "how-to" / "jupyter.md")

    try:
        names["box"].wait()
        assert names["box"].result.settings.blend == 0.3
        assert names["view"].saturation == 1.4
        assert {path.name for path in tmp_path.iterdir()} == {"my-slides"}
    finally:
        for name in ("box", "view", "training"):
            names[name].close()


@pytest.mark.skipif(
    sys.platform == "linux" and not os.environ.get("DISPLAY"), reason="napari needs a display."
)
@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")
def test_the_python_of_the_napari_page_runs(tmp_path, monkeypatch, make_napari_viewer):
    import napari

    monkeypatch.chdir(tmp_path)
    viewer = make_napari_viewer()
    monkeypatch.setattr(napari, "Viewer", lambda: viewer)

    run_python_of(ROOT / "docs" / "how-to" / "napari.md")

    assert list(tmp_path.iterdir()) == []
    assert {"astronaut (colorized)", "video (colorized)"} <= {each.name for each in viewer.layers}


@pytest.mark.slow
def test_the_python_of_the_fine_tuning_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finetune = napari_colorize_training.finetune.finetune
    monkeypatch.setattr(
        napari_colorize_training.finetune,
        "finetune",
        lambda images, **options: finetune(images, **options, steps=1),
    )

    run_python_of(ROOT / "docs" / "how-to" / "fine-tuning.md")

    assert (tmp_path / "mymodel.safetensors").is_file()


def test_the_python_of_the_recipe_page_runs_until_the_training(monkeypatch):
    started = []
    monkeypatch.setattr(
        napari_colorize_training.run, "run_recipe", lambda *given: started.append(given)
    )

    run_python_of(ROOT / "docs" / "reference" / "recipes.md")

    ((recipe, data, options),) = started
    assert recipe.critic.options["field"] == 16
    assert (data, options.folder) == (Path("photos"), Path("runs/mine"))


def commands_of(page: Path) -> list[list[str]]:
    """The lines of both programs in the code blocks of a page, without comments."""
    lines = page.read_text(encoding="utf-8").splitlines()
    commands = (line for line in lines if re.match("napari-colorize(-train)? ", line))
    return [shlex.split(line, comments=True) for line in commands]


WITH_COMMANDS = [page for page in PAGES if RECORDS not in page.parents and commands_of(page)]


@pytest.fixture
def users_files(tmp_path, monkeypatch) -> None:
    """The files and folders that the commands of the pages name, in the current folder."""
    from pydicom import examples
    from zarr import create_array

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", str(tmp_path / "cache"))
    gray = Image.fromarray(np.tile(np.arange(0, 240, 4, dtype=np.uint8), (48, 1)))
    in_color = Image.new("RGB", gray.size, (200, 80, 40))
    for folder in ("scans", "album", "plate", "patient", "series", "frames", "gray-frames"):
        Path(folder).mkdir()
    for name in ("photo.jpg", "photo.png", "cat.jpg", "portrait.jpg", "section.tif", "people.png"):
        gray.save(name)
    for name in ("scans/a.png", "scans/b.png", "album/a.jpg", "plate/a.tif", "gray-frames/1.png"):
        gray.save(name)
    in_color.save("painting.jpg")
    Image.new("RGBA", gray.size, (200, 80, 40, 255)).save("scribbles.png")
    for name in ("ct.dcm", "patient/1.dcm", "series/1.dcm"):
        shutil.copy(examples.get_path("ct"), name)
    for folder in ("my-slides", "photos", "shards"):
        draw_images(Path(folder))
    for folder in ("slides", "bags"):  # in groups
        for seed in range(2):
            draw_images(Path(folder, str(seed)), seed=seed)
    make_video(Path("film.mp4"), frames=3)
    stack = np.stack([np.asarray(gray)] * 2)
    tifffile.imwrite("stack.tif", stack)
    tifffile.imwrite("cells.ome.tif", stack, metadata={"axes": "ZYX"})
    create_array("stack.ome.zarr", data=stack)
    shutil.rmtree("frames")


def runnable(words: list[str]) -> list[str]:
    """Arguments of a command, without downloads, other machines, GPUs and long trainings."""
    given = {"tcp://scheduler:8786": "local:1", "cuda:1": "cpu"}
    arguments = [PUBLISHED.sub("embedded", given.get(word, word)) for word in words[1:]]
    return [*arguments, "--steps", "1"] if arguments[0] == "finetune" else arguments


@pytest.mark.slow
@pytest.mark.usefixtures("users_files")
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_run_in_order(page):
    for words in commands_of(page):
        program = training_app if words[0] == "napari-colorize-train" else app
        arguments = runnable(words)
        if arguments[0] == "train":  # takes hours; some need published encoders
            assert_is_understood(program, arguments)
            continue
        done = CliRunner().invoke(program, arguments)
        assert done.exit_code == 0, (words, done.stderr)


def assert_is_understood(program: typer.Typer, arguments: list[str]) -> None:
    """Fail if an option of a command does not exist or has a wrong value."""
    name, *rest = arguments
    group = typer.main.get_command(program)
    group.commands[name].make_context(name, rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_result_of_a_page_is_written_twice(page):
    text = page.read_text(encoding="utf-8")
    written = re.findall(r'\.save\("([^"{]+)"', text) if page.name == "README.md" else []
    for words in commands_of(page):
        written += [words[words.index("-o") + 1]] if "-o" in words else []
        written += words[3:4] if words[1] == "video" else []

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


def test_the_table_of_recipes_is_that_of_the_files():
    tool = runpy.run_path(str(ROOT / "tools" / "recipe_tables.py"))

    page = (ROOT / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [tool["recipe_row"](read_recipe(name)) for name in recipe_names()]
