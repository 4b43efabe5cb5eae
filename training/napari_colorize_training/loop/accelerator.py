"""Device, precision and other processes of a run, through Accelerate."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import torch

from napari_colorize.runtime.devices import choose_device, choose_dtype

if TYPE_CHECKING:
    from accelerate import Accelerator

# Other processes wait for this long while one decodes all images.
TIMEOUT = timedelta(hours=6)


def make_accelerator(precision: str) -> Accelerator:
    """Return an Accelerator on the best available device, in "auto", "float32" or "bfloat16"."""
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    # Its state is global: a second run in one Python process may need another precision.
    AcceleratorState._reset_state()
    device = choose_device("auto")
    dtype = choose_dtype(precision, device)
    timeout = InitProcessGroupKwargs(timeout=TIMEOUT)
    mixed = "bf16" if dtype == torch.bfloat16 else "no"
    return Accelerator(mixed_precision=mixed, cpu=device.type == "cpu", kwargs_handlers=[timeout])


def all_reduce_mean(accelerator: Accelerator, values: dict[str, float]) -> dict[str, float]:
    """Return the means of values over all processes, so that all make the same decisions."""
    if accelerator.num_processes == 1:
        return values
    flat = torch.tensor(list(values.values()), dtype=torch.float32, device=accelerator.device)
    means = accelerator.reduce(flat, reduction="mean").tolist()
    return dict(zip(values, means, strict=True))
