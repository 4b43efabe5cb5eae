"""Every format that Pillow knows: PNG, JPEG, WebP, AVIF, GIF, BMP, JPEG 2000 ..."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_colorize import provenance as record
from napari_colorize.errors import ColorizeNote, ImageError
from napari_colorize.io import exif, icc, png16
from napari_colorize.io.formats import FILM_SUFFIXES, PNG, Format
from napari_colorize.io.image_record import ImageRecord, Metadata
from napari_colorize.io.limits import refuse_huge, with_owned_memory

if TYPE_CHECKING:
    from PIL import Image

# Formats whose further frames are pictures like the first. In others (MPO, PSD, ICO) they are
# previews, layers or sizes.
_ANIMATIONS = frozenset({"GIF", "WEBP", "PNG", "AVIF", "FLI", "DCX", "TIFF"})
_EXACT_MODES = frozenset({"1", "L", "I", "F", "RGB", "RGBA", "I;16", "I;16L", "I;16B", "I;16N"})
_CM_PER_INCH = 2.54
_LIMIT_LOCK = Lock()
# PNG's own words for what EXIF has tags for.
_PNG_WORDS = {"Author": exif.ARTIST, "Copyright": exif.COPYRIGHT, "Description": exif.DESCRIPTION}


def read(path: Path, *, max_pixels: int) -> ImageRecord:
    """Read what Pillow can open; several frames become a stack."""
    with _opened(path) as image:
        frames = getattr(image, "n_frames", 1) if image.format in _ANIMATIONS else 1
        refuse_huge(path, *image.size[::-1], *[frames][: frames > 1], max_pixels=max_pixels)
        if frames > 1:
            return _read_frames(image)
        return _read_single(path, image)


def write(
    file: BinaryIO,
    array: NDArray[Any],
    into: Format,
    metadata: Metadata,
    provenance: Mapping[str, object],
) -> None:
    """Write `(Y, X, 3|4)`, or `(N, Y, X, 3|4)` as an animation, to an open file."""
    from PIL import Image

    around = _around(into, array, metadata, record.to_text(provenance), record.software(provenance))
    if array.dtype == np.uint16:
        png16.write(file, array, around)
        return
    frames = np.ascontiguousarray(array).reshape(-1, *array.shape[-3:])
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(file, into.name, append_images=others, **around)


def read_record(path: Path) -> dict[str, object] | None:
    """The provenance in a file's text or EXIF."""
    with _opened(path) as image:
        image.load()  # a PNG may tell its text after its pixels
        texts = [
            *getattr(image, "text", {}).values(),
            exif.decoded(image.info.get("comment", "")),
            exif.caption_of(image.getexif()),
        ]
    found = (record.from_text(text) for text in texts)
    return next((one for one in found if one), None)


