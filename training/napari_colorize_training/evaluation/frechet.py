"""Distances that need a network's eyes: Frechet distances of features, and LPIPS.

Every network comes from a file that the user has; none is downloaded. A Frechet distance compares
two sets of pictures by the mean and covariance of features, as FID does (Heusel et al. 2017, where
the network is Inception); values of different networks must not be compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from napari_colorize.errors import CheckpointError
from napari_colorize.networks.vision import torchvision_models

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
LpipsNetwork = Literal["alex", "vgg", "squeeze"]

WHOLE, QUADRANT = 256, 224  # px, sides of what the backbone sees
FID_FEATURES = "2048"  # the last of Inception's pools, as everyone takes it
# px: LPIPS was calibrated on patches of 64 px; its networks have nothing left of smaller pictures.
SMALLEST_LPIPS, LARGEST_LPIPS = 64, 256
# torchmetrics cuts torchvision's `features` into slices and keeps the layers' numbers.
SLICE = re.compile(r"^slices?\.?\d+\.")
# What tells the networks of LPIPS apart: a key of torchvision's, and the shape of its weights.
LPIPS_NETWORKS: dict[LpipsNetwork, tuple[str, tuple[int, ...]]] = {
    "alex": ("features.0.weight", (64, 3, 11, 11)),
    "vgg": ("features.28.weight", (512, 512, 3, 3)),
    "squeeze": ("features.3.squeeze.weight", (16, 64, 1, 1)),
}


class Moments:
    """Mean and covariance of feature vectors, gathered a few at a time in float64."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Floats = np.zeros(0)
        self._products: Floats = np.zeros((0, 0))

    def add(self, features: NDArray[Any]) -> None:
        """Take in vectors `(N, D)`."""
        features = features.astype(np.float64)
        if not self.count:
            self._sum = np.zeros(features.shape[1])
            self._products = np.zeros((features.shape[1], features.shape[1]))
        self.count += len(features)
        self._sum += features.sum(0)
        self._products += features.T @ features

    @property
    def mean(self) -> Floats:
        """Shape `(D,)`."""
        return self._sum / self.count

    @property
    def covariance(self) -> Floats:
        """Shape `(D, D)`, unbiased; of a single vector it is zero."""
        scatter = self._products - self.count * np.outer(self.mean, self.mean)
        covariance: Floats = scatter / max(self.count - 1, 1)
        return covariance


def frechet_distance(one: Moments, other: Moments) -> float:
    """Squared Frechet distance of the two normal distributions (Dowson and Landau 1982).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2). Only symmetric matrices are taken roots
    of, and negative eigenvalues are rounding: so it holds for fewer vectors than dimensions too.
    """
    between = np.square(one.mean - other.mean).sum()
    root = _root(one.covariance)
    shared = np.linalg.eigvalsh(root @ other.covariance @ root).clip(min=0)
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    return float(max(between + traces - 2 * np.sqrt(shared).sum(), 0.0))


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    root: Floats = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root


class Backbone:
    """Features of MobileNetV2 (timm `mobilenetv2_100`): of a whole picture and its quadrants.

    Parameters
    ----------
    path : Path
        Its weights, safetensors. Use a network that no training has used.
    device : torch.device
        Where it runs, in float32.

    Raises
    ------
    CheckpointError
        If the file is not such a network's.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        torchvision_models()  # timm imports torchvision, which needs its cure
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

    def __call__(self, rgb: Pixels) -> NDArray[np.float32]:
        """Five vectors `(5, 320)`: the whole picture at 256 px, then its quadrants at 224 px.

        Squeezed bicubically; the last feature map's mean over space.
        """
        whole = self._features([_squeezed(rgb, WHOLE)])
        parts = self._features([_squeezed(part, QUADRANT) for part in quadrants(rgb)])
        return np.concatenate([whole, parts])

    @torch.inference_mode()
    def _features(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        x = torch.from_numpy(np.stack(pictures)).to(self.device).movedim(-1, 1)
        x = (x.float() / 255 - 0.5) / 0.5  # mean and deviation that this network was trained with
        features: NDArray[np.float32] = self.network(x)[-1].mean((2, 3)).cpu().numpy()
        return features


def quadrants(rgb: Pixels) -> list[Pixels]:
    """The four quarters of a picture, row by row; a side of one pixel is in both halves."""
    rows, columns = (_halves(length) for length in rgb.shape[:2])
    return [rgb[row, column] for row in rows for column in columns]


def _halves(length: int) -> tuple[slice, slice]:
    middle = length // 2
    return slice(0, max(middle, 1)), slice(min(middle, length - 1), length)


def _squeezed(rgb: Pixels, side: int) -> Pixels:
    resized = Image.fromarray(np.ascontiguousarray(rgb)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    return np.asarray(resized)


def inception_features(path: Path) -> Callable[[Pixels], NDArray[np.float32]]:
    """FID's Inception from a local file: a picture to one vector `(1, 2048)`.

    Parameters
    ----------
    path : Path
        `weights-inception-2015-12-05-6726825d.pth` as torch-fidelity publishes it.

    Raises
    ------
    CheckpointError
        If torch-fidelity, which torchmetrics takes the network from, is not installed, or the file
        is another.
    """
    from napari_colorize.zoo.weights import read_weights

    state = read_weights(path).state
    torchvision_models()
    from torchmetrics.image.fid import NoTrainInceptionV3

    with TemporaryDirectory() as folder:
        # torch-fidelity unpickles whatever it is given: it gets a copy of the tensors alone.
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
    def features(rgb: Pixels) -> NDArray[np.float32]:
        x = torch.from_numpy(np.ascontiguousarray(rgb)).movedim(-1, 0)[None]
        vectors: NDArray[np.float32] = network(x).reshape(1, -1).numpy()
        return vectors

    return features


def lpips_from(path: Path) -> Callable[[Pixels, Pixels], float]:
    """LPIPS (Zhang et al. 2018) on a torchvision AlexNet, VGG-16 or SqueezeNet 1.1 from a file.

    The linear layers are torchmetrics' own copies of the published ones (version 0.1).

    Raises
    ------
    CheckpointError
        If the file holds none of the three.
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
    def distance(truth: Pixels, other: Pixels) -> float:
        if min(truth.shape[:2]) < SMALLEST_LPIPS:
            return float("nan")
        return float(network(_signed(truth), _signed(other)))

    return distance


def _lpips_network(state: Mapping[str, Tensor], path: Path) -> LpipsNetwork:
    for name, (key, shape) in LPIPS_NETWORKS.items():
        if key in state and tuple(state[key].shape) == shape:
            return name
    raise CheckpointError(
        f"{path} holds none of LPIPS's networks: give torchvision's AlexNet, VGG-16 or "
        "SqueezeNet 1.1."
    )


def _signed(rgb: Pixels) -> Tensor:
    """A picture as LPIPS takes it: `(1, 3, H, W)` in [-1, 1], at most 256 px on its longer side."""
    x = torch.from_numpy(np.ascontiguousarray(rgb)).movedim(-1, 0)[None].float() / 127.5 - 1
    share = min(1.0, LARGEST_LPIPS / max(x.shape[-2:]))
    # Not narrower than the smallest side that the networks take.
    size = [max(min(side, SMALLEST_LPIPS), round(side * share)) for side in x.shape[-2:]]
    return F.interpolate(x, size, mode="area")
