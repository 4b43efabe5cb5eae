"""Network architectures: functions of tensors, without files, devices or color spaces.

`ARCHITECTURES` lists every architecture with functions to build it, to detect it from the keys of a
state dict, and with the properties of its input and output. The `forward` of every network has the
argument `self_attention`, so that networks have no state between calls.
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

# Mean and standard deviation of R, G and B of ImageNet, in [0, 1]; the values of torchvision.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """Metadata of a network architecture."""

    name: str  # key in `ARCHITECTURES`
    # State dict -> `nn.Module` with the same keys and shapes (widths are read from the shapes), on
    # the current device and dtype. The weights are not loaded.
    build: Callable[[State], nn.Module]
    matches: Callable[[State], bool]  # state dict -> bool, whether it belongs to this architecture
    create: Callable[..., nn.Module]  # options -> new network with random weights, for training
    # "gray": `(N, 1, H, W)` in [0, 1]. "rgb": the same gray repeated to `(N, 3, H, W)`. "L": CIELAB
    # L of the gray, `(N, 1, H, W)`, 0 to 100.
    input_space: Literal["gray", "rgb", "L"]
    # RGB `(N, 3, H, W)`, Rec. 601 U and V `(N, 2, h, w)`, or CIELAB a and b `(N, 2, h, w)`. The
    # output can be smaller than the input.
    output_space: Literal["rgb", "uv", "ab"]
    # Whether the input, and the output if it is RGB, is normalized with ImageNet's mean and
    # standard deviation
    normalized: bool
    multiple: int  # height and width of the input must be multiples of this
    has_self_attention: bool  # whether the argument `self_attention` has an effect
    render_factor: int  # recommended for files that are not in the catalogue
    bytes_per_pixel: int  # peak memory in float32 per pixel of input (`benchmarks/memory.py`)
    saturation: float = 1.0  # also recommended
    # Whether precision "auto" uses float32 everywhere. A sharpened softmax amplifies the rounding
    # of bfloat16 to visible color differences.
    is_exact: bool = False
    # Shape of the input: a square, or the aspect ratio of the image at the area of the square
    fit: Fit = "square"
    # Scale of the output space: 110 if the network ends in tanh and multiplies by 110. Published
    # losses are given in this unit.
    unit: float = 1.0
    # Whether `forward` has the argument `hints`: CIELAB a and b `(N, 2, H, W)` and their mask
    # `(N, 1, H, W)`
    takes_hints: bool = False
    # Whether the 8-bit processing of DeOldify and the IPOL program is defined for this network
    has_fidelity: bool = False


def _lazy(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports a submodule and calls a function of it.

    This keeps torch out of `import napari_colorize.networks`.
    """

    def call(*args: Any, **options: Any) -> Any:
        return getattr(import_module(f"{__name__}.{module}"), name)(*args, **options)

    return call


def _has(*keys: str) -> Callable[[State], bool]:
    """Return a function that tells whether a state dict has all of these keys."""
    return lambda state: all(key in state for key in keys)


def _is_compact(state: State) -> bool:
    is_region = ARCHITECTURES["region"].matches(state)
    return "encoder.conv_stem.weight" in state and "centers" in state and not is_region


def _is_deoldify(name: str) -> Callable[[State], bool]:
    """Return a function that tells whether a state dict is of this variant of DeOldify."""
    name_of = _lazy("deoldify_specs", "architecture_name")
    return lambda state: bool(name_of(state) == name)


_create_deoldify = _lazy("deoldify_specs", "create")

