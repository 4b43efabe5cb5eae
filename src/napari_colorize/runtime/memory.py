"""Memory: check before a prediction on the CPU, recognize errors when it is exhausted, fall back.

A GPU raises an error if its memory is exhausted. A CPU often does not: the system swaps, or kills
the process. So the available memory is checked before a prediction on the CPU.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch

from napari_colorize.errors import OutOfMemoryError, SettingsError

# Messages of CUDA and MPS, torch's CPU allocator, C++, cuBLAS and cuDNN, oneDNN, XPU.
EXHAUSTED_MESSAGES = (
    *("out of memory", "DefaultCPUAllocator", "bad_alloc", "STATUS_ALLOC_FAILED"),
    *("could not create a memory object", "OUT_OF_DEVICE_MEMORY"),
)
LIMIT_VARIABLE = "NAPARI_COLORIZE_MAX_MEMORY"
UNITS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
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
    """Bytes of memory that are available without swapping.

    Within the limit of a container, `ulimit -v`, and `NAPARI_COLORIZE_MAX_MEMORY`, which limits the
    memory of this process.
    """
    import psutil

    free = [int(psutil.virtual_memory().available)]
    with suppress(OSError, ValueError):  # no container, or "max": no limit
        limit, used = ((CGROUP / f"memory.{name}").read_text() for name in ("max", "current"))
        free.append(int(limit) - int(used))
    process = psutil.Process().memory_info()
    with suppress(ImportError):  # Windows
        import resource

        space, _ = resource.getrlimit(resource.RLIMIT_AS)
        if space != resource.RLIM_INFINITY:
            free.append(space - process.vms)
    if chosen := os.environ.get(LIMIT_VARIABLE):
        free.append(parse_size(chosen) - process.rss)
    return min(free)


def remedy() -> str:
    """What a user can do to have more memory, the beginning of a sentence."""
    limit = os.environ.get(LIMIT_VARIABLE)
    return f"Raise the memory limit of {limit}" if limit else "Close other programs"


def parse_size(text: str) -> int:
    """Number of bytes in a text such as "4GB", "500 MB" or "2e9".

    Raises
    ------
    SettingsError
        If it is none.
    """
    number = text.strip().upper().removesuffix("B").rstrip()
    factor = UNITS.get(number[-1:], 1)
    try:
        size = float(number[:-1] if factor > 1 else number) * factor
        if 0 < size < math.inf:
            return int(size)
    except ValueError:
        pass
    raise SettingsError(f"A size of memory such as 4GB or 500MB is needed, got {text!r}.")


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
            f"The {what} does not fit into memory. {remedy()}, or colorize parts of it."
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
