"""npe2 reader of colorized images, and recognition of those that other readers opened.

The provenance record in a file also has the placement of the layer (scale, units, ...) and its
source (see `image_writer`), so that an opened file is placed as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_colorize.errors import ColorizeError
from napari_colorize.napari import layers

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.types import LayerData


SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
PLACE = "layer"  # key of the record with the attributes of the layer
SOURCE = "source"  # key of the record with name, path and plane of the source
PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def get_colorized_reader(path: str | Sequence[str]) -> Any:
    """Return `read_colorized` for one file with a provenance record, else None.

    The argument must be called `path`: npe2 passes it by name.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return read_colorized if len(paths) == 1 and record_of(paths[0]) else None


def read_colorized(path: str | Sequence[str]) -> list[LayerData]:
    """Read a colorized image with its record and placement."""
    from napari_colorize.io.images import read_image

    file = path if isinstance(path, str) else path[0]
    image, record = read_image(file), record_of(file) or {}
    attributes = {
        "name": Path(file).stem,
        "rgb": image.rgb,
        **_placement(record, image.array.ndim - image.rgb),
        "metadata": _layer_metadata(record),
    }
    return [(image.array, attributes, "image")]


def restore(layer: Layer) -> None:
    """Give a layer that another reader opened the record and the placement of its file, if any."""
    path = layer.source.path
    if path is None or layers.METADATA in layer.metadata or not getattr(layer, "rgb", False):
        return
    record = record_of(path)
    if record is None:
        return
    layer.metadata = {**layer.metadata, **_layer_metadata(record)}
    for name, value in _placement(record, layer.ndim).items():
        setattr(layer, name, value)


def record_of(path: str) -> dict[str, Any] | None:
    """Provenance record in a file; None if there is none, or the file cannot be read."""
    from napari_colorize.io.images import read_provenance

    if Path(path).suffix.lower() not in SUFFIXES or not Path(path).is_file():
        return None
    with suppress(ColorizeError, OSError):
        return read_provenance(path)
    return None


def _placement(record: Mapping[str, Any], ndim: int) -> dict[str, Any]:
    """Attributes of a layer from a record; empty if they are of another number of axes."""
    place = dict(record.get(PLACE) or {})
    if len(place.get("scale", ())) != ndim:
        return {}
    return {name: value for name, value in place.items() if name in (*PLACEMENT, "contrast_limits")}


def _layer_metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in record.items() if name not in (PLACE, SOURCE)}
    return {layers.METADATA: own, layers.SOURCE: record.get(SOURCE, {}), layers.KEPT: True}
