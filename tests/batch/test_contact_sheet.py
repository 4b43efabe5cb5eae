from __future__ import annotations

import numpy as np
import pytest

from napari_colorize.batch.contact_sheet import BACKGROUND, MARGIN, contact_sheet, fit


def flat(height: int, width: int, *color: int) -> np.ndarray:
    return np.full((height, width, len(color)), color, np.uint8)


def test_a_sheet_has_room_for_every_cell_and_its_label() -> None:
    sheet = contact_sheet([flat(30, 60, 255, 0, 0)] * 5, list("abcde"), cell=100)
    row = 50 + 10 + MARGIN  # an image of 100 x 50, its label, the margin
    assert sheet.shape == (MARGIN + 2 * row, MARGIN + 3 * (100 + MARGIN), 3)


def test_images_are_in_order_and_keep_their_aspect_ratio() -> None:
    red, blue = flat(40, 40, 255, 0, 0), flat(20, 40, 0, 0, 255)
    sheet = contact_sheet([red, blue], ["one", "two"], columns=2, cell=100)
    image = MARGIN + 10  # below the margin and the label
    assert (sheet[image : image + 100, MARGIN : MARGIN + 100] == (255, 0, 0)).all()
    right = sheet[image:, 2 * MARGIN + 100 : -MARGIN]
    assert (right[:50] == (0, 0, 255)).all()
    assert (right[50:] == BACKGROUND).all()


@pytest.mark.parametrize("label", ["x", "render factor 24", "a label that is far too long " * 3])
def test_a_label_is_legible_and_stays_above_its_image(label: str) -> None:
    sheet = contact_sheet([flat(9, 9, 0, 0, 0)] * 2, [label, ""], columns=2, cell=480)
    strip = sheet[MARGIN : MARGIN + 48]
    dark = (strip < 128).all(axis=-1)
    rows, columns = np.nonzero(dark)
    assert dark.sum() >= 20  # letters have strokes of more than one pixel
    assert rows.max() - rows.min() >= 7
    assert columns.min() >= MARGIN
    assert columns.max() < MARGIN + 480  # the neighbor without a label stays empty


def test_different_labels_look_different() -> None:
    sheets = [contact_sheet([flat(9, 9, 0, 0, 0)], [f"render factor {n}"]) for n in (8, 16)]
    assert not np.array_equal(*sheets)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (7, 5, 3), (7, 5, 4)])
def test_images_of_any_shape_fit(shape: tuple[int, ...]) -> None:
    image = np.zeros(shape, np.uint8)
    assert max(fit(image, 64).shape[:2]) == 64
    assert contact_sheet([image], ["any"], cell=64).shape[1] == 64 + 2 * MARGIN


def test_the_background_shows_through_transparent_pixels() -> None:
    sheet = contact_sheet([flat(8, 8, 9, 9, 9, 0)], [""], cell=64)
    assert (sheet == BACKGROUND).all()


def test_every_image_needs_a_label() -> None:
    with pytest.raises(ValueError, match="got 1 and 2"):
        contact_sheet([flat(1, 1, 0)], ["a", "b"])
