"""Order of the fallbacks when memory is exhausted, without a GPU."""

from __future__ import annotations

import pytest
import torch

from napari_colorize.errors import OutOfMemoryError
from napari_colorize.fallback import InferenceConfig, fallback_messages, run_with_fallbacks
from napari_colorize.settings import ColorizeSettings

GPU = InferenceConfig(10, torch.device("cuda"), torch.float32, True)


def configs_of(settings, requested=GPU):
    """Device and render factor of every attempt, if none fits into memory."""
    tried = []

    def run(config):
        tried.append((config.device.type, config.render_factor))
        raise MemoryError

    with pytest.raises(OutOfMemoryError):
        run_with_fallbacks(run, requested, settings)
    return tried


def test_the_cpu_is_tried_before_smaller_render_factors():
    tried = configs_of(ColorizeSettings())

    assert tried[:4] == [("cuda", 10), ("cpu", 10), ("cpu", 7), ("cpu", 5)]
    assert ("cpu", 1) in tried


def test_without_retries_only_the_error_message_tries_smaller_render_factors():
    tried = configs_of(ColorizeSettings(retry_on_cpu=False, retry_smaller=False))

    assert tried[:2] == [("cuda", 10), ("cuda", 7)]
    assert {device for device, _ in tried} == {"cuda"}
    assert len(tried) == len(set(tried))  # once each: not first as a fallback


def test_float32_stays_float32_on_the_cpu():
    attempts = []

    def run(config):
        attempts.append(config.dtype)
        if config.device.type != "cpu":
            raise MemoryError
        return "result"

    result, config = run_with_fallbacks(run, GPU, ColorizeSettings())

    assert result == "result" and config.device.type == "cpu"
    assert attempts == [torch.float32, torch.float32]


def test_messages_name_the_device_and_the_render_factor():
    used = InferenceConfig(7, torch.device("cpu"), torch.float32, True)

    device, factor = fallback_messages(used, GPU)

    assert "cuda" in device and "10: 7 was used" in factor
    assert fallback_messages(GPU, GPU) == []
