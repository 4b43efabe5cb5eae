"""Distillation: the mean prediction of several frozen networks is the target."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from napari_colorize_training.loop.content_loss import mirrored
from napari_colorize_training.loop.initialize import open_base
from napari_colorize_training.recipe import Recipe, parse_recipe, read_recipe
from tiny_training import cached, log_of, log_quickly, run, tiny_table
from typer.testing import CliRunner

from napari_colorize.errors import SettingsError
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo.weights import write_weights


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return cached(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> tuple[Path, Path]:
    """Two region networks with other weights."""
    folder = tmp_path_factory.mktemp("models")
    return _model(folder / "first.safetensors", 0), _model(folder / "second.safetensors", 1)


def _model(path: Path, seed: int, architecture: str = "region") -> Path:
    torch.manual_seed(seed)
    network = ARCHITECTURES[architecture].create()
    if architecture == "region":  # a new head predicts nearly the same everywhere
        torch.nn.init.normal_(network.head.bias)
    write_weights(path, network.state_dict(), {"license": "MIT"})
    return path


def _recipe(**loss: object) -> Recipe:
    table = read_recipe("distilled").to_dict()
    table["data"] |= {"degrade": "none", "mixup_share": 0.0}
    table["network"]["options"] = {}
    table["loss"] |= {"weight": 0.0, "distillation_weight": 1.0, "distillation_mirrored": False}
    table["loss"] |= loss
    table["stages"] = [
        {
            **table["stages"][0],
            "side": 32,
            "batch": 4,
            "steps": 6,
            "lr": 1e-9,
        }
    ]
    return parse_recipe(table)


def _loss(
    cache: Path, folder: Path, monkeypatch, base: Path, *teachers: Path, **loss: object
) -> float:
    log_quickly(monkeypatch, every=1)
    run(  # the learning rate is too small to change a weight
        _recipe(**loss),
        folder,
        cache,
        base=open_base(base),
        teachers=tuple(open_base(each) for each in teachers),
        teacher_names=tuple(map(str, teachers)),
    )
    rows = log_of(folder)
    return sum(float(row["G_distillation"]) for row in rows) / len(rows)


@pytest.mark.parametrize(("width", "column"), [(160, 0), (160, 3), (144, 1), (68, 2)])
def test_a_mirrored_sample_has_the_same_pixels(width, column):
    output = torch.arange(width // 4).expand(1, 1, 3, -1)

    stride, row, other = mirrored((4, 1, column), width)

    assert (stride, row) == (4, 1)
    of_mirror = output.flip(-1)[..., row::stride, other::stride].flip(-1)
    assert torch.equal(of_mirror, output[..., 1::4, column::4])
    assert mirrored(None, width) is None


def test_the_target_is_the_mean_of_the_teachers(cache, models, tmp_path, monkeypatch):
    first, second = models

    def loss(name: str, *teachers: Path) -> float:
        return _loss(cache, tmp_path / name, monkeypatch, first, *teachers)

    itself, of_base, other = loss("a", first), loss("b"), loss("c", second)
    both = loss("d", first, second)

    assert itself == of_base
    assert itself < 0.2 * both  # not 0, because the student's batch norms use the batch
    assert both < 0.5 * other  # half of the way in logits: about a quarter


def test_mirrored_teachers_are_nearly_the_same(cache, models, tmp_path, monkeypatch):
    first, second = models
    plain = _loss(cache, tmp_path / "a", monkeypatch, first, second)

    flipped = _loss(cache, tmp_path / "b", monkeypatch, first, second, distillation_mirrored=True)

    assert flipped == pytest.approx(plain, rel=0.05)
    assert flipped != plain


def test_mixed_images_count_only_in_the_distillation(cache, models, tmp_path, monkeypatch):
    log_quickly(monkeypatch, every=1)
    rows = {}
    for share in (0.0, 0.5):
        table = _recipe(weight=1.0).to_dict()
        table["data"]["mixup_share"] = share
        folder = tmp_path / str(share)
        run(parse_recipe(table), folder, cache, base=open_base(models[0]))
        rows[share] = log_of(folder)[0]

    # The truth of two crops, not of four.
    assert float(rows[0.5]["G_classes"]) != float(rows[0.0]["G_classes"])
    assert float(rows[0.5]["G"]) == pytest.approx(
        float(rows[0.5]["G_classes"]) + float(rows[0.5]["G_distillation"]), rel=1e-5
    )


def test_mixed_images_need_teachers_and_no_critic():
    table = tiny_table() | {"data": {"mixup_share": 0.25}}
    with pytest.raises(SettingsError, match="needs a distillation loss"):
        parse_recipe(table)

    table |= {"loss": {"distillation_weight": 1.0}, "critic": {"name": "sagan"}}
    table["stages"][0]["train"] = "gan"
    with pytest.raises(SettingsError, match="stages without a critic"):
        parse_recipe(table)


def test_teachers_that_do_not_fit_are_refused(cache, models, tmp_path):
    other = open_base(_model(tmp_path / "other.safetensors", 0, "lab-autoencoder"))
    with pytest.raises(SettingsError, match="A teacher is a 'lab-autoencoder'"):
        run(_recipe(), tmp_path / "a", cache, base=open_base(models[0]), teachers=(other,))

    with pytest.raises(SettingsError, match="Teachers need a distillation loss"):
        run(
            _recipe(distillation_weight=0.0),
            tmp_path / "b",
            cache,
            base=open_base(models[0]),
            teachers=(open_base(models[1]),),
        )


def test_the_command_line_reads_teachers(cache, models, tmp_path):
    from napari_colorize_training.__main__ import app

    arguments = ["train", "distilled", str(cache.parent / "images"), "--run", str(tmp_path / "run")]
    arguments += ["--cache", str(tmp_path / "cache"), "--base", str(models[0]), "--steps", "1"]
    arguments += ["--set", "stages.0.side=32", "--set", "stages.0.batch=2"]
    for model in models:
        arguments += ["--teacher", str(model)]

    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "run" / "model.safetensors").exists()

    # Another teacher is another run.
    refused = CliRunner().invoke(app, [*arguments, "--teacher", str(models[0])])
    assert refused.exit_code != 0
