"""Compare the image reader and writer with independent readers, on any folder of image files.

    python tools/sweep_files.py FOLDER --jobs 2 --out table.md

Every file that the command line would find is read, colorized with a constant chroma, and written.
Size, orientation, luminance, depth, transparency, frames and metadata are compared with Pillow,
tifffile, imagecodecs, pydicom and imageio. A file is right if one of them agrees, because they
differ among themselves. A refusal is right if none of them reads the file, or if its sentence does
not claim damage.

`examine` checks one file, `readings` are the independent readers, and `Workers` are processes that
are replaced when a file takes too long or crashes them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import math
import multiprocessing
import os
import re
import sys
import tempfile
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMIT = 60.0  # seconds for one file
MAX_PIXELS = 100_000_000
SAMPLED_PIXELS = 300_000
ROUND_TRIP_PIXELS = 2_000_000  # larger images are read and compared, but not written
REC_601 = np.array([0.299, 0.587, 0.114])
WHITES = {"bool": 1.0, "uint8": 255.0, "uint16": 65535.0}
ANIMATIONS = {"GIF", "WEBP", "PNG", "AVIF"}
# Words of a refusal that are wrong if another program reads the file.
CLAIMS = re.compile(
    r"damaged(?!, or of a kind)|not an image|no decoder|holds no image|contains no image"
)
INTERNALS = re.compile(
    r"object has no|NoneType|unsupported operand|out of range|not supported between|\w+Error\b|"
    r"indices for array|positional argument|cannot unpack|codec can't|invalid literal|KeyError"
)
# What a note must mention if metadata of this kind are not in the result.
NOTED = {
    "ICC": r"ICC|profile|sRGB",
    "EXIF": r"EXIF",
    "XMP": r"XMP",
    "IPTC": r"IPTC",
    "comment": r"comment",
    "text": r"text",
    "gAMA": r"gAMA|gamma",
    "resolution": r"resolution",
    "loop": r"loop|repeat",
    "durations": r"duration|frame times|display time",
}


@dataclass(frozen=True)
class Reading:
    """An image as one reader sees it.

    Parameters
    ----------
    reader : str
        Name of the reader.
    shape : (int, int)
        Height and width.
    luminance : list of array
        The first frame, and the last one if it is an animation; every Nth pixel of large images.
    alpha : list of array or None
        Transparency of these frames in [0, 1]; None if they are opaque.
    white : float or None
        Value of white; None for types without one.
    bits : int
        Significant bits per sample.
    is_exact : bool
        Whether no color space was converted, so that values and not only structures must agree.
    has_no_alpha : bool
        Whether the reader drops the transparency of this format.
    """

    reader: str
    shape: tuple[int, ...]
    luminance: list[NDArray[Any]]
    alpha: list[NDArray[Any] | None]
    white: float | None
    bits: int
    is_exact: bool = True
    has_no_alpha: bool = False


@dataclass(frozen=True)
class Outcome:
    """Result for one file: "right", "refused", "differing", or "crashed"."""

    path: str
    kind: str
    status: str
    details: tuple[str, ...] = ()


def reading_of(reader: str, frames: Sequence[NDArray[Any]], **changes: Any) -> Reading:
    """Reading of frames `(Y, X)`, or `(Y, X, 1 to 4)` with alpha as second or fourth sample."""
    luminance, alpha = [], []
    dtype = frames[0].dtype
    height, width = frames[0].shape[:2]
    step = max(1, math.isqrt(height * width // SAMPLED_PIXELS))
    white = WHITES.get(dtype.name)
    for frame in frames:
        samples = (frame[..., None] if frame.ndim == 2 else frame)[::step, ::step]
        count = samples.shape[-1]
        colors = samples[..., :3] if count >= 3 else samples[..., :1]
        with np.errstate(all="ignore"):
            luminance.append(
                colors.astype(np.float64) @ REC_601 if count >= 3 else colors[..., 0].astype(float)
            )
        opaque = white or 1.0
        mask = samples[..., -1] / opaque if count in (2, 4) else None
        alpha.append(None if mask is None or (mask >= 1).all() else mask)
    bits = 1 if dtype.kind == "b" else dtype.itemsize * 8
    return replace(Reading(reader, (height, width), luminance, alpha, white, bits), **changes)


def by_pillow(path: Path) -> Reading:
    """First and last frame by Pillow, with orientation applied."""
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        count = getattr(image, "n_frames", 1) if image.format in ANIMATIONS else 1
        # The default image of an APNG need not belong to the animation.
        first = 1 if image.info.get("default_image") else 0
        frames = []
        for position in dict.fromkeys((first, count - 1)):
            image.seek(position)
            frames.append(_pillow_pixels(ImageOps.exif_transpose(image), count > 1))
        changes: dict[str, Any] = {}
        if image.mode == "I" and image.format not in ("PNG", "PPM"):
            changes = {"white": None}
        elif image.mode == "I" or image.mode.startswith("I;16"):
            changes = {"white": 65535.0, "bits": 16}
        is_exact = image.mode not in ("CMYK", "LAB", "YCbCr", "HSV")
        changes["has_no_alpha"] = image.format == "PPM"
    return reading_of("Pillow", frames, is_exact=is_exact, **changes)


def _pillow_pixels(image: Any, is_animated: bool) -> NDArray[Any]:
    if is_animated or image.mode in ("P", "PA", "La", "RGBa") or "transparency" in image.info:
        if not image.mode.startswith("I"):
            return np.array(image.convert("RGBA"))
    elif image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        return np.array(image.convert("RGB"))
    return np.array(image)


def by_imagecodecs(path: Path) -> Reading:
    """The first frame by the decoder of imagecodecs for the format."""
    import imagecodecs

    data = path.read_bytes()
    names = {
        "PNG": "png_decode",
        "JPEG": "jpeg8_decode",
        "JPEG2000": "jpeg2k_decode",
        "AVIF": "avif_decode",
        "WEBP": "webp_decode",
        "JPEG XL": "jpegxl_decode",
        "JPEG-LS": "jpegls_decode",
        "JPEG XR": "jpegxr_decode",
        "QOI": "qoi_decode",
    }
    kind = kind_of(path)
    if kind == "PNG" and b"acTL" in data[:200]:
        raise ValueError("an animation, of which only the default image would be read")
    array = getattr(imagecodecs, names[kind])(data)
    if kind in ("AVIF", "JPEG XL", "WEBP") and array.ndim == 4:
        array = array[0]
    if (
        array.ndim not in (2, 3)
        or array.shape[-1] > 4
        or (kind == "JPEG" and array.shape[2:] == (4,))
    ):
        raise ValueError("not a single gray or RGB image")
    if kind in ("JPEG", "PNG", "AVIF", "WEBP"):
        array = _oriented(array, _orientation(path))
    if kind in ("AVIF", "JPEG XL", "JPEG2000") and array.dtype == np.uint16:
        bits = next(bits for bits in (10, 12, 14, 16) if array.max() < 2**bits)
        array = np.rint(array * (65535 / (2**bits - 1))).astype(np.uint16)
    return reading_of("imagecodecs", [array])


def _orientation(path: Path) -> int:
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(path) as image:
        return int(image.getexif().get(0x0112, 1))
    return 1


def _oriented(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array[::-1] if orientation in (3, 4, 7, 8) else array


def by_tifffile(path: Path) -> Reading:
    """The first page by tifffile; photometric interpretations of gray, palette and RGB."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        array = np.asarray(page.asarray())
        photometric = tifffile.PHOTOMETRIC(page.photometric).name
        tag = page.tags.get("Orientation")
        orientation = int(tag.value) if tag is not None and tag.value in range(1, 9) else 1
        if page.planarconfig == 2 and array.ndim == 3:
            array = np.moveaxis(array, 0, -1)
        if photometric == "PALETTE":
            array = np.asarray(page.colormap)[:, array].transpose(1, 2, 0)
            array = array if array.max() < 256 else np.rint(array / 257)
            array = array.astype(np.uint8)
        elif photometric == "MINISWHITE" and array.dtype.kind in "bu":
            top = 1 if array.dtype == bool else 2 ** int(page.bitspersample) - 1
            array = ~array if array.dtype == bool else (top - array).astype(array.dtype)
        elif photometric == "MINISBLACK" and array.ndim == 3:
            # Samples other than transparency are channels, not colors.
            array = array[..., : 2 if 2 in page.extrasamples[:1] else 1]
        if 1 in page.extrasamples:
            raise ValueError("premultiplied alpha")
        if photometric not in (
            "MINISBLACK",
            "RGB",
            "PALETTE",
            "MINISWHITE",
        ) and page.compression not in (6, 7, 34892):
            raise ValueError(f"photometric interpretation {photometric}")
        has_white = page.bitspersample in (1, 8, 16) and array.dtype.name in WHITES
    reading = reading_of("tifffile", [_oriented(array, orientation)])
    return reading if has_white else replace(reading, white=None)


