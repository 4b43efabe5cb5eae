"""Memory: check before a prediction on the CPU, recognize errors when it is exhausted, fall back.

A GPU raises an error if its memory is exhausted. A CPU often does not: the system swaps, or kills
the process. So the available memory is checked before a prediction on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch

from napari_colorize.errors import OutOfMemoryError

# Messages of CUDA and MPS, torch's CPU allocator, C++, cuBLAS and cuDNN, oneDNN, XPU.
EXHAUSTED_MESSAGES = (
    *("out of memory", "DefaultCPUAllocator", "bad_alloc", "STATUS_ALLOC_FAILED"),
    *("could not create a memory object", "OUT_OF_DEVICE_MEMORY"),
)
CGROUP = Path("/sys/fs/cgroup")  # limits of a Linux container

Config = TypeVar("Config")
Result = TypeVar("Result")


def refuse_too_large(pixels: int, bytes_per_pixel: int, device: torch.device) -> None:
    """Raise `MemoryError` if a prediction does not fit into the memory of the machine.

    `pixels` are those of the network input, of all planes of a batch; `bytes_per_pixel` is the peak
    memory of the network. Only a CPU is checked: other devices raise errors themselves.
    """
    if device.type == "cpu" and pixels * bytes_per_pixel > available():
        raise MemoryError(f"{pixels} pixels need {pixels * bytes_per_pixel / 1e9:.1f} GB.")


def available() -> int:
    """Bytes of memory that are available without swapping, within the limit of a container."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((CGROUP / f"memory.{name}").read_text() for name in ("max", "current"))
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no container, or "max": no limit
        return free


def first_that_fits(
    run: Callable[[Config], Result], configs: Iterable[Config]
) -> tuple[Result, Config] | None:
    """Call `run` with one configuration after another until memory suffices.

    Returns its result and the configuration; None if no configuration fits.
    """
    for config in configs:
        try:
            return run(config), config
        except (RuntimeError, MemoryError) as error:
            if not is_exhausted(error):
                raise
        # After the except block: its traceback keeps the tensors of the failed call alive.
        empty_device_cache()
    return None


def with_cpu_fallback(
    run: Callable[[torch.device], Result], device: torch.device, what: str
) -> Result:
    """Call `run` with a device, or with the CPU if the memory of the device is exhausted.

    Raises `OutOfMemoryError`, which names `what`, if neither has enough memory.
    """
    found = first_that_fits(run, dict.fromkeys([device, torch.device("cpu")]))
    if found is None:
        raise OutOfMemoryError(
            f"The {what} does not fit into memory. Close other programs, or colorize parts of it."
        )
    return found[0]


def is_exhausted(error: BaseException) -> bool:
    """Whether an error of torch or Python was raised because memory is exhausted, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    message = str(error)
    return any(known in message for known in EXHAUSTED_MESSAGES)


def empty_device_cache() -> None:
    """Release the GPU memory that torch caches."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
