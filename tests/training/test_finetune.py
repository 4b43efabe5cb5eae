"""Fine-tuning of a small base on images that are easy, or that contradict each other."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from napari_colorize_training.__main__ import app
from napari_colorize_training.data import Crops, ImageCache, prepare
from napari_colorize_training.data.batch import prepare_batch
from napari_colorize_training.data.checks import Problem
from napari_colorize_training.data.decode import decode
from napari_colorize_training.data.split import hash_position
from napari_colorize_training.evaluation.evaluate import evaluate
from napari_colorize_training.evaluation.metrics import ciede2000
from napari_colorize_training.evaluation.records import EvaluationConfig
from napari_colorize_training.finetune import (
    SIZES,
    finetune,
    recipe_for,
)
from napari_colorize_training.loop.engine import Trainer
from napari_colorize_training.loop.options import RunOptions
from napari_colorize_training.loop.progress import STOPPED, JsonLines, RunControl
from napari_colorize_training.model_card import write_card
from napari_colorize_training.models.export import add_tensors
from napari_colorize_training.recipe import DataConfig, read_recipe
from PIL import Image
from typer.testing import CliRunner

from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ImageError, OutputError, SettingsError
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo import load
from napari_colorize.zoo.weights import read_weights, write_weights

TINY = {"stages.0.side": 32, "stages.0.checkpoint_every": 25, "stages.0.batch": 4}
SMALL = {
    "convnet": {"widths": (8, 8, 16, 16, 32, 32)},
    "pix2pix": {"width": 8},
    "dcgan-unet": {"widths": (8, 16, 16, 32)},
    "zhang-eccv16": {"width": 8},
    "compact": {"widths": (16, 16, 16), "upsampled": (16, 16, 16)},
    "region": {"width": 64, "heads": 2, "blocks": 1},
}


def image(seed: int, color: tuple[float, float, float] = (1.0, 0.6, 0.3)) -> np.ndarray:
    """Return smooth shades of one color, uint8 (48, 56, 3): gray determines the color."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(40, 250, (6, 7), dtype=np.uint8))
    shades = np.asarray(coarse.resize((56, 48), Image.Resampling.BICUBIC), float)
    return (shades[..., None] * color).round().astype(np.uint8)


def write_base(path: Path, name: str = "convnet") -> Path:
    torch.manual_seed(0)
    state = ARCHITECTURES[name].create(**SMALL[name]).state_dict()
    write_weights(path, {key: value.half() for key, value in state.items()}, {"license": "MIT"})
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "small.safetensors")


@pytest.fixture(scope="module")
def learned(base, tmp_path_factory):
    """A successful fine-tuning: its result and its events."""
    out = tmp_path_factory.mktemp("learned") / "mine.safetensors"
    lines = io.StringIO()
    result = finetune(
        [image(n) for n in range(10)],
        base,
        out,
        steps=60,
        changes={**TINY, "optimizer.lr": 3e-3, "stages.0.encoder_lr": 3e-3},
        precision="float32",
        progress=JsonLines(lines),
    )
    return result, [json.loads(line) for line in lines.getvalue().splitlines()]


def test_a_small_base_becomes_better_on_images_of_one_kind(learned):
    result, _ = learned

    assert result.improved
    assert result.after.ciede2000 < 0.8 * result.before.ciede2000
    assert result.after.ciede2000 < result.after.ciede2000_gray
    assert result.report.training + result.report.validation == 10
    assert f"{result.path} is better than its base" in result.sentence


def test_the_model_loads_in_the_core_and_the_command_line(learned, tmp_path):
    from napari_colorize.cli import app as shell

    path = learned[0].path
    Image.fromarray(image(0)).convert("L").save(tmp_path / "gray.png")

    rgb = Colorizer.from_pretrained(path)(image(0)[..., 0]).rgb
    result = CliRunner().invoke(
        shell,
        [
            "image",
            str(tmp_path / "gray.png"),
            "-o",
            str(tmp_path / "out.png"),
            "--model",
            str(path),
        ],
    )

    assert rgb.shape == (48, 56, 3)
    assert result.exit_code == 0, result.output


