from __future__ import annotations

import hashlib

import numpy as np
import pytest
from napari_colorize_training.data.sources import Item
from napari_colorize_training.data.split import grouping, validation_split

from napari_colorize.errors import ImageError, SettingsError


def digests(count: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{number}".encode()).hexdigest() for number in range(count)]


def test_about_the_share_that_was_asked_for_is_held_back():
    validates = validation_split(digests(5000), [None] * 5000, [], 0.1)

    assert np.mean(validates) == pytest.approx(0.1, abs=0.015)


def test_a_picture_held_back_stays_so_as_the_folder_grows():
    few, many = digests(300), digests(3000)
    before = validation_split(few, [None] * 300, [], 0.05)

    after = validation_split(many, [None] * 3000, [], 0.05)

    assert after[:300] == before


def test_a_group_is_never_on_both_sides_and_stays_as_others_join():
    groups = [f"slide{number % 40}" for number in range(400)]

    few = validation_split(digests(200), groups[:200], [], 0.2)
    many = validation_split(digests(400), groups, [], 0.2)

    sides = {
        group: {side for side, name in zip(many, groups, strict=True) if name == group}
        for group in groups
    }
    assert all(len(found) == 1 for found in sides.values())
    assert many[:200] == few
    assert 0 < sum(many) < 400


@pytest.mark.parametrize("share", [1e-9, 0.3, 1 - 1e-9])
@pytest.mark.parametrize("count", [2, 3, 20])
def test_no_side_is_ever_empty(count, share):
    validates = validation_split(digests(count), [None] * count, [], share)

    assert 0 < sum(validates) < count


@pytest.mark.parametrize("salt", "abcdefgh")
def test_small_sets_hold_back_half_of_the_share_at_least(salt):
    validates = validation_split(digests(20, salt), [None] * 20, [], 0.2)

    assert 2 <= sum(validates) <= 10


def test_near_duplicates_stay_together():
    names = digests(200)
    pairs = [(number, number + 100) for number in range(100)]

    validates = validation_split(names, [None] * 200, pairs, 0.2)

    assert validates[:100] == validates[100:]
    assert 0 < sum(validates) < 200


def test_a_near_duplicate_that_joins_moves_nothing_into_training():
    names = digests(400)
    before = validation_split(names[:200], [None] * 200, [], 0.2)

    after = validation_split(
        names, [None] * 400, [(number, number + 200) for number in range(200)], 0.2
    )

    assert all(later for earlier, later in zip(before, after[:200], strict=True) if earlier)


def test_frames_of_one_scene_are_divided_all_the_same():
    pairs = [(number, number + 1) for number in range(9)]

    assert 0 < sum(validation_split(digests(10), [None] * 10, pairs, 0.1)) < 10


def test_blank_tiles_do_not_tie_slides_together():
    groups = [f"slide{number // 5}" for number in range(50)]
    blanks = [(number, number + 5) for number in range(0, 45, 5)]

    assert validation_split(digests(50), groups, blanks, 0.3) == validation_split(
        digests(50), groups, [], 0.3
    )


def test_one_group_alone_is_told():
    with pytest.raises(ImageError, match="All pictures belong to one group, 'A'"):
        validation_split(digests(5), ["A"] * 5, [], 0.2)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (None, "bag 3"),
        ("folder", "b"),
        ("prefix:_", "slide7"),
        (r"^(slide\d+)_", "slide7"),
        (r"^(\w)/", "a"),
        (r"(never)", None),
        ("scanner", "X"),
    ],
)
def test_groups_are_told_by_folder_prefix_pattern_or_column(group, expected):
    item = Item("a/b/slide7_12.png", None, columns={"group": "bag 3", "scanner": "X"})

    assert grouping(group, [item])(item) == expected


@pytest.mark.parametrize("group", ["slide", "(", "(a)(b)", "prefix:"])
def test_a_group_that_makes_no_sense_is_told(group):
    with pytest.raises(SettingsError, match="one part in parentheses"):
        grouping(group, [Item("a.png", None)])
