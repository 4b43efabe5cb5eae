"""Metrics on features of networks: Frechet distances and LPIPS.

Every network is read from a file of the user; none is downloaded. A Frechet distance compares
two sets of images by the mean and covariance of features, as FID does (Heusel et al. 2017, where
the network is Inception). Values of different networks are not comparable.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from napari_colorize.array_types import AnyArray, Float32Array, Float64Array, UInt8Array
from napari_colorize.errors import CheckpointError
from napari_colorize.networks.vision import torchvision_models

LpipsNetwork = Literal["alex", "vgg", "squeeze"]

WHOLE, QUADRANT = 256, 224  # px, sides of the backbone's inputs
FID_FEATURES = "2048"  # Inception's last pooling layer, the usual one
# px. LPIPS was calibrated on patches of 64 px; the maps of its networks are empty for smaller ones.
MIN_LPIPS_SIDE, MAX_LPIPS_SIDE = 64, 256
# torchmetrics divides torchvision's `features` into slices and keeps the numbers of the layers.
SLICE = re.compile(r"^slices?\.?\d+\.")
# The networks of LPIPS, each with a parameter of torchvision's and its shape.
LPIPS_NETWORKS: dict[LpipsNetwork, tuple[str, tuple[int, ...]]] = {
    "alex": ("features.0.weight", (64, 3, 11, 11)),
    "vgg": ("features.28.weight", (512, 512, 3, 3)),
    "squeeze": ("features.3.squeeze.weight", (16, 64, 1, 1)),
}


class Moments:
    """Mean and covariance of feature vectors, accumulated in float64."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Float64Array = np.zeros(0)
        self._products: Float64Array = np.zeros((0, 0))

    def add(self, features: AnyArray) -> None:
        """Add vectors `(N, D)`."""
        features = features.astype(np.float64)
        if not self.count:
            self._sum = np.zeros(features.shape[1])
            self._products = np.zeros((features.shape[1], features.shape[1]))
        self.count += len(features)
        self._sum += features.sum(0)
        self._products += features.T @ features

    @property
    def mean(self) -> Float64Array:
        """Mean, shape `(D,)`."""
        return self._sum / self.count

    @property
    def covariance(self) -> Float64Array:
        """Unbiased covariance, shape `(D, D)`; zero for a single vector."""
        scatter = self._products - self.count * np.outer(self.mean, self.mean)
        covariance: Float64Array = scatter / max(self.count - 1, 1)
        return covariance


def frechet_distance(one: Moments, other: Moments) -> float:
    """Return the squared Frechet distance of two normal distributions (Dowson and Landau 1982).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2). Square roots are
    taken of symmetric matrices only, and negative eigenvalues are rounding errors, so that it is
    also valid for fewer vectors than dimensions. NaN if a vector is not finite.
    """
    moments = (one.mean, one.covariance, other.mean, other.covariance)
    if not all(np.isfinite(part).all() for part in moments):
        return math.nan
    between = np.square(one.mean - other.mean).sum()
    root = _root(one.covariance)
    shared = np.linalg.eigvalsh(root @ other.covariance @ root).clip(min=0)
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    return float(max(between + traces - 2 * np.sqrt(shared).sum(), 0.0))


def _root(matrix: Float64Array) -> Float64Array:
    values, vectors = np.linalg.eigh(matrix)
    root: Float64Array = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root


