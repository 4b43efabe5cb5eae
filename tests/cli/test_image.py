from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stand_ins import TintNetwork, colorizer_of, tint_checkpoint
from typer.testing import CliRunner, Result

from napari_colorize import __version__, provenance
from napari_colorize.cli import app
from napari_colorize.colorizer import Colorizer
from napari_colorize.io.images import read_image, read_provenance
from napari_colorize.model_spec import ModelSpec

runner = CliRunner()
DESCRIBE = provenance.describe.__kwdefaults__


@pytest.fixture(autouse=True)
def folder(fast_network: Path) -> Path:
    return fast_network


def save(*names: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32)).astype(np.uint8)
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(name)


def run(*arguments: str) -> Result:
    return runner.invoke(app, ["image", *arguments], catch_exceptions=False)


def lines(text: str) -> list[str]:
    return [Path(line).as_posix() for line in text.splitlines()]


def test_the_default_output_is_next_to_the_image() -> None:
    save("photo.jpg")
    done = run("photo.jpg")
    assert (done.exit_code, lines(done.stdout)) == (0, ["photo-colorized.jpg"])
    assert read_image("photo-colorized.jpg").array.shape == (24, 32, 3)


def test_for_one_image_path_and_seconds_are_printed_without_a_bar() -> None:
    save("photo.png")
    (line,) = run("photo.png").stderr.splitlines()
    path, seconds, unit = line.split()
    assert (path, unit) == ("photo-colorized.png:", "s")
    assert float(seconds) >= 0


def test_folders_are_mirrored_and_results_are_counted() -> None:
    save("in/a.png", "in/a b/ü.png")
    done = run("in", "-o", "out")
    assert lines(done.stdout) == ["out/a.png", "out/a b/ü.png"]
    assert done.stderr.startswith("2 written in ")


def test_a_broken_file_is_reported_in_one_line_and_the_others_are_colorized() -> None:
    save("in/a.png", "in/c.png")
    Path("in/b.png").write_bytes(b"\x89PNG\r\n\x1a\n truncated")
    done = run("in", "-o", "out")
    assert (done.exit_code, lines(done.stdout)) == (1, ["out/a.png", "out/c.png"])
    (broken, summary) = done.stderr.splitlines()
    assert broken.startswith(str(Path("in/b.png")) + ": ")
    assert summary.startswith("2 written")
    assert summary.endswith("1 failed.")


def test_repeating_a_command_keeps_existing_results() -> None:
    save("in/a.png", "in/b.png")
    run("in", "-o", "out")
    before = Path("out/a.png").stat()
    done = run("in", "-o", "out")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "2 already exist" in done.stderr
    after = Path("out/a.png").stat()  # reading the provenance may change the time of access
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def rerun(*options: str, sources: str = "in") -> str:
    """What a command says on the results of an earlier one, without the summary."""
    *notes, summary = run(sources, "-o", "out", *options).stderr.splitlines()
    assert "already exist" in summary
    return " ".join(notes) or summary


def test_results_made_with_other_settings_are_named() -> None:
    save("in/a.png", "in/b.jpg", "in/sub/c.webp")
    run("in", "-o", "out", "--saturation", "1", "--edges")
    made = f"3 results in out{os.sep} were made with {{}}; use --overwrite or another folder."
    assert rerun("--saturation", "1") == "3 already exist (made with the same settings)."
    assert rerun("--saturation", "2.5") == made.format("saturation 1")
    assert rerun("--saturation", "2", "--no-edges") == made.format("saturation 1, edges on")


def test_only_results_that_differ_are_counted() -> None:
    save("in/a.png", "in/b.png")
    run("in", "-o", "out")
    save("in/sub/c.png")
    run("in", "-o", "out", "--gamma", "2")
    assert rerun("--gamma", "2").startswith(f"2 results in out{os.sep} were made with gamma 1;")
    assert rerun() == (
        f"1 result in {Path('out/sub')}{os.sep} was made with gamma 2; use --overwrite or another "
        "folder."
    )


def test_results_of_another_model_version_or_mask_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save("in/a.png")
    Image.fromarray(np.eye(24, 32, dtype=np.uint8) * 255).save("one.png")
    Image.fromarray(np.eye(24, 32, 3, dtype=np.uint8) * 255).save("two.png")
    run("in", "-o", "out", "--mask", "one.png")
    assert "same settings" in rerun("--mask", "one.png")
    assert "was made with other guides;" in rerun("--mask", "two.png")
    assert "was made with guides;" in rerun()
    monkeypatch.setattr(provenance.describe, "__kwdefaults__", {**DESCRIBE, "version": "9.9"})
    assert f"version {__version__}" in rerun("--mask", "one.png")
    other = ModelSpec(checkpoint=tint_checkpoint(name="other"), source="other")
    monkeypatch.setattr(ModelSpec, "from_model", lambda *_, **__: other)
    assert "was made with model tint, " in rerun("--mask", "one.png")


