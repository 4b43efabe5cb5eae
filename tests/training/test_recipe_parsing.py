"""Recipes with keys of earlier versions load: files, changes, states and metadata."""

from __future__ import annotations

import json

import pytest
from napari_colorize_training.recipe import parse_recipe, read_recipe
from napari_colorize_training.recipe_parsing import RENAMED_KEYS, set_value, upgrade_keys
from tiny_training import tiny_table, to_toml

from napari_colorize.errors import SettingsError

OLD = {
    "name": "old",
    "title": "Every key that was renamed",
    "source": "A test",
    "settles": "Rates are ours.",
    "shown": {"saturation": 2.0},
    "snapshots": [5],
    "network": {"architecture": "convnet", "options": {"features": 8}},
    "data": {"shrink": [0.5, 1.0], "mirror": False},
    "optimizer": {"clip": 5.0, "average": 0.9, "lora": 2},
    "loss": {
        "pixel": "classes",
        "features": [20, 70, 10],
        "noise": 0.1,
        "colorfulness": 0.2,
        "classes": {
            "coding": "gaussian",
            "weighing": "mixture",
            "heaviest": 4.0,
            "regression": 10.0,
            "every": 2,
        },
    },
    "critic": {"name": "patch", "maps": 2, "smoothing": 0.1},
    "stages": [
        {
            "train": "gan",
            "side": 64,
            "batch": 4,
            "unfrozen": "later",
            "norm_statistics": "kept",
            "critic_until": 0.65,
            "noise": True,
            "features": False,
            "keep_every": 100,
            "cycled": True,
        }
    ],
}


def test_every_old_key_is_read_as_its_new_one():
    recipe = parse_recipe(OLD)

    assert recipe.notes == "Rates are ours." and recipe.export == {"saturation": 2.0}
    assert recipe.snapshot_epochs == (5,) and recipe.network.options == {"features": 8}
    assert recipe.data.crop_scale == (0.5, 1.0) and not recipe.data.horizontal_flip
    optimizer, loss, classes = recipe.optimizer, recipe.loss, recipe.loss.classes
    assert (optimizer.clip_grad_norm, optimizer.ema_decay, optimizer.lora_rank) == (5.0, 0.9, 2)
    assert loss.feature_weights == (20, 70, 10)
    assert (loss.noise_weight, loss.colorfulness_weight) == (0.1, 0.2)
    assert (classes.encoding, classes.weighting) == ("gaussian", "mixture")
    assert (classes.max_weight, classes.regression_weight, classes.pixel_stride) == (4.0, 10.0, 2)
    assert (recipe.critic.feature_layers, recipe.critic.label_smoothing) == (2, 0.1)
    (stage,) = recipe.stages
    assert (stage.trainable, stage.batch_norm) == ("except_first", "frozen_encoder")
    assert stage.critic_loss_threshold == 0.65 and stage.checkpoint_every == 100
    assert stage.noise_consistency and not stage.feature_loss and stage.in_cycle


def test_the_example_has_every_key_that_was_renamed():
    def keys(table, parent=""):
        for key, value in table.items():
            yield f"{parent}{key}"
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict):
                    yield from keys(item, f"{parent}{key}.")

    assert set(RENAMED_KEYS) <= set(keys(OLD))


@pytest.mark.parametrize(
    ("old", "new"), [("move", "update"), ("learn", "train"), ("kept", "frozen_encoder")]
)
def test_old_values_of_batch_norm_are_accepted(old, new):
    table = tiny_table(norm_statistics=old)

    assert parse_recipe(table).stages[0].batch_norm == new


def test_upgrading_twice_changes_nothing():
    upgraded = upgrade_keys(OLD)

    assert upgrade_keys(upgraded) == upgraded
    assert parse_recipe(json.loads(json.dumps(parse_recipe(OLD).to_dict()))) == parse_recipe(OLD)


def test_a_value_under_both_names_is_refused():
    table = tiny_table() | {"optimizer": {"average": 0.9, "ema_decay": 0.5}}

    with pytest.raises(SettingsError, match="optimizer.average and optimizer.ema_decay"):
        parse_recipe(table)


@pytest.mark.parametrize("name", ["optimizer.average", "optimizer.ema_decay"])
@pytest.mark.parametrize("key", ["average", "ema_decay"])
def test_a_change_applies_to_files_with_old_and_new_keys(name, key, tmp_path):
    table = tiny_table() | {"optimizer": {key: 0.9}}
    path = to_toml(table, tmp_path / "mine.toml")

    assert read_recipe(str(path), {name: 0.5}).optimizer.ema_decay == 0.5


def test_an_old_name_of_a_list_item_is_accepted():
    table = upgrade_keys(tiny_table())

    set_value(table, "stages.0.keep_every", 25)

    assert parse_recipe(table).stages[0].checkpoint_every == 25
