"""Formats that Pillow reads and writes: PNG, JPEG, WebP, AVIF, GIF, BMP, JPEG 2000 ..."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_colorize import provenance as record
from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ColorizeNote, ImageError
from napari_colorize.io import exif, icc, png16
from napari_colorize.io.formats import (
    PNG,
    VIDEO_SUFFIXES,
    Format,
    missing_reader,
    register_optional_readers,
)
from napari_colorize.io.image_record import ImageRecord, Metadata
from napari_colorize.io.limits import refuse_huge, with_owned_memory

if TYPE_CHECKING:
    from PIL import Image

# Formats whose further frames are images like the first. In others (MPO, PSD, ICO) they are
# previews, layers or sizes.
_ANIMATIONS = frozenset({"GIF", "WEBP", "PNG", "AVIF", "FLI", "DCX", "TIFF"})
_EXACT_MODES = frozenset({"1", "L", "I", "F", "RGB", "RGBA", "I;16", "I;16L", "I;16B", "I;16N"})
_CM_PER_INCH = 2.54
_LIMIT_LOCK = Lock()
# PNG text keywords and the EXIF tags with the same meaning.
_PNG_KEYS = {
    "Author": exif.ARTIST,
    "Copyright": exif.COPYRIGHT,
    "Description": exif.DESCRIPTION,
}


def read(path: Path, *, max_pixels: int) -> ImageRecord:
    """Read an image that Pillow can open; several frames become a stack."""
    with _open(path) as image:
        frames = getattr(image, "n_frames", 1) if image.format in _ANIMATIONS else 1
        refuse_huge(path, *image.size[::-1], *[frames][: frames > 1], max_pixels=max_pixels)
        if frames > 1:
            return _read_frames(image)
        return _read_single(path, image)


def write(
    file: BinaryIO,
    array: AnyArray,
    into: Format,
    metadata: Metadata,
    provenance: Mapping[str, object],
) -> None:
    """Write `(Y, X, 3|4)`, or `(N, Y, X, 3|4)` as an animation, to an open file."""
    from PIL import Image

    options = _save_options(
        into, array, metadata, record.to_text(provenance), record.software(provenance)
    )
    if array.dtype == np.uint16:
        png16.write(file, array, options)
        return
    frames = np.ascontiguousarray(array).reshape(-1, *array.shape[-3:])
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(file, into.name, append_images=others, **options)


def read_record(path: Path) -> dict[str, object] | None:
    """The provenance in a file's text chunks, comment or EXIF."""
    with _open(path) as image:
        image.load()  # a PNG may contain text chunks after its pixels
        texts = [
            *getattr(image, "text", {}).values(),
            exif.decode_text(image.info.get("comment", "")),
            exif.caption_of(image.getexif()),
        ]
    found = (record.from_text(text) for text in texts)
    return next((one for one in found if one), None)


def _open(path: Path) -> Image.Image:
    """Open an image with Pillow's own size limit disabled, because ours replaces it.

    Pillow's limit is a global of the process, therefore the lock.
    """
    from PIL import Image, UnidentifiedImageError

    register_optional_readers()
    with _LIMIT_LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        except UnidentifiedImageError:
            if path.suffix.lower() in VIDEO_SUFFIXES:
                raise ImageError(
                    f"{path.name} is a video, not an image: use `napari-colorize video`."
                ) from None
            with path.open("rb") as file:
                package = missing_reader(file.read(12))
            if package is not None:
                raise ImageError(
                    f"{path.name} is a HEIC image. To read it: pip install {package}."
                ) from None
            raise ImageError(
                f"{path.name} is not an image in a readable format; its content was checked, not "
                "its name."
            ) from None
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _read_single(path: Path, image: Image.Image) -> ImageRecord:
    image.load()
    is_deep = image.format == "PNG" and png16.is_deep(path)
    array, notes = (png16.read_pixels(path), ()) if is_deep else _pixels(image)
    return _with_metadata(image, array, notes)


def _read_frames(image: Image.Image) -> ImageRecord:
    from PIL import ImageSequence

    frames, durations = [], []
    for frame in ImageSequence.Iterator(image):
        frames.append(np.array(frame.convert("RGBA")))
        durations.append(int(frame.info.get("duration", 0)))
    array = _drop_constant_channels(np.stack(frames))
    return _with_metadata(image, array, (), axes="T", durations=tuple(durations))


