"""Random numbers for the images of a batch, on any device.

With one generator per image (`CropBatch.generators`) the numbers of an image do not depend on the
other images, and therefore not on the number of processes. A single generator serves all images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Random = torch.Generator | Sequence[torch.Generator]


def uniform(
    random: Random, like: Tensor, *shape: int, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Return uniform numbers from `low` to `high`, `(N, *shape)` for the N images in `like`."""
    return low + (high - low) * _sample(torch.rand, random, like, shape)


def normal(random: Random, like: Tensor, *shape: int) -> Tensor:
    """Return standard normal numbers, `(N, *shape)` for the N images in `like`."""
    return _sample(torch.randn, random, like, shape)


def _sample(
    draw: Callable[..., Tensor], random: Random, like: Tensor, shape: tuple[int, ...]
) -> Tensor:
    if isinstance(random, torch.Generator):
        # On the generator's device: with a CPU generator the numbers are the same for every GPU.
        return draw((len(like), *shape), generator=random, device=random.device).to(like)
    if len(random) != len(like):
        raise ValueError(f"{len(like)} images require {len(like)} generators, got {len(random)}.")
    parts = [draw(shape, generator=one, device=one.device) for one in random]
    return torch.stack(parts).to(like)
