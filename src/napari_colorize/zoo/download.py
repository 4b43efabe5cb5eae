"""From the net to the cache folder: a checkpoint arrives whole and verified, or not at all.

What is received is hashed while it passes by and written under a hidden name; only a file of the
right sha256 gets its final name. So two processes may fetch the same file at once, and a crash
leaves at most a hidden piece, which a later download sweeps away.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from napari_colorize.errors import DownloadError
from napari_colorize.runtime.atomic import publish, remove_abandoned, temporary_path
from napari_colorize.zoo.catalogue import Checkpoint
from napari_colorize.zoo.files import is_web_page, sha256_of

if TYPE_CHECKING:
    from requests import RequestException

CACHE_VARIABLE = "NAPARI_COLORIZE_CACHE"

_PACKAGE = Path(__file__).parent
_PIECE = 2**20  # bytes from the net to the disk at a time; also how often progress is told
_TIMEOUT = (10.0, 30.0)  # seconds to find the server, and to wait for its next byte


class DownloadProgress(Protocol):
    """What a progress display has to offer; a tqdm bar does. It may raise to stop a download."""

    def reset(self, total: float | None = None) -> object:
        """Begin anew, with `total` bytes to come."""

    def update(self, n: float | None = 1) -> object:
        """`n` more bytes have come."""


def cache_folder() -> Path:
    """The folder of fetched checkpoints: `NAPARI_COLORIZE_CACHE`, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path  # not needed by the training package

    return user_cache_path("napari-colorize", appauthor=False)


def local_path(checkpoint: Checkpoint) -> Path:
    """Where the file of a checkpoint is, or will be once it is fetched."""
    folder = cache_folder() if checkpoint.urls else _PACKAGE
    return folder / checkpoint.file  # an absolute path stays what it is


def is_local(checkpoint: Checkpoint) -> bool:
    """Whether the file is here, as far as its name and size tell; `fetch` looks closer."""
    path = local_path(checkpoint)
    if not checkpoint.size:
        return path.is_file()
    return path.is_file() and checkpoint.is_of_size(path.stat().st_size)


def fetch(checkpoint: Checkpoint, *, progress: bool | DownloadProgress = False) -> Path:
    """The path of a checkpoint's verified file, downloaded if it is not here yet.

    A file that was put into the cache folder by hand serves as well, if its sha256 is right;
    another file under that name is never used, and replaced only when the right one arrives.

    Parameters
    ----------
    checkpoint : Checkpoint
        From the catalogue.
    progress : bool or Progress
        True shows a bar on stderr; an object is told the bytes to come and those that came.

    Returns
    -------
    Path
        An existing file of the right sha256.

    Raises
    ------
    DownloadError
        If no address gives the right file, or it cannot be saved. The message says where to put
        the file by hand. Nothing half-written is left.
    """
    path = local_path(checkpoint)
    if not checkpoint.urls:
        return _present(checkpoint, path)
    if _is_verified(path, checkpoint):
        return path
    _prepare_folder(checkpoint, path)
    failures = ["the file there now has another sha256"] if path.exists() else []
    with _shown(checkpoint, progress) as bar:
        for url in map(direct, checkpoint.urls):
            try:
                _download(url, path, checkpoint, bar)
            except _BadAnswer as error:
                failures.append(f"{urlsplit(url).netloc} {error}")
            else:
                return path
    raise DownloadError(
        f"{checkpoint.name} could not be fetched ({'; '.join(failures)}): try again later, or "
        f"download {' or '.join(map(direct, checkpoint.urls))} by hand and save it as {path}."
    )


def direct(url: str) -> str:
    """The address of the file itself where a link leads to Dropbox's page about it."""
    return re.sub(r"([?&])dl=0(?=$|[&#])", r"\1dl=1", url)


class _BadAnswer(Exception):
    """An address did not give the file; the message goes on after the server's name."""