def test_the_card_names_images_that_were_left_out(learned, tmp_path):
    result, _ = learned
    gone = Problem("a/b.png", "unreadable", "it is damaged", "left out")
    recipe = recipe_for(load("embedded")[0], 10)
    changed = replace(
        result, path=tmp_path / "gone", report=replace(result.report, problems=(gone,))
    )

    card, _ = write_card(changed, recipe, load("embedded")[0], Image.new("RGB", (8, 8)))

    assert "\na/b.png: unreadable (it is damaged); left out.\n" in card.read_text()
    assert "Problems of the data" not in result.path.with_suffix(".md").read_text()


def test_the_card_has_counts_scores_recipe_and_a_sheet(learned):
    result, _ = learned
    text = result.path.with_suffix(".md").read_text()

    assert f"Trained on {result.report.training} images" in text
    gray, before = result.after.ciede2000_gray, result.before.ciede2000
    assert f"| color error (CIEDE2000) | {gray:.2f} | {before:.2f} | " in text
    assert "small (convnet)" in text and "MIT" in text
    recipe = json.loads(text.split("```json")[1].split("```")[0])
    assert recipe["optimizer"]["lr"] == 3e-3
    with Image.open(result.path.with_suffix(".png")) as sheet:
        assert sheet.width > sheet.height / 2 > 100
    assert decode(result.path.with_suffix(".png"), 160).predicted  # no training image


def test_the_scores_are_reported_before_the_end(learned):
    result, events = learned

    *_, figures, end = events
    curve = [event["step"] for event in events if event["event"] == "validation"]
    assert curve[:2] == [0, 25]  # the base comes first
    assert figures["event"] == "finetuned" and figures["improved"] is True
    assert figures["after"]["ciede2000"] == pytest.approx(result.after.ciede2000)
    assert end == {"event": "done", "model": str(result.path)}
    assert [event["event"] for event in events].count("done") == 1


def test_only_model_card_and_sheet_remain(learned):
    path = learned[0].path

    assert sorted(item.name for item in path.parent.iterdir()) == [
        "mine.md",
        "mine.png",
        "mine.safetensors",
    ]


@pytest.fixture
def misleading() -> dict[str, list]:
    """Return blue training images, and validation images with the colors of the base."""
    orange, blue = sorted(("a", "b"), key=lambda name: hash_position(f"group {name}"))
    own = [image(n) for n in range(30, 34)]
    other = [image(n, color=(0.3, 0.6, 1.0)) for n in range(40, 44)]
    return {"color": [*own, *other], "group": [orange] * 4 + [blue] * 4}


WILD = {**TINY, "optimizer.lr": 3e-2, "stages.0.encoder_lr": 3e-2, "optimizer.ema_decay": 0.0}


@pytest.mark.parametrize(
    ("group", "changes"), [("prefix:_", {}), (None, {"data.validation_share": 0.5})]
)
def test_an_evaluation_measures_the_validation_images_of_the_card(base, tmp_path, group, changes):
    folder = tmp_path / "tiles"
    folder.mkdir()
    for number in range(24):
        Image.fromarray(image(number)).save(folder / f"{'abcdef'[number // 4]}_{number}.png")
    Image.fromarray(image(0)).convert("L").save(folder / "a_gray.png")

    result = finetune(
        folder,
        base,
        tmp_path / "m",
        group=group,
        steps=1,
        changes={**TINY, **changes},
        run=tmp_path / "run",
    )

    held_back = ImageCache(tmp_path / "run" / "cache", validation=True).names
    model = Colorizer.from_pretrained(result.path)
    config = EvaluationConfig(validation=True, calibration=False, saturations=())
    found = evaluate({"m": model}, folder, config)
    assert list(found.images) == held_back and len(held_back) == result.report.validation
    assert found.split == "validation images of m"
    if group:
        assert not {name[0] for name in held_back} & {
            each.name[0] for each in ImageCache(tmp_path / "run" / "cache", validation=False)
        }
        recipe = json.loads(read_weights(result.path).metadata["recipe"])
        assert recipe["data"]["group"] == group


def test_models_without_a_record_of_their_validation_images_are_named(learned, base):
    models = {"small": Colorizer.from_pretrained(base)}
    images = [image(n) for n in range(10)]
    config = EvaluationConfig(validation=True, calibration=False, saturations=())

    alone = evaluate(models, images, config)
    mine = Colorizer.from_pretrained(learned[0].path)
    both = evaluate({**models, "mine": mine}, images, config)

    note = "(small has no record of validation images, so these may be training images)"
    assert alone.split == f"default validation split {note}"
    assert both.split == f"validation images of mine {note}"
    assert len(both.images) == learned[0].report.validation
    with pytest.raises(ImageError, match="has none of the validation images of mine"):
        evaluate({"mine": mine}, [image(n) for n in range(50, 60)], config)


