"""What Apple GPUs cannot compute is not needed; a model that does not run there uses the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mps import POOL, limited_like_mps

import napari_colorize as nc
from napari_colorize.errors import ColorizeNote
from napari_colorize.predictor import Predictor

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (75, 61), dtype=np.uint8)
COLORS = RANDOM.integers(0, 256, (40, 30, 3), dtype=np.uint8)
MASK = np.zeros(IMAGE.shape, bool)
MASK[10:60, 5:50] = True
HINTS = nc.Hints.from_points([(20, 30), (50, 12)], [(1, 0, 0), (0.2, 0.4, 0.8)], 5, IMAGE.shape)


def test_the_stand_in_refuses_what_mps_refuses():
    with limited_like_mps():
        with pytest.raises(RuntimeError, match="must be divisible"):
            F.interpolate(torch.rand(1, 1, 5, 5), (2, 2), mode="area")
        with pytest.raises(TypeError, match="float64"):
            torch.rand(3).double()
        assert torch.rand(3).cpu().double().dtype == torch.float64


@pytest.mark.parametrize(
    "settings",
    [
        {"render_factor": 5},
        {"edges": False},
        {"shadows": 0.5},
        {"guides": nc.Guides(mask=MASK)},
        {"guides": nc.Guides(hints=HINTS)},
        {"guides": nc.Guides(reference=nc.Reference(COLORS))},
    ],
    ids=["render-factor", "edges", "shadows", "mask", "hints", "reference"],
)
@pytest.mark.filterwarnings("ignore:The model predicted almost no color")
def test_results_are_equal_without_what_mps_refuses(settings):
    expected = nc.colorize(IMAGE, **settings).rgb

    with limited_like_mps():
        rgb = nc.colorize(IMAGE, **settings).rgb

    np.testing.assert_allclose(rgb.astype(int), expected, atol=1)


def test_a_model_that_does_not_run_on_the_gpu_uses_the_cpu(monkeypatch):
    """This machine has no MPS, so that moving the network there fails."""
    monkeypatch.setattr(
        "napari_colorize.predictor.choose_device",
        lambda device: torch.device("mps" if device == "auto" else device),
    )

    with pytest.warns(ColorizeNote, match="does not run on this GPU, so the CPU is used: "):
        predictor = Predictor.from_pretrained()

    assert predictor.device == torch.device("cpu")


def test_a_prediction_that_fails_on_the_gpu_is_tried_before_it_is_needed(monkeypatch):
    class Mps:
        type = "mps"

    build = Predictor.__dict__["_build"].__func__

    def build_on_cpu(cls, checkpoint, state, device, precision):
        return build(cls, checkpoint, state, torch.device("cpu"), precision)

    def refuse(*arguments, **options):
        raise RuntimeError(POOL)

    monkeypatch.setattr("napari_colorize.predictor.choose_device", lambda device: Mps())
    monkeypatch.setattr("napari_colorize.predictor.choose_dtype", lambda *_: torch.float32)
    monkeypatch.setattr("napari_colorize.predictor.to_plane", lambda *_, **__: None)
    monkeypatch.setattr(Predictor, "_build", classmethod(build_on_cpu))
    monkeypatch.setattr(Predictor, "predict_planes", refuse)

    with pytest.warns(ColorizeNote, match="must be divisible"):
        Predictor.from_pretrained()
