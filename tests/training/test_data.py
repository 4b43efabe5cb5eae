from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from napari_colorize_training import data
from napari_colorize_training.data import (
    AHEAD,
    Crops,
    Photographs,
    build_cache,
    files_in,
    is_validation,
    pictures_in,
)
from PIL import Image

from napari_colorize.errors import ImageError


def write_picture(path, value: int, size=(200, 170)) -> None:
    Image.new("RGB", size, (value, 255 - value, 128)).save(path)


def sizes_of(cache) -> tuple[int, int]:
    return len(Photographs(cache, validation=False)), len(Photographs(cache, validation=True))


@pytest.fixture
def photographs(tmp_path):
    """A cache of 120 pictures, each of its own colour."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for value in range(120):
        write_picture(folder / f"{value:03}.png", value)
    build_cache(folder, tmp_path / "cache")
    return tmp_path / "cache"


def test_pictures_are_shrunk_once_and_told_apart_by_name(photographs):
    training = Photographs(photographs, validation=False)
    validation = Photographs(photographs, validation=True)

    expected = sum(is_validation(f"{value:03}.png") for value in range(120))
    assert (len(training), len(validation)) == (120 - expected, expected)
    assert training[5].shape == (160, 188, 3)


def test_folders_and_shards_are_read_alike_and_other_files_left_out(tmp_path):
    write_picture(tmp_path / "one.png", 1)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture")
    content = io.BytesIO()
    Image.new("RGB", (160, 160), (7, 8, 9)).save(content, "PNG")
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        entry = tarfile.TarInfo("folder/two.PNG")
        entry.size = content.tell()
        content.seek(0)
        shard.addfile(entry, content)

    build_cache(tmp_path, tmp_path / "cache")

    assert sum(sizes_of(tmp_path / "cache")) == 2
    assert sorted(name for name, _ in pictures_in(tmp_path)) == ["one.png", "two.PNG"]


def test_a_folder_without_pictures_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no photographs"):
        build_cache(tmp_path, tmp_path / "cache")


def test_one_picture_is_too_few_and_leaves_no_cache(tmp_path):
    write_picture(tmp_path / "one.png", 1)

    with pytest.raises(ImageError, match="Give two at least"):
        build_cache(tmp_path, tmp_path / "cache")

    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("same_name", [False, True])
def test_a_small_set_holds_one_picture_back(tmp_path, same_name):
    for value in range(4):
        name = f"{value}/photo.png" if same_name else f"photo{value}.png"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_picture(tmp_path / name, value)
        assert not is_validation((tmp_path / name).name)

    build_cache(tmp_path, tmp_path / "cache")

    assert sizes_of(tmp_path / "cache") == (3, 1)


def test_a_set_that_is_all_validation_still_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "VALIDATION_SHARE", 1.0)
    for value in range(3):
        write_picture(tmp_path / f"{value}.png", value)

    build_cache(tmp_path, tmp_path / "cache")

    assert sizes_of(tmp_path / "cache") == (1, 2)


def test_a_cache_is_built_again_only_when_its_source_has_changed(tmp_path, monkeypatch):
    cache, sources = tmp_path / "cache", [tmp_path / "few", tmp_path / "more"]
    for count, source in zip((2, 3), sources, strict=True):
        source.mkdir()
        for value in range(count):
            write_picture(source / f"{value}.png", value)

    build_cache(sources[0], cache)
    built = (cache / "pixels").stat().st_ino
    build_cache(sources[0], cache)
    assert (cache / "pixels").stat().st_ino == built

    build_cache(sources[1], cache)
    assert sum(sizes_of(cache)) == 3
    (sources[1] / "2.png").unlink()
    build_cache(sources[1], cache)
    assert sum(sizes_of(cache)) == 2
    monkeypatch.setattr(data, "SHORT_SIDE", 100)
    build_cache(sources[1], cache)
    assert Photographs(cache, validation=True)[0].shape == (100, 118, 3)


def test_a_cache_without_a_passport_is_built_again(photographs, tmp_path):
    (photographs / "index.json").write_text('[["one.png", 160, 160]]')

    build_cache(tmp_path / "photos", photographs)

    assert sum(sizes_of(photographs)) == 120


def test_only_a_few_files_are_read_ahead(tmp_path, monkeypatch):
    for value in range(3 * AHEAD):
        write_picture(tmp_path / f"{value}.png", value, size=(8, 8))
    read = []

    def noted(source):
        for file in files_in(source):
            read.append(file)
            yield file

    monkeypatch.setattr(data, "files_in", noted)
    pictures = pictures_in(tmp_path)
    next(pictures)

    assert len(read) == AHEAD
    assert 1 + len(list(pictures)) == 3 * AHEAD


@pytest.mark.parametrize(
    "error", [Image.DecompressionBombError("too large"), ValueError("chunk"), SyntaxError("PNG")]
)
def test_a_picture_that_pillow_refuses_is_left_out(tmp_path, monkeypatch, error):
    write_picture(tmp_path / "one.png", 1)

    def refuse(file):
        raise error

    monkeypatch.setattr(Image, "open", refuse)

    assert list(pictures_in(tmp_path)) == []


def test_a_picture_that_was_taken_sideways_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by a quarter
    Image.new("RGB", (200, 160)).save(tmp_path / "one.jpg", exif=exif)

    [(_, picture)] = pictures_in(tmp_path)

    assert picture.shape == (200, 160, 3)


def test_a_batch_depends_on_seed_and_step_alone(photographs):
    training = Photographs(photographs, validation=False)
    first, second = (Crops(training, side=32, batch=6, shrink=(0.5, 1.0), seed=3) for _ in range(2))
    for step in range(4):
        first.at(step)

    np.testing.assert_array_equal(first.at(40), second.at(40))
    assert not np.array_equal(first.at(40), first.at(41))


def test_every_picture_comes_once_in_an_epoch(photographs):
    training = Photographs(photographs, validation=False)
    crops = Crops(training, side=16, batch=1, shrink=(1.0, 1.0), seed=0)

    seen = [int(crops.at(step)[0, 0, 0, 0]) for step in range(len(training))]

    assert len(set(seen)) == len(training)


def test_a_batch_is_full_even_if_pictures_are_few(photographs):
    validation = Photographs(photographs, validation=True)
    batch = 3 * len(validation) + 1
    crops = Crops(validation, side=16, batch=batch, shrink=(1.0, 1.0), seed=0)

    assert len(crops.at(0)) == len(crops.at(1)) == batch
    assert len({int(crop[0, 0, 0]) for crop in crops.at(1)}) == len(validation)
