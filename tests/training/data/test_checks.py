from __future__ import annotations

import numpy as np
import pytest
from napari_colorize_training.data.checks import (
    Problem,
    Report,
    difference_hash,
    fingerprint,
    is_colorless,
    is_tiny,
    near_duplicates,
)
from PIL import Image
from skimage import data


def bits_apart(first: np.ndarray, second: np.ndarray) -> int:
    return (difference_hash(first) ^ difference_hash(second)).bit_count()


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    return data.chelsea()


def test_a_scaled_and_brighter_image_is_a_near_duplicate(cat):
    small = np.asarray(Image.fromarray(cat).resize((200, 133), Image.Resampling.LANCZOS))
    brighter = (cat * 0.8 + 40).astype(np.uint8)

    assert bits_apart(cat, small) <= 2
    assert bits_apart(cat, brighter) <= 2
    assert bits_apart(cat, cat[:, ::-1]) > 10
    assert bits_apart(cat, data.astronaut()) > 10


def test_a_flat_image_has_no_near_duplicates():
    assert difference_hash(np.full((40, 40, 3), 200, np.uint8)) is None


@pytest.mark.parametrize("copies", [1, 30])
def test_near_duplicates_agree_with_comparing_all_pairs(copies):
    random = np.random.default_rng(0)
    hashes = [int(value) for value in random.integers(0, 2**63, 40, dtype=np.uint64)]
    hashes += [hashes[0]] * copies + [hashes[1] ^ 1, hashes[2] ^ (1 << 63 | 1 << 21)]
    hashes += [hashes[3] ^ 0b111, None, None]

    expected = [
        (i, j)
        for i, first in enumerate(hashes)
        for j, second in enumerate(hashes[:])
        if i < j and None not in (first, second) and (first ^ second).bit_count() <= 2
    ]

    assert near_duplicates(hashes) == expected
    assert len(expected) > copies


def test_gray_images_are_detected_even_after_jpeg(cat, tmp_path):
    gray = Image.fromarray(cat).convert("L").convert("RGB")
    gray.save(tmp_path / "gray.jpg", quality=60)
    red = np.full_like(cat, (130, 120, 120))

    assert is_colorless(np.asarray(Image.open(tmp_path / "gray.jpg")), 255)
    assert not is_colorless(red, 255)
    assert not is_colorless(cat.astype(np.uint16) * 16, 4095)


def test_the_short_side_determines_what_is_tiny():
    assert is_tiny(np.zeros((31, 900, 3)))
    assert not is_tiny(np.zeros((32, 32, 3)))


def test_a_fingerprint_depends_on_values_shape_and_dtype():
    zeros = np.zeros((4, 6, 3), np.uint8)
    others = [zeros.reshape(6, 4, 3), zeros.astype(np.uint16), zeros + 1, zeros[:, ::2]]

    assert fingerprint(zeros) == fingerprint(zeros.copy())
    assert len({fingerprint(array) for array in [zeros, *others]}) == 5
    assert fingerprint(zeros) != fingerprint(zeros, zeros)


def test_a_report_is_one_sentence_and_can_be_loaded(tmp_path):
    problems = [Problem(f"{name}.png", "gray", "it has one channel", "left out") for name in "ab"]
    problems += [Problem("c.png", "nearly the same", "as d.png", "kept in the same split")]
    report = Report("photos", 12, 8, 2, groups=4, paired=True, problems=tuple(problems))

    report.save(tmp_path)

    assert report.sentence() == (
        "10 of 12 images with gray images are used in 4 groups: 8 for training, 2 "
        "for validation; left out: 2 gray."
    )
    assert Report.load(tmp_path) == report
    assert (tmp_path / "report.txt").read_text().splitlines()[1:] == [str(one) for one in problems]
