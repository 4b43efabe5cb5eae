"""Several processes train the same model as one."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import torch
from napari_colorize_training.__main__ import app
from tiny_training import command, draw_images, environment, log_of, tiny_table, to_toml
from typer.testing import CliRunner


@pytest.fixture
def recipe(tmp_path):
    """Only LoRA and the critic are trained, so that batch norms are constant."""
    table = tiny_table(steps=25) | {
        "network": {"architecture": "lab-autoencoder", "options": {"widths": [16, 16, 16, 16]}},
        "data": {"augment": "photographs", "degrade": "old-photograph"},
        "optimizer": {"lr": 1e-2, "ema_decay": 0.9, "lora_rank": 2},
        "loss": {"pixel": "l1", "noise_weight": 0.1},
        "critic": {"name": "sagan", "options": {"width": 8}},
    }
    adversarial = {
        "train": "gan",
        "side": 64,
        "batch": 4,
        "steps": 5,
        "noise_consistency": True,
        "checkpoint_every": 25,
    }
    return to_toml({**table, "stages": [*table["stages"], adversarial]}, tmp_path / "shared.toml")


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(recipe, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        draw_images(folder / "images")

    alone = CliRunner().invoke(app, command(recipe, folders[0], "--progress", "none")[2:])
    launch = ["torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1"]
    port = ["--master_port", free_port()]
    line = [*launch, *port, *command(recipe, folders[1], "--progress", "none")]
    together = subprocess.run(
        [sys.executable, "-m", *line], capture_output=True, timeout=300, env=environment()
    )

    assert alone.exit_code == 0, alone.output
    assert together.returncode == 0, together.stderr.decode()
    states = [torch.load(folder / "run" / "state.pt", weights_only=True) for folder in folders]
    one, two = (state["generator"]["network"] for state in states)
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-5, rtol=0)
    for line, other in zip(*(log_of(folder / "run") for folder in folders), strict=True):
        assert line.keys() == other.keys() and line["stage"] == other["stage"]
        for name in ("G", "G_L1", "G_noise", "D_real", "validation_uv"):
            assert float(line[name] or 0) == pytest.approx(float(other[name] or 0), abs=1e-4)
