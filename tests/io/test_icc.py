"""ICC profiles are valid for RGB and display gray as before."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from napari_colorize.io import icc

RAMP = np.arange(256, dtype=np.uint8)[np.newaxis]


def srgb_of_light(light: np.ndarray) -> np.ndarray:
    """sRGB values of linear light (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def in_srgb(image: Image.Image, profile: bytes) -> np.ndarray:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, source, srgb, outputMode="RGB"), int)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_the_rgb_profile_displays_gray_as_before(gamma):
    gray = bytes(imagecodecs.cms_profile("gray", gamma=gamma))
    profile, notes = icc.for_rgb(gray)
    assert profile is not None
    assert notes == ()
    assert ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space == "RGB "
    displayed = in_srgb(Image.fromarray(np.stack([RAMP] * 3, axis=-1)), profile)
    expected = srgb_of_light((RAMP / 255) ** gamma) * 255
    np.testing.assert_allclose(displayed, np.stack([expected] * 3, axis=-1), atol=1)


def test_a_promoted_profile_keeps_its_name():
    gray = bytes(imagecodecs.cms_profile("gray", gamma=1.8))
    rgb_profile, _ = icc.for_rgb(gray)
    names = [ImageCms.getProfileDescription(io.BytesIO(one)) for one in (gray, rgb_profile)]
    assert names[0] == names[1]


def test_contents_of_a_promoted_profile_begin_at_multiples_of_four_bytes():
    gray = bytearray(imagecodecs.cms_profile("gray", gamma=1.8))
    (count,) = struct.unpack_from(">I", gray, 128)
    for entry in range(132, 132 + 12 * count, 12):
        name, start, size = struct.unpack_from(">4sII", gray, entry)
        if name in (b"desc", b"cprt"):
            struct.pack_into(">4sII", gray, entry, name, start, size - 1)

    profile, _ = icc.for_rgb(bytes(gray))

    (count,) = struct.unpack_from(">I", profile, 128)
    starts = [struct.unpack_from(">I", profile, 136 + 12 * number)[0] for number in range(count)]
    assert count > 6 and not any(start % 4 for start in starts)


def test_an_rgb_profile_is_unchanged():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert icc.for_rgb(srgb) == (srgb, ())


@pytest.mark.parametrize("profile", [None, b""])
def test_no_profile_gives_no_note(profile):
    assert icc.for_rgb(profile) == (None, ())


@pytest.mark.parametrize("profile", [b"short", bytes(16) + b"CMYK" + bytes(200), b"x" * 300])
def test_a_profile_that_does_not_fit_is_dropped_with_a_note(profile):
    assert icc.for_rgb(profile) == (None, (icc.DROPPED,))


@pytest.mark.parametrize("length", [20, 128, 131, 140, 200])
def test_a_truncated_gray_profile_is_dropped(length):
    gray = bytes(imagecodecs.cms_profile("gray", gamma=1.8))
    assert icc.for_rgb(gray[:length]) == (None, (icc.DROPPED,))
