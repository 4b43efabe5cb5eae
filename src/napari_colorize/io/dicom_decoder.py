"""Plugin of pydicom that decodes compressed DICOM frames with imagecodecs.

pydicom itself decodes RLE and, with Pillow, 8-bit JPEG and some JPEG 2000. imagecodecs, which is
always installed, decodes the other compressions. `decoder_of` returns pydicom's decoder with this
plugin added.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from pydicom.pixels.common import PhotometricInterpretation as PI
from pydicom.pixels.decoders.base import Decoder, DecodeRunner, get_decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from napari_colorize.array_types import AnyArray

PLUGIN = "imagecodecs"


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


def _decode_rle(data: bytes) -> AnyArray:
    """Bytes of an RLE frame with one segment: pixels of one bit, which pydicom does not decode."""
    return np.frombuffer(imagecodecs.dicomrle_decode(data, np.uint8), np.uint8)


def _inflate(data: bytes) -> AnyArray:
    return np.frombuffer(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data), np.uint8)


_JPEG: dict[UID, Callable[[bytes], AnyArray]] = dict.fromkeys(
    (*JPEGTransferSyntaxes, *RETIRED_JPEG), imagecodecs.jpeg_decode
)
_CODECS: dict[UID, Callable[[bytes], AnyArray]] = {
    **_JPEG,
    **dict.fromkeys(JPEGLSTransferSyntaxes, imagecodecs.jpegls_decode),
    **dict.fromkeys(JPEG2000TransferSyntaxes, imagecodecs.jpeg2k_decode),
    **dict.fromkeys(JPEG_XL, imagecodecs.jpegxl_decode),
    RLELossless: _decode_rle,
    DEFLATED_FRAMES: _inflate,
}
_NATIVE = (RLELossless, DEFLATED_FRAMES)  # samples are arranged as in uncompressed frames
DECODER_DEPENDENCIES = dict.fromkeys(_CODECS, (PLUGIN,))
"""Required of a plugin by pydicom."""


def is_available(syntax: str) -> bool:
    """Whether this plugin decodes a transfer syntax; required of a plugin by pydicom."""
    return syntax in _CODECS


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
    if known is not None and PLUGIN not in decoder.available_plugins:
        decoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))
    return decoder


def decode_frame(data: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame and tell `runner` how its bytes are arranged.

    Called by pydicom, which then corrects signs and converts colors.
    """
    syntax = runner.transfer_syntax
    options: dict[str, Any] = {}
    if syntax in _JPEG and runner.samples_per_pixel == 3:
        # Without these the decoder converts to RGB, and pydicom would convert once more.
        options = {"colorspace": "YCBCR", "outcolorspace": "YCBCR"}
    samples = _CODECS[syntax](data, **options)
    if syntax in _NATIVE:
        samples = _native_samples(samples, runner)
    elif runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
        if runner.photometric_interpretation in (PI.YBR_ICT, PI.YBR_RCT) or syntax in JPEG_XL:
            runner.set_option("photometric_interpretation", PI.RGB)  # converted by the codec
    if samples.size != runner.frame_length(unit="pixels"):
        raise ValueError(
            f"the frame has the shape {samples.shape} instead of {runner.rows} x {runner.columns}"
        )
    runner.set_option("bits_allocated", 8 * samples.dtype.itemsize)
    return samples.tobytes()


def _native_samples(data: AnyArray, runner: DecodeRunner) -> AnyArray:
    """Samples in the bytes of an uncompressed frame; bits become bytes."""
    count = int(runner.frame_length(unit="pixels"))
    if data.size < count:
        return np.unpackbits(data, bitorder="little", count=count)
    size = runner.bits_allocated // 8
    return data[: count * size].view(f"u{size}")
