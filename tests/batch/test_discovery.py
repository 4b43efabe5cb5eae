from __future__ import annotations

from pathlib import Path

import pytest

from napari_colorize.batch.discovery import Search
from napari_colorize.errors import ImageError
from napari_colorize.io.file_names import natural_key, own_suffix


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of empty files, which are found but not read."""
    names = (
        "b.png",
        "a.JPG",
        "notes.txt",
        ".hidden.png",
        "._a.JPG",
        "sub/c d.tif",
        "sub/deep/ü.dcm",
    )
    for name in (*names, ".thumbnails/t.png", "IM0001"):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.chdir(tmp_path)
    return Path("photos")


def found_paths(*inputs: str, excluded: str | None = None) -> list[str]:
    return [source.output_path.as_posix() for source in Search(excluded).find(inputs)]


def test_a_folder_gives_all_its_images_in_order(photos: Path) -> None:
    assert found_paths("photos") == ["a.JPG", "b.png", "sub/c d.tif", "sub/deep/ü.dcm"]


def test_with_several_inputs_each_folder_keeps_its_name(photos: Path) -> None:
    assert found_paths("photos/sub", "photos/a.JPG") == ["sub/c d.tif", "sub/deep/ü.dcm", "a.JPG"]


def test_a_named_file_is_used_with_any_suffix(photos: Path) -> None:
    assert found_paths("photos/IM0001") == ["IM0001"]


def test_an_image_is_found_once(photos: Path) -> None:
    assert found_paths("photos/a.JPG", "photos", "./photos/*.JPG").count("a.JPG") == 1


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("photos/*.png", ["b.png"]),
        ("photos/*", ["a.JPG", "b.png", "sub/c d.tif", "sub/deep/ü.dcm"]),
        ("photos/**/*.dcm", ["sub/deep/ü.dcm"]),
        ("ph*s/sub/?*.tif", ["photos/sub/c d.tif"]),
    ],
)
def test_a_glob_keeps_the_folders_below_its_fixed_part(
    photos: Path, pattern: str, found: list[str]
) -> None:
    assert found_paths(pattern) == found


def test_an_existing_name_with_brackets_is_no_pattern(photos: Path) -> None:
    (photos / "a[1].png").touch()
    assert found_paths("photos/a[1].png") == ["a[1].png"]


def test_links_form_no_cycles(photos: Path) -> None:
    (photos / "sub" / "loop").symlink_to(photos.resolve())
    (photos / "elsewhere").symlink_to((photos / "sub").resolve())
    found = found_paths("photos")
    assert sorted(Path(position).name for position in found) == [
        "a.JPG",
        "b.png",
        "c d.tif",
        "ü.dcm",
    ]


def test_the_output_folder_is_not_searched(photos: Path) -> None:
    assert found_paths("photos", excluded="photos/sub") == ["a.JPG", "b.png"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.png", "There is no file or folder named nowhere.png."),
        ("photos/*.xyz", "Nothing matches photos/*.xyz."),
        ("empty", "There are no images in empty."),
    ],
)
def test_missing_inputs_are_named(photos: Path, name: str, sentence: str) -> None:
    Path("empty").mkdir()
    with pytest.raises(ImageError) as error:
        Search().find([name])
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.JPG", ".JPG"), ("s.ome.TIF", ".ome.TIF"), ("IM.0001", ""), ("1.2.840", ""), ("plain", "")],
)
def test_only_image_suffixes_are_recognized(name: str, suffix: str) -> None:
    assert own_suffix(name) == suffix


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_current_folder(photos: Path, name: str) -> None:
    with pytest.raises(ImageError, match="INPUT is empty"):
        found_paths(name)


def test_names_are_in_natural_order() -> None:
    assert sorted(["a10.png", "a9.png", "B1.png"], key=natural_key) == [
        "a9.png",
        "a10.png",
        "B1.png",
    ]
