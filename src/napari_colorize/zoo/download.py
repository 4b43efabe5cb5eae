"""Verified download of checkpoints into the cache folder.

The data are hashed while they are received and written to a hidden temporary file, which is renamed
only if its sha256 is right. A crash leaves at most a temporary file, which a later download
removes. A connection that is cut is continued, from the same server or another one. A server that
is too slow, or redirects to an address without encryption, is left.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import IO, Protocol
from urllib.parse import urljoin, urlsplit

from napari_colorize.errors import DownloadError
from napari_colorize.runtime.atomic import publish, remove_abandoned, remove_quietly, temporary_path
from napari_colorize.runtime.claims import Claims
from napari_colorize.zoo.catalogue import Checkpoint

CACHE_VARIABLE = "NAPARI_COLORIZE_CACHE"

_PACKAGE = Path(__file__).parent
_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
_CHUNK = 2**20  # bytes received and written at a time, at most
_TIMEOUT = (10.0, 30.0)  # seconds for the connection, and for the next byte
_MIN_RATE, _RATE_SECONDS = 10_000, 60.0  # bytes per second, measured over this time
_MAX_SECONDS = 6 * 3600.0  # for a file
_MAX_ATTEMPTS = 100  # connections for a file


class DownloadProgress(Protocol):
    """Interface of a progress display, for example a tqdm bar; it may raise to stop a download."""

    def reset(self, total: float | None = None) -> object:
        """Start again with `total` bytes."""

    def update(self, n: float | None = 1) -> object:
        """Add `n` received bytes."""


def cache_folder() -> Path:
    """Folder of downloaded checkpoints: `NAPARI_COLORIZE_CACHE`, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path  # optional for the training package

    return user_cache_path("napari-colorize", appauthor=False)


def local_path(checkpoint: Checkpoint) -> Path:
    """Path of the file of a checkpoint, which need not be downloaded yet."""
    folder = cache_folder() if checkpoint.urls else _PACKAGE
    return folder / checkpoint.file  # an absolute path replaces the folder


def is_local(checkpoint: Checkpoint) -> bool:
    """Whether a file of the right name and size is local; `fetch` also checks its sha256.

    False if the folder cannot be read.
    """
    try:
        status = local_path(checkpoint).stat()
    except OSError:
        return False
    is_file = stat.S_ISREG(status.st_mode)
    return is_file and (not checkpoint.size or checkpoint.matches_size(status.st_size))


def fetch(checkpoint: Checkpoint, *, progress: bool | DownloadProgress = False) -> Path:
    """Path of the file of a checkpoint, verified by its sha256, downloaded if it is not local.

    A file that was put into the cache folder by hand is used if its sha256 is right. A file of that
    name with another sha256 is never used, and only replaced by the right one. `progress` of True
    shows a bar on stderr; an object receives the total and the number of bytes.

    Raises
    ------
    DownloadError
        If no URL provides the right file, or it cannot be saved. The message names the path for
        saving the file by hand. No incomplete file is left.
    """
    path = local_path(checkpoint)
    if not checkpoint.urls:
        return _packaged_file(checkpoint, path)
    if _is_verified(path, checkpoint):
        return path
    _prepare_folder(checkpoint, path)
    claims = Claims()
    try:
        # A second process waits for the first one, and finds its file.
        claims.take(path, wait=True)
        if not _is_verified(path, checkpoint):
            _download(path, checkpoint, progress)
    finally:
        claims.release_all()
    return path


def direct_url(url: str) -> str:
    """Convert a link to a page of Dropbox into a link to the file itself."""
    return re.sub(r"([?&])dl=0(?=$|[&#])", r"\1dl=1", url)


def sha256_of(path: Path) -> str:
    """Compute the sha256 of a file in hexadecimal, without reading it into memory as a whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_web_page(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a web page."""
    return _WEB_PAGE.match(head) is not None


class _BadResponse(Exception):
    """A URL did not provide the file; the message continues after the name of the server."""


class _TooSlow(_BadResponse):
    """A server is not asked again, although it has sent something."""


