from __future__ import annotations

from pathlib import Path

import pytest

from napari_colorize.batch.discovery import Search
from napari_colorize.errors import ImageError
from napari_colorize.io import file_names
from napari_colorize.io.file_names import natural_key, own_suffix
from napari_colorize.io.images import read_image


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


def dicom_file(path: Path, **attributes: object) -> None:
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("given", ["photos", "photos/*", "photos/**", "photos/sub/[a-z]*"])
def test_zarr_stores_are_counted_and_not_entered(photos: Path, given: str) -> None:
    for metadata in ("x.zarr/zarr.json", "y/.zarray"):
        chunk = photos / "sub" / Path(metadata).parent / "c" / "0.0"
        chunk.parent.mkdir(parents=True)
        chunk.touch()
        (photos / "sub" / metadata).touch()
    search = Search()
    search.find([given])
    zarr_note = "2 zarr stores were left out. Zarr is colorized by `napari-colorize video`."
    assert search.left_out_notes()[-1] == zarr_note
    assert not any("numbered" in note or ".json" in note for note in search.left_out_notes())


def test_dicom_images_without_a_suffix_are_found_by_content(photos: Path) -> None:
    for name in ("IM0002", "1.2.840.10008", "IM.0003", "report.xyz", ".IM0004", "DICOMDIR"):
        dicom_file(photos / "sub" / name, Rows=1)
    dicom_file(photos / "sub" / "SR0001")  # a report
    search = Search()
    found = [source.path.name for source in search.find(["photos/sub"])]
    assert found == ["1.2.840.10008", "IM.0003", "IM0002", "c d.tif", "ü.dcm"]
    assert ".xyz 1" in search.left_out_notes()[0]
    assert "without a suffix 1" in search.left_out_notes()[0]


def test_a_dicomdir_stands_for_the_images_that_it_lists(photos: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    records = pydicom.Sequence()
    for kind, file in (("PATIENT", None), ("IMAGE", ["SUB", "IM2"]), ("IMAGE", "IM0001")):
        record = pydicom.Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = kind, file
        records.append(record)
    dicom_file(photos / "DICOMDIR", DirectoryRecordSequence=records)
    (photos / "sub" / "im2").touch()

    assert found_paths("photos/DICOMDIR") == ["sub/im2", "IM0001"]
    with pytest.raises(ImageError, match="index of a DICOM folder"):
        read_image(photos / "DICOMDIR")


@pytest.mark.parametrize(
    "parts", [["..", "secret.dcm"], "/etc/a.dcm", ["sub", "..", "..", "a"], "link"]
)
def test_a_dicomdir_lists_no_files_of_other_folders(photos: Path, parts: object) -> None:
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    Path("secret.dcm").touch()
    if parts == "link":
        (photos / "link").symlink_to(Path("secret.dcm").absolute())
    record = pydicom.Dataset()
    record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", parts
    dicom_file(photos / "DICOMDIR", DirectoryRecordSequence=pydicom.Sequence([record]))
    with pytest.raises(ImageError, match="outside of its folder"):
        found_paths("photos/DICOMDIR")


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
        ("nowhere.png", "nowhere.png does not exist."),
        (
            "https://a.org/b.png",
            "https://a.org/b.png is an address: download the file, and give its name.",
        ),
        ("photos/*.xyz", "Nothing matches photos/*.xyz."),
        ("empty", "There are no images in empty."),
        (
            "a.zarr",
            "There are no images in a.zarr. 1 zarr store was left out. Zarr is colorized by "
            "`napari-colorize video`.",
        ),
    ],
)
def test_missing_inputs_are_named(photos: Path, name: str, sentence: str) -> None:
    Path("empty").mkdir()
    Path("a.zarr").mkdir()
    Path("a.zarr/zarr.json").touch()
    with pytest.raises(ImageError) as error:
        Search().find([name])
    assert str(error.value) == sentence


def left_out(*names: str) -> str:
    """Notes about a folder with an image and files of these names."""
    for name in ("a.png", *names):
        Path("mixed", name).parent.mkdir(parents=True, exist_ok=True)
        Path("mixed", name).touch()
    search = Search()
    search.find(["mixed", "mixed/*"])
    return " ".join(search.left_out_notes())


@pytest.mark.parametrize(
    ("names", "note"),
    [
        ((".hidden", "sub/.DS_Store", "napari-colorize-manifest.jsonl"), ""),
        (
            ("n.txt",),
            "1 file with a suffix that is not known as an image was left out: .txt 1. "
            "Images among them are read if their names are given.",
        ),
        (
            ("raw.dng", "a.NEF", "sub/b.nef", "README"),
            "4 files with suffixes that are not known as images or without a suffix were left out: "
            ".nef 2, without a suffix 1, .dng 1. "
            "Images among them are read if their names are given.",
        ),
        (
            ("README",),
            "1 file without a suffix was left out: without a suffix 1. "
            "Images among them are read if their names are given.",
        ),
        (
            ("film.MP4",),
            "1 file with a suffix that is not known as an image was left out: .mp4 1. "
            "Videos are colorized by `napari-colorize video`.",
        ),
        (
            tuple(f"IM.{number:04}" for number in range(5)),
            "5 files with suffixes that are not known as images were left out: numbered 5. "
            "Images among them are read if their names are given.",
        ),
        (
            tuple(f"{number}.{kind}" for kind in "abcdefghi" for number in range(11)),
            "99 files with suffixes that are not known as images were left out: .a 11, .b 11, "
            ".c 11, .d 11, .e 11, .f 11, .g 11, .h 11, others 11. "
            "Images among them are read if their names are given.",
        ),
    ],
)
def test_files_that_are_left_out_are_counted_once_by_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], note: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert left_out(*names) == note


def test_a_left_out_heic_names_the_package_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(file_names, "_known_suffixes", lambda: frozenset({".png"}))
    assert "To read .heic: pip install pillow-heif." in left_out("IMG_1.HEIC")


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
