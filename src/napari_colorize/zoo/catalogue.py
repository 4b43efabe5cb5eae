"""Catalogue of known checkpoints: names, URLs and checksums.

The URLs were taken from public documents and were not tested. They are tried in order. A file is
used only if its sha256 is the one in this catalogue, wherever it was downloaded from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_colorize.networks import Fit
from napari_colorize.settings import RangeRule


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Metadata of a weights file."""

    name: str  # name of the model: its key in `CATALOGUE`, or the stem of a file
    title: str  # one line for lists of models
    # Key in `napari_colorize.networks.ARCHITECTURES`. For a loaded checkpoint it is detected from
    # the keys of the state dict.
    architecture: str
    # File name in the cache folder, or in the package if there are no `urls`; or the absolute path
    # of a user's file
    file: str
    urls: tuple[str, ...] = ()  # URLs of the file, tried in order
    # Checksum; None for the file in the package. A loaded checkpoint always has one.
    sha256: str | None = None
    # Size in bytes; 0 for the file in the package. A loaded checkpoint always has a size.
    size: int = 0
    size_tolerance: int = 0  # largest error of `size` in bytes: some publishers give megabytes only
    # License of the weights, and their authors
    license: str
    origin: str
    # Recommended for this checkpoint
    render_factor: int
    saturation: float = 1.0
    # Images are resized to a square, or keep their aspect ratio at the same area
    fit: Fit = "square"
    # Rule for the intensity range with which the model was trained; None is "auto"
    contrast_limits: RangeRule | None = None

    def matches_size(self, size: int) -> bool:
        """Whether a file of this size in bytes can be this checkpoint."""
        return abs(size - self.size) <= self.size_tolerance


_DEOLDIFY = "DeOldify by Jason Antic, https://github.com/jantic/DeOldify"
_ZHANG = "Richard Zhang et al., https://github.com/richzhang/colorization"
_BUCKET = "https://colorizers.s3.us-east-2.amazonaws.com/"
_RELEASES = "https://github.com/clibdev/colorization/releases/latest/download/"
_DDCOLOR = "DDColor by Xiaoyang Kang et al., https://github.com/piddnad/DDColor"
_DDCOLOR_MODELS = "https://huggingface.co/piddnad/DDColor-models/resolve/main/"
_DDCOLOR_MIRROR = "https://hf-mirror.com/piddnad/DDColor-models/resolve/main/"
_ROUNDED = 1_000_000  # error in bytes of a size in whole megabytes


def _ddcolor(*, file: str, **entry: Any) -> Checkpoint:
    """A checkpoint of DDColor."""
    return Checkpoint(
        **entry,
        architecture="ddcolor",
        file=file,
        urls=(_DDCOLOR_MODELS + file, _DDCOLOR_MIRROR + file),
        license="Apache-2.0",
        origin=_DDCOLOR,
        render_factor=32,  # 512 px, as in the demo of the release
    )


