from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.errors import ColorizeWarning, OutOfMemoryError
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.runtime import memory

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of range"), False),
    ],
)
def test_exhausted_memory_is_distinguished_from_other_errors(error, expected):
    assert memory.is_exhausted(error) is expected


def test_a_failed_allocation_of_torch_is_exhausted_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)

    assert memory.is_exhausted(caught.value)


def test_available_memory_is_plausible():
    assert 10**7 < memory.available() < 10**14


@pytest.mark.parametrize("step", ["predictor.to_plane", "result.compose"])
def test_an_image_too_large_for_memory_gives_one_sentence(monkeypatch, step):
    def refuse(*arguments, **options):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(f"napari_colorize.{step}", refuse)

    with pytest.raises(OutOfMemoryError, match="colorize parts of it"):
        colorizer_of(TintNetwork())(np.eye(9)).pixels  # noqa: B018


def test_a_prediction_larger_than_memory_is_not_started(monkeypatch):
    pixels = (16 * 20) ** 2
    fits = pixels * ARCHITECTURES["compact"].bytes_per_pixel
    monkeypatch.setattr(memory, "available", lambda: fits)
    colorizer = colorizer_of(TintNetwork(), fit="square")
    gray = np.random.default_rng(0).random((30, 40))

    assert colorizer(gray, render_factor=20).chroma.render_factor == 20
    with pytest.warns(ColorizeWarning, match="exhausted at render factor 21: 15 was used"):
        colorizer(gray, render_factor=21)
    with pytest.raises(OutOfMemoryError, match="use render_factor=15"):
        colorizer(gray, render_factor=21, retry_smaller=False)
