"""Where self-attention looks: from which parts of a picture one of its positions hears.

A layer of self-attention gives every position the sum of what all positions say, each weighed by
how well the two agree (`networks.layers.attend`). Of those weights one column is a map of the
picture. The network is asked as far as its last such layer, and no further.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_colorize.errors import ImageError
from napari_colorize.imaging.resample import resize
from napari_colorize.networks import Architecture
from napari_colorize.networks.layers import PublishedAttention, SelfAttention
from napari_colorize.pipeline import predict

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Where self-attention looks from one point of a picture.

    Parameters
    ----------
    weights : ndarray, float32, shape (h, w)
        How much the point hears from each part of the picture, at the size of the layer; they
        sum to 1.
    point : tuple of int
        Row and column of the point, in pixels of the picture.
    size : tuple of int
        Height and width (Y, X) of the picture.
    """

    weights: Floats = field(repr=False)
    point: tuple[int, int]
    size: tuple[int, int]

    def full(self) -> Floats:
        """The weights enlarged bilinearly to the picture: float32 (Y, X), as large as before."""
        enlarged: Floats = resize(torch.from_numpy(self.weights)[None, None], self.size)[
            0, 0
        ].numpy()
        return enlarged


def attention_layers(network: nn.Module) -> list[SelfAttention | PublishedAttention]:
    """The layers of self-attention of a network, first to last; none if it was built without."""
    parts = network.modules()
    return [part for part in parts if isinstance(part, SelfAttention | PublishedAttention)]


def position_of(point: tuple[float, float], size: tuple[int, int]) -> tuple[int, int]:
    """The pixel of a picture that a point lies in; its centre has whole numbers.

    Raises
    ------
    ImageError
        If it lies outside.
    """
    try:
        row, column = (math.floor(float(place) + 0.5) for place in point)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(
            f"A point is a row and a column, such as (10, 20); got {point!r}."
        ) from error
    if not (0 <= row < size[0] and 0 <= column < size[1]):
        raise ImageError(
            f"The point {row, column} lies outside of the picture of {size[0]} x {size[1]} pixels."
        )
    return row, column


def compute_attention(
    network: nn.Module,
    architecture: Architecture,
    gray: Tensor,
    size: tuple[int, int],
    point: tuple[int, int],
) -> Floats:
    """Weights of everything that the last attention layer adds at a point.

    Parameters
    ----------
    network, architecture, size
        As in `pipeline.predict`; the network has self-attention.
    gray : Tensor, shape (Y, X)
        float32 in [0, 1].
    point : tuple of int
        Row and column, a pixel of `gray`.

    Returns
    -------
    ndarray, float32, shape (h, w)
        At the layer's size; they sum to 1.
    """
    layer = attention_layers(network)[-1]
    with _caught(layer) as caught:
        predict(network, architecture, [gray], size)
    (x,) = caught
    height, width = x.shape[-2:]
    row, column = point[0] * height // gray.shape[0], point[1] * width // gray.shape[1]
    with torch.inference_mode():
        weights: Floats = layer.weights_at(x, row, column)[0].cpu().numpy()
    return weights


class _Caught(Exception):
    """What was wanted of a forward pass is there."""


@contextmanager
def _caught(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Catch what goes into a layer in this thread, and end the forward pass there."""
    here = threading.get_ident()
    caught: list[Tensor] = []

    def catch(_: nn.Module, args: tuple[Any, ...]) -> None:
        if threading.get_ident() == here:
            caught.append(args[0])
            raise _Caught

    hook = layer.register_forward_pre_hook(catch)
    try:
        yield caught
    except _Caught:
        pass
    finally:
        hook.remove()
