"""Fixtures of many tests: a fast exact Colorizer, a gray ramp, the folder of reference data."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.colorizer import Colorizer

# Examples have no time limit: test machines are slow and busy.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture
def tiny_colorizer() -> Colorizer:
    """A fast and exact Colorizer without a file."""
    return colorizer_of(TintNetwork())


@pytest.fixture
def ramp() -> np.ndarray:
    """Gray image (48, 64) from black to white, float32."""
    return np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(48, 64)


@pytest.fixture
def shared() -> Path:
    """Folder of reference data beside the repository; the test is skipped if it is missing."""
    if not SHARED.is_dir():
        pytest.skip("The folder ../shared with reference data is missing.")
    return SHARED
