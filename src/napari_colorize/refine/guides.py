"""Guides: what a person gives beside the picture, as arrays."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.errors import ImageError

if TYPE_CHECKING:
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.palette_transfer import Reference


@dataclass(frozen=True, eq=False, kw_only=True)
class Guides:
    """Where to colour, which colours go where, and whose palette to take.

    Parameters
    ----------
    mask : array, shape (Y, X), optional
        Of the picture's size; where it is zero the image stays as it was.
    hints : Hints, optional
        Scribbles: colours of some pixels, which spread to what belongs to them.
    reference : Reference, optional
        A picture in colour whose palette is taken over.
    regions : array of int, shape (Y, X), optional
        Parts of the picture, by number; each takes the palette of the part of the reference that
        has the same number. 0 is no part.

    Raises
    ------
    ImageError
        If mask or regions have not two axes, or hints or a reference are no such objects.
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

        for name, kind, how in (
            ("hints", Hints, "Hints.from_rgba, from_points or from_labels make one"),
            ("reference", Reference, "Reference(rgb) makes one"),
        ):
            given = getattr(self, name)
            if given is not None and not isinstance(given, kind):
                raise ImageError(
                    f"{name} must be a {kind.__name__} object, got {type(given).__name__}: {how}."
                )

    def __bool__(self) -> bool:
        return any(value is not None for value in vars(self).values())

    def check(self, size: tuple[int, int]) -> None:
        """Say it if they are not for a picture of this height and width.

        Raises
        ------
        ImageError
            With both sizes.
        """
        hinted = None if self.hints is None else self.hints.mask
        for name, array in (("mask", self.mask), ("hints", hinted), ("regions", self.regions)):
            if array is not None and array.shape != size:
                raise ImageError(
                    f"The {name} must cover the picture: expected {size[1]} x {size[0]} pixels "
                    f"(width x height), got {array.shape[1]} x {array.shape[0]}."
                )

    def told(self) -> dict[str, object]:
        """What a record says of them."""
        told: dict[str, object] = {}
        if self.mask is not None:
            told["mask"] = f"{self.mask.mean():.1%} of the picture"
        if self.hints is not None:
            told["hints"] = f"{int(self.hints.mask.sum())} pixels"
        if self.reference is not None:
            height, width = self.reference.rgb.shape[:2]
            told["reference"] = f"{width} x {height} pixels"
        return told


NONE = Guides()
PlaneGuides = Callable[[tuple[int, ...]], Guides | None]  # of each plane of a stack, by its index


def guides_at(guides: Guides | PlaneGuides | None, index: tuple[int, ...]) -> Guides:
    """What is given for one plane of a stack; `NONE` if that is nothing."""
    given = guides(index) if callable(guides) else guides
    return NONE if given is None else checked(given)


def checked(guides: object) -> Guides:
    """Say it if something else was given.

    Raises
    ------
    ImageError
        In one sentence.
    """
    if not isinstance(guides, Guides):
        raise ImageError(
            "guides must be a Guides object, such as Guides(hints=...), got "
            f"{type(guides).__name__}."
        )
    return guides


def _plane(name: str, array: Any) -> NDArray[Any]:
    if isinstance(array, str | os.PathLike):
        raise ImageError(f"The {name} must be an array (Y, X), got a path: read the file first.")
    array = np.asarray(array)
    if array.ndim != 2:
        raise ImageError(f"The {name} must have two axes, (Y, X), got {array.shape}.")
    return array
