"""Stages become legs: cycles unrolled, epochs counted, sizes that the pictures have."""

from __future__ import annotations

from itertools import pairwise

import pytest
from napari_colorize_training.loop.stages import epoch_ends, expand_stages
from napari_colorize_training.recipe import read_recipe, recipe_from
from tiny_training import tiny, tiny_table


def staged(*stages: dict):
    usual = {"side": 64, "batch": 4}
    return recipe_from(tiny_table() | {"stages": [{**usual, **stage} for stage in stages]})


def test_epochs_are_counted_in_steps():
    legs = expand_stages(staged({"epochs": 2.0}, {"epochs": 0.5}), 80, largest_side=160)

    assert [(leg.first, leg.steps) for leg in legs] == [(0, 40), (40, 10)]


def test_a_small_set_has_one_step_at_least():
    assert expand_stages(staged({"epochs": 0.01}), 10, largest_side=160)[0].steps == 1


def test_stages_keep_their_shares_of_another_length():
    legs = expand_stages(staged({"steps": 100}, {"steps": 300}), 80, largest_side=160, steps=40)

    assert [leg.steps for leg in legs] == [10, 30]


def test_cycles_are_repeated_behind_what_comes_once():
    legs = expand_stages(read_recipe("deoldify-artistic"), 1000, largest_side=160)

    assert [leg.stage.train for leg in legs] == [
        *["generator"] * 4,
        "critic",
        *["critic", "gan"] * 5,
    ]
    assert [leg.number for leg in legs] == list(range(15))
    assert all(a.first + a.steps == b.first for a, b in pairwise(legs))


@pytest.mark.parametrize(("largest", "side"), [(200, 192), (160, 160), (150, 144), (10, 16)])
def test_a_stage_is_no_larger_than_the_pictures(largest, side):
    assert expand_stages(tiny(side=192), 8, largest_side=largest)[0].side == side


def test_an_epoch_ends_when_all_pictures_were_seen_over_all_stages():
    legs = expand_stages(
        staged({"steps": 3, "batch": 4}, {"steps": 4, "batch": 2}), 8, largest_side=160
    )

    assert epoch_ends(legs, 8) == [2, 5]  # 4, 8 | 12, 14, 16 | 18, 20


def test_a_batch_may_be_larger_than_the_set():
    legs = expand_stages(staged({"steps": 3, "batch": 4}), 3, largest_side=160)

    assert epoch_ends(legs, 3) == [1, 2, 3]