def _with_metadata(
    image: Image.Image,
    array: AnyArray,
    notes: tuple[str, ...],
    *,
    axes: str = "",
    durations: tuple[int, ...] = (),
) -> ImageRecord:
    """The image record: orientation applied, metadata selected for the result."""
    texts: dict[str, Any] = getattr(image, "text", {})
    extra = {tag: str(texts[key]) for key, tag in _PNG_KEYS.items() if key in texts}
    fields = exif.read_exif(image.getexif, extra)
    # The profile of these was applied, or never described RGB.
    is_converted = image.mode in ("CMYK", "LAB")
    profile, profile_notes = icc.for_rgb(None if is_converted else image.info.get("icc_profile"))
    x, y = image.info.get("dpi") or (None, None)
    resolution = exif.valid_resolution(x, y, "inch") or fields.resolution
    rgb = array.ndim - len(axes) == 3
    return ImageRecord(
        array=with_owned_memory(exif.apply_orientation(array, fields.orientation, rgb=rgb)),
        is_stack=bool(axes),
        rgb=rgb,
        metadata=Metadata(
            icc=profile,
            exif=fields.block,
            resolution=exif.oriented_resolution(resolution, fields.orientation),
            axes=axes,
            durations=durations,
        ),
        notes=notes + fields.notes + profile_notes,
    )


def _pixels(image: Image.Image) -> tuple[AnyArray, tuple[str, ...]]:
    """`(Y, X)` or `(Y, X, 3|4)`, and a note if colors had to be converted."""
    if image.mode in ("CMYK", "LAB"):
        return np.array(icc.to_srgb(image)), (icc.CONVERTED.format(space=image.mode),)
    if image.mode in ("P", "PA"):
        return _drop_constant_channels(np.array(image.convert("RGBA"))), ()
    has_transparency = image.mode in ("1", "L", "RGB") and "transparency" in image.info
    if has_transparency or image.mode in ("LA", "RGBa"):
        image = image.convert("RGBA")
    elif image.mode not in _EXACT_MODES:
        image = image.convert("RGB")
    array = np.array(image)
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        array = array.astype(np.uint16)  # what these formats hold; Pillow widens it
    return array, ()


def _drop_constant_channels(rgba: AnyArray) -> AnyArray:
    """RGBA without alpha if it is opaque, and then as gray if all channels are equal."""
    if (rgba[..., 3] != 255).any():
        return rgba
    rgb = rgba[..., :3]
    gray = rgb[..., :1]
    return gray[..., 0] if (rgb == gray).all() else rgb


def _save_options(
    into: Format, array: AnyArray, metadata: Metadata, provenance: str, software: str
) -> dict[str, Any]:
    """Keywords of Pillow's `save` for a format and the metadata."""
    height, width = array.shape[-3:-1]
    options: dict[str, Any] = dict(into.options)
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.resolution and metadata.resolution.unit != "none":
        per_inch = _CM_PER_INCH if metadata.resolution.unit == "cm" else 1
        options["dpi"] = (metadata.resolution.x * per_inch, metadata.resolution.y * per_inch)
    if into.exif:
        options["exif"] = exif.result_block(
            metadata.exif,
            size=(width, height),
            resolution=metadata.resolution,
            caption=exif.with_record(metadata.exif, provenance),
            software=software,
        )
    if array.ndim == 4:
        options |= {"save_all": True, "loop": 0, "duration": _durations(metadata, len(array))}
    return options | _text(into, provenance, software)


def _text(into: Format, provenance: str, software: str) -> dict[str, Any]:
    """Provenance as a comment, for formats that have a text field; otherwise a warning."""
    from PIL.PngImagePlugin import PngInfo

    if not provenance:
        return {}
    if into is PNG:
        texts = PngInfo()
        texts.add_text("Software", software)
        texts.add_itxt("Comment", provenance)
        return {"pnginfo": texts}
    if into.name == "JPEG2000":
        return {"comment": provenance}
    if not into.exif:
        warnings.warn(
            f"{into.name} files cannot store the note that their colors are predicted.",
            ColorizeNote,
            stacklevel=5,
        )
    return {}


def _durations(metadata: Metadata, count: int) -> list[int]:
    """Milliseconds for each frame; 100 ms where the source has no duration."""
    known = metadata.durations if len(metadata.durations) == count else (100,) * count
    return [duration or 100 for duration in known]
