"""Whether a prediction fits into memory: asked before it is made, understood when it fails.

A GPU says when its memory runs out. A CPU's machine often does not: it swaps until nothing moves,
or ends the process. So the CPU is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch

from napari_colorize.errors import OutOfMemoryError

# In the words of CUDA, MPS, torch's CPU allocator, C++, cuBLAS and cuDNN, oneDNN, XPU.
SIGNS = (
    *("out of memory", "DefaultCPUAllocator", "bad_alloc", "STATUS_ALLOC_FAILED"),
    *("could not create a memory object", "OUT_OF_DEVICE_MEMORY"),
)
CGROUP = Path("/sys/fs/cgroup")  # where a Linux container's limit stands

Way = TypeVar("Way")
Result = TypeVar("Result")


def refuse_too_large(pixels: int, bytes_per_pixel: int, device: torch.device) -> None:
    """Raise, as an allocation would, for what cannot fit into the memory of the machine.

    Parameters
    ----------
    pixels : int
        Of the network's input, all planes of a batch together.
    bytes_per_pixel : int
        What the network needs at its peak for each of them.
    device : torch.device
        Only a CPU is asked; other devices say so themselves.

    Raises
    ------
    MemoryError
        If it needs more than is available.
    """
    if device.type == "cpu" and pixels * bytes_per_pixel > available():
        raise MemoryError(f"{pixels} pixels need {pixels * bytes_per_pixel / 1e9:.1f} GB.")


def available() -> int:
    """Bytes of memory that can be had without swapping."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((CGROUP / f"memory.{name}").read_text() for name in ("max", "current"))
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # not in a container, or "max": without limit
        return free


def first_that_fits(run: Callable[[Way], Result], ways: Iterable[Way]) -> tuple[Result, Way] | None:
    """What `run` gives for the first of `ways` that memory suffices for, and that way."""
    for way in ways:
        try:
            return run(way), way
        except (RuntimeError, MemoryError) as error:
            if not is_exhausted(error):
                raise
        empty_device_cache()
    return None


def with_cpu_fallback(
    run: Callable[[torch.device], Result], here: torch.device, what: str
) -> Result:
    """What `run` gives on a device, or on the CPU if that has no memory left for it.

    Raises
    ------
    OutOfMemoryError
        If neither has; `what` does not fit.
    """
    found = first_that_fits(run, dict.fromkeys([here, torch.device("cpu")]))
    if found is None:
        raise OutOfMemoryError(f"The {what} does not fit into memory: colorize parts of it.")
    return found[0]


def is_exhausted(error: BaseException) -> bool:
    """Whether an error of torch or Python says that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = str(error)
    return any(sign in said for sign in SIGNS)


def empty_device_cache() -> None:
    """Return to a GPU what torch keeps of its memory for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
