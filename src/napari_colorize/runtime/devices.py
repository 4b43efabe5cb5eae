"""Selection of the device and the floating-point type of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from napari_colorize.errors import SettingsError
from napari_colorize.runtime.forking import global_lock, is_forked_worker

# Its parent may have used torch without this package, see `napari_colorize.__init__`.
if is_forked_worker():
    torch.set_num_threads(1)

Precision = Literal["auto", "float32", "bfloat16"]


def choose_device(device: str | torch.device) -> torch.device:
    """Select a device by name; "auto" is the first available of CUDA, MPS and XPU, else the CPU.

    Raises `SettingsError` if this machine has no such device.
    """
    is_available: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "xpu": torch.xpu.is_available,
        "cpu": lambda: True,
    }
    names = [name for name, check in is_available.items() if check()]
    if device == "auto":
        return torch.device(names[0])
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        chosen = None
    if chosen is not None and chosen.type == "cuda" and torch.cuda._is_in_bad_fork():
        raise SettingsError(
            "This process was forked after its parent had used CUDA, which then fails. Start "
            'processes with the method "spawn".'
        )
    counts = {"cuda": torch.cuda.device_count(), "xpu": torch.xpu.device_count()}
    if (
        chosen is None
        or chosen.type not in names
        or (chosen.index or 0) >= counts.get(chosen.type, 1)
    ):
        raise SettingsError(
            f"This machine has no device {str(device)!r}. Choose one of: {', '.join(names)}."
        )
    return chosen


_lock = global_lock()  # of the settings of torch below, which all threads share
_users = 0
_before: list[tuple[Any, str, object]] = []


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 products and convolutions with all 24 bits of the mantissa.

    By default, torch's convolutions on CUDA keep 11 of them (TF32). The settings are global: they
    are restored when the last of the threads that need them has left.
    """
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            settings = _float32_settings()
            _before[:] = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
            _set(settings)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set(_before)


def _float32_settings() -> list[tuple[Any, str, object]]:
    """Settings of torch for float32 on CUDA: owner, attribute and the exact value."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    try:
        _ = cudnn.allow_tf32, matmul.allow_tf32
    except RuntimeError:  # after the program has set the names of torch 2.9, which exclude these
        owners = (cudnn.conv, cudnn.rnn, matmul)  # type: ignore[attr-defined]
        return [(owner, "fp32_precision", "ieee") for owner in owners]
    return [(owner, "allow_tf32", False) for owner in (cudnn, matmul)]


def _set(settings: list[tuple[Any, str, object]]) -> None:
    for owner, name, value in settings:
        setattr(owner, name, value)


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Select a floating-point type; "auto" is bfloat16 if the hardware supports it, else float32.

    Raises `SettingsError` if there is no such precision.
    """
    if precision == "auto":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if precision not in known:
        raise SettingsError(
            f"precision must be one of auto, {', '.join(known)}, got {precision!r}."
        )
    return known[precision]


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16 (AMX or AVX512-BF16, tensor cores)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Private functions of torch without a public equivalent. Without them float32 is used.
        checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in checks)
    return False
