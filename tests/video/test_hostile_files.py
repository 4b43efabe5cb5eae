"""Playlists and zarr metadata that refer to other places, or declare too much."""

from __future__ import annotations

import json
from fractions import Fraction

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