class Backbone:
    """Features of an image and its quadrants by MobileNetV2 (timm `mobilenetv2_100`).

    Parameters
    ----------
    path : Path
        Weights, safetensors. The network must not have been used in a training.
    device : torch.device
        Device of the network, which runs in float32.

    Raises
    ------
    CheckpointError
        If the file does not hold its weights.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        torchvision_models()  # timm imports torchvision, which `torchvision_models` patches
        import timm

        network = timm.create_model(
            "mobilenetv2_100", pad_type="same", bn_eps=1e-3, features_only=True
        )
        try:
            state = {key: value.float() for key, value in load_file(path).items()}
            missing = network.load_state_dict(state, strict=False).missing_keys
        except (SafetensorError, RuntimeError) as error:
            raise CheckpointError(f"{path} does not hold a MobileNetV2: {error}") from error
        if any(not key.endswith("num_batches_tracked") for key in missing):
            raise CheckpointError(f"{path} does not hold the weights of timm's mobilenetv2_100.")
        self.device = torch.device(device)
        self.network: nn.Module = network.eval().to(self.device)

    def __call__(self, rgb: UInt8Array) -> Float32Array:
        """Return five vectors `(5, 320)`: of the image at 256 px, and of its quadrants at 224 px.

        They are spatial means of the last feature map; images are resized bicubically.
        """
        whole = self._features([_resized(rgb, WHOLE)])
        parts = self._features([_resized(part, QUADRANT) for part in quadrants(rgb)])
        return np.concatenate([whole, parts])

    @torch.inference_mode()
    def _features(self, images: Sequence[UInt8Array]) -> Float32Array:
        x = torch.from_numpy(np.stack(images)).to(self.device).movedim(-1, 1)
        x = (x.float() / 255 - 0.5) / 0.5  # normalization of this network
        features: Float32Array = self.network(x)[-1].mean((2, 3)).cpu().numpy()
        return features


def quadrants(rgb: UInt8Array) -> list[UInt8Array]:
    """Return the four quadrants of an image, row by row; a single row or column is in both."""
    rows, columns = (_halves(length) for length in rgb.shape[:2])
    return [rgb[row, column] for row in rows for column in columns]


def _halves(length: int) -> tuple[slice, slice]:
    middle = length // 2
    return slice(0, max(middle, 1)), slice(min(middle, length - 1), length)


def _resized(rgb: UInt8Array, side: int) -> UInt8Array:
    resized = Image.fromarray(np.ascontiguousarray(rgb)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    return np.asarray(resized)


def inception_features(path: Path) -> Callable[[UInt8Array], Float32Array]:
    """Return FID's Inception from a local file, a function from an image to a vector `(1, 2048)`.

    Parameters
    ----------
    path : Path
        `weights-inception-2015-12-05-6726825d.pth` as published by torch-fidelity.

    Raises
    ------
    CheckpointError
        If torch-fidelity, from which torchmetrics takes the network, is not installed, or the file
        holds other weights.
    """
    from napari_colorize.zoo.weights import read_weights

    state = read_weights(path).state
    torchvision_models()
    from torchmetrics.image.fid import NoTrainInceptionV3

    with TemporaryDirectory() as folder:
        # torch-fidelity unpickles the file, which can execute code: give it a copy of the tensors.
        copy = Path(folder) / "inception.pth"
        torch.save(dict(state), copy)
        try:
            network = NoTrainInceptionV3("inception-v3-compat", [FID_FEATURES], str(copy))
        except ModuleNotFoundError as error:
            raise CheckpointError(
                "FID needs the package torch-fidelity: pip install torch-fidelity."
            ) from error
        except RuntimeError as error:
            raise CheckpointError(f"{path} does not hold FID's Inception.") from error

    @torch.inference_mode()
    def features(rgb: UInt8Array) -> Float32Array:
        x = torch.from_numpy(np.ascontiguousarray(rgb)).movedim(-1, 0)[None]
        vectors: Float32Array = network(x).reshape(1, -1).numpy()
        return vectors

    return features


def lpips_from(path: Path) -> Callable[[UInt8Array, UInt8Array], float]:
    """Return LPIPS (Zhang et al. 2018) with torchvision's AlexNet, VGG-16 or SqueezeNet 1.1.

    The linear layers are torchmetrics' copies of the published ones (version 0.1).

    Raises
    ------
    CheckpointError
        If the file holds none of the three networks.
    """
    from napari_colorize.zoo.weights import read_weights

    state = read_weights(path).state
    name = _lpips_network(state, path)
    torchvision_models()
    from torchmetrics.functional.image.lpips import _LPIPS

    network = _LPIPS(net=name, pnet_rand=True).eval()
    with torch.no_grad():
        for key, parameter in network.net.named_parameters():
            parameter.copy_(state[SLICE.sub("features.", key)])

    @torch.inference_mode()
    def distance(truth: UInt8Array, other: UInt8Array) -> float:
        if min(truth.shape[:2]) < MIN_LPIPS_SIDE:
            return float("nan")
        return float(network(_signed(truth), _signed(other)))

    return distance


def _lpips_network(state: Mapping[str, Tensor], path: Path) -> LpipsNetwork:
    for name, (key, shape) in LPIPS_NETWORKS.items():
        if key in state and tuple(state[key].shape) == shape:
            return name
    raise CheckpointError(
        f"{path} holds no network of LPIPS: give torchvision's weights of AlexNet, VGG-16 or "
        "SqueezeNet 1.1."
    )


def _signed(rgb: UInt8Array) -> Tensor:
    """Convert an image to LPIPS's input `(1, 3, H, W)` in [-1, 1], at most 256 px a side."""
    x = torch.from_numpy(np.ascontiguousarray(rgb)).movedim(-1, 0)[None].float() / 127.5 - 1
    share = min(1.0, MAX_LPIPS_SIDE / max(x.shape[-2:]))
    # At least the smallest side that the networks support.
    size = [max(min(side, MIN_LPIPS_SIDE), round(side * share)) for side in x.shape[-2:]]
    return F.interpolate(x, size, mode="area")
