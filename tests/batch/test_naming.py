from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_colorize.batch.naming import BatchPlan, plan_batch
from napari_colorize.errors import ImageError, OutputError
from napari_colorize.io.file_names import SWEEP
from napari_colorize.io.images import write_image

RECORD = {"software": "napari-colorize"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def targets(made: BatchPlan, suffix: str | None = None) -> list[str]:
    """Names of results, if each can be stored in the format of its source."""
    return [job.target(suffix or job.source.suffix).as_posix() for job in made.jobs]


def test_results_are_next_to_their_images() -> None:
    touch("in/a.png", "in/sub/b.TIF")
    assert targets(plan_batch(["in"])) == ["in/a-colorized.png", "in/sub/b-colorized.TIF"]


def test_the_output_folder_mirrors_subfolders() -> None:
    touch("in/a.png", "in/sub/b.jpg")
    assert targets(plan_batch(["in"], "out")) == ["out/a.png", "out/sub/b.jpg"]


def test_several_folders_keep_their_names() -> None:
    touch("x/a.png", "y/a.png")
    assert targets(plan_batch(["x", "y"], "out")) == ["out/x/a.png", "out/y/a.png"]


@pytest.mark.parametrize(
    ("out", "result"),
    [
        ("b.tif", "b.tif"),
        ("out", "out/a.png"),
        ("out.v2/", "out.v2/a.png"),
        ("x.png/", "x.png/a.png"),
    ],
)
def test_a_single_image_goes_to_a_file_or_a_folder(out: str, result: str) -> None:
    touch("a.png")
    assert targets(plan_batch(["a.png"], out)) == [result]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that is in use")
def test_a_working_folder_that_was_removed_gives_one_sentence(folder: Path) -> None:
    touch("a.png")
    gone = folder / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    for inputs, out in (["../a.png"], "b.png"), ([str(folder / "a.png")], "out/"), (["x"], None):
        with pytest.raises(OutputError, match="The working folder cannot be used"):
            plan_batch(inputs, out)
    assert len(plan_batch([str(folder / "a.png")], str(folder / "b.png")).jobs) == 1


def test_an_unknown_suffix_is_not_taken_for_a_folder() -> None:
    touch("a.png")
    with pytest.raises(OutputError, match=r"q\.xyz: .* written as \.xyz\. .* \.png, .* A folder"):
        plan_batch(["a.png"], "q.xyz")
    assert not Path("q.xyz").exists()
    Path("q.xyz").mkdir()
    assert targets(plan_batch(["a.png"], "q.xyz")) == ["q.xyz/a.png"]


def test_another_format_gets_another_suffix() -> None:
    touch("scan.dcm", "IM0001")
    assert targets(plan_batch(["scan.dcm", "IM0001"]), ".tif") == [
        "scan-colorized.tif",
        "IM0001-colorized.tif",
    ]


def test_images_with_equal_names_get_distinct_results() -> None:
    touch("a.dcm", "a.tif")
    assert targets(plan_batch(["a.dcm", "a.tif"], "out"), ".tif") == ["out/a.dcm.tif", "out/a.tif"]


def test_a_full_name_is_not_the_stem_of_another_image() -> None:
    touch("a.dcm", "a.dcm.tif", "a.png")
    found = targets(plan_batch(["a.dcm", "a.dcm.tif", "a.png"], "out"), ".tif")
    assert found == ["out/a.dcm_.tif", "out/a.dcm.tif", "out/a.png.tif"]


def test_sheets_are_always_png() -> None:
    touch("in/a.jpg", "in/a.png", "in/b.tif")
    made = plan_batch(["in"], ending=SWEEP)
    assert targets(made) == ["in/a.jpg-sweep.png", "in/a-sweep.png", "in/b-sweep.png"]


def test_two_images_with_one_result_are_refused() -> None:
    touch("x/a.png", "y/a.png")
    with pytest.raises(OutputError, match="would both become out.a.png"):
        plan_batch(["x/a.png", "y/a.png"], "out")


def test_a_batch_continues_from_existing_results() -> None:
    touch("in/a.png", "in/b.png", "out/a.png")
    made = plan_batch(["in"], "out")
    assert (targets(made), len(made.kept)) == (["out/b.png"], 1)
    assert not plan_batch(["in"], "out", overwrite=True).kept


def test_a_result_in_another_format_is_recognized() -> None:
    touch("in/a.gif", "in/b.dcm", "out/a.webp", "out/b.tif")
    assert len(plan_batch(["in"], "out").kept) == 2


def test_a_namesake_in_another_format_is_not_mistaken_for_a_result() -> None:
    touch("in/a.png", "in/a.tif", "out/a.tif")
    assert targets(plan_batch(["in"], "out")) == ["out/a.png"]


def test_a_single_file_is_refused_rather_than_skipped() -> None:
    touch("a.png", "a-colorized.png")
    with pytest.raises(OutputError, match="--overwrite"):
        plan_batch(["a.png"])
    assert targets(plan_batch(["a.png"], overwrite=True)) == ["a-colorized.png"]


def test_results_are_never_colorized_again() -> None:
    touch("in/a.png", "in/a-colorized.png", "in/a-sweep.png", "in/old-colorized.png")
    made = plan_batch(["in"], overwrite=True)
    assert (targets(made), made.results) == (["in/a-colorized.png"], 3)
    everything = [path.as_posix() for path in Path("in").glob("a*")]  # as a shell expands it
    assert targets(plan_batch(everything, overwrite=True)) == ["in/a-colorized.png"]


def test_a_name_that_resembles_a_result_is_an_input() -> None:
    touch("in/chimney-sweep.png", "b-colorized.png")
    assert targets(plan_batch(["in"])) == ["in/chimney-sweep-colorized.png"]
    assert targets(plan_batch(["b-colorized.png"])) == ["b-colorized-colorized.png"]


def test_inputs_that_are_all_results_are_refused() -> None:
    touch("in/a-colorized.png")
    with pytest.raises(ImageError, match="results of earlier runs"):
        plan_batch(["in"])


def test_results_of_another_output_folder_inside_the_input_are_not_colorized() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    for name in ("in/a.jpg", "in/first/a.png", "in/b.png", "in/sub/b.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write_image(Path(name), pixels, provenance=RECORD if "first" in name else None)
    made = plan_batch(["in"], "in/second")
    assert targets(made) == ["in/second/a.jpg", "in/second/b.png", "in/second/sub/b.png"]
    assert made.results == 1
    assert targets(plan_batch(["in/first/a.png"], "out")) == ["out/a.png"]  # named


def test_results_in_the_input_folder_are_not_changed() -> None:
    touch("in/a.png", "in/out/a.png")
    made = plan_batch(["in"], "in/out", overwrite=True)
    assert targets(made) == ["in/out/a.png"]


@pytest.mark.parametrize("out", ["a.png", "./a.png", ".", "link.png"])
def test_an_input_is_never_replaced_by_its_result(out: str) -> None:
    touch("a.png")
    Path("link.png").symlink_to("a.png")
    with pytest.raises(OutputError, match="is an input"):
        plan_batch(["a.png"], out, overwrite=True)


@pytest.mark.parametrize(
    ("inputs", "out", "sentence"),
    [
        (["in"], "file", "file is a file; give -o a folder for the results."),
        (["a.png"], "file", "file is a file; give -o a folder for the results."),
        (["in"], "b.png", "b.png names one file, but there are 2 images: give -o a folder."),
        (["a.png"], "file/sub", "file is not writable"),
        (["a.png"], "b.gif", "cannot be written as .gif"),
    ],
)
def test_an_invalid_manifest_folder_raises_an_output_error(
    inputs: list[str], out: str, sentence: str
) -> None:
    touch("in/a.png", "in/b.png", "a.png", "file")
    with pytest.raises(OutputError) as error:
        plan_batch(inputs, out)
    assert sentence in str(error.value)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_read_only_output_folder_is_refused_before_any_work() -> None:
    touch("in/a.png")
    Path("in").chmod(0o500)
    with pytest.raises(OutputError, match="in is not writable"):
        plan_batch(["in"])


def test_an_empty_output_name_is_refused() -> None:
    touch("in/a.png")
    with pytest.raises(OutputError, match="The name after -o is empty"):
        plan_batch(["in"], "")


def test_the_write_test_leaves_no_file(folder: Path) -> None:
    touch("a.png")
    plan_batch(["a.png"], "out/deep")
    assert [path.name for path in folder.iterdir()] == ["a.png"]
