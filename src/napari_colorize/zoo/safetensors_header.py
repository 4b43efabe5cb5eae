"""Limits of the header of a safetensors file, checked before the file is read.

The header is a JSON object with an entry for each tensor. A library that parses a million entries
takes minutes.
"""

from __future__ import annotations

import json
from pathlib import Path

from napari_colorize.errors import CheckpointError

MAX_HEADER = 2**23  # bytes; about 100 for each tensor
MAX_TENSORS = 20_000  # the largest known network has 2,000


def refuse_large_header(path: Path) -> None:
    """Raise `CheckpointError` if a file has more tensors than any network.

    The library that reads the file reports other faults.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                return  # damaged
            if length > MAX_HEADER:
                raise too_many_tensors(path)
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(header, dict) and len(header) > MAX_TENSORS:
        raise too_many_tensors(path)


def too_many_tensors(path: Path) -> CheckpointError:
    """Error for a file with more tensors than any network has."""
    return CheckpointError(
        f"{path} contains more tensors than any known network ({MAX_TENSORS:,}). Save the "
        "state_dict() of the network alone."
    )
