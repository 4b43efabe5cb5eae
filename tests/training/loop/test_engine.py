"""Files of a run: best, last and snapshot checkpoints, and logs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from napari_colorize_training.data import prepare
from napari_colorize_training.loop import engine
from napari_colorize_training.loop.checkpoint_selection import Validator
from napari_colorize_training.loop.engine import Trainer
from napari_colorize_training.loop.progress import RunControl
from napari_colorize_training.loop.validation import ValidationFigures
from napari_colorize_training.recipe import Recipe, parse_recipe
from tiny_training import (
    cached,
    command,
    draw_images,
    environment,
    eventful_table,
    log_of,
    log_quickly,
    options_of,
    run,
    tiny,
    tiny_table,
    to_toml,
)

from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import SettingsError
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo.weights import read_weights

HEAVY = ["requests", "psygnal", "platformdirs", "torchmetrics"]  # none on a bare GPU machine


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return cached(tmp_path_factory.mktemp("images"))


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    log_quickly(monkeypatch)


class RecordedProgress:
    """Progress reporter that keeps all events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict]] = []

    def report(self, event: str, **facts: object) -> None:
        self.events.append((event, facts))

    def of(self, kind: str) -> list[dict]:
        return [facts for event, facts in self.events if event == kind]


def set_validation(monkeypatch: pytest.MonkeyPatch, measures: list[float]) -> None:
    """Replace validation by these measures; the last one is repeated."""
    left = iter(measures)

    def measure(self: Validator, step: int) -> ValidationFigures:
        value = next(left, measures[-1])
        return ValidationFigures(
            uv=0.1, uv_gray=0.1, ciede2000=value, ciede2000_gray=1.0, colorfulness=1.0
        )

    monkeypatch.setattr(Validator, "measure", measure)


def with_optimizer(table: dict, **options: object) -> Recipe:
    return parse_recipe(table | {"optimizer": {"lr": 3e-3, **options}})


def test_a_trained_model_loads_in_the_core(cache, tmp_path):
    model = run(tiny(), tmp_path, cache)

    colorizer = Colorizer.from_pretrained(model)

    assert colorizer.checkpoint.architecture == "lab-autoencoder"
    assert colorizer(torch.rand(40, 60).numpy(), render_factor=2).rgb.shape == (40, 60, 3)


def test_training_ends_when_validation_no_longer_improves(cache, tmp_path, monkeypatch):
    set_validation(monkeypatch, [0.9, 0.8, 0.85, 0.81, 0.7])
    progress = RecordedProgress()

    recipe = tiny(steps=100, checkpoint_every=2, patience=2)
    Trainer(recipe, options_of(tmp_path, cache), progress).train()

    assert [line["step"] for line in log_of(tmp_path)] == ["2", "4", "6", "8"]
    assert "the best checkpoint is that of step 4" in progress.of("note")[-1]["text"]


def test_the_best_checkpoint_is_exported(cache, tmp_path, monkeypatch):
    set_validation(monkeypatch, [0.9, 0.5, 0.8])
    steps = {}
    compare = Validator.compare

    def remember(self, run, figures, step):
        state = self._models.network.state_dict()
        steps[step] = {key: value.half() for key, value in state.items()}
        compare(self, run, figures, step)

    monkeypatch.setattr(Validator, "compare", remember)

    model = run(tiny(steps=8, checkpoint_every=2), tmp_path, cache)

    state = read_weights(model).state
    name = next(name for name, value in state.items() if value.ndim == 4)
    torch.testing.assert_close(state[name], steps[4][name])
    assert not torch.equal(state[name], steps[8][name])


def test_the_learning_rate_falls_at_a_plateau(cache, tmp_path, monkeypatch):
    set_validation(monkeypatch, [0.5])

    run(tiny(steps=40, schedule="plateau", checkpoint_every=2), tmp_path, cache)

    rates = [float(line["lr"]) for line in log_of(tmp_path)]
    assert rates[0] == pytest.approx(3e-3) and 0 < rates[-1] <= 3e-4


def test_models_are_exported_at_snapshot_epochs(cache, tmp_path):
    recipe = parse_recipe(tiny_table(steps=8) | {"snapshot_epochs": [1, 3, 9]})

    model = run(recipe, tmp_path, cache)  # 8 images, 4 at a time: an epoch is 2 steps

    steps = {path.stem: read_weights(path).metadata["steps"] for path in tmp_path.glob("*.safe*")}
    assert steps == {"epoch-1": "2", "epoch-3": "6", "model": "8"}
    assert model == tmp_path / "model.safetensors"


