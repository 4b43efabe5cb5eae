"""Deterministic network weights from the names and shapes of a state dict.

Two implementations with the same parameter names and shapes get bit-identical weights, so that a
few stored outputs are sufficient to compare networks of any size. Only integer draws of PCG64,
whose stream NumPy guarantees, and float32 products are used. The vectors of spectral norm need dot
products; they agree to about 1e-7 between machines and are left out of the checksum.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from napari_colorize.array_types import AnyArray, Float32Array

# Not converged on purpose: u.W.v is a few percent below the largest singular value, so that a
# network that recomputes the norm, or iterates once more, gives other outputs.
POWER_ITERATIONS = 4
Shape = tuple[int, ...]


def named_weights(shapes: Mapping[str, Shape]) -> dict[str, AnyArray]:
    """Return an array for every key, in the order of `shapes`."""
    spectral = {}
    for key, shape in shapes.items():
        if key.endswith(".weight_orig"):
            weight = _filters(key, shape)
            spectral[key.removesuffix("_orig")] = weight, *_power_iteration(key, weight)
    arrays = {key: _weight(key, shape, shapes, spectral) for key, shape in shapes.items()}
    assert all(arrays[key].shape == shape for key, shape in shapes.items())
    return arrays


def weights_crc32(arrays: Mapping[str, AnyArray]) -> int:
    """Return a checksum of names, shapes and values, without the vectors of spectral norm."""
    crc = 0
    for key in sorted(arrays):
        prefix, _, last = key.rpartition(".")
        is_derived = last in ("weight_u", "weight_v") and prefix + ".weight_orig" in arrays
        if is_derived or last == "num_batches_tracked":
            continue
        value = np.ascontiguousarray(arrays[key])
        crc = zlib.crc32(f"{key}{value.shape}".encode(), crc)
        little_endian = value.astype(value.dtype.newbyteorder("<"), copy=False)
        crc = zlib.crc32(little_endian.tobytes(), crc)
    return crc


def _weight(
    key: str,
    shape: Shape,
    shapes: Mapping[str, Shape],
    spectral: Mapping[str, tuple[AnyArray, ...]],
) -> AnyArray:
    prefix, _, last = key.rpartition(".")
    parts = ("weight_orig", "weight_u", "weight_v")
    if prefix + ".weight" in spectral and last in parts:
        return spectral[prefix + ".weight"][parts.index(last)]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "gamma" and shape == (1,):  # of a self-attention layer
        return np.full(shape, 0.7, np.float32)
    if last == "running_var":
        return _uniform(key, shape, 0.5, 1.5)
    if last == "weight_g":  # well above 1, for colorful outputs
        return _uniform(key, shape, 3.0, 5.0)
    if last == "weight" and len(shape) == 1:  # batch norm
        return _uniform(key, shape, 0.8, 1.2)
    if len(shape) <= 1:  # biases, running means
        return _uniform(key, shape, -0.2, 0.2)
    if key == "model_out.weight":  # class centers of eccv16, in units of 110
        return _uniform(key, shape, -1.0, 1.0)
    # Convolutions with a bias are not followed by a batch norm: gain of He et al. 2015.
    has_bias = last == "weight" and prefix + ".bias" in shapes
    return _filters(key, shape, 2.0 if has_bias else 1.0)


def _uniform(name: str, shape: Shape, low: float, high: float) -> Float32Array:
    """Float32 values in [low, high) from the upper 24 bits of draws that are seeded by the name."""
    count = int(np.prod(shape, dtype=np.int64))
    bits = np.random.PCG64(zlib.crc32(name.encode())).random_raw((count + 1) // 2)
    bits = np.asarray(bits, dtype="<u8").view("<u4")[:count] >> np.uint32(8)
    unit: Float32Array = bits.astype(np.float32)
    unit *= np.float32(2.0**-24)
    unit *= np.float32(high - low)
    unit += np.float32(low)
    return unit.reshape(shape)


def _filters(name: str, shape: Shape, gain: float = 1.0) -> Float32Array:
    """Values of variance gain / fan-in."""
    bound = float(np.sqrt(3.0 * gain / np.prod(shape[1:], dtype=np.int64)))
    return _uniform(name, shape, -bound, bound)


def _power_iteration(key: str, weight: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Vectors u and v of spectral norm after some power iterations."""
    matrix = weight.reshape(len(weight), -1)
    name = key.removesuffix("_orig") + "_u"
    u = _unit(_uniform(name, (len(matrix),), -1.0, 1.0).astype(np.float64))
    for _ in range(POWER_ITERATIONS):
        v = _unit((u.astype(np.float32) @ matrix).astype(np.float64))
        u = _unit((matrix @ v.astype(np.float32)).astype(np.float64))
    return u.astype(np.float32), v.astype(np.float32)


def _unit(vector: AnyArray) -> AnyArray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
