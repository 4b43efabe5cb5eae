"""Retries of a prediction when memory is exhausted: on the CPU, then at smaller render factors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from napari_colorize.errors import OutOfMemoryError
from napari_colorize.runtime import memory
from napari_colorize.runtime.devices import choose_dtype
from napari_colorize.settings import ColorizeSettings

Result = TypeVar("Result")

SHRINK_FACTOR = 0.75  # ratio of one render factor to the one before


@dataclass(frozen=True)
class InferenceConfig:
    """How a prediction is made: requested, or changed because memory was exhausted."""

    render_factor: int  # size of the network input, see `ColorizeSettings`
    device: torch.device
    dtype: torch.dtype  # floating-point type of the network
    self_attention: bool  # whether the self-attention layer is used


def run_with_fallbacks(
    run: Callable[[InferenceConfig], Result],
    requested: InferenceConfig,
    settings: ColorizeSettings,
) -> tuple[Result, InferenceConfig]:
    """Call `run` with the requested configuration, or with the next one that fits into memory.

    The settings `retry_on_cpu` and `retry_smaller` permit the fallbacks. Returns the result, and
    the configuration that `run` was called with.

    Raises
    ------
    OutOfMemoryError
        If no permitted configuration fits. The message names a render factor that does.
    """
    found = memory.first_that_fits(run, _fallbacks(requested, settings))
    if found is not None:
        return found
    reason = f"Render factor {requested.render_factor} does not fit into memory"
    smaller = memory.first_that_fits(run, _smaller(requested))
    if smaller is None:
        remedy = memory.remedy()
        raise OutOfMemoryError(
            f"{reason}, nor does any smaller one. {remedy}, or use a smaller model."
        )
    fits = smaller[1].render_factor
    raise OutOfMemoryError(f"{reason}; {fits} does: use render_factor={fits}.")


def fallback_messages(used: InferenceConfig, requested: InferenceConfig) -> list[str]:
    """Sentences about what was changed because memory was exhausted; empty if nothing was."""
    messages = []
    if used.device != requested.device:
        messages.append(f"Memory of {requested.device} was exhausted: the CPU was used instead.")
    if used.render_factor != requested.render_factor:
        messages.append(
            f"Memory was exhausted at render factor {requested.render_factor}: "
            f"{used.render_factor} was used."
        )
    return messages


def _fallbacks(requested: InferenceConfig, settings: ColorizeSettings) -> Iterator[InferenceConfig]:
    """The requested configuration, then the CPU, then smaller ones, as far as permitted."""
    yield requested
    config = requested
    if settings.retry_on_cpu and config.device.type != "cpu":
        cpu = torch.device("cpu")
        # float32 was requested for exactness and stays; bfloat16 only where the CPU computes it.
        is_float32 = config.dtype == torch.float32
        dtype = torch.float32 if is_float32 else choose_dtype("auto", cpu)
        config = replace(config, device=cpu, dtype=dtype)
        yield config
    if settings.retry_smaller:
        yield from _smaller(config)


def _smaller(config: InferenceConfig) -> Iterator[InferenceConfig]:
    render_factor = config.render_factor
    while render_factor > 1:
        render_factor = max(1, int(render_factor * SHRINK_FACTOR))
        yield replace(config, render_factor=render_factor)
