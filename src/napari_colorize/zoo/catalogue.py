"""Which checkpoints exist: names, addresses and fingerprints, as data.

The addresses were taken from public documents and have not been tried by us; several are given, in
the order in which they are tried. Wherever a file comes from, it is used only if its sha256 is the
one written here, so a wrong address can disappoint but not deceive.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_colorize.networks import Fit


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The passport of a weights file.

    Parameters
    ----------
    name : str
        What users call it; its key in `CATALOGUE`, or the stem of their own file.
    title : str
        One line for a list to choose from.
    architecture : str
        Key in `napari_colorize.networks.ARCHITECTURES`. A loaded checkpoint has the one that its
        keys tell, whatever stood here.
    file : str
        File name in the cache folder; in the package, if there are no `urls`; or the absolute path
        of a user's own file.
    urls : tuple of str
        Addresses of the file, tried in order.
    sha256 : str or None
        Fingerprint; None where the file comes with the package. A loaded checkpoint always has one.
    size : int
        Bytes; 0 where the file comes with the package. A loaded checkpoint always has them.
    license, origin : str
        On what terms, and from whom.
    render_factor, saturation : int, float
        Recommended for this checkpoint.
    fit : {"square", "aspect"}
        Pictures are squeezed to a square, or keep their proportions at the square's area.
    """

    name: str
    title: str
    architecture: str
    file: str
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    size: int = 0
    license: str
    origin: str
    render_factor: int
    saturation: float = 1.0
    fit: Fit = "square"


_DEOLDIFY = "DeOldify by Jason Antic, https://github.com/jantic/DeOldify"

CATALOGUE: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint(
            name="embedded",
            title="Small and fast, comes with the package",
            architecture="compact",
            file="embedded.safetensors",
            license="BSD-3-Clause, its encoder Apache-2.0 (see NOTICE)",
            origin="napari-colorize; the encoder began as mobilenet_edgetpu_100 of timm",
            render_factor=12,
            fit="aspect",
        ),
        Checkpoint(
            name="deoldify-artistic",
            title="DeOldify artistic: vivid and full of detail, now and then beside the mark",
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
            title="DeOldify stable: calmer, best for portraits and landscapes",
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
            title="DeOldify video: the steadiest from one frame to the next",
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
    )
}
