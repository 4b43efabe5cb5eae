"""Plugin of pydicom that decodes compressed DICOM frames with imagecodecs.

pydicom itself decodes RLE and, with Pillow, 8-bit JPEG and some JPEG 2000. Its use of Pillow shifts
the values of signed JPEG 2000 in a file of unsigned values, and converts the colors of JPEG with
Adobe's marker twice. imagecodecs, which is always installed, decodes all compressions but RLE of
several bits. `decoder_of` returns pydicom's decoder with this
plugin added.
"""

from __future__ import annotations

import zlib
from contextlib import suppress

import imagecodecs
import numpy as np
from pydicom.pixels.common import PhotometricInterpretation as PI
from pydicom.pixels.decoders.base import Decoder, DecodeRunner, get_decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from napari_colorize.array_types import AnyArray
from napari_colorize.io.declared_sizes import declared_shape

PLUGIN = "imagecodecs"
_END_OF_IMAGE = b"\xff\xd9"
_ADOBE, _ADOBE_TRANSFORM = b"\xff\xee\0\x0eAdobe", 6  # marker; position of a byte after it


class NewSyntax(UID):
    """Transfer syntax of compressed frames that pydicom's dictionary does not contain."""

    is_encapsulated = True
    is_compressed = True
    is_implicit_VR = False
    is_little_endian = True
    is_deflated = False


# DICOM PS3.6 A. The retired processes of JPEG differ in the order of coefficients, which libjpeg
# recognizes.
DEFLATED_FRAMES = NewSyntax("1.2.840.10008.1.2.8.1")
JPEG_XL = tuple(NewSyntax(f"1.2.840.10008.1.2.4.{number}") for number in (110, 111, 112))
RETIRED_JPEG = tuple(UID(f"1.2.840.10008.1.2.4.{number}") for number in (52, 53, 54, 55, 56))


_CODECS: dict[UID, str] = {
    **dict.fromkeys((*JPEGTransferSyntaxes, *RETIRED_JPEG), "jpeg"),
    **dict.fromkeys(JPEGLSTransferSyntaxes, "jpegls"),
    **dict.fromkeys(JPEG2000TransferSyntaxes, "jpeg2k"),
    **dict.fromkeys(JPEG_XL, "jpegxl"),
    RLELossless: "dicomrle",  # of pixels of one bit; pydicom decodes the others
    DEFLATED_FRAMES: "zlib",
}
DECODER_DEPENDENCIES = dict.fromkeys(_CODECS, (PLUGIN,))
"""Required of a plugin by pydicom."""


_LOSSLESS_JPEG = (JPEGLossless, JPEGLosslessSV1)


def is_available(syntax: str) -> bool:
    """Whether this plugin decodes a transfer syntax; required of a plugin by pydicom."""
    return syntax in _CODECS and getattr(imagecodecs, _CODECS[UID(syntax)].upper()).available


def decoder_of(syntax: UID) -> Decoder:
    """Return pydicom's decoder of a transfer syntax, extended by this plugin.

    Raises
    ------
    NotImplementedError
        If there is none.
    """
    known = next((each for each in _CODECS if each == syntax), None)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        if known is None:
            raise
        decoder = Decoder(known)
    if known is not None:
        with suppress(ValueError):  # it was added before
            decoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))
    return decoder


def preferred_plugin(decoder: Decoder) -> str:
    """Name of this plugin, or "" for all plugins in pydicom's order."""
    plugins = decoder.available_plugins
    return PLUGIN if PLUGIN in plugins and RLELossless != decoder.UID else ""


def decode_frame(data: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame and tell `runner` how its bytes are arranged.

    Called by pydicom, which then corrects signs and converts colors.
    """
    syntax = runner.transfer_syntax
    codec = getattr(imagecodecs, f"{_CODECS[syntax]}_decode")
    if syntax == RLELossless:
        return _native_samples(codec(data, np.uint8), runner)
    if syntax == DEFLATED_FRAMES:  # without zlib's header, which imagecodecs requires
        length = int(runner.frame_length(unit="bytes"))
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, length)
        return _native_samples(inflated, runner)
    if declared := declared_shape(data):
        _check_size(declared, runner)  # before so many pixels are decoded
    samples = _decode_jpeg(data, runner) if _CODECS[syntax] == "jpeg" else codec(data)
    _check_size(samples.shape[:2], runner)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
        if runner.photometric_interpretation in (PI.YBR_ICT, PI.YBR_RCT) or syntax in JPEG_XL:
            runner.set_option("photometric_interpretation", PI.RGB)  # converted by the codec
    runner.set_option("bits_allocated", 8 * samples.dtype.itemsize)
    return samples.tobytes()


def _check_size(size: tuple[int, ...], runner: DecodeRunner) -> None:
    if size != (runner.rows, runner.columns):
        sides = " x ".join(map(str, size))
        raise ValueError(f"a frame has {sides} pixels instead of {runner.rows} x {runner.columns}")


def _decode_jpeg(data: bytes, runner: DecodeRunner) -> AnyArray:
    if _END_OF_IMAGE not in data:  # libjpeg fills the rest of a truncated image with gray
        raise ValueError("the frame is truncated")
    if runner.samples_per_pixel != 3:
        samples = imagecodecs.jpeg_decode(data)
        if runner.transfer_syntax not in _LOSSLESS_JPEG:
            # Lossy values can exceed the stored bits, and pydicom would drop their highest bit.
            samples = samples.clip(max=2**runner.bits_stored - 1)
        return samples
    # Adobe's marker says whether colors were converted to YCbCr, whatever the data set says.
    _, marker, content = data.partition(_ADOBE)
    if marker:
        is_ycbcr = content[_ADOBE_TRANSFORM] == 1
        runner.set_option("photometric_interpretation", PI.YBR_FULL if is_ycbcr else PI.RGB)
    # Without color spaces the codec converts to RGB, and pydicom would convert once more.
    return imagecodecs.jpeg_decode(data, colorspace="YCBCR", outcolorspace="YCBCR")


def _native_samples(data: bytes, runner: DecodeRunner) -> bytes:
    """Samples of a frame that is arranged as in uncompressed files; bits become bytes."""
    count = int(runner.frame_length(unit="pixels"))
    if len(data) >= count:
        return data[: count * runner.bits_allocated // 8]
    runner.set_option("bits_allocated", 8)
    bits = np.frombuffer(data, np.uint8)
    return np.unpackbits(bits, bitorder="little", count=count).tobytes()
