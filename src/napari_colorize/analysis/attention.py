"""Self-attention maps: the weights with which one position attends to all others.

A self-attention layer adds to every position a weighted sum over all positions; the weights are a
softmax over query-key products (`networks.layers.attend`). The weights of one position are a map
of the image. The network runs up to its last such layer and stops there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from napari_colorize.array_types import Float32Array
from napari_colorize.errors import ImageError
from napari_colorize.imaging.resample import resize_map
from napari_colorize.networks import Architecture
from napari_colorize.networks.layers import IpolSelfAttention, SelfAttention
from napari_colorize.networks.region import AttentionBlock
from napari_colorize.pipeline import predict


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Self-attention weights of one point of an image.

    Parameters
    ----------
    weights : ndarray, float32, shape (h, w)
        Weight of each position for the point, at the size of the layer; they sum to 1.
    point : tuple of int
        Row and column of the point, in pixels of the image.
    size : tuple of int
        Height and width (Y, X) of the image.
    """

    weights: Float32Array = field(repr=False)
    point: tuple[int, int]
    size: tuple[int, int]

    def full(self) -> Float32Array:
        """The weights resized bilinearly to the image, float32 (Y, X); their range is kept."""
        full: Float32Array = resize_map(torch.from_numpy(self.weights), self.size).numpy()
        return full


AttentionLayer = SelfAttention | IpolSelfAttention | AttentionBlock


def attention_layers(network: nn.Module) -> list[AttentionLayer]:
    """The self-attention layers of a network in order; empty if it was built without them."""
    return [part for part in network.modules() if isinstance(part, AttentionLayer)]


def position_of(point: tuple[float, float], size: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the pixel that contains a point; pixel centers are whole numbers.

    Raises `ImageError` if the point is no pair of numbers, or outside the image.
    """
    try:
        row, column = (math.floor(float(place) + 0.5) for place in point)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(
            f"A point must be a row and a column, such as (10, 20), got {point!r}."
        ) from error
    if not (0 <= row < size[0] and 0 <= column < size[1]):
        raise ImageError(
            f"The point {row, column} is outside the image of {size[0]} x {size[1]} pixels."
        )
    return row, column


def compute_attention(
    network: nn.Module,
    architecture: Architecture,
    gray: Tensor,
    size: tuple[int, int],
    point: tuple[int, int],
) -> Float32Array:
    """Compute the weights of the last self-attention layer for one point, a pixel of `gray`.

    `network`, `architecture` and `size` are as in `pipeline.predict`; the network has
    self-attention. `gray` is float32 (Y, X) in [0, 1]. The weights are float32 (h, w), at the size
    of the layer, and sum to 1.
    """
    layer = attention_layers(network)[-1]
    with _stop_before(layer) as inputs:
        predict(network, architecture, [gray], size)
    (x,) = inputs
    height, width = x.shape[-2:]
    row, column = point[0] * height // gray.shape[0], point[1] * width // gray.shape[1]
    with torch.inference_mode():
        weights: Float32Array = layer.weights_at(x, row, column)[0].cpu().numpy()
    return weights


class _Stopped(Exception):
    """Ends a forward pass once the input of the layer is recorded."""


@contextmanager
def _stop_before(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Record the input of a layer in the current thread and end the forward pass there."""
    # Other threads may use the network meanwhile: the hook must not stop their forward passes.
    thread = threading.get_ident()
    inputs: list[Tensor] = []

    def stop(_: nn.Module, args: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread:
            inputs.append(args[0])
            raise _Stopped

    hook = layer.register_forward_pre_hook(stop)
    try:
        yield inputs
    except _Stopped:
        pass
    finally:
        hook.remove()
