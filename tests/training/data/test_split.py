from __future__ import annotations

import hashlib

import numpy as np
import pytest
from napari_colorize_training.data.sources import Item
from napari_colorize_training.data.split import grouping, hash_position, validation_split

from napari_colorize.errors import ImageError, SettingsError


def digests(count: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{number}".encode()).hexdigest() for number in range(count)]


def test_large_sets_have_the_requested_share():
    validates = validation_split(digests(5000), [None] * 5000, [], 0.1)

    assert np.mean(validates) == pytest.approx(0.1, abs=0.015)


def test_the_split_of_an_image_does_not_change_as_the_folder_grows():
    few, many = digests(300), digests(3000)
    before = validation_split(few, [None] * 300, [], 0.05)

    after = validation_split(many, [None] * 3000, [], 0.05)

    assert after[:300] == before


def test_groups_are_not_split_and_keep_their_split_as_others_are_added():
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
def test_no_split_is_empty(count, share):
    validates = validation_split(digests(count), [None] * count, [], share)

    assert 0 < sum(validates) < count


@pytest.mark.parametrize("salt", "abcdefgh")
def test_small_sets_have_at_least_half_of_the_share(salt):
    validates = validation_split(digests(20, salt), [None] * 20, [], 0.2)

    assert 2 <= sum(validates) <= 10


@pytest.mark.parametrize(("count", "expected"), [(40, 8), (100, 8), (12, 2)])
def test_eight_images_validate_if_they_are_at_most_a_fifth(count, expected):
    validates = validation_split(digests(count), [None] * count, [], 1e-9)

    assert sum(validates) == expected


def test_images_of_groups_count_for_the_minimum():
    groups = [f"slide{number % 10}" for number in range(100)]

    validates = validation_split(digests(100), groups, [], 1e-9)

    assert sum(validates) == 10  # one group


def test_near_duplicates_are_in_the_same_split():
    names = digests(200)
    pairs = [(number, number + 100) for number in range(100)]

    validates = validation_split(names, [None] * 200, pairs, 0.2)

    assert validates[:100] == validates[100:]
    assert 0 < sum(validates) < 200


def test_an_added_near_duplicate_moves_nothing_to_training():
    names = digests(400)
    before = validation_split(names[:200], [None] * 200, [], 0.2)

    after = validation_split(
        names, [None] * 400, [(number, number + 200) for number in range(200)], 0.2
    )

    assert all(later for earlier, later in zip(before, after[:200], strict=True) if earlier)


def test_frames_of_one_scene_are_split_as_independent_images():
    pairs = [(number, number + 1) for number in range(9)]

    split = validation_split(digests(10), [None] * 10, pairs, 0.1)

    assert split == [hash_position(digest) < 0.1 for digest in digests(10)]
    assert 0 < sum(split) < 10


def test_blank_tiles_do_not_connect_slides():
    groups = [f"slide{number // 5}" for number in range(50)]
    blanks = [(number, number + 5) for number in range(0, 45, 5)]

    assert validation_split(digests(50), groups, blanks, 0.3) == validation_split(
        digests(50), groups, [], 0.3
    )


def test_a_single_group_is_refused():
    with pytest.raises(ImageError, match="All images belong to one group, 'A'"):
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
def test_groups_are_defined_by_folder_prefix_pattern_or_column(group, expected):
    item = Item("a/b/slide7_12.png", None, columns={"group": "bag 3", "scanner": "X"})

    other = Item("never.png", None)

    assert grouping(group, [item, other])(item) == expected


@pytest.mark.parametrize("group", ["folder", "(never)"])
def test_a_group_option_that_matches_no_image_is_refused(group):
    with pytest.raises(SettingsError, match=r"No image belongs to a group .* a\.png does not"):
        grouping(group, [Item("a.png", None), Item("b.png", None)])


@pytest.mark.parametrize("group", ["slide", "(", "(a)(b)", "prefix:"])
def test_an_invalid_group_option_is_refused(group):
    with pytest.raises(SettingsError, match="one part in parentheses"):
        grouping(group, [Item("a.png", None)])
