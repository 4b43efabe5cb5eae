"""Images that are decoded in every step instead of being cached."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
from napari_colorize_training.data import prepare
from napari_colorize_training.data.stream import ImageStream, open_images, prepare_stream
from napari_colorize_training.evaluation.ground_truth import find_ground_truth
from napari_colorize_training.models.export import recorded_validation
from napari_colorize_training.run import run_recipe
from PIL import Image
from tiny_training import draw_images, options_of, tiny

from napari_colorize.errors import SettingsError

SPLIT = {"side": 48, "validation_share": 0.2}


@pytest.fixture
def shard(tmp_path):
    folder = draw_images(tmp_path / "images", 20)
    with tarfile.open(tmp_path / "shard.tar", "w") as file:
        for path in sorted(folder.iterdir()):
            file.add(path, path.name)
    return tmp_path / "shard.tar"


def test_streamed_images_equal_cached_ones(shard, tmp_path):
    prepare(shard, tmp_path / "cache", **SPLIT)
    cached = {
        image.name: image
        for validation in (False, True)
        for image in open_images(tmp_path / "cache", validation=validation)
    }

    report = prepare_stream(shard, tmp_path / "stream", **SPLIT)

    streams = [ImageStream(tmp_path / "stream", validation=side) for side in (False, True)]
    assert [len(stream) for stream in streams] == [report.training, report.validation]
    assert report.used == 20 and report.validation >= 4
    for image in [*streams[0], *streams[1]]:
        assert image.limits == (0, 255) and image.gray is None
        np.testing.assert_array_equal(image.rgb, cached.pop(image.name).rgb)
    assert not cached
    assert streams[0].short_side == 48 and not streams[0].deep and not streams[0].paired


def test_an_index_of_a_shard_holds_no_pixels(shard, tmp_path):
    prepare_stream(shard, tmp_path / "stream", **SPLIT)

    size = sum(path.stat().st_size for path in (tmp_path / "stream").iterdir())

    assert size < 20 * (150 + len(str(shard)))


def test_images_that_cannot_be_used_are_replaced(tmp_path):
    folder = draw_images(tmp_path / "images", 8)
    (folder / "3.png").write_bytes(b"damaged")
    Image.new("L", (64, 64)).save(folder / "5.png")
    prepare_stream(folder, tmp_path / "stream", **SPLIT)

    images = [
        image
        for side in (False, True)
        for image in open_images(tmp_path / "stream", validation=side)
    ]

    assert len(images) == 8
    assert {image.name for image in images} == {f"{n}.png" for n in (0, 1, 2, 4, 6, 7)}


def test_arrays_are_not_streamed(tmp_path):
    arrays = [np.zeros((40, 40, 3), np.uint8)] * 3

    with pytest.raises(SettingsError, match="Only files and tar shards are streamed"):
        prepare_stream(arrays, tmp_path / "stream", **SPLIT)


def test_a_recipe_is_trained_from_a_shard_without_a_cache(shard, tmp_path):
    options = options_of(tmp_path / "run", tmp_path / "cache")

    model = run_recipe(tiny(steps=3), shard, options, cached=False)

    assert model is not None and model.is_file()
    assert not (tmp_path / "cache" / "pixels").exists()
    truths = find_ground_truth(shard, validation=recorded_validation(model))
    names = open_images(tmp_path / "cache", validation=True).names
    assert [item.name for item in truths.items] == names


def test_a_cache_replaces_a_stream(shard, tmp_path):
    cache = tmp_path / "cache"
    prepare_stream(shard, cache, **SPLIT)

    run_recipe(tiny(steps=2), shard, options_of(tmp_path / "run", cache))

    assert not isinstance(open_images(cache, validation=False), ImageStream)
