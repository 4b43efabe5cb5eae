"""Reads planes of a source; of a lazy stack only the displayed plane, and once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_colorize.array_types import PlaneIndex
from napari_colorize.errors import ImageError

if TYPE_CHECKING:
    from napari_colorize.imaging.intensity_range import IntensityRange
    from napari_colorize.session.request import RenderRequest
    from napari_colorize.settings import ContrastLimits


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One image of a source, in memory, and whether its last axis holds color channels."""

    image: Any
    rgb: bool


class InterruptibleStack:
    """A stack that calls `check_cancelled`, which may raise, before each plane is read."""

    def __init__(self, stack: Any, check_cancelled: Callable[[], None]) -> None:
        self.shape, self.dtype = tuple(stack.shape), getattr(stack, "dtype", None)
        self._stack, self._check_cancelled = stack, check_cancelled

    def __getitem__(self, index: PlaneIndex) -> Any:
        self._check_cancelled()
        return self._stack[index]


class StackSubset:
    """Some images of a stack as a stack with one leading axis."""

    def __init__(self, stack: InterruptibleStack, indices: Sequence[PlaneIndex], axes: int) -> None:
        self.shape, self.dtype = (len(indices), *stack.shape[-axes:]), stack.dtype
        self._stack, self._indices = stack, indices

    def __getitem__(self, index: PlaneIndex) -> Any:
        return self._stack[self._indices[index[0]]]


class SourceReader:
    """Reads the displayed plane and the shared intensity range of a source, and caches both.

    `check_cancelled` is called before a plane is read for the range of a stack; it may raise.
    """

    def __init__(self, check_cancelled: Callable[[], None]) -> None:
        self._check_cancelled = check_cancelled
        self.forget()

    def forget(self) -> None:
        """Drop the cached plane and range."""
        self._image: tuple[tuple[Any, ...], SourceImage] | None = None
        self._range: tuple[tuple[Any, ...], IntensityRange] | None = None

    def image(self, request: RenderRequest, *, transient: bool = False) -> SourceImage:
        """The plane of a request; if `transient`, the cached plane is not replaced.

        Raises
        ------
        ImageError
            If the source is not an image, or has no such plane.
        """
        cached = self._image
        if cached is None or cached[0] != request.plane_key:
            cached = request.plane_key, _read(request)
            if not transient:
                self._image = cached
        return cached[1]

    def displayed_range(
        self, request: RenderRequest, asked: ContrastLimits
    ) -> IntensityRange | None:
        """Intensity range of the displayed plane; None if it is found from this plane alone.

        The planes of a stack share one range. A lazy stack is not read as a whole for that: each of
        its planes has its own range until `shared_range` was called.

        Parameters
        ----------
        request : RenderRequest
            The request.
        asked : tuple of float, str or None
            Contrast limits or rule, see `Predictor.asked_range`.
        """
        stack, axes = as_stack(request)
        is_known = self._cached_range(request, asked) is not None
        if is_known or (len(stack.shape) > axes and _is_in_memory(stack)):
            return self.shared_range(request, asked)
        return declared_range(request) if request.settings.contrast_limits is None else None

    def shared_range(self, request: RenderRequest, asked: ContrastLimits) -> IntensityRange:
        """Intensity range of all planes, for which a lazy stack is read as well."""
        from napari_colorize.imaging.planes import stack_range

        found = self._cached_range(request, asked)
        if found is None:
            stack, _ = as_stack(request)
            interruptible = InterruptibleStack(stack, self._check_cancelled)
            found = stack_range(interruptible, request.rgb, asked, declared_range(request))
            self._range = (_range_key(request, asked), found)
        return found

    def _cached_range(self, request: RenderRequest, asked: ContrastLimits) -> IntensityRange | None:
        cached = self._range  # read once: `forget` may be called by another thread
        return cached[1] if cached is not None and cached[0] == _range_key(request, asked) else None


def declared_range(request: RenderRequest) -> IntensityRange | None:
    """Range that the request or its source declares."""
    return request.declared_range or getattr(request.source, "declared_range", None)


def _range_key(request: RenderRequest, asked: ContrastLimits) -> tuple[Any, ...]:
    return request.generation, request.rgb, request.declared_range, asked


def as_stack(request: RenderRequest) -> tuple[Any, int]:
    """The source as an object with a shape, and the number of axes of one of its images."""
    from napari_colorize.imaging.planes import spatial_axes, to_numpy

    stack = request.source if hasattr(request.source, "shape") else to_numpy(request.source)
    return stack, spatial_axes(stack, request.rgb)


def _read(request: RenderRequest) -> SourceImage:
    from napari_colorize.imaging.planes import to_numpy

    stack, axes = as_stack(request)
    leading = tuple(stack.shape[:-axes])
    index = (0,) * len(leading) if request.plane is None else request.plane
    is_inside = all(0 <= place < length for place, length in zip(index, leading, strict=False))
    if len(index) != len(leading) or not is_inside:
        raise ImageError(
            f"There is no plane {index} in a stack of shape {tuple(stack.shape)}: give one number "
            f"for each of {len(leading)} axes, from 0 to one less than its length."
        )
    image = stack[index] if index else stack
    return SourceImage(image if _is_in_memory(image) else to_numpy(image), axes == 3)


def _is_in_memory(array: Any) -> bool:
    """Whether the values are in main memory: not dask, zarr, or a memory map."""
    import numpy as np
    from torch import Tensor

    return isinstance(array, (np.ndarray, Tensor)) and not isinstance(array, np.memmap)
