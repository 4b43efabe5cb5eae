"""npe2 writer of colorized images: PNG, JPEG and TIFF with their provenance record.

The record in a file also has the placement of the layer (scale, units, ...) and its source;
`image_reader` restores them. napari's own writer is used for all other layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.napari import layers
from napari_colorize.napari.image_reader import PLACE, PLACEMENT, SOURCE
from napari_colorize.napari.writer import check_complete, output_errors

if TYPE_CHECKING:
    from napari_colorize.array_types import AnyArray
    from napari_colorize.io.image_record import Metadata

TIFF_SUFFIXES, JPEG_SUFFIXES = (".tif", ".tiff"), (".jpg", ".jpeg")
LARGEST_JPEG_RESOLUTION = 65535 / 2.54  # pixels per cm; JPEG has 16 bits for pixels per inch
MICROMETERS_PER_CM = 1e4


def write_colorized(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write an image layer; colors of this plugin with their record, placement and source.

    TIFF keeps the dtype. PNG stores 16 bits of everything but uint8, JPEG 8 bits; the contrast
    limits become black and white there.

    Parameters
    ----------
    path : str
        Target; the suffix determines the format.
    data : array, shape (..., Y, X, 3 or 4), or a list of such
        Pixels of the layer.
    attributes : mapping
        Attributes of the layer from napari: `rgb`, `contrast_limits`, `metadata`, `scale`, ...

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    OutputError
        If not all planes are colorized, or the format cannot store the image.
    """
    if layers.METADATA not in attributes.get("metadata", {}) or not attributes.get("rgb"):
        from napari_builtins.io import napari_write_image

        written = napari_write_image(path, data, dict(attributes))
        return [written] if written else []
    from napari_colorize.io.images import Metadata, write_image

    pixels = data[0] if attributes.get("multiscale") else data
    with output_errors():
        check_complete(pixels)
        values = np.asarray(pixels)
        suffix = Path(path).suffix.lower()
        if suffix not in TIFF_SUFFIXES:
            values = _as_integers(values, attributes["contrast_limits"], suffix != ".png")
        record = _record(attributes, keeps_values=suffix in TIFF_SUFFIXES)
        metadata = _metadata(attributes)
        known = metadata.resolution
        if known and max(known.x, known.y) > LARGEST_JPEG_RESOLUTION and suffix in JPEG_SUFFIXES:
            metadata = Metadata()  # the record has the scale
        write_image(path, values, metadata, record, overwrite=True)
    return [path]


def _as_integers(values: AnyArray, limits: tuple[float, float], is_8bit: bool) -> AnyArray:
    """Values from black to white as uint8 or uint16, as far as the format can store them."""
    from napari_colorize.io.images import fill_range

    if values.dtype.kind == "f":
        values = np.rint(np.nan_to_num(values).clip(0, 1) * 65535).astype(np.uint16)
    elif values.dtype != np.uint8 or tuple(limits) != (0, 255):
        values = fill_range(values, limits)
    if is_8bit and values.dtype == np.uint16:
        values = np.rint(values / 257).astype(np.uint8)
    return values


def _record(attributes: Mapping[str, Any], *, keeps_values: bool) -> dict[str, Any]:
    """Provenance of a layer with its placement and source; empty if provenance is off."""
    metadata = attributes["metadata"]
    record = dict(metadata[layers.METADATA])
    if not record:
        return {}
    place = {name: _plain(attributes[name]) for name in PLACEMENT if name in attributes}
    if keeps_values:
        place["contrast_limits"] = _plain(attributes["contrast_limits"])
    source = metadata.get(layers.SOURCE, {})
    saved = datetime.now(UTC).isoformat(timespec="seconds")
    return {**record, SOURCE: source, "saved": saved, PLACE: place}


def _plain(value: Any) -> Any:
    """The value with numbers and texts that JSON supports."""
    if hasattr(value, "affine_matrix"):
        value = value.affine_matrix
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value if isinstance(value, (int, float, str)) else str(value)


def _metadata(attributes: Mapping[str, Any]) -> Metadata:
    """Pixel size for other programs, if the units of the layer are lengths."""
    import pint

    from napari_colorize.io.images import Metadata, Resolution

    registry = pint.get_application_registry()
    sizes = []
    units = tuple(attributes.get("units") or ())[-2:]
    for unit, step in zip(units, np.asarray(attributes["scale"])[-2:], strict=False):
        try:
            sizes.append(
                float(registry.Quantity(abs(float(step)), unit).to("micrometer").magnitude)
            )
        except pint.PintError:
            return Metadata()
    if len(sizes) != 2 or 0 in sizes:
        return Metadata()
    height, width = sizes
    return Metadata(
        resolution=Resolution(MICROMETERS_PER_CM / width, MICROMETERS_PER_CM / height, "cm"),
        spacing={
            "PhysicalSizeX": width,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": height,
            "PhysicalSizeYUnit": "µm",
        },
    )
