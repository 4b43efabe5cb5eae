"""A checkpoint in the format of DeOldify, from file to prediction."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins import SMALL

from napari_colorize.colorizer import Colorizer
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.networks.deoldify import DeOldify
from napari_colorize.pipeline import predict


@pytest.fixture(scope="module")
def network() -> DeOldify:
    torch.manual_seed(0)
    return DeOldify(SMALL).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def published(network, tmp_path_factory) -> Path:
    """Checkpoint in torch's old format, with optimizer state and a misleading file name."""
    path = tmp_path_factory.mktemp("models") / "ColorizeStable_gen.pth"
    content = {
        "model": network.state_dict(),
        "opt": {"f": functools.partial(print), "s": slice(None), "state": {0: torch.ones(2)}},
    }
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.parametrize("self_attention", [True, False])
def test_it_colorizes_like_its_network(network, published, self_attention):
    colorizer = Colorizer.from_pretrained(published, device="cpu", precision="float32")
    gray = np.random.default_rng(0).random((70, 50), dtype=np.float32)

    chroma = colorizer.predict(gray, render_factor=5, self_attention=self_attention)

    assert colorizer.checkpoint.architecture == "deoldify-deep"
    assert colorizer.checkpoint.render_factor == 35
    deep = ARCHITECTURES["deoldify-deep"]
    plane = torch.from_numpy(gray)
    expected = predict(network, deep, [plane], (80, 80), self_attention=self_attention)[0]
    torch.testing.assert_close(chroma.uv, expected, atol=1e-5, rtol=0)
