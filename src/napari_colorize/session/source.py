"""From a source to the plane that is looked at: lazy ones are computed once, and only that one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_colorize.errors import ImageError

if TYPE_CHECKING:
    from napari_colorize.array_types import Limits
    from napari_colorize.session.request import Index, RenderRequest
    from napari_colorize.settings import ColorizeSettings


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One image of a source, in memory, and whether its last axis holds colours."""

    image: Any
    rgb: bool


class InterruptibleStack:
    """A stack that looks up (`pause`, which may raise) before each plane that is read."""

    def __init__(self, stack: Any, pause: Callable[[], None]) -> None:
        self.shape = tuple(stack.shape)
        self._stack, self._pause = stack, pause

    def __getitem__(self, index: Index) -> Any:
        self._pause()
        return self._stack[index]


class StackSubset:
    """Some images of a stack, as a stack of their own: one axis, then those of an image."""

    def __init__(self, stack: InterruptibleStack, indices: Sequence[Index], axes: int) -> None:
        self.shape = (len(indices), *stack.shape[-axes:])
        self._stack, self._indices = stack, indices

    def __getitem__(self, index: Index) -> Any:
        return self._stack[self._indices[index[0]]]


class SourceReader:
    """Reads what a wish looks at, and remembers it as long as it is looked at."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self.forget()

    def forget(self) -> None:
        """Let go of source and plane."""
        self._picture: tuple[tuple[Any, ...], SourceImage] | None = None
        self._limits: tuple[tuple[Any, ...], Limits, str | None] | None = None

    def image(self, request: RenderRequest, *, transient: bool = False) -> SourceImage:
        """The plane that is looked at; if in passing, the one remembered stays.

        Raises
        ------
        ImageError
            If the source is no image, or has no such plane.
        """
        known = self._picture
        if known is None or known[0] != request.plane_key:
            known = request.plane_key, _read(request)
            if not transient:
                self._picture = known
        return known[1]

    def with_limits(self, request: RenderRequest) -> tuple[ColorizeSettings, tuple[str, ...]]:
        """The wish's settings with limits that all planes share, and notes about them.

        A lazy stack would have to be computed as a whole for that: its planes have their own.
        """
        stack, axes = as_stack(request)
        if len(stack.shape) == axes or not _is_in_memory(stack):
            return request.settings, ()
        return self.with_shared_limits(request)

    def with_shared_limits(
        self, request: RenderRequest
    ) -> tuple[ColorizeSettings, tuple[str, ...]]:
        """As `with_limits`, for a run over all planes: a lazy stack is read too, if it must be."""
        settings = request.settings
        if settings.contrast_limits is not None:
            return settings, ()
        stack, _ = as_stack(request)
        limits, note = self._shared_limits(request, stack)
        if limits[0] >= limits[1]:  # one value everywhere: black, as each plane says too
            return settings, ()
        return replace(settings, contrast_limits=limits), () if note is None else (note,)

    def _shared_limits(self, request: RenderRequest, stack: Any) -> tuple[Limits, str | None]:
        from napari_colorize.imaging.planes import stack_limits

        key = request.generation, request.rgb
        known = self._limits  # read once: another thread may say `forget`
        if known is None or known[0] != key:
            known = self._limits = (
                key,
                *stack_limits(InterruptibleStack(stack, self._pause), request.rgb),
            )
        return known[1:]


def as_stack(request: RenderRequest) -> tuple[Any, int]:
    """The source as something with a shape, and how many axes one of its images has."""
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
    """Whether its values are here: no dask, no zarr, no memory map."""
    import numpy as np
    from torch import Tensor

    return isinstance(array, (np.ndarray, Tensor)) and not isinstance(array, np.memmap)
