"""Fidelities used through a Colorizer."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from stand_ins import tint_checkpoint
from torch import Tensor, nn

from napari_colorize import fidelity
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ColorizeNote, ColorizeWarning, SettingsError
from napari_colorize.fidelity import MADE_8_BIT


class RedNetwork(nn.Module):
    """Network from normalized gray to normalized RGB; redder with self-attention."""

    def forward(self, x: Tensor, self_attention: bool = True) -> Tensor:
        shift = torch.tensor([1.0, -0.2, -0.6]).view(1, 3, 1, 1)
        return x + shift * (1.0 if self_attention else 0.3)


@pytest.fixture
def colorizer() -> Colorizer:
    checkpoint = tint_checkpoint(architecture="deoldify-deep", fit="square", saturation=1.0)
    return Colorizer(RedNetwork(), checkpoint, torch.device("cpu"), torch.float32)


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeNote")
@pytest.mark.parametrize("name", ["deoldify", "ipol"])
def test_a_fidelity_returns_the_result_of_its_steps(colorizer, name):
    image = skimage.data.astronaut()[:97, :131]

    result = colorizer(image, fidelity=name, self_attention=False)

    steps = getattr(fidelity, name)
    expected = steps(image, colorizer.network, 4, self_attention=False, saturation=1.0)
    np.testing.assert_array_equal(result.rgb, expected)
    assert result.chroma is None
    assert result.provenance["settings"]["fidelity"] == name


def test_deeper_images_are_converted_to_8_bit_with_a_note(colorizer):
    gray = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)

    with pytest.warns(ColorizeNote, match="256 levels"):
        result = colorizer(gray, fidelity="deoldify")

    assert result.rgb.dtype == np.uint8
    assert MADE_8_BIT in result.notes
    assert result._repr_png_()


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeNote")
def test_alpha_is_kept(colorizer):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)

    result = colorizer(image, fidelity="deoldify")

    np.testing.assert_array_equal(result.rgb[..., 3], image[..., 3])


def test_a_torch_image_gives_8_bit_torch(colorizer):
    result = colorizer(torch.rand(20, 30), fidelity="deoldify")

    assert result.rgb.dtype == torch.uint8


def test_a_result_of_a_fidelity_cannot_be_recomposed(colorizer):
    result = colorizer(np.full((20, 30), 90, np.uint8), fidelity="deoldify")

    with pytest.raises(SettingsError, match="finished"):
        result.with_(saturation=2.0)


def test_a_gray_prediction_gives_a_warning(colorizer):
    class GrayNetwork(RedNetwork):
        def forward(self, x: Tensor, self_attention: bool = True) -> Tensor:
            std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
            mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
            return (0.5 - mean).expand_as(x) / std

    gray = Colorizer(GrayNetwork(), colorizer.checkpoint, colorizer.device, colorizer.dtype)

    with pytest.warns(ColorizeWarning, match="almost no color"):
        gray(np.full((20, 30), 90, np.uint8), fidelity="deoldify")


def test_stacks_are_colorized_with_a_fidelity(colorizer):
    stack = np.random.default_rng(0).integers(0, 256, (3, 20, 30), dtype=np.uint8)

    planes = dict(colorizer.iter_planes(stack, fidelity="deoldify"))

    np.testing.assert_array_equal(planes[1,].rgb, colorizer(stack[1], fidelity="deoldify").rgb)
