"""What a model calls unsure: the error that it expects, pixel by pixel, in CIEDE2000.

A network with colour classes says how likely each colour is, and so how far off its mean will be.
Of any other network only one thing can be asked: how differently it colours the mirror image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_colorize.colorizer import Colorizer
from napari_colorize.pipeline import network_input, render_size, resize, to_rgb
from napari_colorize.result import Colorized

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

LIKELIEST = 32  # classes of each pixel that are weighed; the others hold next to nothing
BY_CLASSES = "error expected of the colour classes"
BY_MIRROR = "difference to the mirror image's colours"


def source_of(colorizer: Colorizer) -> str:
    """In words, what `expected_error` asks of this network."""
    return BY_CLASSES if hasattr(colorizer.network, "logits") else BY_MIRROR


def expected_error(
    colorizer: Colorizer, gray: Pixels, shown: Colorized, settings: dict[str, Any]
) -> Floats:
    """The CIEDE2000 that a model expects of itself.

    Parameters
    ----------
    colorizer : Colorizer
        The model.
    gray : ndarray, uint8, shape (Y, X)
        What it was shown.
    shown : Colorized
        What it answered.
    settings : dict
        With which it was asked.

    Returns
    -------
    ndarray, float64, shape (h, w)
        0 where it is sure; at the size at which it tells colours, or at full size.
    """
    if hasattr(colorizer.network, "logits"):
        return _of_classes(colorizer, shown)
    mirrored = colorizer(np.ascontiguousarray(gray[:, ::-1]), **settings).pixels[:, ::-1]
    spread: Floats = deltaE_ciede2000(rgb2lab(shown.pixels), rgb2lab(mirrored))
    return spread


@torch.inference_mode()
def _of_classes(colorizer: Colorizer, shown: Colorized) -> Floats:
    """Mean distance of the likeliest classes' colours from the one shown, by their shares."""
    assert shown.settings.saturation is not None
    network: Any = colorizer.network
    gray = resize(shown.plane.gray[None, None], _size(colorizer, shown)).nan_to_num()
    logits = network.logits(network_input(colorizer.architecture, gray)).float()
    shares, classes = logits.softmax(1).topk(min(LIKELIEST, logits.shape[1]), dim=1)
    centers = network.centers.float()[classes[0]].movedim(-1, 1)  # (32, 2, h, w)
    mean = network.expected(logits).float()
    colors = torch.cat([mean, centers]) * shown.settings.saturation
    grays = gray.expand(len(colors), -1, -1, -1)
    rgb = to_rgb(colorizer.architecture, colors, grays).clamp(0, 1)
    lab = rgb2lab(rgb.movedim(1, -1).cpu().numpy())
    distances = deltaE_ciede2000(lab[:1], lab[1:])
    weights = (shares[0] / shares[0].sum(0)).cpu().numpy()
    errors: Floats = (weights * distances).sum(0)
    return errors


def _size(colorizer: Colorizer, shown: Colorized) -> tuple[int, int]:
    assert shown.chroma is not None
    height, width = shown.plane.gray.shape
    return render_size(
        height,
        width,
        shown.chroma.render_factor,
        fit=colorizer.checkpoint.fit,
        multiple=colorizer.architecture.multiple,
    )
