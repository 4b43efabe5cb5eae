"""Stages of a run: unrolled cycles, epochs in steps, and limited sizes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from napari_colorize_training.loop.stages import epoch_ends, expand_stages
from napari_colorize_training.recipe import parse_recipe, read_recipe
from tiny_training import tiny, tiny_table

from napari_colorize.errors import SettingsError


def staged(*stages: dict):
    usual = {"side": 64, "batch": 4}
    return parse_recipe(tiny_table() | {"stages": [{**usual, **stage} for stage in stages]})


def test_epochs_are_converted_to_steps():
    runs = expand_stages(staged({"epochs": 2.0}, {"epochs": 0.5}), 80, largest_side=160)

    assert [(run.first_step, run.steps) for run in runs] == [(0, 40), (40, 10)]


def test_a_stage_has_at_least_one_step():
    assert expand_stages(staged({"epochs": 0.01}), 10, largest_side=160)[0].steps == 1


def test_a_stage_has_at_least_the_steps_of_the_recipe():
    recipe = staged({"epochs": 0.01, "min_steps": 50}, {"epochs": 1.0, "min_steps": 5})

    assert [run.steps for run in expand_stages(recipe, 40, largest_side=160)] == [50, 10]
    assert [run.steps for run in expand_stages(recipe, 40, largest_side=160, steps=6)] == [5, 1]


@pytest.mark.parametrize("name", ["deoldify-artistic", "deoldify-stable", "deoldify-video"])
def test_nogan_is_not_almost_nothing_on_a_small_set(name):
    runs = expand_stages(read_recipe(name), 5000, largest_side=192)

    for run in runs:
        if run.stage.train == "gan":
            assert run.steps >= 4 * run.stage.checkpoint_every


def test_a_run_from_a_later_stage_leaves_out_those_before():
    recipe = staged({"steps": 100}, {"steps": 20}, {"steps": 30})

    runs = expand_stages(recipe, 80, largest_side=160, first=1)

    assert [(run.index, run.first_step, run.steps) for run in runs] == [(1, 0, 20), (2, 20, 30)]
    with pytest.raises(SettingsError, match="has 3 stages, no stage 4"):
        expand_stages(recipe, 80, largest_side=160, first=3)


def test_stages_keep_their_shares_of_another_length():
    runs = expand_stages(staged({"steps": 100}, {"steps": 300}), 80, largest_side=160, steps=40)

    assert [run.steps for run in runs] == [10, 30]


def test_cycles_are_repeated_after_the_other_stages():
    runs = expand_stages(read_recipe("deoldify-artistic"), 1000, largest_side=160)

    assert [run.stage.train for run in runs] == [
        *["generator"] * 4,
        "critic",
        *["critic", "gan"] * 5,
    ]
    assert [run.index for run in runs] == list(range(15))
    assert all(a.first_step + a.steps == b.first_step for a, b in pairwise(runs))


@pytest.mark.parametrize(("largest", "side"), [(200, 192), (160, 160), (150, 144), (10, 16)])
def test_crops_are_no_larger_than_the_images(largest, side):
    assert expand_stages(tiny(side=192), 8, largest_side=largest)[0].side == side


def test_epochs_are_counted_over_all_stages():
    runs = expand_stages(
        staged({"steps": 3, "batch": 4}, {"steps": 4, "batch": 2}), 8, largest_side=160
    )

    assert epoch_ends(runs, 8) == [2, 5]  # 4, 8 | 12, 14, 16 | 18, 20


def test_a_batch_may_be_larger_than_the_set():
    runs = expand_stages(staged({"steps": 3, "batch": 4}), 3, largest_side=160)

    assert epoch_ends(runs, 3) == [1, 2, 3]
