"""Downloads from a local server with correct and faulty responses."""

import errno
import hashlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback import CONTENT, Server, serving

from napari_colorize.errors import DownloadError
from napari_colorize.zoo import CATALOGUE, cache_folder, fetch, is_local, local_path
from napari_colorize.zoo import download as module
from napari_colorize.zoo.download import direct_url


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


@pytest.fixture
def checkpoint(server):
    return replace(
        CATALOGUE["deoldify-artistic"],
        urls=(f"{server.address}/good",),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size=len(CONTENT),
    )


def at(checkpoint, server, *paths):
    return replace(checkpoint, urls=tuple(f"{server.address}/{path}" for path in paths))


def files_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


class Bar:
    def __init__(self):
        self.total, self.n = None, 0

    def reset(self, total=None):
        self.total, self.n = total, 0

    def update(self, n=1):
        self.n += n


def test_a_file_is_downloaded_once(server, checkpoint, cache):
    assert not is_local(checkpoint)

    path = fetch(checkpoint)

    assert path == local_path(checkpoint) == cache / "ColorizeArtistic_gen.pth"
    assert path.read_bytes() == CONTENT
    assert fetch(checkpoint) == path
    assert is_local(checkpoint)
    assert server.requests == ["/good"]
    assert files_in(cache) == [path.name]


