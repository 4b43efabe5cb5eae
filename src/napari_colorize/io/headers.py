"""Compare the headers of image files, so that unequal frames are found without decoding all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from napari_colorize.io import bit_depth, dicom, exif, other_formats, png, raster, tiff_reader
from napari_colorize.io.formats import DICOM_SUFFIXES

Header = tuple[object, ...]


def read_header(path: Path) -> Header | None:
    """What size, dtype and channels of the decoded image depend on, equal for equal frames.

    Returns
    -------
    tuple or None
        None if they depend on the pixels (a palette with colors may be used for gray only), or
        the header cannot be read: `read_image` gives the reason.
    """
    with suppress(Exception):  # decoders raise nearly every class of exception
        with path.open("rb") as file:
            start = file.read(dicom.START)
        if dicom.is_dicom(start) or path.suffix.lower() in DICOM_SUFFIXES:
            return dicom.read_header(path)
        if tiff_reader.is_tiff(start):
            return tiff_reader.read_header(path)
        if other_formats.reader_of(path, start) is None:
            return _pillow_header(path)
    return None


def _pillow_header(path: Path) -> Header | None:
    with raster.open_image(path) as image:
        if image.mode in ("P", "PA"):
            return None
        # `getexif` of a PNG without EXIF before its pixels decodes them.
        has_exif = image.format != "PNG" or "exif" in image.info
        return (
            image.format,
            image.mode,
            image.size,
            getattr(image, "n_frames", 1),
            "transparency" in image.info,
            bit_depth.stored_bits(path, image.format or ""),
            png.needs_imagecodecs(path),
            image.getexif().get(exif.ORIENTATION, 1) if has_exif else 1,
        )
