from __future__ import annotations

from pathlib import Path

import pytest

from napari_colorize.batch.manifest import NAME, Manifest, ManifestEntry, read_manifest
from napari_colorize.errors import OutputError

DONE = ManifestEntry(source="/in/a.png", result="/out/a.png", seconds=0.125)
FAILED = ManifestEntry(source="/in/b.png", error="b.png is empty (0 bytes).")


def test_the_last_entry_of_a_source_is_read(tmp_path: Path) -> None:
    mended = ManifestEntry(source=FAILED.source, result="/out/b.png", seconds=2.0)
    with Manifest(tmp_path / "out") as manifest:
        manifest.append(DONE)
        manifest.append(FAILED)
    with Manifest(tmp_path / "out") as manifest:
        assert manifest.known == {DONE.source: DONE, FAILED.source: FAILED}
        manifest.append(mended)
    assert read_manifest(tmp_path / "out") == {DONE.source: DONE, FAILED.source: mended}
    assert len((tmp_path / "out" / NAME).read_text().splitlines()) == 3


def test_a_line_is_written_before_the_file_is_closed(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.append(DONE)
        assert read_manifest(tmp_path) == {DONE.source: DONE}


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_truncated_line_does_not_affect_others(tmp_path: Path, kept: int) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.append(DONE)
        manifest.append(FAILED)
    file = tmp_path / NAME
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    file.write_bytes(whole[: first + kept] if kept > 0 else whole[:kept])

    with Manifest(tmp_path) as manifest:
        manifest.append(ManifestEntry(source="/in/c.png", error="later"))

    known = read_manifest(tmp_path)
    assert known.pop("/in/c.png").error == "later"
    assert known.pop(DONE.source) == DONE
    assert known == ({} if kept > 0 else {FAILED.source: FAILED})  # only its line end was missing


def test_lines_that_are_no_entries_are_ignored(tmp_path: Path) -> None:
    lines = [b"", b"[1]", b"7", b'{"source": 7}', b'{"source": "/a", "mood": "good"}', b"\xff\x00"]
    (tmp_path / NAME).write_bytes(b"\n".join(lines) + b'\n{"source": "/in/b.png"}')
    assert read_manifest(tmp_path) == {"/in/b.png": ManifestEntry(source="/in/b.png")}


def test_undecodable_names_are_kept(tmp_path: Path) -> None:
    source = b"/in/\xe4 \n.png".decode(errors="surrogateescape")
    with Manifest(tmp_path) as manifest:
        manifest.append(ManifestEntry(source=source))
    assert list(read_manifest(tmp_path)) == [source]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be"), Manifest(tmp_path / "file"):
        pass
