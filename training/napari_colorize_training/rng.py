"""Random numbers for the pictures of a batch, on any device.

One generator serves the whole batch. A generator for each picture (`Batch.generators`) makes what
happens to a picture independent of the others: then several processes do together what one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Random = torch.Generator | Sequence[torch.Generator]


def uniform(
    random: Random, like: Tensor, *shape: int, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Numbers between `low` and `high`, `(N, *shape)` for the N pictures in `like`."""
    return low + (high - low) * _drawn(torch.rand, random, like, shape)


def normal(random: Random, like: Tensor, *shape: int) -> Tensor:
    """Standard normal numbers, `(N, *shape)` for the N pictures in `like`."""
    return _drawn(torch.randn, random, like, shape)


def _drawn(
    draw: Callable[..., Tensor], random: Random, like: Tensor, shape: tuple[int, ...]
) -> Tensor:
    if isinstance(random, torch.Generator):
        # On the generator's device: a generator of the CPU gives the same numbers to every GPU.
        return draw((len(like), *shape), generator=random, device=random.device).to(like)
    if len(random) != len(like):
        raise ValueError(f"{len(like)} pictures need as many generators, got {len(random)}.")
    parts = [draw(shape, generator=one, device=one.device) for one in random]
    return torch.stack(parts).to(like)