def test_without_improvement_the_base_is_exported_and_reported(learned, misleading, tmp_path):
    base = learned[0].path

    result = finetune(
        misleading, base, tmp_path / "out", steps=25, changes=WILD, precision="float32"
    )

    assert not result.improved
    assert "NOT better than its base, and is a copy of it" in result.sentence
    assert "NOT better than its base" in result.path.with_suffix(".md").read_text()
    ours, theirs = read_weights(result.path).state, read_weights(base).state
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_copy_of_the_base_keeps_what_was_measured_on_it(tmp_path):
    base = write_base(tmp_path / "base.safetensors", "region")
    add_tensors(base, {"calibration": torch.tensor([[0.0, 20.0], [3.0, 9.0]]).half()})
    unchanged = {**TINY, "optimizer.lr": 1e-30, "stages.0.encoder_lr": 1e-30}

    result = finetune(
        [image(n) for n in range(8)], base, tmp_path / "out", steps=2, changes=unchanged
    )

    assert result.kept_base and result.after == result.before
    ours, theirs = read_weights(result.path).state, read_weights(base).state
    assert ours.keys() == theirs.keys()


def test_a_model_worse_on_validation_images_is_reported(learned, misleading, tmp_path):
    result = finetune(
        misleading,
        learned[0].path,
        tmp_path / "worse",
        steps=25,
        changes={**WILD, "stages.0.checkpoint_every": 0},  # the last weights, whatever they are
        precision="float32",
    )

    assert not result.improved
    assert result.after.ciede2000 > result.before.ciede2000
    assert "NOT better than its base" in result.sentence and "Use the base" in result.sentence


@pytest.mark.parametrize("suffix", [".safetensors", ".md", ".png"])
def test_existing_files_are_not_replaced(base, tmp_path, suffix):
    kept = tmp_path / f"mine{suffix}"
    kept.write_bytes(b"own notes")

    with pytest.raises(OutputError, match=f"mine{suffix}"):
        finetune([image(n) for n in range(8)], base, tmp_path / "mine", steps=2, changes=TINY)

    assert kept.read_bytes() == b"own notes"
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]