_DEEP = Architecture(
    name="deoldify-deep",
    build=_lazy("deoldify_specs", "build_network"),
    matches=_is_deoldify("deoldify-deep"),
    create=partial(_create_deoldify, "deoldify", "resnet34", "deep"),
    input_space="rgb",
    output_space="rgb",
    normalized=True,
    multiple=16,
    has_self_attention=True,
    render_factor=35,  # default of DeOldify's notebooks
    bytes_per_pixel=2000,
    has_fidelity=True,
)
_WIDE = replace(
    _DEEP,
    name="deoldify-wide",
    matches=_is_deoldify("deoldify-wide"),
    create=partial(_create_deoldify, "deoldify", "resnet101", "wide"),
)
_IPOL = replace(
    _WIDE,
    name="ipol-uv",
    matches=_is_deoldify("ipol-uv"),
    create=partial(_create_deoldify, "ipol", "resnet101", "wide"),
    render_factor=12,  # defaults of the program of the IPOL review
    saturation=2.0,
)
_OTHER_DEOLDIFY = replace(
    _DEEP,
    name="deoldify-other",
    matches=_is_deoldify("deoldify-other"),
    create=partial(_create_deoldify, "deoldify"),
)
_OTHER_IPOL = replace(
    _IPOL,
    name="ipol-other",
    matches=_is_deoldify("ipol-other"),
    create=partial(_create_deoldify, "ipol", kind="wide"),
)
_COMPACT = Architecture(
    name="compact",
    build=_lazy("compact", "build_compact"),
    matches=_is_compact,
    create=_lazy("compact", "CompactUNet"),
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
_REGION = replace(
    _COMPACT,
    name="region",
    build=_lazy("region", "build_region"),
    matches=_has("color_attention.log_reach"),
    create=_lazy("region", "RegionNet"),
    bytes_per_pixel=730,
)
_ZHANG = Architecture(
    name="zhang-eccv16",
    build=_lazy("zhang", "build_eccv16"),
    matches=_has("model8.6.weight", "model_out.weight"),
    create=_lazy("zhang", "Eccv16"),
    input_space="L",
    output_space="ab",
    normalized=False,
    multiple=8,
    has_self_attention=False,
    render_factor=16,  # 256 px, as in the demo of the release
    bytes_per_pixel=830,  # 550 in float32; bfloat16 needs 415, and half of this value is assumed
    unit=110.0,
)
_SIGGRAPH17 = replace(
    _ZHANG,
    name="zhang-siggraph17",
    build=_lazy("zhang", "build_siggraph17"),
    matches=_has("model1short10.0.weight", "model_out.0.weight"),
    create=_lazy("zhang", "Siggraph17"),
    bytes_per_pixel=2800,  # bfloat16 needs 1370, and half of this value is assumed
    takes_hints=True,
)
_DDCOLOR = Architecture(
    name="ddcolor",
    build=_lazy("ddcolor", "build_ddcolor"),
    matches=_has("decoder.color_decoder.query_feat.weight", "refine_net.0.0.weight_orig"),
    create=_lazy("ddcolor", "new_ddcolor"),
    input_space="rgb",
    output_space="ab",
    normalized=False,  # normalization is part of the network
    multiple=32,
    has_self_attention=False,  # only between color queries
    render_factor=32,  # 512 px, as in the demo of the release
    bytes_per_pixel=1210,  # large: 970 in float32; bfloat16 needs 600, half of this is assumed
)
_PIX2PIX = replace(
    _ZHANG,
    name="pix2pix",
    build=_lazy("pix2pix", "build_pix2pix"),
    matches=_has("contracting.0.conv.weight", "expanding.0.conv.weight"),
    create=_lazy("pix2pix", "Pix2PixUNet"),
    multiple=16,  # other sizes work as well: odd features are padded
    bytes_per_pixel=730,  # 620 in float32
)
_RESNET18_UNET = Architecture(
    name="resnet18-unet",
    build=_lazy("resnet_unet", "build_resnet_unet"),
    matches=_has("encoder.layer1.0.conv1.weight", "bottleneck.0.0.weight"),
    create=_lazy("resnet_unet", "ResNetUNet"),
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
    build=_lazy("convnet", "build_convnet"),
    matches=_has("encoder.stages.0.0.weight", "decoder.head.weight"),
    create=_lazy("convnet", "ConvNet"),
    input_space="gray",
    output_space="rgb",
    render_factor=10,  # 160 px, the last size of the recipe
    bytes_per_pixel=500,
    unit=1.0,
)
_DCGAN_UNET = replace(
    _RESNET18_UNET,
    name="dcgan-unet",
    build=_lazy("dcgan_unet", "build_dcgan_unet"),
    matches=_has("downs.0.0.weight", "choices"),
    create=_lazy("dcgan_unet", "DcganUNet"),
    bytes_per_pixel=1300,  # with pooling; 900 with strides
)
_EXPLO = replace(
    _CONVNET,
    name="explo",
    build=_lazy("explo", "build_explo"),
    matches=_has("contract.0.0.weight", "expand.0.0.weight"),
    create=_lazy("explo", "ExploUNet"),
    render_factor=8,  # 128 px; the slides use 120
    bytes_per_pixel=3200,
)
_LAB_AUTOENCODER = replace(
    _RESNET18_UNET,
    name="lab-autoencoder",
    build=_lazy("convnet", "build_autoencoder"),
    matches=_has("encoder.stages.0.0.weight", "to_ab.head.weight"),
    create=partial(_lazy("convnet", "LabAutoencoder"), "ab"),
    render_factor=10,
    bytes_per_pixel=500,
)
_LAB_AUTOENCODER_RGB = replace(
    _LAB_AUTOENCODER,
    name="lab-autoencoder-rgb",
    matches=_has("encoder.stages.0.0.weight", "to_rgb.head.weight"),
    create=partial(_lazy("convnet", "LabAutoencoder"), "rgb"),
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
        _REGION,
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
    """Return the architecture that matches the keys of a state dict, or None."""
    return next((known for known in ARCHITECTURES.values() if known.matches(state)), None)
