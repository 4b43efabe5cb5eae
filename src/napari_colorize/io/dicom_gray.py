"""Grayscale of DICOM images: modality LUT, VOI LUT or window, and polarity (PS3.4 N.2.1).

The array holds values after the modality LUT (Hounsfield units, ...), and a linear window becomes
its contrast limits. What limits cannot express is applied to the values: lookup tables, sigmoid
windows, and windows that differ from frame to frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from napari_colorize.array_types import AnyArray, Limits
from napari_colorize.imaging.intensity_range import (
    FROM_DATA,
    REMEDY,
    IntensityRange,
    declared_range,
)

if TYPE_CHECKING:
    from pydicom import Dataset

MODALITY = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
VOI = ("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction")
# Of multi-frame images, in the functional groups of all frames and of each frame.
MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
ANGIOGRAMS = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2")  # XA, XRF
WHITE = 2**16 - 1
STEP = 1e-6
"""Relative width of a step; 8 times the precision of float32."""

WINDOW, WITHOUT_PADDING = "DICOM window", "minimum and maximum without padding"
OWN_WINDOWS = "The frames have different windows, which were applied to their values."


@dataclass(frozen=True)
class Gray:
    """Gray values of an image or stack, with low values as black.

    Parameters
    ----------
    array : ndarray
        Shape of the stored values.
    declared : IntensityRange, optional
        Values of black and white.
    notes : tuple of str
        What was changed.
    """

    array: AnyArray
    declared: IntensityRange | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Values:
    """Values after a step of the transformation.

    Parameters
    ----------
    array : ndarray
        The values.
    whole : tuple of float
        The range that they can have; of floats, the range that they have.
    window : tuple of float, optional
        Values of black and white, if the file has a window.
    is_whole : bool
        Whether all values are integers.
    """

    array: AnyArray
    whole: Limits
    window: Limits | None = None
    is_whole: bool = True


def to_gray(stored: AnyArray, dataset: Dataset) -> Gray:
    """Apply the transformations of a gray image.

    Parameters
    ----------
    stored : ndarray, shape (Y, X) or (frames, Y, X)
        Stored pixel values.
    dataset : Dataset
        Its attributes.
    """
    attributes = [
        _attributes(dataset, own)
        for own in dataset.get("PerFrameFunctionalGroupsSequence") or (None,)
    ]
    notes: tuple[str, ...] = ()
    if all(each == attributes[0] for each in attributes[1:]):
        values = _transform(stored, attributes[0], dataset)
    else:
        frames = stored.reshape(-1, *stored.shape[-2:])
        last = len(attributes) - 1
        parts = [
            _transform(frame, attributes[min(index, last)], dataset)
            for index, frame in enumerate(frames)
        ]
        if any(each.window != parts[0].window for each in parts):
            parts = [_apply_window(each) for each in parts]
            notes = (OWN_WINDOWS,)
        values = _joined(parts, stored.shape)
    padding = _padding(stored, dataset) if values.window is None else None
    limits = values.window or _range_of_data(values, padding)
    is_whole = limits == values.whole and values.is_whole
    array = values.array
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        total = sum(values.whole)
        array = total - (array.astype(np.int64) if values.is_whole else array)
        limits = (total - limits[1], total - limits[0])
    if padding is not None and (white := padding & (array > limits[0])).any():
        array = np.where(white, limits[0], array)  # padding is black in both polarities
    declared = declared_range(limits, WINDOW)
    if values.window is None:
        note = None if is_whole else f"{FROM_DATA.format(*limits)} {REMEDY}"
        declared = IntensityRange(limits, WITHOUT_PADDING, note, is_window=True)
    return Gray(_cast(array, _dtype(values)), declared, notes)


def _attributes(dataset: Dataset, own: Dataset | None) -> Dataset:
    """Attributes of the image, replaced by those of all frames and by its own of a frame."""
    from pydicom import Dataset

    found = Dataset()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for group in (dataset, *shared[:1], *([] if own is None else [own])):
        for source in (group, *(group[name][0] for name in MACROS if group.get(name))):
            for name in (*MODALITY, *VOI):
                if name in source and not source[name].is_empty:
                    found[name] = source[name]
    return found


def _transform(stored: AnyArray, attributes: Dataset, dataset: Dataset) -> _Values:
    return _apply_voi(_apply_modality(stored, attributes, dataset), attributes, dataset)


def _apply_modality(stored: AnyArray, attributes: Dataset, dataset: Dataset) -> _Values:
    # PS3.3 C.8.7.1.1.2: tables of angiograms restore the intensity of X-rays; displays ignore them.
    is_log = dataset.get("PixelIntensityRelationship") in ("LOG", "DISP")
    is_for_display = is_log and dataset.get("SOPClassUID") in ANGIOGRAMS
    table = _table(attributes, "ModalityLUTSequence")
    if table is not None and not is_for_display:
        return _look_up(stored, table, dataset)
    whole = _stored_range(stored, dataset)
    is_whole = stored.dtype.kind != "f"
    slope = _first(attributes.get("RescaleSlope")) or 1.0
    intercept = _first(attributes.get("RescaleIntercept")) or 0.0
    if (slope, intercept) == (1, 0):
        return _Values(stored, whole, is_whole=is_whole)
    low, high = sorted(slope * value + intercept for value in whole)
    is_whole = is_whole and slope.is_integer() and intercept.is_integer()
    return _Values(stored * np.float64(slope) + intercept, (low, high), is_whole=is_whole)


def _apply_voi(values: _Values, attributes: Dataset, dataset: Dataset) -> _Values:
    """Apply a table or a sigmoid window; a linear window becomes the window of the result."""
    if (table := _table(attributes, "VOILUTSequence")) is not None:
        result = _look_up(values.array, table, dataset)
        return replace(result, window=result.whole)
    center, width = (_first(attributes.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(attributes.get("VOILUTFunction") or "LINEAR").upper()
    if center is None or width is None or width <= 0:
        return values
    if function == "SIGMOID":  # PS3.3 C.11.2.1.3.1
        return _from_unit(expit(4 * (values.array - np.float64(center)) / width))
    if function == "LINEAR" and width >= 1:  # PS3.3 C.11.2.1.2.1; narrower ones must be exact
        center, width = center - 0.5, width - 1
    low, high = center - width / 2, center + width / 2
    if width == 0:  # a step
        high = low + STEP * max(1, abs(low))
    if values.is_whole and math.floor(low) + 1 == math.ceil(high):
        # The same for integers, and a result that is rounded to integers keeps black and white.
        low, high = float(math.floor(low)), float(math.ceil(high))
    return replace(values, window=(low, high))


def _apply_window(values: _Values) -> _Values:
    low, high = values.window or _range_of_data(values, None)
    return _from_unit(((values.array - np.float64(low)) / (high - low)).clip(0, 1))


def _from_unit(unit: AnyArray) -> _Values:
    """16-bit integers from values between 0 and 1."""
    return _Values(np.rint(unit * WHITE).astype(np.uint16), (0, WHITE), (0, WHITE))


def _table(attributes: Dataset, name: str) -> Dataset | None:
    """The first item of a sequence of lookup tables, if it is complete."""
    item = next(iter(attributes.get(name) or ()), None)
    complete = item is not None and item.get("LUTDescriptor") and item.get("LUTData") is not None
    return item if complete else None


def _look_up(values: AnyArray, item: Dataset, dataset: Dataset) -> _Values:
    """Values mapped by a table (PS3.3 C.11.1.1.1, C.11.2.1.1).

    pydicom's functions compute the index in the type of the table or of the values, which is too
    narrow for 12-bit values and a table of 8 bits.
    """
    _, first, bits = (int(value) for value in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        data = table_entries(data, int(item.LUTDescriptor[0]), dataset)
    table = np.array(data, np.uint16, ndmin=1)
    if first >= 2**15 and values.min() < 0:
        first -= 2**16  # stored as unsigned
    index = np.rint(values).astype(np.int64) - first
    bits = max(bits, int(table.max()).bit_length())
    return _Values(table[index.clip(0, len(table) - 1)], (0, 2**bits - 1))


def table_entries(data: bytes, count: int, dataset: Dataset) -> AnyArray:
    """Entries of a lookup table of `count` values (0: 65536) in bytes or words of the file."""
    count = count or 2**16
    order = "<" if dataset.original_encoding[1] in (True, None) else ">"
    return np.frombuffer(data, np.uint8 if len(data) <= count + 1 else f"{order}u2")[:count]


def _joined(frames: list[_Values], shape: tuple[int, ...]) -> _Values:
    lows, highs = zip(*(each.whole for each in frames), strict=True)
    return _Values(
        np.stack([each.array for each in frames]).reshape(shape),
        (min(lows), max(highs)),
        frames[0].window,
        all(each.is_whole for each in frames),
    )


def _stored_range(stored: AnyArray, dataset: Dataset) -> Limits:
    """Smallest and largest value that the stored bits can represent."""
    if stored.dtype.kind == "f":
        finite = stored[np.isfinite(stored)]
        return (finite.min().item(), finite.max().item()) if finite.size else (0, 1)
    bits = int(dataset.BitsStored)
    if dataset.PixelRepresentation:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _padding(stored: AnyArray, dataset: Dataset) -> AnyArray | None:
    """Where pixels only fill the rectangle (PS3.3 C.7.5.1.1.2), or None if there are none."""
    for prefix in ("", "Float", "DoubleFloat"):
        value = dataset.get(f"{prefix}PixelPaddingValue")
        if not isinstance(value, (int, float)):
            continue
        # An unsigned value in the file stands for a negative one in signed data.
        limit = dataset.get(f"{prefix}PixelPaddingRangeLimit")
        ends = np.array([value, value if limit is None else limit])
        low, high = np.sort(ends.astype(stored.dtype))
        padding: AnyArray = (stored >= low) & (stored <= high)
        return padding if padding.any() else None
    return None


def _range_of_data(values: _Values, padding: AnyArray | None) -> Limits:
    """Smallest and largest value without padding; the whole range if all values are equal."""
    inside = values.array if padding is None else values.array[~padding]
    if inside.dtype.kind == "f":
        inside = inside[np.isfinite(inside)]
    if not inside.size or inside.min() == inside.max():
        low, high = values.whole
        return (low, high) if low < high else (low, low + 1)
    return inside.min().item(), inside.max().item()


def _dtype(values: _Values) -> np.dtype[Any]:
    """The smallest type for all values that can occur, the same for every file of a series."""
    if not values.is_whole:
        return np.dtype(np.float32)
    low, high = values.whole
    kinds = (np.uint8, np.uint16, np.int16, np.int32, np.int64)
    fitting = (kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return np.dtype(next(fitting, np.float64))


def _cast(values: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """Values converted to `dtype`; values outside the declared range are clipped."""
    if dtype.kind == "f" or values.dtype == dtype:
        return values.astype(dtype, copy=False)
    ends = np.iinfo(dtype)
    cast: AnyArray = np.clip(values, ends.min, ends.max).astype(dtype)
    return cast


def _first(value: Any) -> float | None:
    """The first of one or several numbers."""
    if value is None or value == "":
        return None
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