CATALOGUE: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint(
            name="embedded",
            title="Small and fast, included in the package",
            architecture="region",
            file="embedded.safetensors",
            license="BSD-3-Clause, its encoder Apache-2.0 (see NOTICE)",
            origin="napari-colorize; encoder initialized from tf_efficientnet_lite0 of timm",
            render_factor=12,
            fit="aspect",
        ),
        Checkpoint(
            name="deoldify-artistic",
            title="DeOldify artistic: vivid and detailed, occasionally wrong colors",
            architecture="deoldify-deep",
            file="ColorizeArtistic_gen.pth",
            urls=(
                "https://data.deepai.org/deoldify/ColorizeArtistic_gen.pth",
                "https://huggingface.co/spensercai/DeOldify/resolve/main/ColorizeArtistic_gen.pth",
                "https://huggingface.co/databuzzword/deoldify-artistic/resolve/main/"
                "ColorizeArtistic_gen.pth",
            ),
            sha256="3f750246fa220529323b85a8905f9b49c0e5d427099185334d048fb5b5e22477",
            size=255_144_681,
            license="MIT",
            origin=_DEOLDIFY,
            render_factor=35,  # the default of DeOldify's notebooks
        ),
        Checkpoint(
            name="deoldify-stable",
            title="DeOldify stable: less saturated, best for portraits and landscapes",
            architecture="deoldify-wide",
            file="ColorizeStable_gen.pth",
            urls=(
                "https://www.dropbox.com/s/axsd2g85uyixaho/ColorizeStable_gen.pth?dl=0",
                "https://huggingface.co/spensercai/DeOldify/resolve/main/ColorizeStable_gen.pth",
                "https://huggingface.co/thookham/DeOldify-on-Browser/resolve/main/"
                "ColorizeStable_gen.pth",
            ),
            sha256="ca9cd7f43fb8b222c9a70f7b292e305a000694b0ff9d2ae4a6747b1a2e1ee5af",
            size=874_066_230,
            license="MIT",
            origin=_DEOLDIFY,
            render_factor=35,  # the default of DeOldify's notebooks
        ),
        Checkpoint(
            name="deoldify-video",
            title="DeOldify video: least flicker between frames",
            architecture="deoldify-wide",
            file="ColorizeVideo_gen.pth",
            urls=(
                "https://data.deepai.org/deoldify/ColorizeVideo_gen.pth",
                "https://huggingface.co/spensercai/DeOldify/resolve/main/ColorizeVideo_gen.pth",
            ),
            sha256="e3d98bb6a222354c79f95485c2f078a89dc724e9183662506d9e0f5aafac83ad",
            size=874_066_230,
            license="MIT",
            origin=_DEOLDIFY,
            render_factor=21,  # the default of DeOldify's video notebook
        ),
        Checkpoint(
            name="eccv16",
            title="Zhang et al. 2016: vivid, occasional blotches",
            architecture="zhang-eccv16",
            file="colorization_release_v2-9b330a0b.pth",
            urls=(
                _BUCKET + "colorization_release_v2-9b330a0b.pth",
                _RELEASES + "colorization-eccv-16.pth",
                "https://huggingface.co/ckpt/colorization/resolve/main/"
                "colorization_release_v2-9b330a0b.pth",
            ),
            sha256="9b330a0bae53f4ded77b1e23defbf78beaa09c10ebc4c4999e8e4f4a160b93f9",
            size=128_976_165,
            license="BSD-2-Clause",
            origin=_ZHANG,
            render_factor=16,  # 256 px, as in the demo of the release
        ),
        Checkpoint(
            name="siggraph17",
            title="Zhang et al. 2017: muted colors; hints are a network input",
            architecture="zhang-siggraph17",
            file="siggraph17-df00044c.pth",
            urls=(
                _BUCKET + "siggraph17-df00044c.pth",
                _RELEASES + "colorization-siggraph-17.pth",
            ),
            sha256="df00044c0a4d7c3edcecf6f75437ce346a66e7a42612d9b968e1a7e17dbc6f66",
            size=136_787_426,
            license="BSD-2-Clause",
            origin=_ZHANG,
            render_factor=16,  # 256 px, as in the demo of the release
        ),
        _ddcolor(
            name="ddcolor",
            title="DDColor: saturated colors, the default of its authors",
            file="ddcolor_modelscope.pth",
            sha256="17c460d7e55b32a598370621d77173be59e03c24b0823f06821db23a50c263ce",
            size=911_950_059,
            size_tolerance=_ROUNDED,
        ),
        _ddcolor(
            name="ddcolor-artistic",
            title="DDColor artistic: different colors, fewer blotches",
            file="ddcolor_artistic.pth",
            sha256="a591ee5beedad36de703d8977e92d0c30c1eedc6453fd1b300f3b460842a23a9",
            size=911_950_059,
        ),
        _ddcolor(
            name="ddcolor-paper",
            title="DDColor paper: the weights of the article",
            file="ddcolor_paper.pth",
            sha256="789781789db1bafc2165e1cf9658580f871cce64a81901ec49127877813f10b9",
            size=912_000_000,
            size_tolerance=_ROUNDED,
        ),
        _ddcolor(
            name="ddcolor-tiny",
            title="DDColor tiny: a quarter of the size",
            file="ddcolor_paper_tiny.pth",
            sha256="81dd643904f4664c3718513e3320ae3db0c567f0d3e18398606659adee7bfc17",
            size=220_393_145,
            size_tolerance=_ROUNDED,
        ),
    )
}