def by_pydicom(path: Path) -> Reading:
    """The first frame of a DICOM file by pydicom, with its lookup tables and window."""
    import pydicom
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

    dataset = pydicom.dcmread(path, force=True)
    values = dataset.pixel_array if "PixelData" in dataset else pixel_array(dataset)
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        values = values[0]
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return reading_of("pydicom", [apply_color_lut(values, dataset)], white=None)
    if values.ndim == 3:
        return reading_of("pydicom", [values], is_exact=values.dtype == np.uint8)
    values = apply_voi_lut(apply_modality_lut(values, dataset), dataset)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        values = -values.astype(np.float64)
    return reading_of("pydicom", [values.astype(np.float64)], white=None, is_exact=False)


def by_imageio(path: Path) -> Reading:
    """The first frame by imageio, for what no other reader opens."""
    import imageio.v3 as imageio

    array = np.asarray(imageio.imread(path, index=0))
    drops_alpha = kind_of(path) == "PAM"
    return reading_of("imageio", [array], is_exact=False, has_no_alpha=drops_alpha)


READERS: tuple[Callable[[Path], Reading], ...] = (
    by_pillow,
    by_imagecodecs,
    by_tifffile,
    by_pydicom,
    by_imageio,
)


def readings(path: Path) -> list[Reading]:
    """What the independent readers make of a file; without those that fail."""
    kind, found = kind_of(path), []
    for reader in READERS:
        if (reader is by_tifffile) != (kind == "TIFF") and reader is by_tifffile:
            continue
        if (reader is by_pydicom) != (kind == "DICOM"):
            continue
        # For these kinds it reads raw samples, or all files of the folder.
        if reader is by_imageio and (found or kind in ("TIFF", "DICOM", "JPEG-LS")):
            continue
        with contextlib.suppress(Exception):
            found.append(reader(path))
    return found


