"""Requirements on every network. New architectures are tested without changes here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from skimage.color import rgb2yuv
from stand_ins import colorizer_of
from torch import Tensor, nn

from napari_colorize.colorizer import Colorizer
from napari_colorize.networks import ARCHITECTURES, Architecture, identify
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.winograd import accelerate_convs
from napari_colorize.pipeline import network_input, predict, render_size, to_rgb
from napari_colorize.zoo.weights import build

# Options for small networks, where the published size is slow.
SMALL: dict[str, dict[str, Any]] = {
    "deoldify-deep": {"width": 0.125},
    "deoldify-wide": {"width": 0.125},
    "ipol-uv": {"width": 0.125},
    "deoldify-other": {"width": 0.125},
    "ipol-other": {"width": 0.125},
    "zhang-eccv16": {"width": 8},
    "zhang-siggraph17": {"width": 8},
    "ddcolor": {
        "depths": (1, 1, 1, 1),
        "encoded": (8, 16, 24, 32),
        "decoded": (24, 32, 16),
        "hidden": 16,
        "inner": 24,
        "layers": 4,
        "queries": 10,
    },
    "pix2pix": {"width": 8},
    "resnet18-unet": {"depth": "layer3", "widths": (32, 16, 8)},
    "convnet": {"widths": (8, 8, 16, 16, 32, 32)},
    "dcgan-unet": {"widths": (8, 16, 16, 32)},
    "explo": {"width": 4},
    "lab-autoencoder": {"widths": (8, 16, 16, 32)},
    "lab-autoencoder-rgb": {"widths": (8, 16, 16, 32)},
}
LARGE = {
    "deoldify-wide",
    "ipol-uv",
}  # 200 million parameters with any options; "-other" tests the same code
SHAPES = [(7, 5), (131, 97)]

pytestmark = pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")


class Case:
    """A new network, small where options allow it, its weights, and its optimized form."""

    def __init__(self, architecture: Architecture) -> None:
        torch.manual_seed(0)
        self.architecture = architecture
        network = architecture.create(**SMALL.get(architecture.name, {})).eval()
        self.network: nn.Module = network.requires_grad_(False)
        self.state = network.state_dict()
        self.colorizer = _optimized(architecture, self.state)

    def input(self, images: int = 1) -> Tensor:
        """Input of the network for images that are wider than high."""
        height, width = _sides(self.architecture)
        shape = images, 1, height, width
        gray = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        return network_input(self.architecture, gray)


def _sides(architecture: Architecture) -> tuple[int, int]:
    times = -(-32 // architecture.multiple)
    return architecture.multiple * times, architecture.multiple * (times + 1)


def _optimized(architecture: Architecture, state: dict[str, Tensor]) -> Colorizer:
    """Build a network as `Colorizer.from_pretrained` does on a CPU in float32."""
    network = fuse(build(architecture, state))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    accelerate_convs(network)
    return colorizer_of(network, architecture=architecture.name, fit=architecture.fit)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name
        for name in ARCHITECTURES
    ],
)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(ARCHITECTURES[request.param])


def test_the_keys_match_one_architecture_only(case: Case) -> None:
    matching = [
        architecture.name
        for architecture in ARCHITECTURES.values()
        if architecture.matches(case.state)
    ]

    assert matching == [case.architecture.name]
    assert identify(case.state) is case.architecture


def test_a_network_is_rebuilt_from_its_weights(case: Case) -> None:
    x = case.input()

    rebuilt = build(case.architecture, case.state)

    assert torch.equal(rebuilt(x), case.network(x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("render_factor", [1, 5, 21])
def test_a_colorized_image_has_the_luminance_of_the_input(
    case: Case, shape: tuple[int, int], render_factor: int
) -> None:
    gray = np.random.default_rng(0).random(shape, dtype=np.float32)

    result = case.colorizer(gray, render_factor=render_factor, saturation=1.0)

    assert result.rgb.shape == (*shape, 3)
    assert result.chroma is not None and result.chroma.uv.isfinite().all()
    assert not result.rgb.min() < 0 and not result.rgb.max() > 1
    np.testing.assert_allclose(rgb2yuv(result.rgb)[..., 0], gray, atol=1e-5)


def test_the_optimized_network_gives_the_same_output(case: Case) -> None:
    architecture = case.architecture
    gray = torch.rand(90, 120, generator=torch.Generator().manual_seed(0))

    chroma = case.colorizer.predict(gray.numpy(), render_factor=5, contrast_limits=(0, 1))

    size = render_size(90, 120, 5, fit=architecture.fit, multiple=architecture.multiple)
    expected = predict(case.network, architecture, [gray], size)[0]
    torch.testing.assert_close(chroma.uv, expected, atol=2e-4, rtol=0)


def test_the_output_has_the_aspect_ratio_of_the_input(case: Case) -> None:
    architecture = case.architecture
    height, width = _sides(architecture)

    output = case.network(case.input())

    assert output.shape[:2] == (1, 3 if architecture.output_space == "rgb" else 2)
    assert height * output.shape[3] == width * output.shape[2]
    rgb = to_rgb(architecture, output, torch.full((1, 1, height, width), 0.5))
    assert rgb.shape == (1, 3, *output.shape[2:]) and rgb.isfinite().all()


def test_images_of_a_batch_are_independent(case: Case) -> None:
    x = case.input(images=2)

    torch.testing.assert_close(case.network(x)[1:], case.network(x[1:]), atol=2e-3, rtol=1e-4)


def test_bfloat16_weights_accept_float32_input(case: Case) -> None:
    network = build(case.architecture, case.state).to(torch.bfloat16)

    assert network(case.input()).isfinite().all()


def test_every_parameter_has_a_gradient(case: Case) -> None:
    network = build(case.architecture, case.state).requires_grad_(True)

    network(case.input()).square().mean().backward()

    unused = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert not unused
