"""DICOM reader: pixel values as a viewer displays them, without patient data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError
from napari_colorize.io.image_record import ImageRecord, Metadata, Resolution
from napari_colorize.io.limits import refuse_huge, with_owned_memory

if TYPE_CHECKING:
    from pydicom import Dataset

_MAGIC_AT, _MAGIC = 128, b"DICM"
START = _MAGIC_AT + len(_MAGIC)
"""Number of leading bytes needed to recognize a DICOM file."""
_MM_PER_CM = 10


def is_dicom(start: bytes) -> bool:
    """Whether a file with these first bytes is DICOM."""
    return start[_MAGIC_AT:START] == _MAGIC


def read(path: Path, *, max_pixels: int) -> ImageRecord:
    """Read an image or a multi-frame stack.

    Stored values are converted with rescale slope and intercept. The contrast limits are the first
    window, or the range that the stored bits allow. MONOCHROME1 images, where low values are white,
    are inverted. Pixel spacing is the only metadata that is kept.
    """
    dataset = _open(path)
    frames = int(dataset.get("NumberOfFrames") or 1)
    shape = (int(dataset.Rows), int(dataset.Columns))
    refuse_huge(path, *shape, max_pixels=max_pixels)
    stored = _decode(path, dataset)
    rgb = stored.shape[-1] in (3, 4) and int(dataset.get("SamplesPerPixel", 1)) > 1
    is_stack = frames > 1
    metadata = Metadata(resolution=_resolution(dataset), axes=_axis(dataset) if is_stack else "")
    if is_stack and stored.ndim == 2 + rgb:
        stored = stored[np.newaxis]
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored, rgb = _apply_palette(stored, dataset), True
    if rgb:
        return ImageRecord(
            array=with_owned_memory(stored), is_stack=is_stack, rgb=True, metadata=metadata
        )
    array, limits, notes = _to_gray(stored, dataset)
    return ImageRecord(
        array=with_owned_memory(array),
        is_stack=is_stack,
        rgb=False,
        contrast_limits=limits,
        metadata=metadata,
        notes=notes,
    )


def _open(path: Path) -> Dataset:
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError:
        raise ImageError(
            f'{path.name} is a DICOM file. To read it: pip install "napari-colorize[dicom]".'
        ) from None
    try:
        dataset = pydicom.dcmread(path, force=True)
    except InvalidDicomError as error:
        raise ImageError(f"{path.name} is not a DICOM file: {error}") from error
    if "PixelData" not in dataset or "Rows" not in dataset or "Columns" not in dataset:
        raise ImageError(
            f"{path.name} contains no image: it is no DICOM file or a DICOM file without pixels."
        )
    return dataset


def _decode(path: Path, dataset: Dataset) -> AnyArray:
    """The stored values; color images as RGB."""
    try:
        stored: AnyArray = dataset.pixel_array
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        syntax = dataset.file_meta.get("TransferSyntaxUID") if dataset.file_meta else None
        if syntax is None or not syntax.is_compressed:
            raise
        raise ImageError(
            f"{path.name} is compressed as {syntax.name}, for which no decoder is installed. Try "
            "pip install pylibjpeg pylibjpeg-openjpeg pylibjpeg-libjpeg, or store it uncompressed."
        ) from error
    return stored


def _apply_palette(stored: AnyArray, dataset: Dataset) -> AnyArray:
    from pydicom.pixels.processing import apply_color_lut

    colors: AnyArray = apply_color_lut(stored, dataset)
    return colors


def _to_gray(
    stored: AnyArray, dataset: Dataset
) -> tuple[AnyArray, tuple[float, float], tuple[str, ...]]:
    """Rescaled values with low as black, their contrast limits, and notes."""
    slope, intercept = _rescale(dataset)
    lowest, highest = sorted(slope * value + intercept for value in _stored_range(dataset))
    low, high, notes = _window(dataset, (lowest, highest))
    values = stored if (slope, intercept) == (1, 0) else stored * np.float64(slope) + intercept
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        total = lowest + highest
        values = total - values
        low, high = total - high, total - low
    is_whole = slope.is_integer() and intercept.is_integer()
    dtype = _smallest_integer_type(lowest, highest) if is_whole else np.dtype(np.float32)
    return _cast(values, dtype), (low, high), notes


def _rescale(dataset: Dataset) -> tuple[float, float]:
    slope = _first(dataset.get("RescaleSlope"))
    return slope or 1.0, _first(dataset.get("RescaleIntercept")) or 0.0


def _smallest_integer_type(low: float, high: float) -> np.dtype[Any]:
    """The smallest integer type for all values that can occur, the same for every file."""
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


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    """The smallest and largest value that the stored bits can represent."""
    bits = int(dataset.get("BitsStored", dataset.get("BitsAllocated", 16)))
    if dataset.get("PixelRepresentation", 0):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _window(dataset: Dataset, whole: tuple[float, float]) -> tuple[float, float, tuple[str, ...]]:
    """Values of black and white: the first window, else the whole range."""
    center, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 0:
        return *whole, ()
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if function == "LINEAR" and width > 1:
        # DICOM PS3.3 C.11.2.1.2.1: the center is shifted by half a step, the width is one less.
        center, width = center - 0.5, width - 1
    notes = () if function != "SIGMOID" else ("The sigmoid window was applied as a linear one.",)
    return center - width / 2, center + width / 2, notes


def _first(value: Any) -> float | None:
    """The first of one or several numbers."""
    if value is None or (hasattr(value, "__len__") and not len(value)):
        return None
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def _axis(dataset: Dataset) -> str:
    """Letter of the frame axis: T for a video, Z for a volume."""
    in_time = any(name in dataset for name in ("FrameTime", "FrameTimeVector", "CineRate"))
    return "T" if in_time else "Z"


def _resolution(dataset: Dataset) -> Resolution | None:
    """Pixels per centimeter; the spacing in the file is in millimeters, row distance first."""
    spacing = dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing")
    if not spacing or len(spacing) != 2 or not all(float(value) > 0 for value in spacing):
        return None
    y, x = (float(value) for value in spacing)
    return Resolution(_MM_PER_CM / x, _MM_PER_CM / y, "cm")
