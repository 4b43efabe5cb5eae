"""Intensity range of an image: which values are mapped to black and white, and why.

Every interface, training and evaluation find the range here, in this order:

1. What was asked for: two numbers, or one of the words "dtype", "data" and "percentile".
2. What the file or the layer declares (`declared_range`): a DICOM window, ImageJ's display range,
   OME SignificantBits, the contrast limits of a napari layer.
3. bool and uint8: the range of the dtype. Wider unsigned integers, and signed ones without negative
   values: 0 to the largest value of the smallest number of `BITS` that holds the maximum. Signed
   integers with negative values: minimum and maximum. Floats: 0 to 1 if all values are inside,
   otherwise minimum and maximum.

A stack has one range, found from all of its planes: `summarize` reduces a plane to what the rule
needs, and `merge` joins the summaries, so that planes are read one at a time. Imports no torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray, Limits
from napari_colorize.settings import ContrastLimits, RangeRule

BITS = tuple(range(8, 65, 2))
"""Numbers of significant bits that integers can have."""
PERCENTILES = (0.1, 99.9)
SAMPLE = 2**22
"""Largest number of values from which percentiles are computed; more are sampled evenly."""

CHOSEN = "chosen"  # source of limits that were given as numbers
FROM_DATA = "Contrast limits were taken from the data: {:.10g} and {:.10g}."
FROM_PERCENTILES = (
    "Contrast limits are the percentiles 0.1 and 99.9 of the data: {:.10g} and {:.10g}."
)
FROM_BITS = "Contrast limits are 0 and {}: the values have {} significant bits."
DECLARED = "Contrast limits are {:.10g} and {:.10g}: {}."
STRETCHED = "the file is stretched to the full range of its type"
REMEDY = 'Other limits: contrast_limits="dtype", "data", "percentile" or (low, high).'


@dataclass(frozen=True)
class IntensityRange:
    """Values that are mapped to black and white, and where they come from.

    Parameters
    ----------
    limits : tuple of float
        Values of black and white; equal for data of one value.
    source : str
        Where they come from, for the provenance: "DICOM window", "12 significant bits", ...
    note : str, optional
        Sentence for the user; None if they are the range of the dtype or were given as numbers.
    is_window : bool
        Whether somebody chose the limits for display. Files with the result then fill the range of
        their dtype; otherwise values keep the scale of the input.
    """

    limits: Limits
    source: str
    note: str | None = None
    is_window: bool = False

    @property
    def record(self) -> dict[str, object]:
        """Limits and source, for the provenance record."""
        return {"limits": list(self.limits), "source": self.source}

    @property
    def stretched_note(self) -> str:
        """The note for a result whose file does not keep the scale of the input."""
        if self.note is None:
            return DECLARED.format(*self.limits, STRETCHED)
        return f"{self.note.removesuffix(REMEDY).rstrip()} {STRETCHED.capitalize()}. {REMEDY}"


@dataclass(frozen=True)
class Summary:
    """What is needed of image data to find their range.

    Parameters
    ----------
    low, high : float
        Smallest and largest finite value as Python numbers, exact for any integer.
    samples : tuple of ndarray
        Finite values for the percentiles; empty if they are not needed.
    """

    low: float
    high: float
    samples: tuple[AnyArray, ...] = ()


def declared_range(limits: Limits, source: str, *, is_window: bool = True) -> IntensityRange | None:
    """Range that a file or layer declares; None if the limits are not finite and increasing.

    Parameters
    ----------
    limits : tuple of float
        Values of black and white.
    source : str
        Name of the declaration, as in "DICOM window".
    is_window : bool
        See `IntensityRange`.
    """
    low, high = limits
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return None
    note = f"{DECLARED.format(low, high, source)} {REMEDY}"
    return IntensityRange((low, high), source, note, is_window)


def joined_range(ranges: Sequence[IntensityRange]) -> IntensityRange:
    """Range that includes those of all images of a sequence, found from their data."""
    limits = min(each.limits[0] for each in ranges), max(each.limits[1] for each in ranges)
    return replace(ranges[0], limits=limits, note=f"{FROM_DATA.format(*limits)} {REMEDY}")


def find_range(
    dtype: np.dtype[Any],
    summary: Callable[[RangeRule], Summary | None],
    asked: ContrastLimits = None,
    declared: IntensityRange | None = None,
) -> IntensityRange:
    """Find the intensity range of an image or a stack.

    Parameters
    ----------
    dtype : np.dtype
        Type of the values.
    summary : callable
        Returns the summary of all values for a rule; None if no value is finite. Called only if the
        range depends on the data.
    asked : tuple of float, {"auto", "dtype", "data", "percentile"} or None
        The setting `contrast_limits`. None means "auto".
    declared : IntensityRange, optional
        Range that the file or the layer declares.
    """
    known = known_range(dtype, asked, declared)
    if isinstance(known, IntensityRange):
        return known
    return range_of_data(dtype, known, summary(known))


def known_range(
    dtype: np.dtype[Any], asked: ContrastLimits = None, declared: IntensityRange | None = None
) -> IntensityRange | RangeRule:
    """The range if it does not depend on the data, otherwise the rule that is applied to them."""
    by_dtype = IntensityRange(dtype_limits(dtype), f"range of {dtype.name}")
    if isinstance(asked, tuple):
        return IntensityRange(asked, CHOSEN, is_window=asked != by_dtype.limits)
    rule = asked or "auto"
    if rule == "auto" and declared is not None:
        is_whole = declared.limits == by_dtype.limits
        return replace(declared, note=None, is_window=False) if is_whole else declared
    if rule == "dtype" or dtype.kind == "b" or (rule == "auto" and dtype == np.uint8):
        return by_dtype
    return rule


def range_of_data(dtype: np.dtype[Any], rule: RangeRule, summary: Summary | None) -> IntensityRange:
    """Apply a rule of `known_range` to the summary of all values."""
    if summary is None:  # no finite value
        return IntensityRange(dtype_limits(dtype), f"range of {dtype.name}")
    is_window = rule != "auto"  # the user has chosen it
    low, high = summary.low, summary.high
    if rule == "percentile":
        inner = _percentiles(dtype, summary)
        if inner[0] < inner[1]:
            note = f"{FROM_PERCENTILES.format(*inner)} {REMEDY}"
            return IntensityRange(inner, "percentiles 0.1 and 99.9", note, is_window)
    elif rule == "auto" and dtype.kind == "f" and low >= 0 and high <= 1:
        return IntensityRange((0, 1), f"range of {dtype.name}")
    elif rule == "auto" and dtype.kind in "iu" and low >= 0:
        return _range_of_bits(dtype, int(high))
    if (low, high) == dtype_limits(dtype):
        return IntensityRange((low, high), f"range of {dtype.name}")
    note = f"{FROM_DATA.format(low, high)} {REMEDY}"
    return IntensityRange((low, high), "minimum and maximum", note, is_window)


def range_of_images(
    images: Iterable[AnyArray],
    number: int,
    asked: ContrastLimits = None,
    declared: IntensityRange | None = None,
) -> IntensityRange:
    """Find the range that the images of a stack or a sequence share.

    Parameters
    ----------
    images : iterable of ndarray
        The images without alpha. Only as many are read as the range depends on, at least one.
    number : int
        Number of images, which sets the density of samples for percentiles.
    asked, declared
        See `find_range`.
    """
    iterator = iter(images)
    first = next(iterator)

    def summary(rule: RangeRule) -> Summary | None:
        found: Summary | None = None
        for image in itertools.chain([first], iterator):
            found = merge((found, summarize(image, rule, number * first.size)))
            if is_decided(first.dtype, rule, found):
                break
        return found

    return find_range(first.dtype, summary, asked, declared)


def image_range(
    image: AnyArray, asked: ContrastLimits = None, declared: IntensityRange | None = None
) -> IntensityRange:
    """Find the range of one image without alpha; see `find_range`."""
    return range_of_images([image], 1, asked, declared)


def dtype_limits(dtype: np.dtype[Any]) -> Limits:
    """All values of an integer type; 0 and 1 for bool and floats."""
    if dtype.kind not in "iu":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def summarize(values: AnyArray, rule: RangeRule, count: int) -> Summary | None:
    """Summary of one image for a rule; None if no value is finite.

    Parameters
    ----------
    values : ndarray
        The image without alpha, of a real dtype in native byte order.
    rule : {"auto", "data", "percentile"}
        See `known_range`.
    count : int
        Number of values of the whole stack, which sets the density of samples.
    """
    samples: tuple[AnyArray, ...] = ()
    if rule == "percentile":
        sample = values.reshape(-1)[:: math.ceil(count / SAMPLE)]
        # A copy, so that the samples do not keep whole planes in memory.
        samples = (np.array(sample[np.isfinite(sample)]),)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        values = values[np.isfinite(values)]
        if values.size == 0:
            return None
    return Summary(values.min().item(), values.max().item(), samples)


def merge(summaries: Iterable[Summary | None]) -> Summary | None:
    """Join the summaries of the parts of an image or a stack."""
    found = [each for each in summaries if each is not None]
    if not found:
        return None
    return Summary(
        min(each.low for each in found),
        max(each.high for each in found),
        tuple(sample for each in found for sample in each.samples),
    )


def is_decided(dtype: np.dtype[Any], rule: RangeRule, summary: Summary | None) -> bool:
    """Whether the data that were not read yet cannot change the range."""
    if rule != "auto" or dtype.kind != "u" or summary is None:
        return False
    return int(summary.high) > _largest_below(dtype)


def _range_of_bits(dtype: np.dtype[Any], largest: int) -> IntensityRange:
    bits = next(bits for bits in BITS if largest < 2**bits)
    high = min(2**bits - 1, int(np.iinfo(dtype).max))
    if (0, high) == dtype_limits(dtype):
        return IntensityRange((0, high), f"range of {dtype.name}")
    note = f"{FROM_BITS.format(high, bits)} {REMEDY}"
    return IntensityRange((0, high), f"{bits} significant bits", note)


def _largest_below(dtype: np.dtype[Any]) -> int:
    """Largest value with fewer significant bits than the dtype."""
    return max((2**bits - 1 for bits in BITS if bits < 8 * dtype.itemsize), default=-1)


def _percentiles(dtype: np.dtype[Any], summary: Summary) -> Limits:
    values = np.concatenate([sample.astype(np.float64) for sample in summary.samples])
    if not values.size:
        return summary.low, summary.low
    low, high = (value.item() for value in np.percentile(values, PERCENTILES))
    return (round(low), round(high)) if dtype.kind in "iu" else (low, high)
