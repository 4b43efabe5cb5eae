"""Guides from picture files: a mask, scribbles on transparent ground, a reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_colorize.errors import ImageError
from napari_colorize.io.image_record import ImageRecord
from napari_colorize.io.images import read_image
from napari_colorize.refine.guides import Guides


def read_guides(hints: str | None, mask: str | None, reference: str | None) -> Guides | None:
    """Guides from files of any known format; None if there are none.

    Parameters
    ----------
    hints : str, optional
        A picture with transparency, of the size of those to colorize: what is opaque are scribbles.
    mask : str, optional
        A picture of that size: colours go where it is not black.
    reference : str, optional
        A picture in colour, of any size.

    Raises
    ------
    ImageError
        If a file cannot be read, or is no single picture of that kind.
    """
    if hints is None and mask is None and reference is None:
        return None
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.palette_transfer import Reference

    guides: dict[str, object] = {}
    if hints is not None:
        picture = _single(hints)
        if not picture.rgb or picture.array.shape[-1] != 4:
            raise ImageError(
                f"{hints} has no transparency: hints are painted on a transparent layer of the "
                "picture's size, and saved as PNG."
            )
        painted = guides["hints"] = Hints.from_rgba(picture.array)
        if not painted.mask.any():
            raise ImageError(
                f"{hints} has no pixel that is at least half opaque: paint hints with a hard brush "
                "at full opacity."
            )
    if mask is not None:
        picture = _single(mask)
        inside = guides["mask"] = _as_mask(picture)
        if not inside.any():
            raise ImageError(
                f"{mask} is dark everywhere, so nothing would be colorized: paint white where "
                "colours should go."
            )
    if reference is not None:
        picture = _single(reference)
        if not picture.rgb:
            raise ImageError(f"{reference} is gray: a reference is a picture in colour.")
        guides["reference"] = Reference(picture.array)
    return Guides(**guides)  # type: ignore[arg-type]


def _as_mask(picture: ImageRecord) -> NDArray[np.bool_]:
    """Where it is bright; of labels where they are not 0."""
    array = picture.array[..., :3].max(axis=-1) if picture.rgb else picture.array
    white = np.iinfo(array.dtype).max if array.dtype in (np.uint8, np.uint16) else 1.0
    # Lossy formats put faint grays along edges; where nothing is bright, numbers are labels.
    is_picture = array.dtype.kind in "uf" and array.max() > white / 2
    return np.asarray(array > white / 2 if is_picture else array != 0)


def identity_of(*paths: str | None) -> list[str | None]:
    """What tells files of guides from others of the same name: their sums."""
    from napari_colorize.zoo.files import sha256_of

    return [None if path is None else sha256_of(Path(path)) for path in paths]


def _single(path: str) -> ImageRecord:
    picture = read_image(path)
    if picture.is_stack:
        raise ImageError(f"{path} is a stack: a single picture is wanted.")
    return picture
