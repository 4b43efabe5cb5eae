"""Architectures: tensors in, tensors out; no files, no devices, no color science.

`ARCHITECTURES` says of each network how it is built, how it is told from the keys of a state dict,
and what it wants and gives. Every network's `forward(x, self_attention=True)` takes the switch as
an argument, so that a network has no state between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn

State = Mapping[str, "Tensor"]

Fit = Literal["square", "aspect"]

# Of ImageNet's R, G and B in [0, 1], as torchvision has them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """A network's passport.

    Parameters
    ----------
    name : str
        Key in `ARCHITECTURES`.
    build : callable
        State dict -> `nn.Module` of the same keys and shapes (widths are read off the shapes), on
        the device and dtype that are current; its weights are not loaded yet.
    matches : callable
        State dict -> whether it belongs to this architecture.
    create : callable
        Options -> a new network with random weights, for training.
    input_space : {"gray", "rgb", "L"}
        `(N, 1, H, W)`, or the gray repeated to `(N, 3, H, W)`, in [0, 1] before normalization;
        or `(N, 1, H, W)` CIELAB L of the gray, 0 to 100.
    output_space : {"rgb", "uv", "ab"}
        `(N, 3, H, W)` RGB, or `(N, 2, h, w)` Rec. 601 U and V or CIELAB a and b, possibly smaller
        than the input.
    unit : float
        What is 1 to the network's last layer, in units of its output space: 110 where a network
        ends in tanh and its `forward` multiplies by 110. Published losses are measured in it.
    normalized : bool
        Input, and output if it is RGB, have ImageNet's mean subtracted and are divided by its
        standard deviation.
    multiple : int
        Height and width must be multiples of this.
    has_self_attention : bool
        Whether the switch does anything.
    render_factor, saturation : int, float
        Recommended for a file that is not in the catalogue.
    bytes_per_pixel : int
        Memory that float32 takes at its peak for a pixel of input (`benchmarks/memory.py`).
    is_exact : bool
        Precision "auto" computes it in float32 everywhere: a softmax that is sharpened makes other
        colors of what bfloat16 rounds off.
    fit : {"square", "aspect"}
        Images are squeezed to a square, or keep their proportions at the square's area.
    takes_hints : bool
        Its `forward` has `hints`: CIELAB a and b `(N, 2, H, W)`, and where they are `(N, 1, H, W)`.
    has_fidelity : bool
        Whether the 8-bit steps of DeOldify and the IPOL program were made for this network.
    """

    name: str
    build: Callable[[State], nn.Module]
    matches: Callable[[State], bool]
    create: Callable[..., nn.Module]
    input_space: Literal["gray", "rgb", "L"]
    output_space: Literal["rgb", "uv", "ab"]
    normalized: bool
    multiple: int
    has_self_attention: bool
    render_factor: int
    bytes_per_pixel: int
    saturation: float = 1.0
    is_exact: bool = False
    fit: Fit = "square"
    unit: float = 1.0
    takes_hints: bool = False
    has_fidelity: bool = False


def _is_compact(state: State) -> bool:
    return "encoder.conv_stem.weight" in state and "centers" in state


def _waiting(module: str, name: str) -> Callable[..., Any]:
    """A function of a module beside this one, which is imported when it is called."""

    def call(*args: Any, **options: Any) -> Any:
        return getattr(import_module(f"{__name__}.{module}"), name)(*args, **options)

    return call


_DEEP = Architecture(
    name="deoldify-deep",
    build=_waiting("deoldify_specs", "network_of"),
    matches=_waiting("deoldify_specs", "is_deep"),
    create=_waiting("deoldify_specs", "new_deep"),
    input_space="rgb",
    output_space="rgb",
    normalized=True,
    multiple=16,
    has_self_attention=True,
    render_factor=35,  # the default of DeOldify's notebooks
    bytes_per_pixel=2000,
    has_fidelity=True,
)
_WIDE = replace(
    _DEEP,
    name="deoldify-wide",
    matches=_waiting("deoldify_specs", "is_wide"),
    create=_waiting("deoldify_specs", "new_wide"),
)
_IPOL = replace(
    _WIDE,
    name="ipol-uv",
    matches=_waiting("deoldify_specs", "is_ipol"),
    create=_waiting("deoldify_specs", "new_ipol"),
    render_factor=12,  # this and the saturation are defaults of the IPOL review's program
    saturation=2.0,
)
_OTHER_DEOLDIFY = replace(
    _DEEP,
    name="deoldify-other",
    matches=_waiting("deoldify_specs", "is_other_deoldify"),
    create=_waiting("deoldify_specs", "new_other_deoldify"),
)
_OTHER_IPOL = replace(
    _IPOL,
    name="ipol-other",
    matches=_waiting("deoldify_specs", "is_other_ipol"),
    create=_waiting("deoldify_specs", "new_other_ipol"),
)
_COMPACT = Architecture(
    name="compact",
    build=_waiting("compact", "compact_of"),
    matches=_is_compact,
    create=_waiting("compact", "CompactUNet"),
    input_space="gray",
    output_space="uv",
    normalized=False,
    multiple=16,
    has_self_attention=True,
    render_factor=12,
    bytes_per_pixel=720,
    is_exact=True,
    fit="aspect",
)
_ZHANG = Architecture(
    name="zhang-eccv16",
    build=_waiting("zhang", "eccv16_of"),
    matches=_waiting("zhang", "is_eccv16"),
    create=_waiting("zhang", "Eccv16"),
    input_space="L",
    output_space="ab",
    normalized=False,
    multiple=8,
    has_self_attention=False,
    render_factor=16,  # 256 px, as the release's demo shows it
    bytes_per_pixel=830,  # 550 in float32; bfloat16 takes 415, and is counted as half of this
    unit=110.0,
)
_SIGGRAPH17 = replace(
    _ZHANG,
    name="zhang-siggraph17",
    build=_waiting("siggraph", "siggraph17_of"),
    matches=_waiting("siggraph", "is_siggraph17"),
    create=_waiting("siggraph", "Siggraph17"),
    bytes_per_pixel=2800,  # bfloat16 takes 1370, and is counted as half of this
    takes_hints=True,
)
_DDCOLOR = Architecture(
    name="ddcolor",
    build=_waiting("ddcolor", "ddcolor_of"),
    matches=_waiting("ddcolor", "is_ddcolor"),
    create=_waiting("ddcolor", "new_ddcolor"),
    input_space="rgb",
    output_space="ab",
    normalized=False,  # it does that itself
    multiple=32,
    has_self_attention=False,  # only its queries consult each other
    render_factor=32,  # 512 px, as in the release's demo
    bytes_per_pixel=1210,  # large: 970 in float32; bfloat16 takes 600, and is counted as half
)
_PIX2PIX = replace(
    _ZHANG,
    name="pix2pix",
    build=_waiting("pix2pix", "pix2pix_of"),
    matches=_waiting("pix2pix", "is_pix2pix"),
    create=_waiting("pix2pix", "Pix2PixUNet"),
    multiple=16,  # any would do; deep features are padded where they cannot be halved
    bytes_per_pixel=730,  # 620 in float32; see above
)
_RESNET18_UNET = Architecture(
    name="resnet18-unet",
    build=_waiting("resnet_unet", "resnet_unet_of"),
    matches=_waiting("resnet_unet", "is_resnet_unet"),
    create=_waiting("resnet_unet", "ResNetUNet"),
    input_space="L",
    output_space="ab",
    normalized=False,
    multiple=16,
    has_self_attention=False,
    render_factor=16,  # 256 px, as in the tutorial
    bytes_per_pixel=2200,
    unit=110.0,
)
_CONVNET = replace(
    _RESNET18_UNET,
    name="convnet",
    build=_waiting("convnet", "convnet_of"),
    matches=_waiting("convnet", "is_convnet"),
    create=_waiting("convnet", "ConvNet"),
    input_space="gray",
    output_space="rgb",
    render_factor=10,  # 160 px, at which our recipe ends
    bytes_per_pixel=500,
    unit=1.0,
)
_DCGAN_UNET = replace(
    _RESNET18_UNET,
    name="dcgan-unet",
    build=_waiting("dcgan_unet", "dcgan_unet_of"),
    matches=_waiting("dcgan_unet", "is_dcgan_unet"),
    create=_waiting("dcgan_unet", "DcganUNet"),
    bytes_per_pixel=1300,  # with pooling; 900 with strides
)
_EXPLO = replace(
    _CONVNET,
    name="explo",
    build=_waiting("explo", "explo_of"),
    matches=_waiting("explo", "is_explo"),
    create=_waiting("explo", "ExploUNet"),
    render_factor=8,  # 128 px; the slides have 120
    bytes_per_pixel=3200,
)
_LAB_AUTOENCODER = replace(
    _RESNET18_UNET,
    name="lab-autoencoder",
    build=_waiting("lab_autoencoder", "autoencoder_of"),
    matches=_waiting("lab_autoencoder", "is_ab_autoencoder"),
    create=partial(_waiting("lab_autoencoder", "LabAutoencoder"), "ab"),
    render_factor=10,
    bytes_per_pixel=500,
)
_LAB_AUTOENCODER_RGB = replace(
    _LAB_AUTOENCODER,
    name="lab-autoencoder-rgb",
    matches=_waiting("lab_autoencoder", "is_rgb_autoencoder"),
    create=partial(_waiting("lab_autoencoder", "LabAutoencoder"), "rgb"),
    output_space="rgb",
    unit=1.0,
)

ARCHITECTURES = {
    known.name: known
    for known in (
        _DEEP,
        _WIDE,
        _IPOL,
        _OTHER_DEOLDIFY,
        _OTHER_IPOL,
        _COMPACT,
        _ZHANG,
        _SIGGRAPH17,
        _DDCOLOR,
        _PIX2PIX,
        _RESNET18_UNET,
        _CONVNET,
        _DCGAN_UNET,
        _EXPLO,
        _LAB_AUTOENCODER,
        _LAB_AUTOENCODER_RGB,
    )
}


def identify(state: State) -> Architecture | None:
    """The architecture whose keys a state dict has, or None."""
    return next((known for known in ARCHITECTURES.values() if known.matches(state)), None)
