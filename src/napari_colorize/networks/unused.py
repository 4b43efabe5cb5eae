"""What a published file holds and its network does not use."""

from __future__ import annotations

import torch
from torch import nn


class Unused(nn.Module):
    """Numbers that are kept only so that files fit, in both directions; nothing learns them.

    Parameters
    ----------
    **shapes : tuple of int
        By the names that the file gives them.
    """

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
