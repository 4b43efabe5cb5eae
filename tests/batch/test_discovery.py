from __future__ import annotations

from pathlib import Path

import pytest

from napari_colorize.batch.discovery import Search, own_suffix
from napari_colorize.errors import ImageError


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of names; it is searched, not read."""
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


def places(*inputs: str, leave_out: str | None = None) -> list[str]:
    return [source.place.as_posix() for source in Search(leave_out).find(inputs)]


def test_a_folder_gives_all_its_pictures_in_order(photos: Path) -> None:
    assert places("photos") == ["a.JPG", "b.png", "sub/c d.tif", "sub/deep/ü.dcm"]


def test_of_several_inputs_each_folder_keeps_its_name(photos: Path) -> None:
    assert places("photos/sub", "photos/a.JPG") == ["sub/c d.tif", "sub/deep/ü.dcm", "a.JPG"]


def test_a_file_is_taken_by_its_name_whatever_its_suffix(photos: Path) -> None:
    assert places("photos/IM0001") == ["IM0001"]


def test_a_picture_is_found_once(photos: Path) -> None:
    assert places("photos/a.JPG", "photos", "./photos/*.JPG").count("a.JPG") == 1


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
    assert places(pattern) == found


def test_a_name_with_brackets_is_a_name_first(photos: Path) -> None:
    (photos / "a[1].png").touch()
    assert places("photos/a[1].png") == ["a[1].png"]


def test_links_make_no_circles(photos: Path) -> None:
    (photos / "sub" / "loop").symlink_to(photos.resolve())
    (photos / "elsewhere").symlink_to((photos / "sub").resolve())
    found = places("photos")
    assert sorted(Path(place).name for place in found) == ["a.JPG", "b.png", "c d.tif", "ü.dcm"]


def test_the_folder_for_results_is_not_searched(photos: Path) -> None:
    assert places("photos", leave_out="photos/sub") == ["a.JPG", "b.png"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.png", "There is no file or folder named nowhere.png."),
        ("photos/*.xyz", "Nothing matches photos/*.xyz."),
        ("empty", "There are no pictures in empty."),
    ],
)
def test_what_is_missing_is_named(photos: Path, name: str, sentence: str) -> None:
    Path("empty").mkdir()
    with pytest.raises(ImageError) as error:
        Search().find([name])
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.JPG", ".JPG"), ("s.ome.TIF", ".ome.TIF"), ("IM.0001", ""), ("1.2.840", ""), ("plain", "")],
)
def test_a_suffix_is_one_that_pictures_have(name: str, suffix: str) -> None:
    assert own_suffix(name) == suffix


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_folder_we_are_in(photos: Path, name: str) -> None:
    with pytest.raises(ImageError, match="INPUT is empty"):
        places(name)
