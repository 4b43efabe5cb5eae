"""User guidance of one plane as arrays: mask, hints, reference image and regions."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.array_types import AnyArray, PlaneIndex
from napari_colorize.errors import ImageError

if TYPE_CHECKING:
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.palette_transfer import Reference


@dataclass(frozen=True, eq=False, kw_only=True)
class Guides:
    """Mask, hints, reference image and regions for one plane.

    Parameters
    ----------
    mask : array, shape (Y, X), optional
        Mask at the size of the image. Pixels where it is zero keep the input values.
    hints : Hints, optional
        Colors of some pixels, which spread to similar neighboring pixels.
    reference : Reference, optional
        Color image whose palette is transferred.
    regions : array of int, shape (Y, X), optional
        Numbered regions of the image. Each region takes the palette of the reference region of the
        same number. 0 is background.

    Raises
    ------
    ImageError
        If mask or regions are not two-dimensional, or if hints or reference have the wrong type.
    """

    mask: NDArray[np.bool_] | None = field(default=None, repr=False)
    hints: Hints | None = field(default=None, repr=False)
    reference: Reference | None = field(default=None, repr=False)
    regions: NDArray[np.integer[Any]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.hints is not None or self.reference is not None:
            self._check_kinds()
        if self.mask is not None:
            object.__setattr__(self, "mask", _plane("mask", self.mask) != 0)
        if self.regions is not None:
            object.__setattr__(self, "regions", _plane("regions", self.regions))

    def _check_kinds(self) -> None:
        from napari_colorize.refine.hints import Hints  # torch
        from napari_colorize.refine.palette_transfer import Reference

        for name, kind, remedy in (
            ("hints", Hints, "create it with Hints.from_rgba, from_points or from_labels"),
            ("reference", Reference, "create it with Reference(rgb)"),
        ):
            given = getattr(self, name)
            if given is not None and not isinstance(given, kind):
                raise ImageError(
                    f"{name} must be a {kind.__name__} object, got {type(given).__name__}: "
                    f"{remedy}."
                )

    def __bool__(self) -> bool:
        return any(value is not None for value in vars(self).values())

    def check(self, size: tuple[int, int]) -> None:
        """Check that all guides have this height and width.

        Raises
        ------
        ImageError
            If a guide has another size.
        """
        hinted = None if self.hints is None else self.hints.mask
        for name, array in (("mask", self.mask), ("hints", hinted), ("regions", self.regions)):
            if array is not None and array.shape != size:
                raise ImageError(
                    f"The {name} must cover the image: expected {size[1]} x {size[0]} pixels "
                    f"(width x height), got {array.shape[1]} x {array.shape[0]}."
                )

    def summary(self) -> dict[str, object]:
        """Summary of the guides for the provenance record."""
        summary: dict[str, object] = {}
        if self.mask is not None:
            summary["mask"] = f"{self.mask.mean():.1%} of the image"
        if self.hints is not None:
            summary["hints"] = f"{int(self.hints.mask.sum())} pixels"
        if self.reference is not None:
            height, width = self.reference.rgb.shape[:2]
            summary["reference"] = f"{width} x {height} pixels"
        return summary


NO_GUIDES = Guides()
PlaneGuides = Callable[[PlaneIndex], Guides | None]  # plane index -> guides of that plane


def guides_at(guides: Guides | PlaneGuides | None, index: PlaneIndex) -> Guides:
    """Return the guides of one plane of a stack, or `NO_GUIDES`."""
    given = guides(index) if callable(guides) else guides
    return NO_GUIDES if given is None else check_guides(given)


def check_guides(guides: object) -> Guides:
    """Return `guides`; raises `ImageError` if it is no `Guides` object."""
    if not isinstance(guides, Guides):
        raise ImageError(
            "guides must be a Guides object, such as Guides(hints=...), got "
            f"{type(guides).__name__}."
        )
    return guides


def _plane(name: str, array: Any) -> AnyArray:
    if isinstance(array, str | os.PathLike):
        raise ImageError(f"The {name} must be an array (Y, X), got a path: load the file first.")
    array = np.asarray(array)
    if array.ndim != 2:
        raise ImageError(f"The {name} must have two axes, (Y, X), got {array.shape}.")
    return array
