"""Type aliases of arrays, plane indices and contrast limits, shared by all packages."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AnyArray = NDArray[Any]
BoolArray = NDArray[np.bool_]
UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
IndexArray = NDArray[np.intp]

PlaneIndex = tuple[int, ...]
"""Position of a plane in a stack: `stack[index]` is the plane."""

Limits = tuple[float, float]
"""Input values that are mapped to black and white."""