def _opened(path: Path) -> Image.Image:
    """Open with Pillow's own limit out of the way: ours is larger and can be chosen.

    Pillow's limit is one for the whole process, and so is the lock.
    """
    from PIL import Image, UnidentifiedImageError

    with _LIMIT_LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        except UnidentifiedImageError:
            if path.suffix.lower() in FILM_SUFFIXES:
                raise ImageError(
                    f"{path.name} is a film, not a picture: use `napari-colorize video`."
                ) from None
            raise ImageError(
                f"{path.name} is not a picture in a format that can be read here, whatever its "
                "name says."
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
    array = _simplest(np.stack(frames))
    return _with_metadata(image, array, (), axes="T", durations=tuple(durations))


def _with_metadata(
    image: Image.Image,
    array: NDArray[Any],
    notes: tuple[str, ...],
    *,
    axes: str = "",
    durations: tuple[int, ...] = (),
) -> ImageRecord:
    """Turn pixels upright and put beside them what travels along."""
    words: dict[str, Any] = getattr(image, "text", {})
    extra = {tag: str(words[word]) for word, tag in _PNG_WORDS.items() if word in words}
    facts = exif.read_exif(image.getexif, extra)
    # The profile of these was applied, or never described RGB.
    is_converted = image.mode in ("CMYK", "LAB")
    profile, lost = icc.for_rgb(None if is_converted else image.info.get("icc_profile"))
    x, y = image.info.get("dpi") or (None, None)
    resolution = exif.positive(x, y, "inch") or facts.resolution
    rgb = array.ndim - len(axes) == 3
    return ImageRecord(
        array=with_owned_memory(exif.upright(array, facts.orientation, rgb=rgb)),
        is_stack=bool(axes),
        rgb=rgb,
        metadata=Metadata(
            icc=profile,
            exif=facts.block,
            resolution=exif.turned(resolution, facts.orientation),
            axes=axes,
            durations=durations,
        ),
        notes=notes + facts.notes + lost,
    )


def _pixels(image: Image.Image) -> tuple[NDArray[Any], tuple[str, ...]]:
    """`(Y, X)` or `(Y, X, 3|4)`, and a note if colours had to be converted."""
    if image.mode in ("CMYK", "LAB"):
        return np.array(icc.to_srgb(image)), (icc.CONVERTED.format(space=image.mode),)
    if image.mode in ("P", "PA"):
        return _simplest(np.array(image.convert("RGBA"))), ()
    see_through = image.mode in ("1", "L", "RGB") and "transparency" in image.info
    if see_through or image.mode in ("LA", "RGBa"):
        image = image.convert("RGBA")
    elif image.mode not in _EXACT_MODES:
        image = image.convert("RGB")
    array = np.array(image)
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        array = array.astype(np.uint16)  # what these formats hold; Pillow widens it
    return array, ()


def _simplest(rgba: NDArray[Any]) -> NDArray[Any]:
    """RGBA without its alpha if all is opaque, and without colour if all is gray then."""
    if (rgba[..., 3] != 255).any():
        return rgba
    rgb = rgba[..., :3]
    gray = rgb[..., :1]
    return gray[..., 0] if (rgb == gray).all() else rgb


def _around(
    into: Format, array: NDArray[Any], metadata: Metadata, told: str, software: str
) -> dict[str, Any]:
    """All that Pillow's `save` is given beside the pixels."""
    height, width = array.shape[-3:-1]
    around: dict[str, Any] = dict(into.options)
    if metadata.icc:
        around["icc_profile"] = metadata.icc
    if metadata.resolution and metadata.resolution.unit != "none":
        per_inch = _CM_PER_INCH if metadata.resolution.unit == "cm" else 1
        around["dpi"] = (metadata.resolution.x * per_inch, metadata.resolution.y * per_inch)
    if into.exif:
        around["exif"] = exif.composed(
            metadata.exif,
            size=(width, height),
            resolution=metadata.resolution,
            caption=exif.with_record(metadata.exif, told),
            software=software,
        )
    if array.ndim == 4:
        around |= {"save_all": True, "loop": 0, "duration": _durations(metadata, len(array))}
    return around | _text(into, told, software)


def _text(into: Format, told: str, software: str) -> dict[str, Any]:
    """The record where a format has a place for text of its own."""
    from PIL.PngImagePlugin import PngInfo

    if not told:
        return {}
    if into is PNG:
        words = PngInfo()
        words.add_text("Software", software)
        words.add_itxt("Comment", told)
        return {"pnginfo": words}
    if into.name == "JPEG2000":
        return {"comment": told}
    if not into.exif:
        warnings.warn(
            f"{into.name} files have no place for the note that colours are predicted.",
            ColorizeNote,
            stacklevel=5,
        )
    return {}


def _durations(metadata: Metadata, count: int) -> list[int]:
    """Milliseconds for each frame; a tenth of a second where the source told none."""
    known = metadata.durations if len(metadata.durations) == count else (100,) * count
    return [duration or 100 for duration in known]
