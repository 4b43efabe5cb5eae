"""Recipes are read from TOML, or refused with a message that names the error."""

from __future__ import annotations

import json

import pytest
from napari_colorize_training.__main__ import app
from napari_colorize_training.recipe import (
    parse_change,
    parse_recipe,
    read_recipe,
    recipe_names,
)
from tiny_training import tiny_table, to_toml
from typer.testing import CliRunner

from napari_colorize.errors import SettingsError
from napari_colorize.networks import ARCHITECTURES

EXPECTED = {
    *("deoldify-artistic", "deoldify-stable", "deoldify-video", "ipol", "sagan-progressive"),
    *("pix2pix", "resnet18-unet", "zhang2016", "convnet-baseline", "convnet-gan", "dcgan-unet"),
    *("explo-baseline", "lab-autoencoder", "compact", "embedded"),
}


def test_every_published_system_has_a_recipe():
    assert set(recipe_names()) == EXPECTED


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_unchanged_by_writing_and_reading(name):
    recipe = read_recipe(name)

    assert recipe.name == name and recipe.title and recipe.source
    assert recipe.network.architecture in ARCHITECTURES
    assert parse_recipe(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(("name", "cycles"), [("artistic", 5), ("stable", 3), ("video", 1)])
def test_deoldify_repeats_its_critic_and_gan_stages(name, cycles):
    recipe = read_recipe(f"deoldify-{name}")

    trained = [stage.train for stage in recipe.unrolled_stages()]

    assert trained[-2 * cycles :] == ["critic", "gan"] * cycles
    assert trained.count("gan") == cycles


def test_ipol_has_the_image_sizes_of_the_article():
    assert [stage.side for stage in read_recipe("ipol").unrolled_stages()] == [64, 64, 128, 192]


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("optimizer.lr=1e-4", ("optimizer.lr", 1e-4)),
        ("stages.0.side = 64", ("stages.0.side", 64)),
        ("data.horizontal_flip=false", ("data.horizontal_flip", False)),
        ("loss.feature_weights=[20, 70.0]", ("loss.feature_weights", [20, 70.0])),
        ("network.input=edges", ("network.input", "edges")),
    ],
)
def test_a_change_has_a_toml_value_or_a_plain_word(text, change):
    assert parse_change(text) == change


def test_changes_replace_values_of_the_recipe():
    recipe = read_recipe("ipol", {"optimizer.lr": 1, "stages.0.side": 96, "loss.pixel": "l2"})

    assert recipe.optimizer.lr == 1.0 and recipe.stages[0].side == 96 and recipe.loss.pixel == "l2"
    assert recipe.stages[1:] == read_recipe("ipol").stages[1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimizer.nosuch=1", "Recipes have no key optimizer.nosuch"),
        ("optimizer.lr=fast", "optimizer.lr must be of type float, not 'fast'"),
        ("optimizer.lr=true", "must be of type float"),
        ("loss.pixel=l3", "choose one of: l1, l2"),
        ("data.crop_scale=0.5", "must be a list of 2 values"),
        ("data=5", "data must be a table"),
        ("stages.9.side=64", "is not one of 0 to 3"),
        ("stages.0.side=8", "a side of at least 16 px"),
        ("stages.0.batch=0", "a batch of at least 1"),
        ("stages.0.epochs=0", "needs epochs above 0 or at least 1 step"),
        ("stages.0.steps=-1", "needs epochs above 0 or at least 1 step"),
        ("stages.0.schedule=nosuch", "No schedule is named 'nosuch'"),
        ("stages.0.train=gan", "no table [critic]"),
        ("stages=[]", "has no stages"),
        ("name.x=1", "is a value, not a table"),
        ("nonsense", "is not a change of the form NAME=VALUE"),
    ],
)
def test_invalid_changes_are_refused_with_one_line(change, message, tmp_path):
    run = ["--run", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]

    result = CliRunner().invoke(app, ["train", "ipol", str(tmp_path), "--set", change, *run])

    assert result.exit_code == 2 and message in result.stderr
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_unknown_recipe_lists_the_known_ones(tmp_path):
    result = CliRunner().invoke(app, ["train", "nosuch", str(tmp_path)])

    assert result.exit_code == 1
    assert "No recipe is named 'nosuch'" in result.stderr and "deoldify-video" in result.stderr


def test_a_recipe_may_be_a_file(tmp_path):
    path = to_toml(tiny_table(), tmp_path / "mine.toml")

    assert read_recipe(str(path)) == parse_recipe(tiny_table())


def test_an_invalid_toml_file_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_text("[[")

    with pytest.raises(SettingsError, match="is not a valid TOML file"):
        read_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("lacking", ["name", "network", "stages"])
def test_a_missing_key_is_named(lacking):
    table = {key: value for key, value in tiny_table().items() if key != lacking}

    with pytest.raises(SettingsError, match=f"lacks {lacking}"):
        parse_recipe(table)


def test_recipes_are_listed_as_text():
    listed = CliRunner().invoke(app, ["recipes"]).stdout.splitlines()

    assert [line.split()[0] for line in listed] == recipe_names()
    assert all(len(line.split()) > 3 for line in listed)


def test_recipes_are_listed_as_json():
    listed = json.loads(CliRunner().invoke(app, ["recipes", "--json"]).stdout)

    assert [parse_recipe(table) for table in listed] == [read_recipe(n) for n in recipe_names()]
