"""DICOM: pixels as a radiologist's screen would mean them, and nothing about the patient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.errors import ImageError
from napari_colorize.io.image_record import ImageRecord, Metadata, Resolution
from napari_colorize.io.limits import refuse_huge, with_owned_memory

if TYPE_CHECKING:
    from pydicom import Dataset

_MAGIC_AT, _MAGIC = 128, b"DICM"
START = _MAGIC_AT + len(_MAGIC)
"""So many bytes of a file tell whether it is DICOM."""
_MM_PER_CM = 10


def is_dicom(start: bytes) -> bool:
    """Whether a file that starts like this is DICOM."""
    return start[_MAGIC_AT:START] == _MAGIC


def read(path: Path, *, max_pixels: int) -> ImageRecord:
    """Read an image or a multi-frame stack.

    Stored values become values of the modality (rescale slope and intercept); the first window
    becomes the contrast limits, or else the range that the stored bits allow. MONOCHROME1, where
    low is white, is turned around. Of the data set only the pixel spacing travels on.
    """
    dataset = _opened(path)
    frames = int(dataset.get("NumberOfFrames") or 1)
    shape = (int(dataset.Rows), int(dataset.Columns))
    refuse_huge(path, *shape, max_pixels=max_pixels)
    stored = _decoded(path, dataset)
    rgb = stored.shape[-1] in (3, 4) and int(dataset.get("SamplesPerPixel", 1)) > 1
    is_stack = frames > 1
    metadata = Metadata(resolution=_resolution(dataset), axes=_axis(dataset) if is_stack else "")
    if is_stack and stored.ndim == 2 + rgb:
        stored = stored[np.newaxis]
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored, rgb = _through_palette(stored, dataset), True
    if rgb:
        return ImageRecord(
            array=with_owned_memory(stored), is_stack=is_stack, rgb=True, metadata=metadata
        )
    array, limits, notes = _in_gray(stored, dataset)
    return ImageRecord(
        array=with_owned_memory(array),
        is_stack=is_stack,
        rgb=False,
        contrast_limits=limits,
        metadata=metadata,
        notes=notes,
    )


def _opened(path: Path) -> Dataset:
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError:
        raise ImageError(
            f'{path.name} is a DICOM file. To read those: pip install "napari-colorize[dicom]".'
        ) from None
    try:
        dataset = pydicom.dcmread(path, force=True)
    except InvalidDicomError as error:
        raise ImageError(f"{path.name} is not a DICOM file: {error}") from error
    if "PixelData" not in dataset or "Rows" not in dataset or "Columns" not in dataset:
        raise ImageError(f"{path.name} holds no image: it is a DICOM file without pixels, or none.")
    return dataset


def _decoded(path: Path, dataset: Dataset) -> NDArray[Any]:
    """The stored values; colour comes as RGB."""
    try:
        stored: NDArray[Any] = dataset.pixel_array
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        syntax = dataset.file_meta.get("TransferSyntaxUID") if dataset.file_meta else None
        if syntax is None or not syntax.is_compressed:
            raise
        raise ImageError(
            f"{path.name} is compressed as {syntax.name}, for which no decoder is installed. Try "
            "pip install pylibjpeg pylibjpeg-openjpeg pylibjpeg-libjpeg, or store it uncompressed."
        ) from error
    return stored


def _through_palette(stored: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_color_lut

    colors: NDArray[Any] = apply_color_lut(stored, dataset)
    return colors


def _in_gray(
    stored: NDArray[Any], dataset: Dataset
) -> tuple[NDArray[Any], tuple[float, float], tuple[str, ...]]:
    """Values of the modality with black low, their limits, and notes."""
    slope, intercept = _rescale(dataset)
    lowest, highest = sorted(slope * value + intercept for value in _stored_range(dataset))
    low, high, notes = _window(dataset, (lowest, highest))
    values = stored if (slope, intercept) == (1, 0) else stored * np.float64(slope) + intercept
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        around = lowest + highest
        values = around - values
        low, high = around - high, around - low
    is_whole = slope.is_integer() and intercept.is_integer()
    dtype = _narrowest(lowest, highest) if is_whole else np.dtype(np.float32)
    return _cast(values, dtype), (low, high), notes


def _rescale(dataset: Dataset) -> tuple[float, float]:
    slope = _first(dataset.get("RescaleSlope"))
    return slope or 1.0, _first(dataset.get("RescaleIntercept")) or 0.0


def _narrowest(low: float, high: float) -> np.dtype[Any]:
    """The smallest whole-number type for all values that can occur, the same for every file."""
    kinds = (np.uint8, np.uint16, np.int16, np.int32, np.int64)
    fitting = (kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return np.dtype(next(fitting, np.float64))


def _cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in `dtype`; those that the header called impossible stop at its ends."""
    if dtype.kind == "f" or values.dtype == dtype:
        return values.astype(dtype, copy=False)
    ends = np.iinfo(dtype)
    cast: NDArray[Any] = np.clip(values, ends.min, ends.max).astype(dtype)
    return cast


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    """The smallest and largest value that the stored bits can say."""
    bits = int(dataset.get("BitsStored", dataset.get("BitsAllocated", 16)))
    if dataset.get("PixelRepresentation", 0):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _window(dataset: Dataset, whole: tuple[float, float]) -> tuple[float, float, tuple[str, ...]]:
    """Values of black and white: the first window, else all that can occur."""
    center, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 0:
        return *whole, ()
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if function == "LINEAR" and width > 1:
        # DICOM PS3.3 C.11.2.1.2.1: the centre lies half a step low and the width is one step less.
        center, width = center - 0.5, width - 1
    notes = () if function != "SIGMOID" else ("Its sigmoid window was taken as a linear one.",)
    return center - width / 2, center + width / 2, notes


def _first(value: Any) -> float | None:
    """The first of one or several numbers."""
    if value is None or (hasattr(value, "__len__") and not len(value)):
        return None
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def _axis(dataset: Dataset) -> str:
    """Frames of a film follow in time, those of a volume in depth."""
    in_time = any(name in dataset for name in ("FrameTime", "FrameTimeVector", "CineRate"))
    return "T" if in_time else "Z"


def _resolution(dataset: Dataset) -> Resolution | None:
    """Pixels per centimetre from the spacing in millimetres, which is row distance first."""
    spacing = dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing")
    if not spacing or len(spacing) != 2 or not all(float(value) > 0 for value in spacing):
        return None
    y, x = (float(value) for value in spacing)
    return Resolution(_MM_PER_CM / x, _MM_PER_CM / y, "cm")