class _VerifyingFile:
    """The file that is being received; checks, counts and hashes the data while writing them."""

    def __init__(
        self, file: IO[bytes], checkpoint: Checkpoint, bar: DownloadProgress | None
    ) -> None:
        self.received = 0
        self.is_complete = False
        self._file = file
        self._checkpoint = checkpoint
        self._bar = bar
        self._digest = hashlib.sha256()
        self._start = self._since = monotonic()
        self._before = 0  # bytes received until `_since`
        self.restart()

    def restart(self) -> None:
        """Drop what was received."""
        with _saving(self._checkpoint, Path(self._file.name).parent):
            self._file.seek(0)
            self._file.truncate()
        self.received = self._before = 0
        self._digest = hashlib.sha256()
        if self._bar is not None:
            self._bar.reset(self._checkpoint.size)

    def write(self, data: bytes) -> None:
        """Append data; raises `_BadResponse` if they are wrong, too many or too slow."""
        if not self.received and is_web_page(data):
            raise _BadResponse("returned a web page instead of the file")
        if self.received + len(data) > self._checkpoint.size + self._checkpoint.size_tolerance:
            self.restart()
            raise _BadResponse(f"sent more than the {self._checkpoint.size} bytes of the file")
        self.received += len(data)
        self._digest.update(data)
        with _saving(self._checkpoint, Path(self._file.name).parent):
            _write_all(self._file, data)
        if self._bar is not None:
            self._bar.update(len(data))
        self._check_rate()

    def check_complete(self) -> None:
        """Raise `_BadResponse` if the file is too short or has another hash."""
        if self.received < self._checkpoint.size - self._checkpoint.size_tolerance:
            raise _BadResponse(self.incomplete_message())
        if self._digest.hexdigest() != self._checkpoint.sha256:
            self.restart()
            raise _BadResponse(
                "sent a damaged or different file (sha256 differs), which was removed"
            )
        self.is_complete = True

    def incomplete_message(self) -> str:
        return f"stopped after {self.received} of {self._checkpoint.size} bytes"

    def _check_rate(self) -> None:
        """Raise `_TooSlow` if the last minute, or all together, was too slow."""
        now, count = monotonic(), self.received - self._before
        if now - self._start > _MAX_SECONDS:
            raise _TooSlow(f"needed more than {_MAX_SECONDS / 3600:.0f} hours")
        if now - self._since < _RATE_SECONDS:
            return
        seconds, self._since, self._before = now - self._since, now, self.received
        if count < _MIN_RATE * seconds:
            raise _TooSlow(
                f"sent only {count / seconds:.0f} bytes per second, and was stopped "
                f"after {self.received} of {self._checkpoint.size} bytes"
            )


def _packaged_file(checkpoint: Checkpoint, path: Path) -> Path:
    if path.is_file():
        return path
    raise DownloadError(
        f"The file of {checkpoint.name} is missing ({path}). Reinstall napari-colorize."
    )


def _is_verified(path: Path, checkpoint: Checkpoint) -> bool:
    try:
        return checkpoint.matches_size(path.stat().st_size) and sha256_of(path) == checkpoint.sha256
    except OSError:
        return False


def _download(path: Path, checkpoint: Checkpoint, progress: bool | DownloadProgress) -> None:
    """Try all URLs; what one has sent is continued by the next, or by itself if it was cut."""
    # Not `Path.exists`, which raises for a folder that cannot be read.
    has_file = os.path.exists(path)  # noqa: PTH110
    failures = {"": "the local file has another sha256"} if has_file else {}
    part = temporary_path(path)
    try:
        with _saving(checkpoint, part.parent):
            raw = part.open("xb", buffering=0)  # unbuffered: closing cannot fail on a full disk
        with raw, _progress_bar(checkpoint, progress) as bar:
            file = _VerifyingFile(raw, checkpoint, bar)
            urls, attempts = deque(map(direct_url, checkpoint.urls)), 0
            while urls and not file.is_complete:
                attempts += 1
                url, before = urls.popleft(), file.received
                try:
                    _receive(url, file)
                except _BadResponse as error:
                    failures[url] = f"{urlsplit(url).netloc} {error}"
                    is_useful = file.received > before and not isinstance(error, _TooSlow)
                    if is_useful and attempts < _MAX_ATTEMPTS:
                        urls.append(url)
        if file.is_complete:
            with _saving(checkpoint, path.parent):
                _publish_verified(part, path, checkpoint)
            return
    finally:
        remove_quietly(part)
    links = " or ".join(map(direct_url, checkpoint.urls))
    raise DownloadError(
        f"{checkpoint.name} could not be downloaded ({'; '.join(failures.values())}). Try again "
        f"later, or download {links} by hand and save it as {path}.",
        f"{checkpoint.name} could not be downloaded. Try again later, or see the details.",
    )


