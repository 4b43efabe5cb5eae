"""Formats that Pillow reads and writes: PNG, JPEG, WebP, AVIF, GIF, BMP, JPEG 2000 ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_colorize import provenance as record
from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.io import bit_depth, exif, icc, png, text_metadata
from napari_colorize.io.declared_sizes import declared_shape, webp_size
from napari_colorize.io.formats import JPEG, PNG, VIDEO_SUFFIXES, WEBP, Format
from napari_colorize.io.image_record import ImageRecord, Metadata
from napari_colorize.io.limits import PALETTE_COPIES, refuse_huge, with_owned_memory
from napari_colorize.runtime.forking import global_lock

if TYPE_CHECKING:
    from PIL import Image

# Formats whose further frames are displayed one after the other, in one size.
_ANIMATIONS = frozenset({"GIF", "WEBP", "PNG", "AVIF", "FLI"})
# Formats whose further frames are pages, each with its own size. In others (MPO, PSD, ICO) they are
# previews, layers or sizes.
_PAGES = frozenset({"DCX", "TIFF"})
_EXACT_MODES = frozenset({"1", "L", "I", "F", "RGB", "RGBA", "I;16", "I;16L", "I;16B", "I;16N"})
# Formats that Pillow gives to another program or library of the system to draw.
_PROGRAMS = frozenset({"EPS", "WMF"})
TEXT_TOO_LONG = "Text of more than a megabyte was left out."
_CM_PER_INCH = 2.54
_COPIES = 5  # Pillow's image, its bytes, and arrays; see `limits.COPIES`
_GIF_COPIES = 20  # a frame with a palette may be followed by one in color with transparency
_ICON, _PNG_HEADER = b"\0\0\1\0", 33  # first bytes of an icon; length of a PNG's first chunk
_LIMIT_LOCK = global_lock()


def read(path: Path, *, max_pixels: int) -> ImageRecord:
    """Read an image that Pillow can open; several frames become a stack."""
    _refuse_before_opening(path, max_pixels)
    try:
        with open_image(path) as image:
            return _read(path, image, max_pixels)
    except ValueError as error:
        if isinstance(error, ColorizeError) or path.read_bytes()[:8] != png.SIGNATURE:
            raise
        with open_image(png.without_long_text(path)) as image:
            record = _read(path, image, max_pixels)
        return replace(record, notes=(*record.notes, TEXT_TOO_LONG))


def _read(path: Path, image: Image.Image, max_pixels: int) -> ImageRecord:
    is_multiple = image.format in _ANIMATIONS | _PAGES
    frames = getattr(image, "n_frames", 1) if is_multiple else 1
    depth = {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if "16" in image.mode else 8)
    if bit_depth.stored_bits(path, image.format or "") > 8:
        depth = max(depth, 16)
    is_apng = image.format == "PNG" and getattr(image, "is_animated", False)
    copies = PALETTE_COPIES if image.mode in ("P", "PA") and not is_apng else _COPIES
    refuse_huge(
        path,
        *image.size[::-1],
        *[frames][: frames > 1],
        max_pixels=max_pixels,
        bits=depth * (4 if is_apng else len(image.getbands())),  # frames are composed as RGBA
        copies=_GIF_COPIES if image.format == "GIF" and frames > 1 else copies,
    )
    if is_apng:
        return _read_apng(path, image)
    if frames > 1:
        return _read_frames(path, image, max_pixels)
    return _read_single(path, image)


def _refuse_huge_icon(path: Path, max_pixels: int) -> None:
    """Check the sizes of PNG files in an icon, which need not be those of its directory."""
    data, start = path.read_bytes(), -1
    while (start := data.find(png.SIGNATURE, start + 1)) >= 0:
        if size := declared_shape(data[start : start + _PNG_HEADER]):
            refuse_huge(path, *size, max_pixels=max_pixels, bits=32, copies=_COPIES)


def _refuse_before_opening(path: Path, max_pixels: int) -> None:
    """Check the sizes of files for which Pillow reserves memory when it opens them."""
    with path.open("rb") as file:
        head = file.read(30)
    if head[8:12] == b"WEBP":
        refuse_huge(path, *webp_size(head), max_pixels=max_pixels, bits=32, copies=_COPIES)
    if head.startswith(_ICON):
        _refuse_huge_icon(path, max_pixels)


def write(
    file: BinaryIO,
    array: AnyArray,
    into: Format,
    metadata: Metadata,
    provenance: Mapping[str, object],
) -> None:
    """Write `(Y, X, 3|4)`, or `(N, Y, X, 3|4)` as an animation, to a file open in mode "w+b"."""
    from PIL import Image

    options = _save_options(into, array, metadata, provenance)
    if array.dtype == np.uint16:
        png.write(file, array, options)
        return
    frames = np.ascontiguousarray(array).reshape(-1, *array.shape[-3:])
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(file, into.name, append_images=others, **options)
    if into is WEBP and others and array.shape[-1] == 4 and (array[..., 3] < 255).any():
        _declare_alpha(file)


def _declare_alpha(file: BinaryIO) -> None:
    """Set the alpha flag of an animated WebP, which libwebp omits if all frames have two colors."""
    file.seek(12)
    header = file.read(9)  # name, length and flags of the first chunk
    if header.startswith(b"VP8X"):
        file.seek(20)
        file.write(bytes([header[8] | 0x10]))


def read_record(path: Path) -> dict[str, object] | None:
    """The provenance in a file's text chunks, comment or EXIF."""
    with open_image(path) as image:
        found = record_in(image)
        if found is None and image.format == "PNG":
            image.load()  # text chunks may follow the pixels; this program writes them before
            found = record_in(image)
    return found


