from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from napari_colorize.runtime.claims import Claims, claim_path, remove_abandoned_claims

CLAIM_AND_DIE = """
import os, sys
from pathlib import Path
from napari_colorize.runtime.claims import Claims

claims = Claims()
print(claims.take(Path(sys.argv[1])), flush=True)
os._exit(9)
"""


def test_a_file_is_claimed_once(tmp_path: Path) -> None:
    one, other, path = Claims(), Claims(), tmp_path / "new" / "a.png"
    assert one.take(path) and one.take(path)
    assert not other.take(path)
    assert other.take(path.with_name("b.png"))
    one.release(path)
    assert other.take(path)


def test_released_claims_leave_nothing_behind(tmp_path: Path) -> None:
    claims = Claims()
    claims.take(tmp_path / "new" / "sub" / "a.png")
    claims.release_all()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="open files are not removed there")
def test_the_claim_of_a_dead_process_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    died = subprocess.run(
        [sys.executable, "-c", CLAIM_AND_DIE, path], stdout=subprocess.PIPE, check=False
    )
    assert (died.returncode, died.stdout.split()) == (9, [b"True"])
    assert claim_path(path).exists()
    assert Claims().take(path)


def test_only_abandoned_claims_are_removed(tmp_path: Path) -> None:
    claims = Claims()
    claims.take(tmp_path / "a.png")
    claim_path(tmp_path / "b.png").touch()
    (tmp_path / ".other.claim").touch()
    remove_abandoned_claims(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {claim_path(tmp_path / "a.png").name, ".other.claim"}