def _publish_verified(part: Path, path: Path, checkpoint: Checkpoint) -> None:
    try:
        publish(part, path)
    except PermissionError:
        # Windows cannot replace a file that is open: another process may have finished first.
        if not _is_verified(path, checkpoint):
            raise


def _receive(url: str, file: _VerifyingFile) -> None:
    """Receive a file, or the rest of it if the server can send a part."""
    import requests  # imported on use: it takes 0.1 s
    from urllib3.exceptions import HTTPError

    class Session(requests.Session):
        def get_redirect_target(self, response: requests.Response) -> str | None:
            target = super().get_redirect_target(response)
            is_secure = urlsplit(response.url).scheme == "https"
            if target and is_secure and urlsplit(urljoin(response.url, target)).scheme != "https":
                raise _BadResponse("redirects to an address without encryption")
            return target

    headers = {"Accept-Encoding": "identity"}
    if file.received:
        headers["Range"] = f"bytes={file.received}-"
    try:
        with (
            Session() as session,
            session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response,
        ):
            response.raise_for_status()
            range_of_part = response.headers.get("Content-Range", "")
            if response.status_code != 206 or not range_of_part.startswith(
                f"bytes {file.received}-"
            ):
                file.restart()
            # `read` would wait for a whole chunk, however slowly the bytes arrive.
            read = getattr(response.raw, "read1", None) or response.raw.read
            while data := read(_CHUNK):
                file.write(data)
    except (requests.RequestException, HTTPError) as error:
        raise _BadResponse(_reason(error, file)) from error
    file.check_complete()


def _reason(error: Exception, file: _VerifyingFile) -> str:
    from requests import HTTPError, Timeout
    from requests.exceptions import SSLError
    from urllib3.exceptions import TimeoutError as ReadTimeout

    is_timeout = isinstance(error, (Timeout, ReadTimeout))
    if isinstance(error, HTTPError) and error.response is not None:
        return f"responded with {error.response.status_code} {error.response.reason}"
    if file.received:
        return file.incomplete_message() + is_timeout * f", and then no data in {_TIMEOUT[1]:g} s"
    if is_timeout:
        return "did not respond in time"
    if isinstance(error, SSLError):
        return "could not be reached over a secure connection"
    return "could not be reached"


def _write_all(file: IO[bytes], data: bytes) -> None:
    """Write all data: one write to an unbuffered file may be partial, as on a full disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _prepare_folder(checkpoint: Checkpoint, path: Path) -> None:
    folder = path.parent
    with _saving(checkpoint, folder):
        folder.mkdir(parents=True, exist_ok=True)
        usage = shutil.disk_usage(folder)
    remove_abandoned(folder)
    if usage.total and usage.free < checkpoint.size:  # some network drives report 0
        raise DownloadError(
            f"{checkpoint.name} needs {checkpoint.size / 1e6:.0f} MB and {folder} has "
            f"{usage.free / 1e6:.0f} MB left. Free some space, or set {CACHE_VARIABLE} to another "
            "folder."
        )


@contextmanager
def _saving(checkpoint: Checkpoint, folder: Path) -> Iterator[None]:
    """Context manager: convert an error of the disk, for which other URLs are not tried."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"{checkpoint.name} could not be saved in {folder} ({error.strerror or error}). Free "
            f"some space, check the permissions, or set {CACHE_VARIABLE} to another folder."
        ) from error


@contextmanager
def _progress_bar(
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