@cache
def kind_of(path: Path) -> str:
    """Format by content, else by suffix."""
    from PIL import Image

    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom"):
        return "DICOM"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    if start.startswith(b"\xff\xd8\xff\xf7") or path.suffix.lower() == ".jls":
        return "JPEG-LS"
    if start.startswith(b"II\xbc"):
        return "JPEG XR"
    with contextlib.suppress(Exception), Image.open(path) as image:
        name = str(image.format)
        return "JPEG" if name == "MPO" else name
    for suffixes, name in ((".jpg .jpeg", "JPEG"), (".jp2 .j2k .jpx .jpc .j2c", "JPEG2000")):
        if path.suffix.lower() in suffixes.split():
            return name
    return path.suffix.lstrip(".").upper() or "no suffix"


def differences(ours: Reading, other: Reading, tolerance: float = 1.5 / 255) -> list[str]:
    """Sentences about what differs between two readings of a file.

    `tolerance` is the mean difference of luminance that is permitted for 8 bits; white is 1.
    """
    found = []
    if ours.shape != other.shape:
        return [f"size {ours.shape}, {other.reader} {other.shape}"]
    if len(ours.luminance) != len(other.luminance) and other.reader == "Pillow":
        found.append(f"{len(ours.luminance)} of {len(other.luminance)} first and last frames")
    for position, (one, two) in enumerate(zip(ours.luminance, other.luminance, strict=False)):
        mine, theirs = ours.alpha[position], other.alpha[position]
        if (mine is None) != (theirs is None) and not (theirs is None and other.has_no_alpha):
            has = other.reader if mine is None else "only this package"
            found.append(f"alpha: {has} has it")
        elif mine is not None and theirs is not None and np.abs(mine - theirs).mean() > 1 / 255:
            found.append("alpha differs")
        # Colors of transparent pixels are arbitrary.
        weight = np.ones(one.shape) if theirs is None else np.clip(theirs, 0, 1)
        text = _luminance_difference(one, two, weight, ours, other, tolerance)
        if text:
            found.append(text + (" in the last frame" if position else ""))
    return found


