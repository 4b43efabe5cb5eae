"""Playlists and zarr metadata that refer to other places, or declare too much."""

from __future__ import annotations

import json
import os
import pickle
import socket
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from little_memory import little_memory

from napari_colorize.errors import ImageError
from napari_colorize.video.ome_zarr import open_zarr
from napari_colorize.video.probe import probe

RATE = Fraction(25)


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/secret.ts\n#EXT-X-ENDLIST\n",
        "\ufeff#EXTM3U\n#EXT-X-VERSION:3\nhttp://127.0.0.1/a.ts\n",
        "ffconcat version 1.0\nfile ../secret.mp4\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ts"])
def test_a_playlist_opens_no_other_files(tmp_path, content, suffix):
    pytest.importorskip("av")
    (tmp_path / f"a{suffix}").write_text(content, encoding="utf-8")
    with pytest.raises(ImageError, match="is a playlist"):
        probe(tmp_path / f"a{suffix}")


def write_zarr(folder, shape, chunks, **attributes):
    """A zarr array of version 3 without any stored chunk."""
    pytest.importorskip("zarr")
    folder.mkdir(parents=True)
    array = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default"},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
        "attributes": attributes,
    }
    (folder / "zarr.json").write_text(json.dumps(array))


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [([9, 100_000, 100_000], [1, 100, 100]), ([9, 30_000, 30_000], [9, 30_000, 30_000])],
)
def test_a_zarr_that_declares_too_much_is_refused(tmp_path, shape, chunks):
    write_zarr(tmp_path / "a.zarr", shape, chunks)
    with little_memory(), pytest.raises(ImageError, match=r"a\.zarr"):
        open_zarr(tmp_path / "a.zarr", RATE)


def write_chunk(folder, content=bytes(16)):
    """Write the first chunk, which is not compressed."""
    (folder / "c" / "0" / "0").mkdir(parents=True)
    (folder / "c" / "0" / "0" / "0").write_bytes(content)


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
@pytest.mark.parametrize(
    "kind", ["pipe", "metadata pipe", "device", "broken link", "link", "folder link", "socket"]
)
def test_a_zarr_contains_only_files_of_its_folder(tmp_path, kind):
    folder = tmp_path / "a.zarr"
    write_zarr(folder, [2, 4, 4], [1, 4, 4])
    write_chunk(folder)
    chunk = folder / "c" / "0" / "0" / "0"
    chunk.unlink()
    (tmp_path / "secret" / "0").mkdir(parents=True)
    (tmp_path / "secret" / "0" / "0").write_bytes(bytes(16))
    if kind == "pipe":
        os.mkfifo(chunk)
    elif kind == "metadata pipe":
        (folder / "c").rename(tmp_path / "c")
        os.mkfifo(folder / ".zattrs")
    elif kind == "folder link":
        chunk.parent.rmdir()
        chunk.parent.symlink_to(tmp_path / "secret" / "0")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            os.chdir(chunk.parent)  # because names of sockets are short
            made.bind("0")
    else:
        places = {"device": "/dev/zero", "broken link": "nowhere"}
        chunk.symlink_to(places.get(kind, tmp_path / "secret" / "0" / "0"))
    with pytest.raises(ImageError, match="outside|not a regular file|cannot be read"):
        open_zarr(folder, RATE)


@pytest.mark.parametrize(
    "codecs",
    [
        {"filters": [{"id": "pickle"}], "compressor": None, "dtype": "|u1"},
        {"filters": None, "compressor": {"id": "pickle"}, "dtype": "|u1"},
        {"filters": [{"id": "vlen-utf8"}, {"id": "pickle"}], "compressor": None, "dtype": "|O"},
        {"filters": [{"id": "vlen-utf8"}], "compressor": {"id": "pickle"}, "dtype": "|O"},
        {"filters": [{"id": "vlen-utf8"}], "compressor": None, "dtype": "|O"},
        {"filters": None, "compressor": None, "dtype": "<c16"},
    ],
)
def test_a_zarr_of_objects_is_refused(tmp_path, codecs):
    pytest.importorskip("zarr")
    array = {"zarr_format": 2, "shape": [2, 8, 8], "chunks": [1, 8, 8], "order": "C"}
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zarray").write_text(json.dumps({**array, "fill_value": 0, **codecs}))
    (tmp_path / "a.zarr" / "0.0.0").write_bytes(pickle.dumps(Touches(tmp_path / "ran")))
    with pytest.raises(ImageError, match=r"a\.zarr"):
        open_zarr(tmp_path / "a.zarr", RATE)
    assert not (tmp_path / "ran").exists()


class Touches:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", [b"", bytes(15), b"damaged"])
@pytest.mark.parametrize("codec", [None, "gzip", "zstd", "blosc"])
def test_a_damaged_chunk_gives_one_sentence(tmp_path, content, codec):
    write_zarr(tmp_path / "a.zarr", [2, 4, 4], [1, 4, 4])
    metadata = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    if codec is not None:
        metadata["codecs"].append({"name": codec, "configuration": {"level": 1}})
        if codec == "zstd":
            metadata["codecs"][-1]["configuration"]["checksum"] = False
        if codec == "blosc":
            metadata["codecs"][-1]["configuration"] = {
                "cname": "lz4", "clevel": 1, "shuffle": "noshuffle", "typesize": 1, "blocksize": 0,
            }  # fmt: skip
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(metadata))
    write_chunk(tmp_path / "a.zarr", content)
    source = open_zarr(tmp_path / "a.zarr", RATE)
    with pytest.raises(ImageError, match="A chunk of .* cannot be decoded"):
        source.array[(0,)]


@pytest.mark.parametrize(
    "scales",
    [
        [{"datasets": [{"path": "../secret.zarr"}], "axes": ["z", "y", "x"]}],
        [{"datasets": [{"path": "a/../../secret.zarr"}]}],
        [{"datasets": []}],
        [{}],
        {"datasets": 3},
        [[1, 2]],
        [{"datasets": [{"path": 5}]}],
    ],
)
def test_unusable_metadata_of_a_zarr_give_one_sentence(tmp_path, scales):
    write_zarr(tmp_path / "secret.zarr", [2, 4, 4], [1, 4, 4])
    group = {"zarr_format": 3, "node_type": "group"}
    attributes = {"ome": {"version": "0.5", "multiscales": scales}}
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps({**group, "attributes": attributes}))
    with pytest.raises(ImageError) as caught:
        open_zarr(tmp_path / "a.zarr", RATE)
    assert "\n" not in str(caught.value)