def test_requested_contrast_limits_are_compared_and_not_those_of_each_image() -> None:
    for name, white in (("a", 4000), ("b", 900)):
        Path("in").mkdir(exist_ok=True)
        pixels = np.linspace(0, white, 24 * 32).reshape(24, 32).astype(np.uint16)
        Image.fromarray(pixels).save(f"in/{name}.png")
    run("in", "-o", "out")
    assert "same settings" in rerun()
    assert "were made with contrast limits auto;" in rerun("--contrast-limits", "data")
    run("in", "-o", "out", "--contrast-limits", "0,1000", "--overwrite")
    assert "same settings" in rerun("--contrast-limits", "0,1000")
    assert "were made with contrast limits 0, 1000;" in rerun()


def test_results_that_are_older_than_their_image_are_named() -> None:
    save("in/a.png", "in/b.png", "in/c.bmp")
    run("in", "-o", "out")
    remedy = "use --overwrite or another folder."
    os.utime("out/c.bmp", (0, 0))  # without a record
    assert rerun() == f"1 result in out{os.sep} is older than its image; {remedy}"
    assert "same settings" not in run("in", "-o", "out").stderr
    os.utime("out/a.png", (0, 0))
    assert rerun() == f"2 results in out{os.sep} are older than their images; {remedy}"
    assert rerun("--gamma", "2").endswith(f"are older than their images; {remedy}")
    refused = run("in/a.png", "-o", "out")
    assert "a.png exists, is older than its image and was made with the same" in refused.stderr
    run("in", "-o", "out", "--overwrite")
    assert "older" not in rerun()


def test_a_result_of_another_image_with_the_same_stem_is_named() -> None:
    save("in/a.pgm")
    run("in", "-o", "out")
    save("in/a.png")
    os.utime("in/a.png", (0, 0))
    made = f"1 result in out{os.sep} was made with another image; use --overwrite"
    assert made in run("in", "-o", "out").stderr
    assert {path.name for path in Path("out").iterdir()} == {"a.png", "a.pgm.png"}
    refused = run("in/a.png", "-o", "out").stderr
    assert "exists and was made with another image. Replace it" in refused
    assert "a.pgm" not in str(read_provenance(Path("out/a.png")))  # may be a patient's name
    run("in", "-o", "out", "--overwrite")
    assert "same settings" in rerun()


def test_results_without_a_record_are_only_counted() -> None:
    save("in/a.png", "in/b.bmp")
    run("in", "-o", "out", "--no-provenance")
    assert rerun("--saturation", "3") == "2 already exist (--overwrite replaces them)."


def test_stacks_and_sheets_are_compared_too() -> None:
    import tifffile

    Path("in").mkdir()
    tifffile.imwrite("in/s.tif", np.eye(16, dtype=np.uint8)[None].repeat(3, 0) * 255)
    run("in", "-o", "out", "--shadows", "0.5")
    assert "was made with shadows 0.5;" in rerun()
    run("in", "-o", "out", "--sweep", "2,3")
    assert "same settings" in rerun("--sweep", "2,3")
    assert "was made with render factor 2, 3;" in rerun("--sweep", "4,3")


def test_a_single_result_says_how_it_was_made() -> None:
    save("a.png")
    run("a.png", "-o", "b.png", "--saturation", "0.5")
    refused = run("a.png", "-o", "b.png")
    assert refused.exit_code == 1
    assert "b.png exists and was made with saturation 0.5. Replace it with" in refused.stderr


def test_notes_that_differ_in_numbers_are_one_line_for_each_batch() -> None:
    import tifffile

    Path("in").mkdir()
    for name, white in (("a", 4000), ("b", 200), ("c", 1000)):
        pixels = np.linspace(0, white, 24 * 32, dtype=np.int32).reshape(24, 32)
        tifffile.imwrite(f"in/{name}.tif", pixels, photometric="minisblack")
    (note, _) = run("in", "-o", "out").stderr.splitlines()
    assert note.startswith(f"{Path('in/a.tif')}: Contrast limits are 0 and 4095: the values")
    assert note.endswith(
        "For 2 other images the same is noted, but the numbers differ between images. "
        "For images of one acquisition, give --contrast-limits LOW,HIGH."
    )


