"""A recipe is data: read whole or refused in a sentence."""

from __future__ import annotations

import json

import pytest
from napari_colorize_training.__main__ import app
from napari_colorize_training.recipe import (
    parse_change,
    read_recipe,
    recipe_from,
    recipe_names,
)
from tiny_training import tiny_table, to_toml
from typer.testing import CliRunner

from napari_colorize.errors import SettingsError
from napari_colorize.networks import ARCHITECTURES

PROMISED = {
    *("deoldify-artistic", "deoldify-stable", "deoldify-video", "ipol", "sagan-progressive"),
    *("pix2pix", "resnet18-unet", "zhang2016", "convnet-baseline", "convnet-gan", "dcgan-unet"),
    *("explo-baseline", "lab-autoencoder", "embedded"),
}


def test_every_system_that_was_promised_has_a_recipe():
    assert set(recipe_names()) == PROMISED


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_reads_and_survives_being_written(name):
    recipe = read_recipe(name)

    assert recipe.name == name and recipe.title and recipe.source
    assert recipe.network.architecture in ARCHITECTURES
    assert recipe_from(json.loads(json.dumps(recipe.as_table()))) == recipe


@pytest.mark.parametrize(("name", "cycles"), [("artistic", 5), ("stable", 3), ("video", 1)])
def test_deoldify_takes_its_rounds(name, cycles):
    recipe = read_recipe(f"deoldify-{name}")

    trained = [stage.train for stage in recipe.schedule()]

    assert trained[-2 * cycles :] == ["critic", "gan"] * cycles
    assert trained.count("gan") == cycles


def test_ipol_has_the_sizes_of_its_article():
    assert [stage.side for stage in read_recipe("ipol").schedule()] == [64, 64, 128, 192]


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("optimizer.lr=1e-4", ("optimizer.lr", 1e-4)),
        ("stages.0.side = 64", ("stages.0.side", 64)),
        ("data.mirror=false", ("data.mirror", False)),
        ("loss.features=[20, 70.0]", ("loss.features", [20, 70.0])),
        ("network.input=edges", ("network.input", "edges")),
    ],
)
def test_a_change_is_written_as_in_toml_or_is_a_word(text, change):
    assert parse_change(text) == change


def test_changes_take_the_place_of_what_the_recipe_says():
    recipe = read_recipe("ipol", {"optimizer.lr": 1, "stages.0.side": 96, "loss.pixel": "l2"})

    assert recipe.optimizer.lr == 1.0 and recipe.stages[0].side == 96 and recipe.loss.pixel == "l2"
    assert recipe.stages[1:] == read_recipe("ipol").stages[1:]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimizer.nosuch=1", "Recipes have no optimizer.nosuch"),
        ("optimizer.lr=fast", "optimizer.lr must be of type float, not 'fast'"),
        ("optimizer.lr=true", "must be of type float"),
        ("loss.pixel=l3", "choose one of: l1, l2"),
        ("data.shrink=0.5", "must be a list of 2 values"),
        ("data=5", "data must be a table"),
        ("stages.9.side=64", "is none of 0 to 3"),
        ("stages.0.side=8", "a side of 16 px"),
        ("stages.0.batch=0", "a batch of 1 at least"),
        ("stages.0.epochs=0", "A stage must last"),
        ("stages.0.steps=-1", "A stage must last"),
        ("stages.0.schedule=nosuch", "No schedule is called 'nosuch'"),
        ("stages.0.train=gan", "no table [critic]"),
        ("stages=[]", "has no stages"),
        ("name.x=1", "is a value, not a table"),
        ("nonsense", "is no change; write NAME=VALUE"),
    ],
)
def test_what_recipes_do_not_have_is_refused_in_a_sentence(change, said, tmp_path):
    run = ["--run", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]

    result = CliRunner().invoke(app, ["train", "ipol", str(tmp_path), "--set", change, *run])

    assert result.exit_code == 1 and said in result.stderr
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_unknown_recipe_is_answered_with_the_known_ones(tmp_path):
    result = CliRunner().invoke(app, ["train", "nosuch", str(tmp_path)])

    assert result.exit_code == 1
    assert "No recipe is called 'nosuch'" in result.stderr and "deoldify-video" in result.stderr


def test_a_recipe_may_be_a_file(tmp_path):
    path = to_toml(tiny_table(), tmp_path / "mine.toml")

    assert read_recipe(str(path)) == recipe_from(tiny_table())


def test_a_file_that_is_no_toml_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_text("[[")

    with pytest.raises(SettingsError, match="is no TOML file"):
        read_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("lacking", ["name", "network", "stages"])
def test_what_a_recipe_lacks_is_named(lacking):
    table = {key: value for key, value in tiny_table().items() if key != lacking}

    with pytest.raises(SettingsError, match=f"lacks {lacking}"):
        recipe_from(table)


def test_recipes_are_listed_for_people():
    listed = CliRunner().invoke(app, ["recipes"]).stdout.splitlines()

    assert [line.split()[0] for line in listed] == recipe_names()
    assert all(len(line.split()) > 3 for line in listed)


def test_recipes_are_listed_for_programs():
    listed = json.loads(CliRunner().invoke(app, ["recipes", "--json"]).stdout)

    assert [recipe_from(table) for table in listed] == [read_recipe(n) for n in recipe_names()]
