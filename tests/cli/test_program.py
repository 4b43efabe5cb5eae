"""What both programs have in common: help, groups of options, errors, suggestions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari_colorize_training.__main__ import app as training_app
from PIL import Image
from typer.testing import CliRunner

from napari_colorize.cli import app
from napari_colorize.cli.program import in_shell_words

runner = CliRunner()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("program", "commands"),
    [
        (app, ["image", "video", "models", "models list", "models fetch"]),
        (training_app, ["recipes", "train", "finetune", "calibrate", "evaluate"]),
    ],
)
def test_every_command_has_a_short_help_without_boxes(program, commands) -> None:
    for command in ["", *commands]:
        short = runner.invoke(program, [*command.split(), "-h"], env={"COLUMNS": "80"})

        assert short.exit_code == 0
        assert short.stdout.startswith("Usage:")
        assert len(short.stdout.splitlines()) < 100
        assert "\u2500" not in short.stdout
        assert max(map(len, short.stdout.splitlines())) <= 80


@pytest.mark.parametrize("program", [app, training_app])
def test_both_programs_print_their_version(program) -> None:
    assert runner.invoke(program, ["--version"]).stdout.startswith("0.")


def test_options_are_listed_in_groups() -> None:
    lines = runner.invoke(app, ["image", "-h"]).stdout.splitlines()

    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == [
        "Arguments:",
        "Result:",
        "Model:",
        "Color:",
        "Guides:",
        "Input and output:",
        "Speed:",
        "Other options:",
    ]


def test_the_package_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "napari_colorize", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("0.")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("argument", ["--version", "models"])
def test_a_full_disk_behind_the_output_is_one_sentence(argument: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "napari_colorize", argument],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.strip() == "The output cannot be printed: No space left on device."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["photo.jpg"], "napari-colorize image photo.jpg"),
        (["film.MP4"], "napari-colorize video film.MP4"),
        (["."], "napari-colorize image ."),
        (["imag", "a.png"], "Did you mean 'image'"),
        (["image", "a.png", "--saturatoin", "1"], "--saturation"),
        (["image", "a.png", "--blend", "0.5"], "--blend has no effect without --blend-with"),
        (["image", "a.png", "--blend-by", "mean"], "--blend-by has no effect without"),
        (["image", "a.png", "--reference-strength", "1"], "without --reference."),
        (["image", "a.png", "--hue-from", "10"], "without --hue-damping"),
        (["image", "a.png", "--no-retry"], "--no-retry has no effect without --dask"),
        (["image", "a.png", "--time-axis", "0"], "without --temporal-smoothing"),
        (["image", "a.png", "--temporal-smoothing", "0.5"], "no effect on a single image"),
        (["image", "s.tif", "--temporal-smoothing", "1", "--map", "error"], "show one plane"),
        (["image", "a.png", "--fidelity", "ipol", "--shadows", "0.2"], "with --fidelity ipol"),
        (["image", "a.png", "-q", "-v"], "exclude each other"),
        (["models", "--json", "fetch", "embedded"], "--json has no effect on fetch"),
    ],
)
def test_arguments_without_effect_are_usage_errors_with_the_reason(arguments, sentence) -> None:
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save("a.png")
    tifffile.imwrite("s.tif", np.zeros((3, 8, 8), np.uint8))

    done = runner.invoke(app, arguments, prog_name="napari-colorize", env={"COLUMNS": "200"})

    assert done.exit_code == 2
    assert sentence in done.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "s.tif"]


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        (
            "a.png exists already. Choose another name, or set overwrite=True.",
            "or use --overwrite.",
        ),
        ('These stay gray. Try precision="float32".', "Try --precision float32."),
        ("set temporal_smoothing=0.", "--temporal-smoothing 0."),
        ("Switch it off: self_attention=False", "off: --no-self-attention"),
        ("render_factor must be a whole number", "--render-factor must be a whole number"),
        ("scans/render_factor.png is damaged.", "scans/render_factor.png is damaged."),
        ("my_contrast_limits are wrong", "my_contrast_limits are wrong"),
    ],
)
def test_messages_name_options_instead_of_python_arguments(message, printed) -> None:
    assert in_shell_words(message).endswith(printed)


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'accelerate'", name="accelerate")

    monkeypatch.setattr("napari_colorize_training.finetune.finetune", fail)

    done = runner.invoke(training_app, ["finetune", "in", "--progress", "none"])

    assert done.exit_code == 1
    assert done.stderr.startswith("Error: accelerate is not installed. To install it: pip install")
    assert "[training]" in done.stderr and done.stderr.count("\n") == 1