@pytest.mark.parametrize("command", [["finetune"], ["train", "ipol"]])
def test_other_suffixes_of_the_model_are_refused(tmp_path, command):
    out = tmp_path / "mine.pth"

    result = CliRunner().invoke(app, [*command, str(tmp_path), "--out", str(out)])

    assert result.exit_code == 2
    assert "mine.pth ends in .pth, but models are written as .safetensors" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_sheet_names_the_files(base, tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr(
        "napari_colorize_training.evaluation.sheets.contact_sheet",
        lambda _, found, **__: labels.extend(found) or np.zeros((8, 8, 3), np.uint8),
    )
    for folder in ("color", "gray"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            rgb = Image.fromarray(image(number))
            rgb = rgb if folder == "color" else rgb.convert("L")
            rgb.save(tmp_path / folder / f"cat{number}.png")

    result = finetune(tmp_path, base, tmp_path / "m", steps=1, changes=TINY)

    assert labels[-4].startswith("gray: ")  # the preview of the training comes before
    assert labels[-1] in ("truth, cat0.png", "truth, cat1.png")
    card = result.path.with_suffix(".md").read_text()
    assert "on 1 validation image " in result.sentence.replace(" is ", " ")
    assert "Trained on 1 image, measured on 1 of\n  1 image for validation" in card


def test_a_model_is_replaced_if_asked_for(base, tmp_path):
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"earlier model")
    images = [image(n) for n in range(8)]

    result = finetune(images, base, out, steps=2, changes=TINY, overwrite=True)

    assert read_weights(result.path).state


def test_an_image_is_never_replaced_by_the_sheet(base, tmp_path):
    for number in range(8):
        Image.fromarray(image(number)).save(tmp_path / f"{number}.png")
    before = (tmp_path / "0.png").read_bytes()

    with pytest.raises(OutputError, match=r"0\.png is an input and would be replaced"):
        finetune(tmp_path, base, tmp_path / "0.safetensors", steps=2, changes=TINY, overwrite=True)

    assert (tmp_path / "0.png").read_bytes() == before


class _CommandsAt(JsonLines):
    """Sends a command after a step, and another during the pause."""

    def __init__(self, control: RunControl, step: int, word: str, in_pause: str = "") -> None:
        super().__init__(io.StringIO())
        self._control, self._step, self._word, self._in_pause = control, step, word, in_pause
        self.events: list[dict] = []

    def report(self, event, **facts):
        self.events.append({"event": event, **facts})
        if event == "step" and facts["step"] == self._step:
            self._control.apply(self._word)
        elif event == "paused":
            self._control.apply(self._in_pause)


def test_a_stopped_run_is_resumed_to_the_same_model(base, tmp_path):
    images, changes = [image(n) for n in range(6)], {**TINY, "stages.0.checkpoint_every": 25}
    wanted = {"steps": 30, "changes": changes, "precision": "float32"}
    whole = finetune(images, base, tmp_path / "whole", **wanted)
    control = RunControl()

    stopped = finetune(
        images,
        base,
        tmp_path / "parts",
        **wanted,
        progress=_CommandsAt(control, 12, "stop"),
        control=control,
    )

    assert stopped is None
    assert not (tmp_path / "parts.safetensors").exists()
    assert (tmp_path / ".parts-run" / "state.pt").exists()
    result = finetune(images, base, tmp_path / "parts", **wanted)
    ours, theirs = read_weights(result.path), read_weights(whole.path)
    assert all(torch.equal(ours.state[key], theirs.state[key]) for key in theirs.state)
    assert ours.metadata == theirs.metadata
    assert not (tmp_path / ".parts-run").exists()


def test_finish_exports_the_best_checkpoint_so_far(base, tmp_path):
    control = RunControl()
    progress = _CommandsAt(control, 7, "finish")

    result = finetune(
        [image(n) for n in range(6)],
        base,
        tmp_path / "out",
        steps=300,
        changes=TINY,
        progress=progress,
        control=control,
    )

    validated = [event["step"] for event in progress.events if event["event"] == "validation"]
    assert result is not None and result.path.exists()
    assert validated[0] == 0 and 7 <= validated[-1] <= 8
    assert progress.events[-1]["event"] == "done"


def test_the_state_is_saved_before_a_pause(base, tmp_path):
    control, saved = RunControl(), []

    class Validations(_CommandsAt):
        def report(self, event, **facts):
            if event == "paused":
                state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
                saved.append((state["step"], facts["step"]))
            super().report(event, **facts)

    finetune(
        [image(n) for n in range(6)],
        base,
        tmp_path / "out",
        steps=12,
        changes=TINY,
        run=tmp_path / "run",
        progress=Validations(control, 5, "pause", "resume"),
        control=control,
    )

    assert saved and saved[0][0] == saved[0][1]


def test_the_number_of_images_read_is_reported(learned):
    read = [event for event in learned[1] if event["event"] == "reading"]

    assert [event["done"] for event in read] == list(range(1, 11))
    assert {event["total"] for event in read} == {10}


def test_a_stop_request_ends_the_run_before_the_first_step(base, tmp_path):
    control = RunControl()
    control.stop()

    assert finetune([image(0), image(1)], base, tmp_path / "out", control=control) is None
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", sorted(SMALL))
def test_networks_of_other_systems_can_be_a_base(name, tmp_path):
    base = write_base(tmp_path / "base.safetensors", name)

    result = finetune([image(n) for n in range(4)], base, tmp_path / "out", steps=2, changes=TINY)

    assert Colorizer.from_pretrained(result.path).checkpoint.architecture == name


def test_scores_of_a_degraded_run_are_of_degraded_images(learned, tmp_path):
    base = learned[0].path  # one that has colors
    images = [image(n) for n in range(4)]
    options = {"steps": 1, "changes": TINY, "precision": "float32"}

    clean = finetune(images, base, tmp_path / "clean", **options)
    degraded = finetune(images, base, tmp_path / "degraded", degrade="old-photograph", **options)

    assert degraded.before.ciede2000_gray == pytest.approx(clean.before.ciede2000_gray)
    assert degraded.before.ciede2000 != pytest.approx(clean.before.ciede2000)
    assert "old-photograph" in degraded.path.with_suffix(".md").read_text()


@pytest.mark.parametrize("name", ["convnet", "compact", "region"])
def test_the_base_is_the_only_target_if_the_truth_has_no_weight(learned, name, tmp_path):
    base = learned[0].path
    if name != "convnet":
        base = write_base(tmp_path / "base.safetensors", name)
    only = {"loss.weight": 0.0, "loss.classes.regression_weight": 0.0}
    progress = _CommandsAt(RunControl(), 0, "")  # records all events

    finetune(
        [image(n) for n in range(6)],
        base,
        tmp_path / "out",
        degrade="old-photograph",
        steps=2,
        changes=TINY | only | {"loss.distillation_weight": 1.0},
        precision="float32",
        progress=progress,
    )

    losses = [event["losses"] for event in progress.events if event["event"] == "step"]
    assert len(losses) == 2
    for each in losses:
        assert each["G_distillation"] > 0
        assert each["G"] == pytest.approx(each["G_distillation"])


def test_distillation_needs_a_base(tmp_path):
    prepare([image(n) for n in range(4)], tmp_path / "cache")
    recipe = read_recipe("convnet-baseline", {"loss.distillation_weight": 1.0})

    with pytest.raises(SettingsError, match="needs a base model"):
        Trainer(recipe, RunOptions(folder=tmp_path / "run", cache=tmp_path / "cache"))


def test_16_bit_pairs_are_measured_with_their_own_gray(base, tmp_path):
    colors = [image(n).astype(np.uint16) * 257 for n in range(4)]
    grays = [color[..., 0] - color[..., 0] // 10 for color in colors]  # brighter than luminance

    result = finetune(
        {"color": colors, "gray": grays}, base, tmp_path / "out", steps=1, changes=TINY
    )

    assert result.report.paired and result.report.deep
    assert result.before.psnr_gray < 14  # luminance is nearer to the truth


FORMS = ("color", "pairs", "pairs with colors of 8 bits")


def write_deep(folder: Path, form: str, bits: int) -> dict[str, np.ndarray]:
    """Write 10 square TIFF images of so many bits; returns their gray images by stem."""
    grays = {}
    for number in range(10):
        rgb = image(number)[:, :48]
        rgb[:4, :4], rgb[-4:, :4] = 255, 0  # the background of an X-ray, and metal
        deep = rgb.astype(np.uint16) << (bits - 8)
        gray = np.rint(deep @ [0.299, 0.587, 0.114]).astype(np.uint16)
        grays[f"{number}"] = gray
        (folder / "color").mkdir(parents=True, exist_ok=True)
        color = rgb if "8 bits" in form else deep
        tifffile.imwrite(folder / "color" / f"{number}.tif", color, photometric="rgb")
        if "pairs" in form:
            (folder / "gray").mkdir(exist_ok=True)
            tifffile.imwrite(folder / "gray" / f"{number}.tif", gray)
    return grays


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("form", FORMS)
def test_deep_gray_is_the_same_in_training_and_at_use(base, form, bits, tmp_path):
    grays = write_deep(tmp_path / "set", form, bits)
    report = prepare(tmp_path / "set", tmp_path / "cache")
    colorizer = Colorizer.from_pretrained(base)

    assert not report.problems
    used = {stem: colorizer(gray).plane.gray.numpy() for stem, gray in grays.items()}
    for images in (ImageCache(tmp_path / "cache", validation=part) for part in (False, True)):
        crops = Crops(
            images, side=48, batch=len(images), crop_scale=(1, 1), seed=0, horizontal_flip=False
        )
        trained = prepare_batch(crops.at(0), DataConfig(), torch.device("cpu"), training=False)
        for gray in trained.gray[:, 0].numpy():
            difference = min(np.abs(gray - other).max() for other in used.values())
            assert difference < 2 / (2**bits - 1)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_of_12_bit_images_has_the_measured_colors_at_use(base, form, tmp_path):
    grays = write_deep(tmp_path / "set", form, 12)
    changes = {**TINY, "optimizer.lr": 3e-3, "stages.0.encoder_lr": 3e-3}
    options = {"steps": 50, "changes": changes, "precision": "float32", "run": tmp_path / "run"}

    result = finetune(tmp_path / "set", base, tmp_path / "mine", **options)

    assert result.improved and not result.report.problems
    colorizer, errors = Colorizer.from_pretrained(result.path), []
    for name in ImageCache(tmp_path / "run" / "cache", validation=True).names:
        gray, stem = grays[Path(name).stem], int(Path(name).stem)
        rgb, rgb8 = (
            colorizer(part).rgb / white
            for part, white in ((gray, 4095), ((gray / 16).round().astype(np.uint8), 255))
        )
        assert np.abs(rgb - rgb8).max() < 0.03
        truth = image(stem)[:, :48]
        truth[:4, :4], truth[-4:, :4] = 255, 0
        errors.append(ciede2000(truth, np.rint(255 * rgb).astype(np.uint8)))
    assert np.mean(errors) == pytest.approx(result.after.ciede2000, abs=0.3)


def test_defaults_follow_the_number_of_images():
    checkpoint, _ = load("embedded")

    few, some, many = (recipe_for(checkpoint, number) for number in (16, 160, 1600))

    assert few.stages[0].steps < some.stages[0].steps < many.stages[0].steps
    assert [recipe.stages[0].batch for recipe in (few, some, many)] == [s.batch for s in SIZES]
    assert all(recipe.stages[0].patience for recipe in (few, some, many))
    assert few.loss.pixel == "classes"


@pytest.mark.parametrize("degrade", ["old-photograph", "old-scan"])
def test_degraded_training_stays_near_the_base(degrade):
    checkpoint, _ = load("embedded")

    clean = recipe_for(checkpoint, 1600)
    degraded = recipe_for(checkpoint, 1600, degrade=degrade)
    chosen = recipe_for(checkpoint, 9, degrade=degrade, changes={"loss.distillation_weight": 0.0})

    assert clean.loss.distillation_weight == 0 == chosen.loss.distillation_weight
    assert degraded.loss.distillation_weight == 1
    assert degraded.loss.classes.regression_weight == 0
    assert degraded.stages[0].trainable == "except_first"
    assert degraded.optimizer.lora_rank == 8 and degraded.stages[0].steps == 150


@pytest.mark.parametrize(
    ("images", "options", "error", "sentence"),
    [
        ([image(0)], {}, ImageError, "has only one usable image"),
        ([], {}, FileNotFoundError, "has no readable images"),
        (
            [image(0), image(1)],
            {"changes": {"loss.nosuch": 1}},
            SettingsError,
            "no key loss.nosuch",
        ),
        ([image(0), image(1)], {"group": "zzz(.)"}, SettingsError, "No image belongs to a group"),
    ],
)
def test_unusable_images_and_recipes_are_refused(images, options, error, sentence, base, tmp_path):
    with pytest.raises(error, match=sentence):
        finetune(images, base, tmp_path / "out", **options)

    assert [*tmp_path.iterdir()] == []  # no model, and no hidden run folder


def test_an_unwritable_path_is_refused_before_training(base, tmp_path):
    (tmp_path / "taken.safetensors").mkdir()

    with pytest.raises(OutputError, match="taken"):
        finetune([image(0), image(1)], base, tmp_path / "taken.safetensors")


def test_an_invalid_base_is_explained_in_one_line(tmp_path):
    Image.fromarray(image(0)).save(tmp_path / "a.png")
    write_weights(tmp_path / "other.safetensors", {"key": torch.zeros(2)}, {})
    command = ["finetune", str(tmp_path), "--out", str(tmp_path / "o" / "out.safetensors")]

    result = CliRunner().invoke(app, [*command, "--from", str(tmp_path / "other.safetensors")])

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert "of no known architecture" in result.stderr
    assert not (tmp_path / "o").exists()


def test_several_folders_are_combined_and_a_file_controls_the_run(base, tmp_path):
    for number in range(4):
        folder = tmp_path / f"set{number % 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(image(number)).save(folder / f"{number}.png")
    (tmp_path / "control.txt").write_text("stop")
    folders = [str(tmp_path / name) for name in ("set0", "set1")]
    options = ["--from", str(base), "--run", str(tmp_path / "run"), "--progress", "json"]

    result = CliRunner().invoke(
        app,
        ["finetune", *options, "--control", str(tmp_path / "control.txt"), "--", *folders],
    )

    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert any("4 of 4 images" in event.get("text", "") for event in events)
    assert result.exit_code == STOPPED and events[-1]["event"] == "stopped"


def test_the_command_makes_a_model_and_prints_its_scores(base, tmp_path):
    for number in range(4):
        Image.fromarray(image(number)).save(tmp_path / f"{number}.png")
    out = tmp_path / "out" / "mine.safetensors"
    tiny = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]

    result = CliRunner().invoke(
        app,
        ["finetune", str(tmp_path), "--from", str(base), "--out", str(out), "--steps", "1", *tiny],
    )

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out} is ") and result.stdout.count("\n") == 1
    assert out.exists()
    shutil.rmtree(out.parent)
