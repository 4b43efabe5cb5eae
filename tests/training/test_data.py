from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from napari_colorize_training.data import Crops, Photographs, build_cache, is_validation
from PIL import Image


def write_picture(path, value: int, size=(200, 170)) -> None:
    Image.new("RGB", size, (value, 255 - value, 128)).save(path)


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
        entry = tarfile.TarInfo("two.png")
        entry.size = content.tell()
        content.seek(0)
        shard.addfile(entry, content)

    build_cache(tmp_path, tmp_path / "cache")

    sets = [Photographs(tmp_path / "cache", validation=side) for side in (False, True)]
    assert sum(len(photographs) for photographs in sets) == 2


def test_a_folder_without_pictures_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no photographs"):
        build_cache(tmp_path, tmp_path / "cache")


def test_a_batch_depends_on_seed_and_step_alone(photographs):
    training = Photographs(photographs, validation=False)
    first, second = (
        Crops(training, side=32, batch=6, shrink=(0.5, 1.0), seed=3) for _ in range(2)
    )
    for step in range(4):
        first.at(step)

    np.testing.assert_array_equal(first.at(40), second.at(40))
    assert not np.array_equal(first.at(40), first.at(41))


def test_every_picture_comes_once_in_an_epoch(photographs):
    training = Photographs(photographs, validation=False)
    crops = Crops(training, side=16, batch=1, shrink=(1.0, 1.0), seed=0)

    seen = [int(crops.at(step)[0, 0, 0, 0]) for step in range(len(training))]

    assert len(set(seen)) == len(training)