def _luminance_difference(
    one: NDArray[Any],
    two: NDArray[Any],
    weight: NDArray[Any],
    ours: Reading,
    other: Reading,
    tolerance: float,
) -> str:
    used = np.isfinite(one) & np.isfinite(two) & (weight > 0.02)
    if not used.any():
        return ""
    one, two = one[used], two[used]
    correlation = 1.0
    if min(one.std(), two.std()) > 0:
        correlation = float(np.corrcoef(one, two)[0, 1])
    is_deep = min(ours.bits, other.bits) >= 16
    if ours.white and other.white and ours.is_exact and other.is_exact:
        error = np.abs(one / ours.white - two / other.white) * weight[used]
        # Decoders of lossy formats differ by a level, encoders of noise by more.
        tolerance = 1e-4 if is_deep else tolerance
        if error.mean() <= tolerance and np.quantile(error, 0.99) <= 8 * tolerance:
            return ""
        # 10 to 14 bits in 16 have several scales.
        if is_deep and correlation > 0.9999 and min(one.std(), two.std()) > 0:
            return ""
        return f"luminance differs from {other.reader} by {error.mean():.4f} on average"
    flat = [_is_flat(one, ours), _is_flat(two, other)]
    if any(flat):
        return "" if all(flat) else f"flat, unlike {other.reader}"
    if correlation >= (0.999 if ours.is_exact and other.is_exact else 0.9):
        return ""
    return f"correlation with {other.reader} {correlation:.4f}"


def _is_flat(values: NDArray[Any], reading: Reading) -> bool:
    """Whether values differ only by rounding."""
    step = (reading.white or 0) * (1 / 255 if reading.bits <= 8 else 1e-4)
    return bool(values.std() <= step)


def metadata_of(path: Path) -> dict[str, Any]:
    """Metadata of an image file that a result should have too, by kind."""
    from PIL import ExifTags, Image, IptcImagePlugin

    found: dict[str, Any] = {}
    with Image.open(path) as image:
        if image.info.get("default_image"):
            image.seek(1)
        image.load()
        info = image.info
        exif = image.getexif()
        camera = {tag: str(exif[tag]) for tag in (271, 272, 306, 315, 33432) if exif.get(tag)}
        taken = exif.get_ifd(ExifTags.IFD.Exif).get(36867)
        if camera or taken:
            found["EXIF"] = (camera, taken)
        if exif.get_ifd(ExifTags.IFD.GPSInfo):
            found["GPS"] = True
        texts = dict(getattr(image, "text", {}))
        xmp = info.get("xmp") or texts.pop("XML:com.adobe.xmp", None) or exif.get(700)
        with contextlib.suppress(Exception):
            if IptcImagePlugin.getiptcinfo(image):
                found["IPTC"] = True
        comment = info.get("comment")
        texts.pop("Software", None)
        is_animation = image.format in ANIMATIONS and getattr(image, "n_frames", 1) > 1
        loop = info.get("loop", 0 if image.format != "GIF" else None) if is_animation else 0
        if image.format == "GIF" and is_animation:
            loop = 1 if loop is None else loop and loop + 1  # GIF counts repetitions, not plays
        duration = info.get("duration") if is_animation else None
        found |= {
            "XMP": bool(xmp and bytes(xmp, "utf8") if isinstance(xmp, str) else xmp),
            "comment": comment.encode() if isinstance(comment, str) else comment,
            # "Raw profile type" holds EXIF, IPTC or XMP in hexadecimal digits.
            "text": sorted(
                key for key, text in texts.items() if text.strip() and not key.startswith("Raw p")
            ),
            "bytes": path.read_bytes(),
            "ICC": bool(info.get("icc_profile")),
            "gAMA": info.get("gamma") if not info.get("icc_profile") else None,
            "resolution": "dpi" in info and min(info["dpi"]) > 1,
            "loop": loop,
            "durations": duration,
        }
    return found