def test_a_redirect_is_followed(server, checkpoint):
    assert fetch(at(checkpoint, server, "moved")).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("page", "returned a web page instead of the file"),
        ("wrong", "sha256 differs"),
        ("long", "sent more than the 2560002 bytes"),
        ("short", "stopped after 2559002 of 2560002 bytes"),
        ("truncated", "stopped after"),
        ("cut", "stopped after"),
        ("empty", "stopped after 0 of"),
        ("missing", "responded with 404 Not Found"),
    ],
)
def test_a_bad_response_raises_and_leaves_no_file(server, checkpoint, cache, path, what):
    with pytest.raises(DownloadError, match=what) as caught:
        fetch(at(checkpoint, server, path))

    assert f"{server.address}/{path}" in str(caught.value)
    assert str(cache / checkpoint.file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_in(cache) == []


@pytest.mark.parametrize("path", ["page", "wrong", "truncated", "cut", "missing"])
def test_after_a_bad_response_the_next_url_is_tried(server, checkpoint, cache, path):
    bar = Bar()

    fetched = fetch(at(checkpoint, server, path, "good"), progress=bar)

    assert fetched.read_bytes() == CONTENT
    assert server.requests == [f"/{path}", "/good"]
    assert (bar.total, bar.n) == (len(CONTENT), len(CONTENT))
    assert files_in(cache) == [checkpoint.file]


@pytest.mark.parametrize("paths", [("resumed",), ("cut", "resumed")])
def test_a_connection_that_is_cut_is_resumed(server, checkpoint, cache, paths):
    bar = Bar()

    assert fetch(at(checkpoint, server, *paths), progress=bar).read_bytes() == CONTENT

    assert len(server.requests) == 2
    assert (bar.total, bar.n) == (len(CONTENT), len(CONTENT))
    assert files_in(cache) == [checkpoint.file]


def test_a_slow_server_is_left(server, checkpoint, cache, monkeypatch):
    monkeypatch.setattr(module, "_RATE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_MIN_RATE", 1e15)

    with pytest.raises(DownloadError, match=r"sent only \d+ bytes per second, and was stopped"):
        fetch(checkpoint)
    assert files_in(cache) == []


@pytest.mark.parametrize(
    "limits", [{"_RATE_SECONDS": 0.0, "_MIN_RATE": 1e15}, {"_MAX_SECONDS": 0.0}]
)
def test_a_slow_server_that_resumes_is_not_asked_again(
    server, checkpoint, cache, monkeypatch, limits
):
    for name, value in limits.items():
        monkeypatch.setattr(module, name, value)

    with pytest.raises(DownloadError, match="bytes per second|hours"):
        fetch(at(checkpoint, server, "crumbs", "resumed"))
    assert server.requests == ["/crumbs", "/resumed"]
    assert files_in(cache) == []


def test_connections_are_limited(server, checkpoint, cache, monkeypatch):
    monkeypatch.setattr(module, "_MAX_ATTEMPTS", 5)

    with pytest.raises(DownloadError, match="stopped after 5000 of 2560002 bytes"):
        fetch(at(checkpoint, server, "crumbs"))
    assert server.requests == ["/crumbs"] * 5


def test_a_download_has_a_limit_of_time(server, checkpoint, cache, monkeypatch):
    monkeypatch.setattr(module, "_MAX_SECONDS", 0.0)

    with pytest.raises(DownloadError, match="needed more than 0 hours"):
        fetch(checkpoint)


def test_a_redirect_that_drops_encryption_is_refused(checkpoint, cache, monkeypatch):
    import requests

    def moved(session, request, **_):
        response = requests.Response()
        response.status_code, response.url, response.request = 302, request.url, request
        response.headers["Location"] = "http://127.0.0.1/good"
        response.raw = io.BytesIO()
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", moved)
    checkpoint = replace(checkpoint, urls=("https://127.0.0.1/moved",))

    with pytest.raises(DownloadError, match="redirects to an address without encryption"):
        fetch(checkpoint)


def test_a_read_only_cache_gives_one_sentence(server, checkpoint, cache, monkeypatch):
    def read_only(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "open", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)

    with pytest.raises(DownloadError, match=r"could not be saved in .*\(Read-only file system\)"):
        fetch(checkpoint)


def test_the_offline_error_names_url_and_path(checkpoint, cache):
    server = Server()
    server.http.server_close()  # connections are refused from now on
    checkpoint = at(checkpoint, server, "a", "b")

    with pytest.raises(DownloadError) as caught:
        fetch(checkpoint)

    assert str(caught.value) == (
        "deoldify-artistic could not be downloaded "
        f"({server.address[7:]} could not be reached; {server.address[7:]} could not be reached). "
        f"Try again later, or download {server.address}/a or {server.address}/b by hand and save "
        f"it as {cache / 'ColorizeArtistic_gen.pth'}."
    )


def test_a_silent_server_times_out(server, checkpoint, cache, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", (1.0, 0.1))

    with pytest.raises(DownloadError, match=r"stopped after|did not respond in time"):
        fetch(at(checkpoint, server, "stuck"))

    assert files_in(cache) == []


def test_a_file_saved_by_hand_is_used(server, checkpoint, cache):
    cache.mkdir()
    (cache / checkpoint.file).write_bytes(CONTENT)

    assert fetch(checkpoint).read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("stray", [b"", b"something else", CONTENT[:-1] + b"?"])
def test_a_file_with_another_checksum_is_replaced(checkpoint, cache, stray):
    cache.mkdir()
    (cache / checkpoint.file).write_bytes(stray)

    assert fetch(checkpoint).read_bytes() == CONTENT


def test_a_file_with_another_checksum_is_not_used(server, checkpoint, cache):
    cache.mkdir()
    (cache / checkpoint.file).write_bytes(CONTENT[:-1] + b"?")

    with pytest.raises(DownloadError, match="the local file has another sha256"):
        fetch(at(checkpoint, server, "missing"))


@pytest.mark.parametrize(
    ("link", "file"),
    [
        ("https://h/s/a.pth?dl=0", "https://h/s/a.pth?dl=1"),
        ("https://h/s/a.pth?dl=0&rlkey=x", "https://h/s/a.pth?dl=1&rlkey=x"),
        ("https://h/s/a.pth?rlkey=x&dl=0#top", "https://h/s/a.pth?rlkey=x&dl=1#top"),
        ("https://h/s/a.pth?dl=01", "https://h/s/a.pth?dl=01"),
        ("https://h/dl=0/a.pth", "https://h/dl=0/a.pth"),
    ],
)
def test_a_dropbox_link_is_converted_to_a_direct_one(link, file):
    assert direct_url(link) == file


def test_the_direct_link_is_requested(server, checkpoint):
    fetch(at(checkpoint, server, "good?dl=0"))
    assert server.requests == ["/good?dl=1"]


def test_the_cache_folder_follows_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", "here")
    assert cache_folder() == tmp_path / "here"

    monkeypatch.delenv("NAPARI_COLORIZE_CACHE")
    assert cache_folder().is_absolute()
    assert "napari-colorize" in str(cache_folder())


def test_a_progress_that_raises_stops_the_download(checkpoint, cache):
    class Stopped(Exception):
        pass

    class Stopping(Bar):
        def update(self, n=1):
            raise Stopped

    with pytest.raises(Stopped):
        fetch(checkpoint, progress=Stopping())
    assert files_in(cache) == []


def test_a_progress_bar_goes_to_stderr(checkpoint, capsys):
    fetch(checkpoint, progress=True)

    out, err = capsys.readouterr()
    assert out == ""
    assert "deoldify-artistic" in err
    assert "100%" in err


def test_a_folder_that_cannot_be_created_gives_one_sentence(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", str(tmp_path / "file" / "cache"))

    with pytest.raises(DownloadError, match=r"could not be saved in .*NAPARI_COLORIZE_CACHE"):
        fetch(checkpoint)


def test_insufficient_space_raises_before_the_download(server, checkpoint, cache):
    with pytest.raises(DownloadError, match=r"needs \d+ MB and .* has \d+ MB left"):
        fetch(replace(checkpoint, size=10**18))

    assert server.requests == []
    assert files_in(cache) == []


@pytest.mark.parametrize("error", [-1000, 1000])
def test_a_rounded_size_in_the_catalogue_is_sufficient(checkpoint, cache, error):
    rounded = replace(checkpoint, size=len(CONTENT) + error, size_tolerance=1000)

    assert fetch(rounded).read_bytes() == CONTENT


def test_a_drive_that_reports_no_size_counts_as_large(checkpoint, cache, monkeypatch):
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda folder: SimpleNamespace(total=0, free=0)
    )

    assert fetch(checkpoint).read_bytes() == CONTENT


FETCH = """
import sys
from dataclasses import replace
from napari_colorize.errors import DownloadError
from napari_colorize.zoo import CATALOGUE, fetch
url, sha256, size, limit = sys.argv[1:]
if int(limit):  # a limited file size fails like a full disk
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
checkpoint = replace(CATALOGUE["deoldify-artistic"], urls=(url, url), sha256=sha256, size=int(size))
try:
    print(fetch(checkpoint))
except DownloadError as error:
    print(error)
"""


def fetch_in_process(checkpoint, limit=0):
    arguments = [checkpoint.urls[0], checkpoint.sha256, str(checkpoint.size), str(limit)]
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, *arguments], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("limit", [1, 2**20 + 5])
def test_a_full_disk_gives_one_sentence_and_leaves_no_file(server, checkpoint, cache, limit):
    output, _ = fetch_in_process(checkpoint, limit).communicate()

    assert "could not be saved in" in output
    assert "NAPARI_COLORIZE_CACHE" in output
    assert output.count("\n") == 1
    assert server.requests == ["/good"]  # other URLs are not tried
    assert files_in(cache) == []


def test_temporary_files_of_a_killed_download_are_removed_later(server, checkpoint, cache):
    killed = fetch_in_process(at(checkpoint, server, "stuck"))
    server.half_sent.wait(60)
    killed.kill()
    killed.communicate()
    assert checkpoint.file not in files_in(cache)

    for part in cache.iterdir():
        os.utime(part, (0, 0))  # long ago
    fetch(checkpoint)
    assert files_in(cache) == [checkpoint.file]


def test_the_temporary_file_of_a_running_download_is_kept(checkpoint, cache):
    cache.mkdir()
    (cache / ".0123456789ab.part").write_bytes(b"half")

    fetch(checkpoint)

    assert len(files_in(cache)) == 2


def test_two_processes_can_download_at_once(checkpoint, cache):
    processes = [fetch_in_process(checkpoint) for _ in range(2)]
    paths = [Path(process.communicate()[0].strip()) for process in processes]

    assert paths == [cache / checkpoint.file] * 2
    assert paths[0].read_bytes() == CONTENT
    assert files_in(cache) == [checkpoint.file]


def test_a_missing_file_of_the_package_gives_one_sentence():
    lost = replace(CATALOGUE["embedded"], file="lost.safetensors")

    assert not is_local(lost)
    with pytest.raises(DownloadError, match="Reinstall napari-colorize"):
        fetch(lost)
