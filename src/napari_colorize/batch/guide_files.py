"""Guides from image files: a mask, hints on a transparent background, a reference image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError
from napari_colorize.io.image_record import ImageRecord
from napari_colorize.io.images import read_image
from napari_colorize.refine.guides import Guides


def read_guides(hints: str | None, mask: str | None, reference: str | None) -> Guides | None:
    """Guides from files of any supported format; None if no file is given.

    Parameters
    ----------
    hints : str, optional
        Image with transparency and the size of the images to colorize; opaque pixels are hints.
    mask : str, optional
        Image of the same size; pixels that are not black are colorized.
    reference : str, optional
        Color image of any size.

    Raises
    ------
    ImageError
        If a file cannot be read, or is not a single image of that kind.
    """
    if hints is None and mask is None and reference is None:
        return None
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.palette_transfer import Reference

    guides: dict[str, object] = {}
    if hints is not None:
        record = _read_single(hints)
        if not record.rgb or record.array.shape[-1] != 4:
            raise ImageError(
                f"{hints} has no transparency: paint hints on a transparent layer of the image's "
                "size, and save it as PNG."
            )
        painted = guides["hints"] = Hints.from_rgba(record.array)
        if not painted.mask.any():
            raise ImageError(
                f"{hints} has no pixel with an opacity of at least one half: paint hints with a "
                "hard brush at full opacity."
            )
    if mask is not None:
        record = _read_single(mask)
        inside = guides["mask"] = _as_mask(record)
        if not inside.any():
            raise ImageError(
                f"{mask} is dark everywhere, so nothing would be colorized: paint the regions to "
                "colorize white."
            )
    if reference is not None:
        record = _read_single(reference)
        if not record.rgb:
            raise ImageError(f"{reference} is gray: a reference must be a color image.")
        guides["reference"] = Reference(record.array)
    return Guides(**guides)  # type: ignore[arg-type]


def guides_identity(guides: Guides | None) -> str | None:
    """SHA-256 over all arrays of the guides, to detect changes before a run is resumed."""
    if not guides:
        return None
    digest = sha256()
    for name, array in _arrays("guides", guides):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _arrays(name: str, value: Any) -> Iterator[tuple[str, AnyArray]]:
    """The arrays in a dataclass and its nested dataclasses, with their names."""
    if isinstance(value, np.ndarray):
        yield name, value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _arrays(f"{name}.{field.name}", getattr(value, field.name))


def _as_mask(record: ImageRecord) -> NDArray[np.bool_]:
    """Bright pixels of an image; nonzero pixels of a label image."""
    array = record.array[..., :3].max(axis=-1) if record.rgb else record.array
    white = np.iinfo(array.dtype).max if array.dtype in (np.uint8, np.uint16) else 1.0
    # Lossy formats create dark grays along edges, so an image is thresholded at half of white. If
    # no pixel is bright, the values are labels.
    is_image = array.dtype.kind in "uf" and array.max() > white / 2
    return np.asarray(array > white / 2 if is_image else array != 0)


def _read_single(path: str) -> ImageRecord:
    record = read_image(path)
    if record.is_stack:
        raise ImageError(f"{path} is a stack: give a single image.")
    return record
