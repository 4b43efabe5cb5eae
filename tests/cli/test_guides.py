"""Guides, a second model and maps on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.color import rgb2yuv
from stand_ins import TintNetwork, UnevenNetwork, colorizer_of
from typer.testing import CliRunner, Result

from napari_colorize.cli import app
from napari_colorize.colorizer import Colorizer
from napari_colorize.io.images import read_image, read_provenance

runner = CliRunner()
SIZE = (48, 64)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a grayscale image, and two fast networks in place of the real ones."""
    networks = {"embedded": TintNetwork(), "deoldify-stable": UnevenNetwork()}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        Colorizer,
        "from_pretrained",
        lambda name, **_: colorizer_of(networks[name], name=name),
    )
    gray = np.full(SIZE, 90, np.uint8)
    gray[:, 32:] = 170
    Image.fromarray(gray).save("photo.png")
    return tmp_path


def run(*arguments: str) -> Result:
    return runner.invoke(app, ["image", *arguments], catch_exceptions=False)


def test_hints_are_read_from_an_image_with_alpha() -> None:
    scribbles = np.zeros((*SIZE, 4), np.uint8)
    scribbles[20:26, 8:14] = (130, 80, 80, 255)
    Image.fromarray(scribbles).save("hints.png")

    assert run("photo.png", "--hints", "hints.png").exit_code == 0

    result = rgb2yuv(read_image("photo-colorized.png").array)
    expected = rgb2yuv(scribbles[22, 10, :3])
    np.testing.assert_allclose(result[22, 10, 1:], expected[1:], atol=2 / 255)
    np.testing.assert_allclose(result[40, 4, 1:], expected[1:], atol=0.02)
    assert "hints" in read_provenance("photo-colorized.png")["guides"]


def test_pixels_outside_the_mask_are_unchanged() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save("mask.png")

    run("photo.png", "--mask", "mask.png")

    result = read_image("photo-colorized.png").array
    assert (result[:, 32:] == 170).all()
    assert np.ptp(result[:, :30], axis=-1).max() > 0


def test_the_palette_of_a_reference_is_transferred() -> None:
    Image.new("RGB", (30, 20), (200, 60, 60)).save("red.png")

    run("photo.png", "--reference", "red.png")

    assert rgb2yuv(read_image("photo-colorized.png").array)[..., 2].mean() > 0.1


def test_two_models_are_blended() -> None:
    run("photo.png", "-o", "one.png")
    run("photo.png", "-o", "both.png", "--blend-with", "deoldify-stable", "--blend", "1")
    run("photo.png", "-o", "other.png", "--model", "deoldify-stable")

    one, both, other = (read_image(f"{name}.png").array for name in ("one", "both", "other"))
    np.testing.assert_array_equal(both, other)
    assert (one != other).any()


@pytest.mark.parametrize("kind", ["disagreement", "error", "uncolored"])
def test_a_map_is_written_to_its_own_file(kind: str) -> None:
    done = run("photo.png", "--map", kind)

    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"photo-{kind}.png\n"
    assert read_image(f"photo-{kind}.png").array.shape == (*SIZE, 3)
    note = "is uncolored" if kind == "uncolored" else "CIEDE2000: half of the image"
    assert note in done.stderr


def test_maps_are_not_colorized_as_inputs() -> None:
    run(".", "--map", "disagreement")
    assert run(".").stdout == "photo-colorized.png\n"


def test_a_stack_is_smoothed_along_the_time_axis() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, *SIZE)).astype(np.uint8)
    tifffile.imwrite("stack.tif", frames, photometric="minisblack")

    run("stack.tif", "--temporal-smoothing", "1", "--time-axis", "0")

    expected = colorizer_of(TintNetwork()).iter_planes(frames, temporal_smoothing=1.0)
    stack = read_image("stack-colorized.tif").array
    for (time,), result in expected:
        np.testing.assert_array_equal(stack[time], result.pixels)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--hints", "photo.png"], "photo.png has no transparency"),
        (["--reference", "photo.png"], "photo.png is gray"),
        (["--mask", "nothing.png"], "nothing.png"),
        (["--mask", "small.png"], "The mask must cover the image: expected 64 x 48"),
        (["--blend-with", "no-such-model"], "No model is named 'no-such-model'"),
        (["--map", "error", "--sweep", "2,4"], "exclude each other"),
    ],
)
def test_unusable_options_are_reported_and_nothing_is_written(
    options: list[str], sentence: str
) -> None:
    Image.new("L", (3, 3), 255).save("small.png")

    done = run("photo.png", *options)

    assert done.exit_code != 0
    assert sentence in " ".join(done.stderr.split())
    assert not Path("photo-colorized.png").exists()


def test_guides_without_effect_are_refused(tmp_path) -> None:
    Image.fromarray(np.full((12, 16), 90, np.uint8)).save("gray.png")
    Image.fromarray(np.full((12, 16, 4), 99, np.uint8)).save("faint.png")
    Image.fromarray(np.zeros((12, 16), np.uint8)).save("black.png")
    for option, file, message in (
        ("--hints", "faint.png", "at least one half"),
        ("--mask", "black.png", "dark everywhere"),
    ):
        done = run("gray.png", option, file)
        assert done.exit_code == 1 and file in done.stderr and message in done.stderr
        assert not (tmp_path / "gray-colorized.png").exists()
