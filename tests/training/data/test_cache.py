from __future__ import annotations

import errno
import json
import os
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from napari_colorize_training.data import cache as cached
from napari_colorize_training.data.cache import PREFETCH, THREADS, ImageCache, prepare
from PIL import Image

from napari_colorize.errors import ImageError, OutputError, SettingsError
from napari_colorize.io.images import write_image
from napari_colorize.provenance import SOFTWARE


def image(seed: int, size=(60, 44)) -> Image.Image:
    """Return blurred random patches of color, which are easily compressed."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def write_images(folder, count: int, **options) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        image(seed, **options).save(folder / f"{seed:03}.png")


def both(cache) -> list:
    return [*ImageCache(cache, validation=False), *ImageCache(cache, validation=True)]


def problems_of(report) -> dict[str, str]:
    return {problem.name: problem.problem for problem in report.problems}


def test_images_are_reduced_and_keep_their_names(tmp_path):
    write_images(tmp_path / "photos", 30, size=(90, 60))

    report = prepare(tmp_path / "photos", tmp_path / "cache", side=40, validation_share=0.2)

    training = ImageCache(tmp_path / "cache", validation=False)
    validation = ImageCache(tmp_path / "cache", validation=True)
    assert (len(training), len(validation)) == (report.training, report.validation)
    assert report.used == 30 and report.validation > 1
    assert training[5].rgb.shape == (40, 60, 3)
    assert training.short_side == 40
    assert not {*training.names} & {*validation.names}


def test_cached_images_equal_the_source(tmp_path):
    write_images(tmp_path / "photos", 5)

    prepare(tmp_path / "photos", tmp_path / "cache")

    for cached_image in both(tmp_path / "cache"):
        original = np.asarray(Image.open(tmp_path / "photos" / cached_image.name))
        np.testing.assert_array_equal(cached_image.rgb, original)


def test_unusable_images_are_left_out_and_reported(tmp_path):
    folder = tmp_path / "photos"
    write_images(folder, 6)
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "copy.png").write_bytes((folder / "000.png").read_bytes())
    image(7).convert("L").save(folder / "gray.png")
    image(8).convert("L").convert("RGB").save(folder / "gray rgb.png")
    image(9, size=(31, 400)).save(folder / "tiny.png")
    write_image(folder / "mine.png", np.asarray(image(10)), provenance={"software": SOFTWARE})

    report = prepare(folder, tmp_path / "cache")

    assert problems_of(report) == {
        "broken.png": "unreadable",
        "copy.png": "duplicated",
        "gray.png": "gray",
        "gray rgb.png": "gray",
        "mine.png": "predicted by this program",
        "tiny.png": "tiny",
    }
    assert report.used == len(both(tmp_path / "cache")) == 6
    assert "6 of 12 images are used" in report.sentence()
    assert "copy.png: duplicated (same pixels as 000.png); left out." in report.text()
    report = json.loads((tmp_path / "cache" / "report.json").read_text())
    assert len(report["problems"]) == 6


def test_colors_of_pairs_must_not_be_predicted_but_their_grays_may(tmp_path):
    for folder, number in (("color", 1), ("gray", 0)):
        write_images(tmp_path / folder, 3)
        pixels = np.asarray(image(number))
        path = tmp_path / folder / f"{number:03}.png"
        path.unlink()
        write_image(path, pixels, provenance={"software": SOFTWARE})

    report = prepare(tmp_path, tmp_path / "cache")

    assert problems_of(report) == {"color/001.png": "predicted by this program"}


def test_near_duplicates_are_reported_and_not_split(tmp_path):
    folder = tmp_path / "photos"
    write_images(folder, 30)
    for seed in range(30):
        image(seed).save(folder / f"{seed:03}.jpg", quality=95)

    report = prepare(folder, tmp_path / "cache", validation_share=0.3)

    stems = [
        {name[:3] for name in ImageCache(tmp_path / "cache", validation=side).names}
        for side in (False, True)
    ]
    assert not stems[0] & stems[1]
    assert report.used == 60
    assert set(problems_of(report).values()) == {"nearly the same"}


def test_near_duplicates_in_another_group_do_not_leak(tmp_path):
    for group in range(8):
        write_images(tmp_path / "photos" / f"bag{group}", 0)
        image(group).save(tmp_path / "photos" / f"bag{group}" / "own.png")
        image(99).save(tmp_path / "photos" / f"bag{group}" / "blank.jpg", quality=70 + group)

    report = prepare(tmp_path / "photos", tmp_path / "cache", group="folder", validation_share=0.3)

    sides = [ImageCache(tmp_path / "cache", validation=side) for side in (False, True)]
    groups = [{one.group for one in side} for side in sides]
    blanks = [sum("blank" in name for name in side.names) for side in sides]
    assert report.groups == 8
    assert not groups[0] & groups[1]
    assert blanks[0] == 0 and blanks[1] >= 1
    assert any(problem.action == "left out" for problem in report.problems)


def test_pairs_keep_the_dtype_and_limits_of_their_grays(tmp_path):
    folder = tmp_path / "pairs"
    write_images(folder / "color", 4, size=(64, 48))
    (folder / "gray").mkdir()
    values = np.random.default_rng(0).integers(0, 65536, (4, 96, 128), dtype=np.uint16)
    for seed in range(3):
        Image.fromarray(values[seed]).save(folder / "gray" / f"{seed:03}.tif")
    Image.fromarray(values[3, :, :96]).save(folder / "gray" / "003.tif")

    report = prepare(folder, tmp_path / "cache")

    images = both(tmp_path / "cache")
    assert report.paired and report.used == 3
    assert problems_of(report) == {"color/003.png": "mis-paired"}
    for one in images:
        assert (one.gray.dtype, one.gray.shape) == (np.uint16, one.rgb.shape[:2])
        assert one.gray_limits == (0, 65535)
        original = values[int(one.name[6:9])]
        assert one.gray.mean() == pytest.approx(original.mean(), rel=0.01)


def luminance(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114])


def test_pairs_of_12_bits_are_well_exposed(tmp_path):
    colors = [np.asarray(image(seed)) * np.uint16(16) for seed in range(4)]
    grays = [luminance(rgb).round().astype(np.uint16) for rgb in colors]

    report = prepare({"color": colors, "gray": grays}, tmp_path / "cache")

    assert report.used == 4
    for one in both(tmp_path / "cache"):
        assert one.limits == one.gray_limits == (0, 4095)


@pytest.mark.parametrize("paired", [True, False])
def test_images_that_are_read_with_other_limits_at_use_are_reported(tmp_path, paired):
    colors = [np.asarray(image(seed)) * np.uint16(16) for seed in range(4)]
    colors[2] //= 8
    colors[2][0, 0] = 0, 0, 4000  # 12 bits; luminance has 10
    grays = [luminance(rgb).round().astype(np.uint16) for rgb in colors]

    report = prepare({"color": colors, **({"gray": grays} if paired else {})}, tmp_path / "cache")

    (note,) = report.problems
    assert (note.name, note.action) == ("color[2]", "kept")
    assert note.reason == "black and white are 0 and 1023, in training 0 and 4095"
    assert report.used == 4
    assert "1 of them are of another intensity range in gray alone" in report.sentence()


def test_gray_of_12_bits_fits_colors_of_8_bits(tmp_path):
    colors = [np.asarray(image(seed)) for seed in range(4)]
    grays = [(16 * luminance(rgb)).round().astype(np.uint16) for rgb in colors]

    prepare({"color": colors, "gray": grays}, tmp_path / "cache")

    assert {one.gray_limits for one in both(tmp_path / "cache")} == {(0, 4095)}


def test_pairs_whose_brightness_disagrees_are_left_out_by_name(tmp_path):
    write_images(tmp_path / "pairs" / "color", 4)
    (tmp_path / "pairs" / "gray").mkdir()
    for seed in range(4):
        gray = luminance(np.asarray(image(seed)))
        negative = 255 * (gray < 128) if seed == 2 else gray
        Image.fromarray(negative.astype(np.uint8)).save(tmp_path / "pairs/gray" / f"{seed:03}.png")

    report = prepare(tmp_path / "pairs", tmp_path / "cache")

    (problem,) = report.problems
    assert report.used == 3
    assert (problem.name, problem.action) == ("color/002.png", "left out")
    assert "of the range" in problem.reason


def test_a_set_of_disagreeing_pairs_is_refused_with_a_name(tmp_path):
    colors = [np.asarray(image(seed)) for seed in range(3)]
    grays = [np.zeros(rgb.shape[:2], np.uint8) for rgb in colors]

    with pytest.raises(ImageError, match=r"color\[0\].*differ by 0\.\d+ of the range"):
        prepare({"color": colors, "gray": grays}, tmp_path / "cache")


def test_another_rule_makes_another_cache(tmp_path):
    colors = [np.asarray(image(seed)) * np.uint16(16) for seed in range(3)]

    prepare(colors, tmp_path / "cache")
    prepare(colors, tmp_path / "cache", contrast_limits="dtype")

    assert {one.limits for one in both(tmp_path / "cache")} == {(0, 65535)}


def test_arrays_and_layers_are_cached_like_files(tmp_path):
    stack = np.stack([np.asarray(image(seed)) for seed in range(4)])
    layer = SimpleNamespace(data=stack, rgb=True, name="video")
    deep = [one.astype(np.uint16) * 16 for one in stack]

    assert prepare(stack, tmp_path / "stack").used == 4
    assert prepare([layer], tmp_path / "layer").used == 4
    assert prepare(deep, tmp_path / "deep").deep

    for one, other in zip(both(tmp_path / "stack"), both(tmp_path / "layer"), strict=True):
        np.testing.assert_array_equal(one.rgb, other.rgb)
    assert {one.rgb.dtype.name for one in both(tmp_path / "deep")} == {"uint16"}
    assert all(one.limits == (0, 4095) for one in both(tmp_path / "deep"))


def test_a_cache_is_rebuilt_only_after_a_change(tmp_path):
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    write_images(folder, 3)

    def inode(**options) -> int:
        prepare(folder, cache, **options)
        return (cache / "pixels").stat().st_ino

    built = inode()
    assert inode() == built
    image(9).save(folder / "009.png")
    grown = inode()
    assert grown != built and len(both(cache)) == 4
    (folder / "009.png").unlink()
    assert inode() != grown and len(both(cache)) == 3
    inode(side=40)
    assert both(cache)[0].rgb.shape == (40, 55, 3)


@pytest.mark.parametrize("index", ['[["one.png", 160, 160]]', '{"images": []}', "{", ""])
def test_old_and_damaged_caches_are_rebuilt(tmp_path, index):
    write_images(tmp_path / "photos", 3)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "index.json").write_text(index)

    prepare(tmp_path / "photos", tmp_path / "cache")

    assert len(both(tmp_path / "cache")) == 3


def test_a_small_set_has_one_validation_image(tmp_path):
    write_images(tmp_path / "photos", 4)

    report = prepare(tmp_path / "photos", tmp_path / "cache", validation_share=1e-6)

    assert (report.training, report.validation) == (3, 1)


def test_progress_is_reported_for_each_image(tmp_path):
    write_images(tmp_path / "photos", 5)
    calls = []

    prepare(
        tmp_path / "photos", tmp_path / "cache", progress=lambda *numbers: calls.append(numbers)
    )

    assert calls == [(number, 5) for number in range(1, 6)]


def test_few_images_are_decoded_in_advance(monkeypatch):
    started, go_on = [], threading.Event()

    def noted(item, *, side, rule):
        started.append(item)
        go_on.wait(60)
        return item

    monkeypatch.setattr(cached, "read_item", noted)
    images = cached._read_all([*range(10 * PREFETCH * THREADS)], 160, "auto")
    threading.Timer(0.1, go_on.set).start()
    next(images)

    assert len(started) <= PREFETCH * THREADS
    assert 1 + len(list(images)) == 10 * PREFETCH * THREADS


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda folder: None, FileNotFoundError, "has no readable images"),
        (
            lambda folder: (folder / "one.png").write_bytes(b"no image"),
            FileNotFoundError,
            "has no readable images; left out: 1 unreadable",
        ),
        (partial(write_images, count=1), ImageError, "only one usable image. Give at least two"),
        (
            lambda folder: [image(n).convert("L").save(folder / f"{n}.png") for n in range(3)],
            ImageError,
            "no images to train on; left out: 3 gray. Give color images",
        ),
    ],
    ids=["none", "damaged", "one", "gray"],
)
def test_too_few_images_are_refused_without_a_cache(tmp_path, make, error, sentence):
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    folder.mkdir()
    make(folder)

    with pytest.raises(error, match=sentence):
        prepare(folder, cache)

    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "the disk is full. Free some space"), (errno.EIO, "could not be written")],
)
def test_a_full_disk_is_reported_and_the_old_cache_remains(tmp_path, monkeypatch, number, sentence):
    write_images(tmp_path / "photos", 3)
    prepare(tmp_path / "photos", tmp_path / "cache")
    image(9).save(tmp_path / "photos" / "009.png")

    def full(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cached._CacheWriter, "_add", full)

    with pytest.raises(OutputError, match=sentence):
        prepare(tmp_path / "photos", tmp_path / "cache")

    assert len(both(tmp_path / "cache")) == 3
    assert not list((tmp_path / "cache").glob(".*"))


def test_an_unwritable_cache_folder_is_refused(tmp_path):
    write_images(tmp_path / "photos", 3)
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(OutputError, match="is a file, not a folder"):
        prepare(tmp_path / "photos", tmp_path / "file" / "cache")


def test_space_and_time_are_estimated_before_a_cache_is_built(tmp_path):
    write_images(tmp_path / "photos", 40, size=(120, 100))
    notes = []

    prepare(tmp_path / "photos", tmp_path / "cache", side=50, note=notes.append)

    size = (tmp_path / "cache" / "pixels").stat().st_size
    assert size == 40 * 50 * 60 * 3
    assert len(notes) == 1
    assert notes[0].startswith("Decoding 40 images to a cache of 50 px, about 360 kB, takes about ")
    prepare(tmp_path / "photos", tmp_path / "cache", side=50, note=notes.append)
    assert len(notes) == 1


def test_a_cache_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    write_images(tmp_path / "photos", 3)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5000))

    with pytest.raises(OutputError, match=r"about 24 kB, but .* has 5 kB left: .*--no-cache"):
        prepare(tmp_path / "photos", tmp_path / "cache")

    assert not (tmp_path / "cache" / "pixels").exists()


@pytest.mark.parametrize("options", [{"side": 8}, {"validation_share": 0}, {"validation_share": 1}])
def test_invalid_settings_are_refused(tmp_path, options):
    with pytest.raises(SettingsError, match="The cache needs a side of at least 32 px"):
        prepare(tmp_path, tmp_path / "cache", **options)


def test_slides_and_shards_of_the_reference_data_are_read(shared, tmp_path):
    shard = shared / "data" / "domains" / "xray-baggage.tar"
    if not shard.is_file():
        pytest.skip("The baggage X-rays are not here.")

    report = prepare(shard, tmp_path / "cache", side=64)

    assert report.used + sum(one.action == "left out" for one in report.problems) == 28
