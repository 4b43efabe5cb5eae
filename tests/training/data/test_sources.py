from __future__ import annotations

import io
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from napari_colorize_training.data.sources import Member, read_source
from PIL import Image

from napari_colorize.errors import ImageError


def write_image(path, value: int = 0, size=(48, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 255 - value, 128)).save(path)
    return path


def write_shard(path, names):
    content = io.BytesIO()
    Image.new("RGB", (40, 40), (7, 8, 9)).save(content, "PNG")
    with tarfile.open(path, "w") as shard:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = content.tell()
            shard.addfile(entry, io.BytesIO(content.getvalue()))
    return content.getvalue()


def names_of(data) -> list[str]:
    return [item.name for item in read_source(data).items]


def test_images_in_folders_and_shards_are_listed_and_other_files_ignored(tmp_path):
    write_image(tmp_path / "one.png")
    write_image(tmp_path / "deep" / "two.JPG")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._one.png").write_bytes(b"what macOS leaves behind")
    content = write_shard(tmp_path / "shard.tar", ["folder/three.PNG", "list.csv"])

    items = read_source(tmp_path).items

    assert [item.name for item in items] == [
        "deep/two.JPG",
        "one.png",
        "shard.tar/folder/three.PNG",
    ]
    assert isinstance(items[2].color, Member)
    assert items[2].color.read() == content
    assert names_of(tmp_path / "shard.tar") == ["shard.tar/folder/three.PNG"]


def test_a_damaged_shard_is_a_problem_and_no_error(tmp_path):
    write_image(tmp_path / "one.png")
    (tmp_path / "broken.tar").write_bytes(b"no shard" * 100)

    source = read_source(tmp_path)

    assert [item.name for item in source.items] == ["one.png"]
    [problem] = source.problems
    assert (problem.name, problem.problem) == ("broken.tar", "unreadable")


@pytest.mark.parametrize(("gray", "color"), [("gray", "color"), ("Grey", "colour")])
def test_pairs_are_matched_by_path_and_name_without_suffix(tmp_path, gray, color):
    write_image(tmp_path / color / "a" / "one.png")
    write_image(tmp_path / gray / "a" / "one.jpg")
    write_image(tmp_path / color / "lonely.png")
    write_image(tmp_path / gray / "forgotten.png")

    source = read_source(tmp_path)

    [item] = source.items
    assert (item.color.name, item.gray.name) == ("one.png", "one.jpg")
    assert {problem.name for problem in source.problems} == {
        f"{color}/lonely.png",
        f"{gray}/forgotten.png",
    }
    assert {problem.problem for problem in source.problems} == {"mis-paired"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_paths_in_a_csv_are_relative_to_it(tmp_path, delimiter):
    write_shard(tmp_path / "slides.tar", ["two.png"])
    rows = [
        ["color", "gray", "group"],
        ["one.png", "x/one.png", "A"],
        ["slides.tar/two.png", "", "B"],
        ["", "", ""],
    ]
    text = "\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "list.csv").write_text(text, encoding="utf-8-sig")

    first, second = read_source(tmp_path / "list.csv").items

    assert (first.color, first.gray) == (tmp_path / "one.png", tmp_path / "x" / "one.png")
    assert (first.columns["group"], second.columns["group"]) == ("A", "B")
    assert isinstance(second.color, Member) and second.gray is None


def test_a_csv_without_the_color_column_is_refused(tmp_path):
    (tmp_path / "list.csv").write_text("file\none.png\n")

    with pytest.raises(ImageError, match="has no column 'color'"):
        read_source(tmp_path / "list.csv")


@pytest.mark.parametrize("shape", [(3, 40, 50, 3), (3, 40, 50, 4)])
def test_stacks_lists_files_and_layers_give_the_same_items(tmp_path, shape):
    stack = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    np.save(tmp_path / "stack.npy", stack)
    np.savez(tmp_path / "stack.npz", color=stack)
    layer = SimpleNamespace(data=stack, rgb=True, name="video")

    sources = [stack, list(stack), tmp_path / "stack.npy", tmp_path / "stack.npz", layer, [layer]]

    for source in sources:
        items = read_source(source).items
        np.testing.assert_array_equal(np.stack([item.color for item in items]), stack)
        assert len({item.name for item in items}) == 3


def test_the_finest_level_of_a_pyramid_is_used():
    fine, coarse = np.zeros((80, 80, 3)), np.zeros((40, 40, 3))
    layer = SimpleNamespace(data=[fine, coarse], rgb=True, multiscale=True, name="slide")

    [item] = read_source(layer).items

    assert item.color is fine


def test_a_mapping_pairs_color_with_gray_and_its_contrast_limits():
    color = np.zeros((2, 40, 50, 3), np.uint8)
    gray = SimpleNamespace(
        data=np.zeros((2, 40, 50), np.uint16), rgb=False, contrast_limits=[5, 900]
    )

    items = read_source({"color": color, "gray": gray, "group": ["a", "b"]}).items

    assert [item.gray.shape for item in items] == [(40, 50), (40, 50)]
    assert [item.limits for item in items] == [(5.0, 900.0)] * 2
    assert [item.columns["group"] for item in items] == ["a", "b"]


def test_a_mapping_of_images_keeps_their_names():
    images = {"cat": np.zeros((40, 40, 3)), "dog": np.zeros((40, 40, 3))}

    assert names_of(images) == ["cat", "dog"]


def test_unequal_numbers_of_pairs_are_refused():
    color, gray = np.zeros((3, 40, 40, 3)), np.zeros((2, 40, 40))

    with pytest.raises(ImageError, match="3 color images but 2 values of 'gray'"):
        read_source({"color": color, "gray": gray})


def test_invalid_sources_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_source(tmp_path / "nowhere")
    with pytest.raises(ImageError, match="not int"):
        read_source(7)
    with pytest.raises(ImageError, match="got an array of shape"):
        read_source(np.zeros(5))


def test_images_of_several_folders_are_prefixed_and_grouped_by_folder(tmp_path):
    write_image(tmp_path / "a" / "one.png")
    write_image(tmp_path / "b" / "one.png", 9)
    (tmp_path / "b" / "broken.tar").write_bytes(b"no shard" * 100)

    source = read_source([tmp_path / "a", tmp_path / "b"])

    assert [item.name for item in source.items] == ["a/one.png", "b/one.png"]
    assert [problem.name for problem in source.problems] == ["b/broken.tar"]
    assert names_of([tmp_path / "a"]) == ["one.png"]
