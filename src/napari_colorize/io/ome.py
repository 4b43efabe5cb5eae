"""OME-XML: physical sizes and descriptions are read, a document for RGB pages is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_colorize.io.image_record import Resolution

_SIZES = ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "TimeIncrement")
_UNITS = tuple(f"{name}Unit" for name in _SIZES)
_MICRON = "\N{MICRO SIGN}m"
# The unit in ImageJ is free text; these are common spellings of micrometer.
_MICRON_SPELLINGS = frozenset(
    {"um", "micron", "microns", "\\u00b5m", _MICRON, "\N{GREEK SMALL LETTER MU}m"}
)


def document(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    spacing: Mapping[str, float | str],
    description: str,
) -> str:
    """OME-XML for a stack `(..., Y, X, 3|4)` of interleaved pages."""
    from tifffile import OmeXml

    xml = OmeXml()
    pages = int(np.prod(shape[:-3], dtype=np.int64))
    extra = {"Description": description} if description else {}
    xml.addimage(
        dtype,
        shape,
        (pages, 1, 1, shape[-3], shape[-2], shape[-1]),
        axes=_valid_axes(axes, len(shape) - 3) + "YXS",
        **spacing,
        **extra,
    )
    return xml.tostring(declaration=True)


def description_of(xml: str) -> str:
    """Description of the first image."""
    image = _first(xml, "Image")
    found = None if image is None else image.find("{*}Description")
    return "" if found is None else (found.text or "").strip()


def spacing_of(xml: str) -> dict[str, float | str]:
    """Physical sizes of the first image's pixels."""
    pixels = _first(xml, "Pixels")
    return {} if pixels is None else spacing_in(pixels.attrib)


def planes_of(xml: str) -> int:
    """Number of planes that the largest image declares, at least 0."""
    try:
        found = ElementTree.fromstring(xml.encode()).findall(".//{*}Pixels")
        sizes = [[int(each.get(f"Size{axis}", 1)) for axis in "CZT"] for each in found]
    except (ElementTree.ParseError, ValueError):
        return 0
    return max((math.prod(each) for each in sizes), default=0)


def significant_bits(xml: str) -> int | None:
    """Number of significant bits of the first image's pixels, if it is declared."""
    pixels = _first(xml, "Pixels")
    bits = "" if pixels is None else pixels.get("SignificantBits", "")
    return int(bits) if bits.isdecimal() and 0 < int(bits) <= 64 else None


def spacing_in(known: Mapping[str, Any]) -> dict[str, float | str]:
    """Physical sizes among other attributes, as numbers, with their units."""
    found: dict[str, float | str] = {}
    for name in _SIZES:
        try:
            found[name] = float(known[name])
        except (KeyError, TypeError, ValueError):
            continue
    return found | {unit: str(known[unit]) for unit in _UNITS if unit in known}


def spacing_of_imagej(
    known: Mapping[str, Any], resolution: Resolution | None
) -> dict[str, float | str]:
    """Physical sizes from ImageJ's header, whose unit also applies to the resolution tags."""
    unit = str(known.get("unit", ""))
    if not unit or unit in ("pixel", "inch"):
        return {}
    unit = _MICRON if unit.lower() in _MICRON_SPELLINGS else unit
    sizes: dict[str, Any] = {"TimeIncrement": known.get("finterval")}
    if resolution:
        sizes |= {"PhysicalSizeX": 1 / resolution.x, "PhysicalSizeY": 1 / resolution.y}
    sizes["PhysicalSizeZ"] = known.get("spacing")
    found = spacing_in(sizes)
    return found | {f"{name}Unit": unit for name in _SIZES[:3] if name in found}


def _valid_axes(axes: str, count: int) -> str:
    """Axis letters that OME accepts, each used once; other letters are replaced by free ones."""
    letters = ""
    for axis in axes or "Q" * count:
        free = [letter for letter in "TZC" if letter not in letters + axes]
        letters += axis if axis in "TZC" and axis not in letters else free[0] if free else axis
    return letters


def _first(xml: str, element: str) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(xml.encode()).find(f".//{{*}}{element}")
    except ElementTree.ParseError:
        return None
