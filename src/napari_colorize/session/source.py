"""Reads planes of a source; of a lazy stack only the displayed plane, and once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_colorize.array_types import Limits, PlaneIndex
from napari_colorize.errors import ImageError

if TYPE_CHECKING:
    from napari_colorize.session.request import RenderRequest
    from napari_colorize.settings import ColorizeSettings


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One image of a source, in memory, and whether its last axis holds color channels."""

    image: Any
    rgb: bool


class InterruptibleStack:
    """A stack that calls `check_cancelled`, which may raise, before each plane is read."""

    def __init__(self, stack: Any, check_cancelled: Callable[[], None]) -> None:
        self.shape = tuple(stack.shape)
        self._stack, self._check_cancelled = stack, check_cancelled

    def __getitem__(self, index: PlaneIndex) -> Any:
        self._check_cancelled()
        return self._stack[index]


class StackSubset:
    """Some images of a stack as a stack with one leading axis."""

    def __init__(self, stack: InterruptibleStack, indices: Sequence[PlaneIndex], axes: int) -> None:
        self.shape = (len(indices), *stack.shape[-axes:])
        self._stack, self._indices = stack, indices

    def __getitem__(self, index: PlaneIndex) -> Any:
        return self._stack[self._indices[index[0]]]


class SourceReader:
    """Reads the displayed plane and the shared contrast limits of a source, and caches both.

    Parameters
    ----------
    check_cancelled : callable
        Called before a plane is read for the limits of a stack; it may raise.
    """

    def __init__(self, check_cancelled: Callable[[], None]) -> None:
        self._check_cancelled = check_cancelled
        self.forget()

    def forget(self) -> None:
        """Drop the cached plane and limits."""
        self._image: tuple[tuple[Any, ...], SourceImage] | None = None
        self._limits: tuple[tuple[Any, ...], Limits, str | None] | None = None

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

    def with_limits(self, request: RenderRequest) -> tuple[ColorizeSettings, tuple[str, ...]]:
        """Settings with the contrast limits that all planes share, and notes about them.

        A lazy stack is not read as a whole for that: each of its planes has its own limits.
        """
        stack, axes = as_stack(request)
        if len(stack.shape) == axes or not _is_in_memory(stack):
            return request.settings, ()
        return self.with_shared_limits(request)

    def with_shared_limits(
        self, request: RenderRequest
    ) -> tuple[ColorizeSettings, tuple[str, ...]]:
        """The same for a run over all planes, for which a lazy stack is read as well."""
        settings = request.settings
        if settings.contrast_limits is not None:
            return settings, ()
        stack, _ = as_stack(request)
        limits, note = self._shared_limits(request, stack)
        if limits[0] >= limits[1]:  # a constant stack, which is black whatever the limits are
            return settings, ()
        return replace(settings, contrast_limits=limits), () if note is None else (note,)

    def _shared_limits(self, request: RenderRequest, stack: Any) -> tuple[Limits, str | None]:
        from napari_colorize.imaging.planes import stack_limits

        key = request.generation, request.rgb
        cached = self._limits  # read once: `forget` may be called by another thread
        if cached is None or cached[0] != key:
            interruptible = InterruptibleStack(stack, self._check_cancelled)
            cached = self._limits = (key, *stack_limits(interruptible, request.rgb))
        return cached[1:]


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