def test_lora_is_merged_into_exported_weights(cache, tmp_path):
    table = tiny_table() | {
        "network": {"architecture": "lab-autoencoder", "options": {"widths": [16, 16, 16, 16]}}
    }
    trainer = Trainer(with_optimizer(table, lora_rank=2), options_of(tmp_path, cache))
    names = ARCHITECTURES["lab-autoencoder"].create(widths=(16, 16, 16, 16)).state_dict().keys()
    gray = torch.rand(1, 1, 32, 32)

    state = read_weights(trainer.train()).state

    assert state.keys() == names
    network = ARCHITECTURES["lab-autoencoder"].build(state)
    network.load_state_dict(state)
    ours = trainer.models.network.eval()(gray * 100)
    torch.testing.assert_close(network.float().eval()(gray * 100), ours, atol=0.2, rtol=0)


def test_the_average_is_exported(cache, tmp_path):
    trainer = Trainer(with_optimizer(tiny_table(), ema_decay=0.9), options_of(tmp_path, cache))

    state = read_weights(trainer.train()).state

    average = trainer.models.ema.state_dict()
    own = trainer.models.network.state_dict()
    name = next(name for name, value in own.items() if value.ndim == 4)
    torch.testing.assert_close(state[name], average[name].half())
    assert not torch.allclose(own[name], average[name])


def test_the_generator_is_constant_while_only_the_critic_is_trained(cache, tmp_path):
    table = eventful_table(2, 2)
    table["stages"][1] = {"train": "critic", "side": 64, "batch": 4, "steps": 3}
    trainer = Trainer(parse_recipe(table), options_of(tmp_path, cache))
    trainer._run_stage(trainer.stages[0])
    before = {key: value.clone() for key, value in trainer.models.network.state_dict().items()}
    critic = next(iter(trainer.models.critic.network.parameters())).clone()

    trainer._run_stage(trainer.stages[1])

    after = trainer.models.network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert not torch.equal(critic, next(iter(trainer.models.critic.network.parameters())))


def test_the_critic_is_trained_again_after_a_generator_step(cache, tmp_path):
    table = eventful_table(2, 2)
    table["stages"] += [{"train": "gan", "side": 64, "batch": 4, "steps": 2}] * 2

    assert run(parse_recipe(table), tmp_path, cache).is_file()


def test_the_base_is_exported_if_no_checkpoint_is_better(cache, tmp_path, monkeypatch):
    set_validation(monkeypatch, [0.1, 0.9])
    architecture = ARCHITECTURES["lab-autoencoder"]
    network = architecture.create(widths=(8, 8, 8, 8))
    state = {key: value.clone() for key, value in network.state_dict().items()}

    base = (network, architecture)
    model = run(tiny(steps=4, checkpoint_every=2), tmp_path, cache, base=base, base_name="mine")

    weights = read_weights(model)
    assert weights.metadata["base"] == "mine"
    for name, value in state.items():
        torch.testing.assert_close(weights.state[name].float(), value.float(), atol=1e-3, rtol=1e-3)


def gan_table(**options: object) -> dict:
    stage = {
        "train": "gan",
        "side": 64,
        "steps": 6,
        "checkpoint_every": 2,
        "select_by": "frechet",
        **options,
    }
    critic = {"name": "sagan", "options": {"width": 8}}
    return tiny_table(**stage) | {"critic": critic, "optimizer": {"lr": 0.1}}


