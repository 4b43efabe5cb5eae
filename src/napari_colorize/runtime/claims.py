"""Claims of files that a process will write, so that several processes can share their work."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

SUFFIX = ".claim"


class Claims:
    """Files that this process has claimed.

    A claim is a lock of the operating system on a hidden file in the folder of the result. The
    system releases the locks of a process that dies, so its claims do not block others.
    """

    def __init__(self) -> None:
        self._locks: dict[Path, FileLock] = {}
        self._made: list[Path] = []  # folders

    def take(self, path: Path, *, wait: bool = False) -> bool:
        """Claim the file `path`; returns False if another process has claimed it.

        Parameters
        ----------
        path : Path
            The file, or a name in its folder that all processes use for it. The folder is created.
        wait : bool
            Wait until no other process has claimed it.
        """
        if path in self._locks:
            return True
        lock = FileLock(claim_path(path), timeout=-1 if wait else 0, thread_local=False)
        try:
            self._make_folder(path.parent)
            lock.acquire()
        except Timeout:
            return False
        except (OSError, NotImplementedError):
            return True  # a file system without locks; writing reports other errors
        self._locks[path] = lock
        return True

    def release(self, path: Path) -> None:
        """Release a claim, if there is one."""
        lock = self._locks.pop(path, None)
        if lock is not None:
            # Removed while it is locked. Who waits for it locks a file without a name, and then
            # finds the result. Windows does not remove open files.
            with suppress(OSError):
                claim_path(path).unlink()
            lock.release()

    def release_all(self) -> None:
        """Release all claims, and remove folders that were created for them and stayed empty."""
        for path in list(self._locks):
            self.release(path)
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            self._made.append(folder)


def claim_path(path: Path) -> Path:
    """Hidden file that is locked while `path` is claimed."""
    return path.with_name(f".{sha256(os.fsencode(path.name)).hexdigest()[:12]}{SUFFIX}")


def remove_abandoned_claims(folder: Path) -> None:
    """Remove claim files of processes that were killed."""
    for path in folder.glob(f".{'[0-9a-f]' * 12}{SUFFIX}"):
        lock = FileLock(path, timeout=0)
        with suppress(Timeout, OSError, NotImplementedError), lock:
            path.unlink(missing_ok=True)