def test_equal_notes_are_one_line_for_each_batch() -> None:
    Path("in").mkdir()
    for name in ("a", "b", "c"):
        pixels = np.linspace(0, 4000, 24 * 32).reshape(24, 32).astype(np.uint16)
        Image.fromarray(pixels).save(f"in/{name}.png")
    (note, _) = run("in", "-o", "out").stderr.splitlines()
    assert note.startswith(f"{Path('in/a.png')} and 2 other images: Contrast limits are 0 and 4095")


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not allow")
def test_control_characters_of_names_are_escaped() -> None:
    save("in/a\x1b[31m\n.png")
    Path("in/b\n.png").write_bytes(b"no image")
    done = run("in", "-o", "out")
    assert done.stdout == "out/a\\x1b[31m\\n.png\n"
    broken, _ = done.stderr.splitlines()
    assert broken.startswith("in/b\\n.png: ")
    assert Path("out/a\x1b[31m\n.png").is_file()
    missing = run("\x1b.png").stderr
    assert missing == "Error: \\x1b.png does not exist.\n"


def test_a_single_result_is_replaced_only_with_overwrite() -> None:
    save("a.png")
    run("a.png", "-o", "b.png", "--saturation", "0")
    before = Path("b.png").read_bytes()

    refused = run("a.png", "-o", "b.png")
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert Path("b.png").read_bytes() == before

    assert run("a.png", "-o", "b.png", "--overwrite").exit_code == 0
    assert Path("b.png").read_bytes() != before


def test_settings_reach_the_result() -> None:
    save("a.png")
    run("a.png", "--render-factor", "3", "--no-self-attention", "--gamma", "1.5")
    record = read_provenance("a-colorized.png")
    assert record is not None
    settings: Any = record["settings"]
    assert (settings["render_factor"], settings["self_attention"]) == (3, False)
    assert settings["gamma"] == 1.5


def test_no_provenance_stores_none() -> None:
    save("a.png")
    run("a.png", "--no-provenance")
    assert read_provenance("a-colorized.png") is None


def test_quiet_prints_only_paths_and_errors() -> None:
    save("in/a.png")
    Path("in/b.png").touch()
    done = run("in", "-q", "-o", "out")
    assert lines(done.stdout) == ["out/a.png"]
    assert len(done.stderr.splitlines()) == 1


def test_each_note_is_printed_once_for_each_image() -> None:
    colored = np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3)).astype(np.uint8)
    import tifffile

    tifffile.imwrite("stack.tif", colored, photometric="rgb")
    tifffile.imwrite("int.tif", colored[0, ..., 0].astype(np.int32) - 1)
    done = run("stack.tif", "int.tif", "-o", "out")
    (stack, number, _) = done.stderr.splitlines()
    assert stack.startswith("stack.tif: The image had colors")
    assert number.startswith("int.tif: Contrast limits were taken from the data")


def test_limits_computed_from_a_stack_are_reported_once() -> None:
    import tifffile

    stack = np.arange(3 * 8 * 8, dtype=np.int32).reshape(3, 8, 8) - 100
    tifffile.imwrite("stack.tif", stack, photometric="minisblack")
    output = run("stack.tif").stderr
    assert output.count("Contrast limits were taken from the data: -100 and 91.") == 1


def test_a_sweep_writes_one_contact_sheet_for_each_image() -> None:
    save("in/a.png", "in/b.jpg")
    done = run("in", "--sweep", "2,4,8,16")
    assert lines(done.stdout) == ["in/a-sweep.png", "in/b-sweep.png"]
    sheet = read_image("in/a-sweep.png").array
    assert sheet.shape == (12 + 2 * (360 + 48 + 12), 12 + 3 * 492, 3)  # five images, three in a row