def lost_metadata(before: dict[str, Any], after: dict[str, Any], notes: str) -> list[str]:
    """Kinds of metadata that the result lacks and no note mentions."""
    lost = []
    for kind, value in before.items():
        if not value or kind == "bytes":
            continue
        if kind in ("loop", "durations"):
            is_kept = not after.get(kind) or after[kind] == value
        elif kind == "text":
            is_kept = set(value) <= set(after.get("text", []))
        elif kind == "gAMA":
            is_kept = bool(after.get("gAMA") or after.get("ICC"))
        elif kind == "comment":
            is_kept = bool(after.get(kind)) or value.strip()[:40] in after["bytes"]
        else:
            is_kept = bool(after.get(kind))
        if not is_kept and not re.search(NOTED.get(kind, kind), notes, re.IGNORECASE):
            lost.append(f"{kind} lost without a note")
    return lost


@cache
def constant_colorizer() -> Any:
    """A Colorizer whose network predicts the same weak chroma for every image."""
    import torch
    from torch import Tensor, nn

    from napari_colorize.colorizer import Colorizer
    from napari_colorize.zoo import Checkpoint

    class Constant(nn.Module):
        def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
            rows, columns = gray.shape[-2:]
            return gray.new_full((len(gray), 2, rows // 4, columns // 4), 0.1)

    checkpoint = Checkpoint(
        name="constant",
        title="Constant chroma",
        architecture="compact",
        file="constant.safetensors",
        sha256="0" * 64,
        license="BSD-3-Clause",
        origin="tools/sweep_files.py",
        render_factor=4,
        fit="aspect",
    )
    return Colorizer(Constant(), checkpoint, torch.device("cpu"), torch.float32)


def examine(name: str) -> Outcome:
    """Read, compare, colorize, write and compare one file."""
    from napari_colorize.errors import ColorizeError, ColorizeWarning
    from napari_colorize.io.images import read_image

    path = Path(name)
    kind = kind_of(path)
    with _captured_stderr() as printed, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            record = read_image(path, max_pixels=MAX_PIXELS)
        except ColorizeError as error:
            return _refusal(path, kind, str(error))
        except Exception as error:  # noqa: BLE001  what this tool looks for
            return Outcome(name, kind, "crashed", (f"{type(error).__name__}: {error}",))
    found = [f"prints {line!r}" for line in printed[:1]]
    foreign = [each for each in caught if not issubclass(each.category, ColorizeWarning)]
    found += [f"warns {str(each.message)[:80]!r}" for each in foreign[:1]]
    planes = record.array.reshape(-1, *record.array.shape[-3 if record.rgb else -2 :])
    ends = [planes[0], planes[-1]] if kind in ANIMATIONS and len(planes) > 1 else [planes[0]]
    ours = reading_of("this package", ends)
    seen = [ours]
    declared = record.declared_range
    if kind == "DICOM" and declared is not None and not record.rgb:
        # The functions of pydicom apply a window only if it applies to all frames.
        low, high = declared.limits
        windowed = np.clip((ours.luminance[0] - low) / (high - low), 0, 1)
        seen.append(replace(ours, luminance=[windowed], white=1.0))
    with warnings.catch_warnings(), _captured_stderr():
        warnings.simplefilter("ignore")
        others = readings(path)
        answers = [differences(mine, other) for other in others for mine in seen]
        found += min(answers, key=len, default=[])
        depth = max((other.bits for other in others), default=0)
        notes = " ".join(record.notes)
        if depth > 8 and ours.bits <= 8 and not re.search("bit", notes) and kind != "DICOM":
            found.append(f"{depth} bits became {ours.bits} without a note")
        if not found and record.array.size <= ROUND_TRIP_PIXELS:
            is_exact = ours.white is not None and declared is None
            found += _round_trip(path, seen[-1], is_exact=is_exact)
    return Outcome(name, kind, "differing" if found else "right", tuple(found))


def _refusal(path: Path, kind: str, sentence: str) -> Outcome:
    text = " ".join(sentence.split())
    if "more than the limit" in text:  # other readers might fill the memory
        return Outcome(str(path), kind, "refused", (f"refused: {text}",))
    with warnings.catch_warnings(), _captured_stderr():
        warnings.simplefilter("ignore")
        readers = ", ".join(each.reader for each in readings(path))
    # Some readers return the beginning of a truncated file, which is damaged nevertheless.
    is_claim = CLAIMS.search(text) and not re.search(r"truncated|ends before", text)
    is_false = INTERNALS.search(text) or (readers and is_claim)
    details = (f"refused: {text}", *([f"read by {readers}"] if readers else []))
    return Outcome(str(path), kind, "differing" if is_false else "refused", details)


def _round_trip(path: Path, ours: Reading, *, is_exact: bool) -> list[str]:
    """Differences between the image and its colorized result.

    `is_exact`: whether the result has the values of the image, not a window stretched to white.
    """
    from napari_colorize.batch.naming import plan_batch
    from napari_colorize.batch.runner import BatchRunner, ImageFailed, ImageWritten
    from napari_colorize.settings import ColorizeSettings

    settings = ColorizeSettings(render_factor=4, edges=False)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plan = plan_batch([str(path)], folder)
        runner = BatchRunner(colorizer=constant_colorizer(), settings=settings)
        events = list(runner.run(plan.jobs))
        failed = [event.error for event in events if isinstance(event, ImageFailed)]
        if failed:
            return [f"not written: {' '.join(str(failed[0]).split())}"]
        result = next(event for event in events if isinstance(event, ImageWritten))
        dropped = result.dropped.names if result.dropped else ()
        notes = " ".join([*result.notes, *dropped, *(str(each.message) for each in caught)])
        found = []
        with contextlib.suppress(Exception):  # formats that Pillow does not read
            found = lost_metadata(metadata_of(path), metadata_of(result.path), notes)
        seen = read_result(result.path)
        tolerance = (1 if kind_of(result.path) in ("PNG", "TIFF") else 3) / 255
        seen = replace(seen, reader="the result")
        texts = differences(replace(ours, is_exact=is_exact), seen, tolerance)
        return found + [f"result: {text}" for text in texts]


def read_result(path: Path) -> Reading:
    """A result with all its bits: TIFF by tifffile, PNG by imagecodecs, others by Pillow."""
    if kind_of(path) == "TIFF":
        return by_tifffile(path)
    reading = by_pillow(path)
    if kind_of(path) == "PNG" and len(reading.luminance) == 1:
        return by_imagecodecs(path)
    return reading


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """Context manager: lines that reach the terminal, also from C libraries; filled at its end."""
    lines: list[str] = []
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            text = file.read().decode(errors="replace")
            lines += [line.strip()[:100] for line in text.splitlines() if line.strip()]


class Workers:
    """Processes that examine files; one that exceeds the time limit or dies is replaced.

    Parameters
    ----------
    count : int
        Number of processes.
    limit : float
        Seconds for one file.
    """

    def __init__(self, count: int, limit: float) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._count, self._limit = count, limit

    def examine(self, names: Iterable[str]) -> Iterator[Outcome]:
        """Outcome of every file, in the order in which they are ready."""
        waiting = deque(names)
        free = [self._start() for _ in range(self._count)]
        busy: dict[Connection, tuple[Any, str, float]] = {}
        while waiting or busy:
            while waiting and free:
                process, pipe = free.pop()
                name = waiting.popleft()
                pipe.send(name)
                busy[pipe] = process, name, monotonic() + self._limit
            for pipe in wait(list(busy), timeout=1):
                process, name, _ = busy.pop(pipe)
                try:
                    yield pipe.recv()
                    free.append((process, pipe))
                except EOFError:
                    process.join()
                    yield _crashed(name, f"the process died with exit code {process.exitcode}")
                    free.append(self._start())
            for pipe, (process, name, end) in list(busy.items()):
                if monotonic() > end:
                    del busy[pipe]
                    process.kill()
                    yield _crashed(name, f"not finished after {self._limit:g} s")
                    free.append(self._start())
        for process, _ in free:
            process.kill()

    def _start(self) -> tuple[Any, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return process, ours


def _serve(pipe: Connection) -> None:
    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(EOFError):
        while True:
            name = pipe.recv()
            try:
                outcome = examine(name)
            except Exception as error:  # noqa: BLE001  reported in the table
                outcome = _crashed(name, f"{type(error).__name__}: {error}")
            pipe.send(outcome)


def _crashed(name: str, reason: str) -> Outcome:
    return Outcome(name, kind_of(Path(name)), "crashed", (reason,))


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown table of outcomes by format."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        for kind in (outcome.kind, "all"):
            counts[kind]["all"] += 1
            counts[kind][outcome.status] += 1
            if outcome.status == "refused" and len(outcome.details) > 1:
                counts[kind]["elsewhere"] += 1
    lines = [
        "| format | files | read right | refused with a true sentence | of these, read by another "
        "reader | differing | crashed |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    columns = ("all", "right", "refused", "elsewhere", "differing", "crashed")
    for kind, row in sorted(counts.items(), key=lambda item: (item[0] == "all", -item[1]["all"])):
        lines.append(f"| {kind} | {' | '.join(str(row[column]) for column in columns)} |")
    return "\n".join(lines)


def find_files(folder: str) -> tuple[list[str], tuple[str, ...]]:
    """Files that the command line would find, each content once, and what it leaves out.

    They are in the order of their checksums, so that a part of them is a random sample.
    """
    from napari_colorize.batch.discovery import Search

    search = Search()
    contents: dict[bytes, str] = {}
    for found in search.find([folder]):
        digest = hashlib.sha256(found.path.read_bytes()).digest()
        contents.setdefault(digest, str(found.path))
    return [contents[digest] for digest in sorted(contents)], search.left_out_notes()


def main() -> None:
    """Sweep a folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument("--out", type=Path, help="Markdown file for the table and the list")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one file")
    parser.add_argument("--every", type=int, default=1, help="examine every Nth file only")
    options = parser.parse_args()
    names, left_out = find_files(options.folder)
    print(*left_out, f"{len(names)} different files.", sep="\n", file=sys.stderr)
    outcomes = []
    with contextlib.suppress(KeyboardInterrupt):  # the table of what was done
        for outcome in Workers(options.jobs, options.limit).examine(names[:: options.every]):
            outcomes.append(outcome)
            if outcome.status not in ("right", "refused"):
                print(_line(outcome, options.folder), flush=True)
    print(table(outcomes))
    if options.out:
        ordered = sorted(outcomes, key=lambda each: (each.status, each.kind, each.path))
        lines = [_line(each, options.folder) for each in ordered if each.status != "right"]
        options.out.write_text("\n".join([table(outcomes), "", *lines, ""]), encoding="utf-8")


def _line(outcome: Outcome, folder: str) -> str:
    """One line of the list: status, format, file, and what was found."""
    path = os.path.relpath(outcome.path, folder)
    return f"- {outcome.status}: {outcome.kind}: {path}: {'; '.join(outcome.details)}"


if __name__ == "__main__":
    main()
