from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_colorize.cli import app
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import CheckpointError
from napari_colorize.onnx_export import export_onnx
from napari_colorize.pipeline import run_network

GRAY_LEVEL = 1 / 255


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package)
    path = tmp_path_factory.mktemp("onnx") / "embedded.onnx"
    result = CliRunner().invoke(
        app, ["models", "export", "embedded", "--onnx", str(path), "--render-factor", "6"]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.strip().endswith(str(path))
    return path


@pytest.mark.parametrize("count", [1, 3])
def test_onnx_runtime_computes_the_same_colors_for_any_batch(exported, count):
    import onnxruntime

    height = width = 96
    ramp = torch.linspace(0, 1, width).expand(count, 1, height, width)
    gray = (ramp * torch.rand(count, 1, height, width, generator=torch.manual_seed(0))).clamp(0, 1)
    colorizer = Colorizer.from_pretrained("embedded", device="cpu", precision="float32")
    with torch.inference_mode():
        expected, unlikeness = run_network(colorizer.network, colorizer.architecture, gray)

    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    uv, judged = session.run(["uv", "unlikeness"], {"gray": gray.numpy()})

    assert uv.shape == expected.shape
    assert np.abs(uv - expected.numpy()).max() < GRAY_LEVEL / 20
    assert unlikeness is not None
    np.testing.assert_allclose(judged, unlikeness.numpy(), atol=1e-3)


def test_the_file_names_model_license_and_settings(exported):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map

    assert metadata["model"] == "embedded"
    assert metadata["render_factor"] == "6"
    assert "predicted" in metadata["note"]
    assert metadata["license"]


def test_without_the_extra_one_sentence_names_the_command(monkeypatch, tmp_path):
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "onnx":
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    path = tmp_path / "a.onnx"

    result = CliRunner().invoke(app, ["models", "export", "embedded", "--onnx", str(path)])

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: onnx is not installed. To install it: pip install")
    assert not path.exists()


@pytest.mark.parametrize(("name", "reason"), [("a.pt", "must end in .onnx"), ("b.onnx", "exists")])
def test_a_file_is_refused_before_the_model_is_loaded(monkeypatch, tmp_path, name, reason):
    pytest.importorskip("onnx")
    (tmp_path / "b.onnx").write_bytes(b"mine")
    monkeypatch.setattr("napari_colorize.zoo.load", lambda *args, **kwargs: pytest.fail("loaded"))

    result = CliRunner().invoke(
        app, ["models", "export", "embedded", "--onnx", str(tmp_path / name)]
    )

    assert result.exit_code == 1
    assert reason in result.stderr
    assert (tmp_path / "b.onnx").read_bytes() == b"mine"


def test_a_network_that_torch_cannot_export_is_one_sentence(monkeypatch, tmp_path):
    pytest.importorskip("onnx")

    def fail(*args, **kwargs):
        raise RuntimeError("unsupported operator\nwith a long trace")

    monkeypatch.setattr(torch.onnx, "export", fail)

    with pytest.raises(CheckpointError, match="the network region to ONNX: unsupported") as e:
        export_onnx("embedded", tmp_path / "a.onnx")

    assert "trace" not in str(e.value)
    assert list(tmp_path.iterdir()) == []
