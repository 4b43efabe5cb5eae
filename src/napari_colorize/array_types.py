"""Array type aliases and small tuples that all packages share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AnyArray = NDArray[Any]
UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.intp]

PlaneIndex = tuple[int, ...]
"""Position of a plane in a stack: `stack[index]` is the plane."""

Limits = tuple[float, float]
"""Input values that are mapped to black and white."""
