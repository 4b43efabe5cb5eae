"""Selection of the device and the floating-point type of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from napari_colorize.errors import SettingsError

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