def test_a_setting_out_of_range_is_a_usage_error_that_names_option_range_and_value() -> None:
    save("a.png")
    for value, shown in (("nan", "nan"), ("-1", "-1.0"), ("9", "9.0")):
        done = run("a.png", "--saturation", value)
        assert done.exit_code == 2
        assert f"--saturation must be a number from 0 to 4, got {shown}." in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--sweep", "8,x"], "--sweep must be render factors"),
        (["--sweep", ""], "--sweep must be render factors"),
        (["--sweep", "8,101"], "--sweep must be render factors from 1 to 100 such as"),
        (["--sweep", "8", "--render-factor", "9"], "exclude each other"),
    ],
)
def test_an_invalid_sweep_is_a_usage_error(options: list[str], sentence: str) -> None:
    save("a.png")
    done = run("a.png", *options)
    assert done.exit_code == 2
    assert sentence in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.png"], "missing.png does not exist."),
        (["*.xyz"], "Nothing matches *.xyz."),
        (["empty"], "There are no images in empty."),
        (["a.png", "-o", "a.png"], "a.png is an input"),
        (["in", "-o", "a.png"], "a.png is a file"),
        (["in", "-o", "new.png"], "names one file, but there are 2 images"),
        (["a.png", "-m", "deoldify-grandiose"], "No model is named 'deoldify-grandiose'"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line_before_any_work(
    arguments: list[str], sentence: str
) -> None:
    save("a.png", "in/b.png", "in/c.png")
    Path("empty").mkdir()
    before = sorted(Path().rglob("*"))
    done = run(*arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


def test_an_unsupported_setting_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = colorizer_of(TintNetwork())
    monkeypatch.setattr(Colorizer, "from_pretrained", lambda *_, **__: plain)
    save("in/a.png", "in/b.png")
    done = run("in", "--fidelity", "deoldify")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1


def test_after_a_full_disk_the_summary_counts_what_is_not_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_colorize.batch import task
    from napari_colorize.errors import OutputError

    def write(path: Path, *_: Any, **__: Any) -> None:
        raise OutputError(f"{path}: the disk is full.") from OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(task, "write_image", write)
    save(*(f"in/{number}.png" for number in range(6)))
    done = run("in", "-o", "out")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "1 failed; 5 not done (repeat the command to resume)."


def test_results_are_printed_to_stdout_and_everything_else_to_stderr(
    run_program: Callable[..., Any],
) -> None:
    save("in/a.png", "in/ä b.png")
    done = run_program("image", "in/*.png", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert lines(done.stdout) == ["out/a.png", "out/ä b.png"]
    assert "2 written" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX pseudo-terminal")
def test_in_a_terminal_a_bar_shows_the_remaining_time(
    run_program: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pty
    import termios

    save(*(f"in/{number}.png" for number in range(9)))
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    done = run_program("image", "in", "-o", "out", stderr=terminal)
    os.close(terminal)
    output = os.read(master, 100_000).decode()
    os.close(master)
    assert len(done.stdout.splitlines()) == 9
    assert re.search(r"9/9 \[\d\d:\d\d<\d\d:\d\d", output), repr(output)  # elapsed<remaining


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_file_name_that_is_not_valid_text_is_supported(run_program: Callable[..., Any]) -> None:
    save("a.png")
    name = b"caf\xe9.png"
    Path("a.png").rename(os.fsdecode(name))
    done = run_program("image", name, encoding=None)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"caf\xe9-colorized.png\n"


def test_dropped_metadata_are_named_once_per_run() -> None:
    save("in/a.bmp", "in/b.bmp", "in/c.bmp", "in/d.png")
    done = run("in", "-o", "out")
    (sentence, summary) = done.stderr.splitlines()
    assert sentence == ("The provenance record of 3 files was dropped because BMP cannot hold it.")
    assert summary.startswith("4 written")

    Image.new("L", (32, 24), 90).save("e.jpg", xmp=b"<x/>", comment="here")
    done = run("e.jpg", "-o", "e.bmp")
    assert done.stderr.splitlines()[-1] == (
        "XMP, comments and the provenance record of e.bmp were dropped because BMP cannot hold "
        "them."
    )


def test_an_animation_that_becomes_a_tiff_names_what_is_lost() -> None:
    frames = [Image.new("L", (32, 24), value) for value in (10, 90, 170)]
    frames[0].save("a.webp", save_all=True, append_images=frames[1:], duration=50, lossless=True)
    done = run("a.webp", "-o", "a.tif")
    assert done.stderr.count("dropped") == 1
    assert "Frame durations of a.tif were dropped because TIFF cannot hold them." in done.stderr


def test_a_stretched_file_has_one_note_on_its_range() -> None:
    ramp = np.linspace(100, 1100, 64, dtype=np.uint16)[None].repeat(48, axis=0)
    Image.fromarray(ramp).save("a.png")

    printed = run("a.png", "-o", "b.png", "--contrast-limits", "data").stderr

    assert printed.count("Contrast limits were taken from the data: 100 and 1100.") == 1
    assert "1100. The file is stretched to the full range of its type. Other limits:" in printed


def test_a_batch_has_one_note_on_intensity_ranges() -> None:
    from PIL import Image

    Path("in").mkdir()
    for number in range(3):
        pixels = np.full((24, 32), 4000 - number, np.uint16)
        Image.fromarray(pixels).save(f"in/{number}.png")
    done = run("in", "-o", "out")
    notes = [line for line in done.stderr.splitlines() if "ontrast limits" in line]
    assert len(notes) == 1
    assert "0 and 4095" in notes[0] and "--contrast-limits dtype" in notes[0]


def test_12_bits_keep_their_scale_unless_a_rule_is_chosen() -> None:
    from PIL import Image

    ramp = np.linspace(0, 4080, 24 * 32).reshape(24, 32).astype(np.uint16)
    Image.fromarray(ramp).save("a.png")
    run("a.png", "-o", "auto.png", "--saturation", "0")
    run("a.png", "-o", "data.png", "--saturation", "0", "--contrast-limits", "data")
    auto, data = (read_image(name).array[..., 0] for name in ("auto.png", "data.png"))
    assert np.abs(auto.astype(int) - ramp).max() <= 1
    assert (data.min(), data.max()) == (0, 65535)