@pytest.mark.parametrize(
    ("frechet", "errors", "best"),
    [
        ([0.5, 0.9, 0.8, 0.6], [10.0] * 4, 0),  # the weights before the stage are a candidate
        ([0.5, 0.9, 0.4, 0.6], [10.0] * 4, 4),
        ([0.5, 0.3, 0.4, 0.6], [10.0, 10.6, 10.4, 10.0], 4),  # more than 5 % worse at step 2
    ],
)
def test_an_adversarial_stage_exports_nothing_worse(
    cache, tmp_path, monkeypatch, frechet, errors, best
):
    figures, states = iter(zip(frechet, errors, strict=True)), []

    def measure(self: Validator, step: int) -> ValidationFigures:
        state = self._models.network.state_dict()
        states.append({key: value.clone() for key, value in state.items()})
        distance, error = next(figures)
        return ValidationFigures(
            uv=0.1,
            uv_gray=0.1,
            ciede2000=error,
            ciede2000_gray=10.0,
            colorfulness=1.0,
            frechet=distance,
        )

    monkeypatch.setattr(Validator, "measure", measure)
    progress = RecordedProgress()
    options = options_of(tmp_path, cache)

    model = Trainer(parse_recipe(gan_table()), options, progress).train()

    state, expected = read_weights(model).state, states[best // 2]
    name = next(name for name, value in state.items() if value.ndim == 4)
    torch.testing.assert_close(state[name].float(), expected[name].float(), atol=1e-3, rtol=1e-3)
    notes = [note["text"] for note in progress.of("note")]
    stays = "no checkpoint is better than the weights before; these stay."
    assert any(note.endswith(stays) for note in notes) == (best == 0)


def test_a_run_may_begin_with_a_later_stage(cache, tmp_path):
    table = eventful_table(first=4, second=3)
    progress = RecordedProgress()
    options = options_of(tmp_path, cache, first_stage=1)

    Trainer(parse_recipe(table), options, progress).train()

    assert progress.of("start")[0]["stages"] == ["2: gan at 64 px"]
    assert progress.of("start")[0]["steps"] == 3


def test_a_minimum_of_steps_is_said_with_the_share_of_the_set(cache, tmp_path):
    recipe = tiny(steps=None, epochs=0.5, min_steps=7)

    notes = [*Trainer(recipe, options_of(tmp_path, cache))._notes()]

    assert notes[1:] == [
        "Stage 1 runs for 7 steps, the minimum of the recipe: its 0.5 epochs of 8 images are 1 "
        "steps."
    ]


def test_a_reduced_stage_gives_the_reason(tmp_path):
    prepare(draw_images(tmp_path / "images", 9, 64), tmp_path / "small", side=40)
    prepare(tmp_path / "images", tmp_path / "whole", side=80)

    for folder, reason in (
        ("small", "the cache was made with 40 px"),
        ("whole", "half of the images are no larger than 64 px"),
    ):
        trainer = Trainer(tiny(side=80), options_of(tmp_path / "run" / folder, tmp_path / folder))

        assert [*trainer._notes()][1].endswith(f"instead of 80 px: {reason}.")


def test_a_state_belongs_to_its_recipe_length_and_images(cache, tmp_path):
    run(tiny(), tmp_path / "run", cache)
    other = cached(tmp_path / "more", count=10)

    for recipe, images in ((tiny(side=48), cache), (tiny(steps=13), cache), (tiny(), other)):
        with pytest.raises(SettingsError, match="choose another --run folder"):
            Trainer(recipe, options_of(tmp_path / "run", images))


def test_a_resume_request_between_report_and_wait_is_not_lost(cache, tmp_path):
    """The front end's requests arrive while the event is reported, and another pause follows."""
    control = RunControl()
    control.pause()

    class Requests(RecordedProgress):
        def report(self, event, **facts):
            super().report(event, **facts)
            if event == "paused" and len(self.of("paused")) == 1:
                control.resume()
                control.pause()
            elif event == "paused":
                control.stop()

    progress = Requests()
    Trainer(tiny(steps=6), options_of(tmp_path, cache), progress, control).train()

    kinds = [
        event for event, _ in progress.events if event not in ("note", "validation", "preview")
    ]
    once = ["step", "paused", "resumed"]
    assert kinds == ["start", *once, *once, "step", "stopped"]


def test_events_of_a_run(cache, tmp_path):
    progress = RecordedProgress()

    model = Trainer(tiny(steps=4), options_of(tmp_path, cache), progress).train()

    kinds = [event for event, _ in progress.events]
    assert kinds[0] == "start" and kinds[-1] == "done" and kinds.count("step") == 4
    assert progress.of("done") == [{"model": str(model)}]
    assert progress.of("step")[-1]["step"] == 4 and progress.of("step")[-1]["losses"]["G_L2"] > 0
    assert {"uv", "uv_gray", "measure"} <= {
        name.removeprefix("validation_") for name in progress.of("validation")[-1]
    }
    assert (tmp_path / "preview.png").is_file()


def test_a_stopped_run_has_no_model(cache, tmp_path):
    control = RunControl()
    control.stop()

    model = Trainer(tiny(), options_of(tmp_path, cache), control=control).train()

    assert model is None and (tmp_path / "state.pt").is_file()
    assert not list(tmp_path.glob("*.safetensors"))


def test_tensorboard_shows_each_row_once_after_an_interruption(cache, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def fail_at_step_4(values, step):
        if step == 4:
            raise KeyError

    recipe, options = tiny(steps=6), options_of(tmp_path, cache, save_every=1e9)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "check_finite", fail_at_step_4)
        with pytest.raises(KeyError):  # ended after a row of the log, before any saved state
            Trainer(recipe, options).train()

    Trainer(recipe, options).train()

    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("G_L2")
    lines = log_of(tmp_path)
    assert [event.step for event in shown] == [int(line["step"]) for line in lines] == [2, 4, 6]
    losses = [float(line["G_L2"]) for line in lines]
    assert [event.value for event in shown] == pytest.approx(losses, rel=1e-4)


def test_training_needs_no_optional_library(tmp_path):
    draw_images(tmp_path / "images")
    recipe = to_toml(eventful_table(3, 2), tmp_path / "recipe.toml")
    block = f"import sys; sys.modules.update(dict.fromkeys({[*HEAVY, 'tensorboard']}))"
    start = "from napari_colorize_training.__main__ import main; main()"
    arguments = command(recipe, tmp_path, "--progress", "none")[2:]

    done = subprocess.run(
        [sys.executable, "-c", f"{block}; {start}", *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_an_unused_critic_is_not_built(cache, tmp_path):
    table = tiny_table() | {"critic": {"name": "patch"}}

    model = run(parse_recipe(table), tmp_path / "run", cache)

    assert model.is_file()
