"""Export of networks to ONNX, so that programs without torch can run them.

The exported model has fixed conversions around the network, the same as `pipeline.predict`: its
input is gray for every architecture, and its output is Rec. 601 U and V.
"""

from __future__ import annotations

import warnings
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_colorize import zoo
from napari_colorize.errors import CheckpointError, OutputError
from napari_colorize.networks import ARCHITECTURES, Architecture
from napari_colorize.networks.fuse import fuse
from napari_colorize.pipeline import render_size, run_network
from napari_colorize.runtime.atomic import new_file, refuse_existing, write_errors
from napari_colorize.zoo.weights import build

OPSET = 18
# Sides of the input are multiples of this, which all architectures accept: exported with an odd
# size at 1/16, RegionNet was refused by ONNX Runtime ("Incompatible dimensions").
MULTIPLE = 32
OUTPUTS = ("uv", "unlikeness")
TRACED_BATCH = 2  # 1 would be broadcast


class GrayToColors(nn.Module):
    """Gray (N, 1, H, W) in [0, 1] to U and V (N, 2, h, w), and unlikeness (N,) if it is known."""

    def __init__(self, network: nn.Module, architecture: Architecture) -> None:
        super().__init__()
        self.network = network
        self.architecture = architecture

    def forward(self, gray: Tensor) -> tuple[Tensor, ...]:
        """Run the network with self-attention."""
        uv, unlikeness = run_network(self.network, self.architecture, gray)
        return (uv,) if unlikeness is None else (uv, unlikeness)


def export_onnx(
    name_or_path: str | PathLike[str],
    path: str | PathLike[str],
    *,
    render_factor: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> None:
    """Write a model as an ONNX file with float32 weights, for one input size and any batch size.

    The input `gray` is float32 `(N, 1, H, W)` in [0, 1]. The output `uv` is float32 `(N, 2, h, w)`:
    Rec. 601 U and V on the scale of `skimage.color.rgb2yuv`, with self-attention. A model that
    classifies photographs has the output `unlikeness` `(N,)`, see
    `pipeline.predict_and_judge`. Metadata of the file name the model, its license and its
    recommended settings.

    Parameters
    ----------
    name_or_path : str or path
        As for `Colorizer.from_pretrained`.
    path : str or path
        File to write; it ends in .onnx.
    render_factor : int, optional
        H and W are 16 x render factor, rounded to multiples of 32. The default is that of the
        checkpoint.
    overwrite : bool
        Whether an existing file is replaced.
    progress : bool
        Whether a download shows a progress bar.

    Raises
    ------
    UnknownModelError, DownloadError, CheckpointError
        If there is no such model, it cannot be downloaded, or torch cannot export its network.
    OutputError
        If the file exists or cannot be written.
    ModuleNotFoundError
        If `onnx`, the package of the extra of this name, is missing.
    """
    import onnx

    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise OutputError(f"{path} is no name of an ONNX file; it must end in .onnx.")
    refuse_existing(path, overwrite=overwrite)
    checkpoint, weights = zoo.load(name_or_path, progress=progress)
    architecture = ARCHITECTURES[checkpoint.architecture]
    factor = render_factor or checkpoint.render_factor
    size = render_size(1, 1, factor, fit=checkpoint.fit, multiple=MULTIPLE)
    network = fuse(build(architecture, weights.state, file=checkpoint.file))
    metadata = {
        "model": checkpoint.name,
        "license": checkpoint.license,
        "origin": checkpoint.origin,
        "sha256": checkpoint.sha256 or "",
        "render_factor": str(factor),
        "saturation": str(checkpoint.saturation),
        "note": "Colors are predicted by a neural network, not measured.",
    }
    with new_file(path, overwrite=overwrite) as part, write_errors(path):
        _export(network, architecture, size, part)
        model = onnx.load(part)
        onnx.helper.set_model_props(model, metadata)
        part.write_bytes(model.SerializeToString())


def _export(
    network: nn.Module, architecture: Architecture, size: tuple[int, int], path: Path
) -> None:
    """Write an ONNX model without metadata."""
    model = GrayToColors(network, architecture).eval()
    gray = torch.rand(TRACED_BATCH, 1, *size)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # The warnings are about sizes that become constants, and of this exporter's age. The
            # newer one (dynamo=True) does not finish within minutes on padded odd maps.
            warnings.simplefilter("ignore")
            names = list(OUTPUTS[: len(model(gray))])
            torch.onnx.export(
                model,
                (gray,),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=["gray"],
                output_names=names,
                dynamic_axes={name: {0: "batch"} for name in ("gray", *names)},
            )
    except OSError:
        raise
    except Exception as error:  # torch raises errors of many types
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"torch {torch.__version__} cannot export the network {architecture.name} to ONNX: "
            f"{reason}"
        ) from error
