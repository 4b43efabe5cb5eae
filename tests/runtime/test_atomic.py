"""Atomic file writes."""

from __future__ import annotations

import errno
import os
import stat
import sys

import pytest

from napari_colorize.errors import OutputError
from napari_colorize.runtime.atomic import new_file, write_errors


def everything_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_exists_after_the_block(tmp_path):
    path = tmp_path / "a" / "b" / "c.png"
    with new_file(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert everything_in(path.parent) == ["c.png"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_changes_if_the_block_fails(tmp_path, error, overwrite):
    path = tmp_path / "c.png"
    if overwrite:
        path.write_bytes(b"before")

    def write_half():
        with new_file(path, overwrite=overwrite) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert everything_in(tmp_path) == (["c.png"] if overwrite else [])
    assert not overwrite or path.read_bytes() == b"before"


def test_an_existing_file_is_refused_at_once(tmp_path):
    path = tmp_path / "c.png"
    path.write_bytes(b"before")
    with (
        pytest.raises(
            OutputError, match=r"exists already\. Choose another name, or set overwrite=True"
        ),
        new_file(path),
    ):
        pytest.fail("the block must not begin")
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_created_meanwhile_by_another_process_is_kept(tmp_path, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr(os, "link", _refuse_to_link)
    path = tmp_path / "c.png"

    def write_too_late():
        with new_file(path) as temporary:
            temporary.write_bytes(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(OutputError, match="exists already"):
        write_too_late()
    assert path.read_bytes() == b"theirs"
    assert everything_in(tmp_path) == ["c.png"]


def test_file_systems_without_hard_links_are_supported(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", _refuse_to_link)
    path = tmp_path / "c.png"
    with new_file(path) as temporary:
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert everything_in(tmp_path) == ["c.png"]


def test_overwriting_replaces(tmp_path):
    path = tmp_path / "c.png"
    path.write_bytes(b"before")
    with new_file(path, overwrite=True) as temporary:
        temporary.write_bytes(b"after")
    assert path.read_bytes() == b"after"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_permissions_follow_the_umask(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    with new_file(tmp_path / "c.png"):
        pass
    assert stat.S_IMODE((tmp_path / "c.png").stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(OutputError, match="is a folder"), new_file(tmp_path, overwrite=True):
        pytest.fail("the block must not begin")


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(OutputError, match=r"could not be written"), new_file(tmp_path / "a" / "b"):
        pytest.fail("the block must not begin")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_errors_of_the_system_become_sentences(tmp_path, code, words):
    with pytest.raises(OutputError, match=words) as caught, write_errors(tmp_path / "c.png"):
        raise OSError(code, os.strerror(code))
    assert str(caught.value).startswith(str(tmp_path / "c.png"))
    assert str(caught.value).endswith(".")
    assert caught.value.__cause__.errno == code


def _refuse_to_link(*_):
    raise OSError(errno.EPERM, "no links here")