class _Sink:
    """What pooch writes to: checks, counts and hashes the pieces on their way to the disk."""

    def __init__(
        self, file: IO[bytes], checkpoint: Checkpoint, bar: DownloadProgress | None
    ) -> None:
        self.received = 0
        self._file = file
        self._checkpoint = checkpoint
        self._bar = bar
        self._digest = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        if not self.received and is_web_page(piece):
            raise _BadAnswer("answered with a web page instead of the file")
        self.received += len(piece)
        if self.received > self._checkpoint.size + self._checkpoint.size_within:
            raise _BadAnswer(f"sent more than the {self._checkpoint.size} bytes of the file")
        self._digest.update(piece)
        with _saving(self._checkpoint, Path(self._file.name).parent):
            _write_all(self._file, piece)
        if self._bar is not None:
            self._bar.update(len(piece))

    def flush(self) -> None:
        """Pooch asks for it; the file is unbuffered."""

    def check_whole(self) -> None:
        if self.received < self._checkpoint.size - self._checkpoint.size_within:
            raise _BadAnswer(self.broke_off())
        if self._digest.hexdigest() != self._checkpoint.sha256:
            raise _BadAnswer("sent a damaged or different file (sha256 differs), now removed")

    def broke_off(self) -> str:
        return f"broke off after {self.received} of {self._checkpoint.size} bytes"


def _present(checkpoint: Checkpoint, path: Path) -> Path:
    if path.is_file():
        return path
    raise DownloadError(
        f"The file of {checkpoint.name} is missing ({path}): please install napari-colorize again."
    )


def _is_verified(path: Path, checkpoint: Checkpoint) -> bool:
    try:
        return checkpoint.is_of_size(path.stat().st_size) and sha256_of(path) == checkpoint.sha256
    except OSError:
        return False


def _download(url: str, path: Path, checkpoint: Checkpoint, bar: DownloadProgress | None) -> None:
    part = temporary_path(path)
    try:
        _receive(url, part, checkpoint, bar)
        with _saving(checkpoint, path.parent):
            _settle(part, path, checkpoint)
    finally:
        part.unlink(missing_ok=True)


def _settle(part: Path, path: Path, checkpoint: Checkpoint) -> None:
    try:
        publish(part, path)
    except PermissionError:
        # Windows replaces no file that is being read: another process was faster and uses it.
        if not _is_verified(path, checkpoint):
            raise


def _receive(url: str, part: Path, checkpoint: Checkpoint, bar: DownloadProgress | None) -> None:
    import requests  # 0.1 s, only worth it when something is fetched
    from pooch import HTTPDownloader

    with _saving(checkpoint, part.parent):
        file = part.open("xb", buffering=0)  # unbuffered: closing cannot fail on a full disk
    with file:
        sink = _Sink(file, checkpoint, bar)
        if bar is not None:
            bar.reset(checkpoint.size)
        try:
            HTTPDownloader(chunk_size=_PIECE, timeout=_TIMEOUT)(url, sink, None)
        except requests.RequestException as error:
            raise _BadAnswer(_reason(error, sink)) from error
        sink.check_whole()


def _reason(error: RequestException, sink: _Sink) -> str:
    from requests import HTTPError, Timeout
    from requests.exceptions import SSLError

    if sink.received:
        return sink.broke_off()
    if isinstance(error, HTTPError) and error.response is not None:
        return f"answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, Timeout):
        return "did not answer in time"
    if isinstance(error, SSLError):
        return "could not be reached over a secure connection"
    return "could not be reached"


def _write_all(file: IO[bytes], piece: bytes) -> None:
    """An unbuffered file may take less than it is given, for instance when a disk gets full."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def _prepare_folder(checkpoint: Checkpoint, path: Path) -> None:
    folder = path.parent
    with _saving(checkpoint, folder):
        folder.mkdir(parents=True, exist_ok=True)
        usage = shutil.disk_usage(folder)
    remove_abandoned(folder)
    if usage.total and usage.free < checkpoint.size:  # some network drives report zeros
        raise DownloadError(
            f"{checkpoint.name} needs {checkpoint.size / 1e6:.0f} MB and {folder} has "
            f"{usage.free / 1e6:.0f} MB left: make room there, or set {CACHE_VARIABLE} to another "
            "folder."
        )


@contextmanager
def _saving(checkpoint: Checkpoint, folder: Path) -> Iterator[None]:
    """Errors of the disk, which no other address can help."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"{checkpoint.name} could not be saved in {folder} ({error.strerror or error}): make "
            f"room or get the right to write there, or set {CACHE_VARIABLE} to another folder."
        ) from error


@contextmanager
def _shown(
    checkpoint: Checkpoint, progress: bool | DownloadProgress
) -> Iterator[DownloadProgress | None]:
    if not isinstance(progress, bool):
        yield progress
    elif not progress:
        yield None
    else:
        from tqdm.auto import tqdm

        with tqdm(desc=checkpoint.name, unit="B", unit_scale=True, unit_divisor=1000) as bar:
            yield bar