def record_in(image: Image.Image) -> dict[str, object] | None:
    """The provenance in the metadata of an image that Pillow opened; its pixels may be decoded."""
    # `text` and `getexif` of a PNG decode its pixels.
    for text in image.info.values():
        if isinstance(text, (str, bytes)) and (found := record.from_text(exif.decode_text(text))):
            return found
    return record.from_text(exif.caption_of(image.getexif()))


def open_image(path: Path | BinaryIO) -> Image.Image:
    """Open an image with Pillow's own size limit disabled, because ours replaces it.

    Pillow's limit is a global of the process, therefore the lock.
    """
    from PIL import Image, UnidentifiedImageError

    with _LIMIT_LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
            if image.format in _PROGRAMS:
                image.close()
                raise UnidentifiedImageError(f"{image.format} is not an image of pixels")
            return image
        except UnidentifiedImageError:
            if isinstance(path, Path) and path.suffix.lower() in VIDEO_SUFFIXES:
                raise ImageError(
                    f"{path.name} is a video, not an image: use `napari-colorize video`."
                ) from None
            raise
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _read_single(path: Path, image: Image.Image, notes: tuple[str, ...] = ()) -> ImageRecord:
    image.load()
    name = image.format or ""
    if name == "PSD":
        resources = {number: data for number, _, data in image.resources}  # type: ignore[attr-defined]
        image.info.update(text_metadata.photoshop_info(resources))
    bits = bit_depth.stored_bits(path, name)
    array = bit_depth.read_deep(path, name, bits) if bits > 8 else None
    if array is None and name == "PNG" and png.needs_imagecodecs(path):
        array = png.read_pixels(path)
    if array is None:
        array, pixel_notes = _pixels(image)
        notes += pixel_notes
        if bits > 8 and array.dtype == np.uint8:
            notes += (bit_depth.REDUCED.format(bits=bits),)
    return with_metadata(image, gray_or_rgba(array), notes)


def _read_apng(path: Path, image: Image.Image) -> ImageRecord:
    animation = png.read_animation(path)
    image.load()  # for its metadata
    frames = drop_constant_channels(animation.frames)
    if len(frames) == 1:
        return with_metadata(image, frames[0], ())
    return with_metadata(
        image, frames, (), axes="T", durations=animation.durations, loop=animation.plays
    )


def _read_frames(path: Path, image: Image.Image, max_pixels: int) -> ImageRecord:
    """Frames of an animation, or pages of a document if all have one size."""
    from PIL import ImageSequence

    name = image.format or ""
    bits = bit_depth.stored_bits(path, name)
    frames, durations, notes = [], [], {}
    comments: dict[bytes, None] = {}  # a GIF may have them before each frame
    size, count = image.size, getattr(image, "n_frames", 1)
    for frame in ImageSequence.Iterator(image):
        if name in _PAGES and frame.size != size:
            image.seek(0)
            others = f"{path.name} holds {count} images; only the first one was used."
            return _read_single(path, image, (others,))
        if frame.size != size:  # a frame of a GIF that is larger than its canvas
            size = frame.size
            refuse_huge(path, *size[::-1], count, max_pixels=max_pixels, copies=_GIF_COPIES)
        array, frame_notes = _pixels(frame)
        frames.append(array)
        notes.update(dict.fromkeys(frame_notes))
        durations.append(round(frame.info.get("duration", 0)))
        if name == "GIF":
            comments[frame.info.get("comment", b"")] = None
    deep = bit_depth.read_deep(path, name, bits) if bits > 8 else None
    if deep is not None and len(deep) == len(frames):
        array = _stacked([gray_or_rgba(frame) for frame in deep])
    else:
        array = _stacked(frames)
        if bits > 8:
            notes[bit_depth.REDUCED.format(bits=bits)] = None
    if comments:
        image.info["comment"] = b"\n".join(filter(None, comments))
    is_timed = name in _ANIMATIONS
    return with_metadata(
        image,
        array,
        tuple(notes),
        axes="T",
        durations=tuple(durations) if is_timed else (),
        loop=_plays(image) if is_timed else None,
    )


