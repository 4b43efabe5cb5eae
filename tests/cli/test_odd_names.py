"""A batch with names, links, folders and pipes that cannot be read or written: the rest goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from napari_colorize.batch import runner
from napari_colorize.cli import app
from napari_colorize.cli.program import printable
from napari_colorize.io.images import read_image

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="names and files of POSIX")


@pytest.fixture(autouse=True)
def folder(fast_network: Path) -> Path:
    return fast_network


def save(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        with Path(name).open("wb") as file:
            Image.fromarray(np.full((8, 8), 99, np.uint8)).save(file, "PNG")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["image", *arguments], catch_exceptions=False)


@pytest.mark.parametrize("stem", ["n" * 251, "n" * 245, "写" * 81])
@pytest.mark.parametrize("options", [[], ["--sweep", "8,9"], ["-o", "out"]])
def test_a_name_that_is_too_long_fails_alone(stem: str, options: list[str]) -> None:
    save("in/a.png", f"in/{stem}.png", "in/z.png")
    done = run("in", *options)
    ending = "" if "-o" in options else "-sweep" if options else "-colorized"
    is_too_long = len(os.fsencode(f"{stem}{ending}.png")) > 255
    written = {Path(line).name[0] for line in done.stdout.splitlines()}
    assert written == ({"a", "z"} if is_too_long else {"a", stem[0], "z"})
    assert done.stderr.count("the name is too long") == done.exit_code == is_too_long


def occupy(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"broken link": "nowhere", "link to itself": path.name}[kind])


@pytest.mark.parametrize("kind", ["folder", "pipe", "broken link", "link to itself"])
@pytest.mark.parametrize("inputs", [["in/a.png", "in/b.png"], ["in"]])
def test_what_is_no_file_does_not_count_as_a_result(kind: str, inputs: list[str]) -> None:
    save("in/a.png", "in/b.png")
    occupy(Path("out/a.png"), kind)
    for repetition in range(2):
        done = run(*inputs, "-o", "out")
        assert done.exit_code == 1
        assert done.stdout == ("" if repetition else "out/b.png\n")
        assert done.stderr.startswith("in/a.png: out/a.png ")
        assert "1 failed" in done.stderr
    assert not Path("nowhere").exists()


def test_inputs_that_are_no_readable_files_fail_alone() -> None:
    save("in/a.png", "in/z.png", "other.png")
    Path("in/broken.png").symlink_to("nowhere")
    Path("in/itself.png").symlink_to("itself.png")
    for name in ("in/pipe", "in/pipe.png"):  # the first one could be a DICOM file
        os.mkfifo(name)
    done = run("in", "gone.png", "other.png", "-o", "out")
    assert done.stdout.splitlines() == ["out/in/a.png", "out/in/z.png", "out/other.png"]
    reasons = [line.partition(": ")[0] for line in done.stderr.splitlines()[:-1]]
    assert {"in/broken.png", "in/itself.png", "in/pipe.png"} <= set(reasons)
    assert "gone.png does not exist." in done.stderr
    assert "4 failed" in done.stderr


def test_a_file_at_the_place_of_a_folder_fails_its_images_only() -> None:
    save("in/a.png", "in/sub/b.png", "in/z.png", "out/sub")
    done = run("in", "-o", "out")
    assert done.stdout.splitlines() == ["out/a.png", "out/z.png"]
    assert "in/sub/b.png: out/sub/b.png could not be written: a part of its path" in done.stderr


def test_a_file_that_vanishes_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    save("in/a.png", "in/b.png")

    def vanishing(path: Path) -> Any:
        Path("in/a.png").unlink(missing_ok=True)
        return read_image(path)

    monkeypatch.setattr(runner, "read_image", vanishing)
    done = run("in", "-o", "out")
    assert (done.stdout, done.exit_code) == ("out/b.png\n", 1)


def test_an_unexpected_error_ends_one_image_only(monkeypatch: pytest.MonkeyPatch) -> None:
    save("in/a.png", "in/b.png")

    def faulty(path: Path) -> Any:
        if path.name == "a.png":
            raise ZeroDivisionError
        return read_image(path)

    monkeypatch.setattr(runner, "read_image", faulty)
    done = run("in", "-o", "out")
    assert (done.stdout, done.exit_code) == ("out/b.png\n", 1)
    assert "in/a.png: An unexpected error occurred (ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\x1b[31m\n", "a\\x1b[31m\\n"),
        ("\u202egnp", "\\u202egnp"),
        ("a\u2028b\x85", "a\\u2028b\\x85"),
        ("写 é", "写 é"),
    ],
)
def test_control_characters_are_escaped(text: str, escaped: str) -> None:
    assert printable(text) == escaped


def test_titles_in_model_files_are_escaped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_colorize.networks.compact import CompactUNet
    from napari_colorize.zoo.weights import write_weights

    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(folder))
    metadata = {"architecture": "compact", "license": "\x1b]0;title\a", "base": "\x1b[2J\n"}
    write_weights(folder / "x\x1b[31m.safetensors", CompactUNet().state_dict(), metadata)
    (folder / "damaged\x1b.safetensors").write_bytes(b"\x1b")
    listed = CliRunner().invoke(app, ["models"])
    assert "x\\x1b[31m" in listed.stdout
    assert "\x1b" not in listed.stdout + listed.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_result_whose_event_is_lost_is_printed(
    name: str, folder: Path, run_program: Callable[..., Any]
) -> None:
    save("in/a.png", "in/b.png", "in/c.png")
    done = run_program("--signal", name, "print", "1", "image", "in", "-o", "out")
    assert done.returncode == 130
    written = sorted(path.as_posix() for path in Path("out").iterdir())
    assert sorted(done.stdout.splitlines()) == written
    assert f"{len(written)} written" in done.stderr