def _stacked(frames: list[AnyArray]) -> AnyArray:
    """Frames as one array; they may differ in size, mode and alpha, but not in depth.

    A frame beyond the canvas enlarges it (Pillow), so earlier frames get a transparent border.
    """
    if len({(frame.shape, frame.dtype) for frame in frames}) == 1:
        stack = np.stack(frames)
        return drop_constant_channels(stack) if stack.ndim == 4 else stack
    rgba = [
        png.to_rgba(frame.astype(np.uint8) * 255 if frame.dtype == bool else frame)
        for frame in frames
    ]
    height, width = np.max([frame.shape[:2] for frame in rgba], axis=0)
    return drop_constant_channels(
        np.stack(
            [
                np.pad(frame, ((0, height - len(frame)), (0, width - frame.shape[1]), (0, 0)))
                for frame in rgba
            ]
        )
    )


def _plays(image: Image.Image) -> int:
    """How often an animation is played, 0 for endlessly.

    GIF counts the repetitions after the first play, and without a count plays once (libwebp's
    gif2webp converts them in the same way); WebP counts plays.
    """
    loop = image.info.get("loop")
    if image.format != "GIF":
        return int(loop or 0)
    if loop is None:
        return 1
    return int(loop) + 1 if loop else 0


def with_metadata(
    image: Image.Image,
    array: AnyArray,
    notes: Iterable[str] = (),
    *,
    axes: str = "",
    durations: tuple[int, ...] = (),
    loop: int | None = None,
) -> ImageRecord:
    """The image record: orientation applied, metadata of `image` selected for the result."""
    texts = text_metadata.of_image(image)
    extra = {
        tag: texts["texts"][key]
        for key, tag in text_metadata.EXIF_KEYS.items()
        if key in texts["texts"]
    }
    fields = exif.read_exif(image.getexif, extra)
    # The profile of these was applied, or never described RGB.
    is_converted = image.mode in ("CMYK", "LAB")
    profile, profile_notes = icc.for_rgb(None if is_converted else icc.from_png(image.info))
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
            loop=loop,
            **texts,
        ),
        notes=(*notes, *fields.notes, *profile_notes),
    )


def _pixels(image: Image.Image) -> tuple[AnyArray, tuple[str, ...]]:
    """`(Y, X)` or `(Y, X, 3|4)`, and a note if colors had to be converted."""
    image.load()  # a frame may change the mode when it is loaded
    if image.mode in ("CMYK", "LAB"):
        return np.array(icc.to_srgb(image)), (icc.CONVERTED.format(space=image.mode),)
    if image.mode in ("P", "PA"):
        return drop_constant_channels(np.array(image.convert("RGBA"))), ()
    has_transparency = image.mode in ("1", "L", "RGB") and "transparency" in image.info
    if has_transparency or image.mode in ("LA", "La", "RGBa"):
        image = image.convert("RGBA")
    elif image.mode not in _EXACT_MODES:
        image = image.convert("RGB")
    array = np.array(image)
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        array = array.astype(np.uint16)  # what these formats hold; Pillow widens it
    return array, ()


def gray_or_rgba(array: AnyArray) -> AnyArray:
    """Decoded samples without an axis of length 1; gray with alpha becomes RGBA."""
    if array.ndim == 3 and array.shape[-1] == 2:
        return array[..., [0, 0, 0, 1]]
    return array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array


def drop_constant_channels(rgba: AnyArray) -> AnyArray:
    """RGBA without alpha if it is opaque, and then as gray if all channels are equal."""
    if rgba.shape[-1] == 4:
        if (rgba[..., 3] != np.iinfo(rgba.dtype).max).any():
            return rgba
        rgba = rgba[..., :3]
    gray = rgba[..., :1]
    return gray[..., 0] if (rgba == gray).all() else rgba


def _save_options(
    into: Format, array: AnyArray, metadata: Metadata, provenance: Mapping[str, object]
) -> dict[str, Any]:
    """Keywords of Pillow's `save` for a format and the metadata."""
    height, width = array.shape[-3:-1]
    options: dict[str, Any] = dict(into.options)
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.resolution and metadata.resolution.unit != "none":
        per_inch = _CM_PER_INCH if metadata.resolution.unit == "cm" else 1
        options["dpi"] = (metadata.resolution.x * per_inch, metadata.resolution.y * per_inch)
    if "EXIF" in into.keeps:
        # JPEG and PNG have a place of their own for comments.
        comment = "" if into in (JPEG, PNG) else metadata.comment
        options["exif"] = exif.result_block(
            metadata.exif,
            size=(width, height),
            resolution=metadata.resolution,
            caption=exif.with_record(metadata.exif, record.to_text(provenance), comment),
            software=record.software(provenance, exif.software_of(metadata.exif)),
        )
    if array.ndim == 4:
        durations = _durations(metadata, len(array))
        options |= {"save_all": True, "loop": metadata.loop or 0, "duration": durations}
    return options | text_metadata.save_options(into, metadata, provenance)


def _durations(metadata: Metadata, count: int) -> list[int]:
    """Milliseconds for each frame; 100 ms where the source has no duration."""
    known = metadata.durations if len(metadata.durations) == count else (100,) * count
    return [duration or 100 for duration in known]
