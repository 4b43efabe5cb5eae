"""How sure a model is: the error that it expects, pixel by pixel, in CIEDE2000.

A network with colour classes says how likely each colour is, and so how far off the one it shows
will be: `sum_c p(c) CIEDE2000(shown, c)`. What it says so is too small or too large in a steady
way; where the network carries a calibration, measured on photographs it was not trained on, the
error is corrected by it. Of any other network only one thing can be asked: how differently it
colours the mirror image.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_colorize.errors import SettingsError
from napari_colorize.imaging.resample import resize
from napari_colorize.pipeline import compose, network_input, render_size, to_rgb

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.result import Colorized

Floats = NDArray[np.float32]

LIKELIEST = 32  # classes of each pixel that are weighed; the others hold next to nothing
# Mean CIEDE2000 to the truth by how differently the mirror image is coloured: the embedded model on
# 40 held-out photographs. Other models' errors rise with it alike.
MIRROR_DIFFERENCE = (0.06, 0.41, 1.09, 2.26, 4.76, 9.64, 19.5)
MIRROR_ERROR = (6.8, 9.6, 11.5, 13.0, 14.5, 16.7, 19.3)

BY_CLASSES = "error expected of the colour classes"
CALIBRATED = "error expected of the colour classes, calibrated"
BY_MIRROR = "difference to the mirror image's colours"


def source_of(colorizer: Colorizer) -> str:
    """In words, what `expected_error` asks of this network."""
    if not hasattr(colorizer.network, "logits"):
        return BY_MIRROR
    return BY_CLASSES if _calibration(colorizer) is None else CALIBRATED


def expected_error(colorizer: Colorizer, result: Colorized) -> Floats:
    """How far off the truth a model expects each of its colours to be.

    Parameters
    ----------
    colorizer : Colorizer
        The model; it is asked once more.
    result : Colorized
        What it answered.

    Returns
    -------
    ndarray, float32, shape (h, w)
        CIEDE2000: 0 where it is sure, 1 is just visible side by side, above 10 it is a guess. At
        the size at which the network tells colours; `pipeline.resize` brings it to any other.

    Raises
    ------
    SettingsError
        If the result is one of a fidelity, which keeps no chrominance.
    """
    if result.chroma is None:
        raise SettingsError(
            f'A picture of fidelity="{result.settings.fidelity}" keeps no chrominance to judge: '
            "colorize without a fidelity."
        )
    if not hasattr(colorizer.network, "logits"):
        return _of_mirror(colorizer, result)
    errors = uncalibrated_error(colorizer, result)
    calibration = _calibration(colorizer)
    return errors if calibration is None else _corrected(errors, calibration)


def comparable_error(colorizer: Colorizer, result: Colorized) -> Floats:
    """`expected_error` on one scale for all networks, so that two of them can be weighed.

    What a network without colour classes can tell, the difference to its mirror image's colours,
    is much smaller than its error; it is turned into the error that goes with it.
    """
    errors = expected_error(colorizer, result)
    if hasattr(colorizer.network, "logits"):
        return errors
    told: Floats = np.interp(errors, MIRROR_DIFFERENCE, MIRROR_ERROR).astype(np.float32)
    return told


def _calibration(colorizer: Colorizer) -> Floats | None:
    """Errors as the classes tell them, and as they were measured: `(2, K)`, both ascending."""
    found = getattr(colorizer.network, "calibration", None)
    return None if found is None else found.float().cpu().numpy()


def _corrected(errors: Floats, calibration: Floats) -> Floats:
    told, measured = calibration
    corrected: Floats = np.interp(errors, told, measured).astype(np.float32)
    return corrected


@torch.inference_mode()
def uncalibrated_error(colorizer: Colorizer, result: Colorized) -> Floats:
    """Mean distance of the likeliest classes' colours from the one shown, by their shares.

    `(h, w)`, of a network with colour classes; what a calibration corrects.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    chroma, saturation = result.chroma, result.settings.saturation
    assert chroma is not None
    assert saturation is not None
    network: Any = colorizer.network
    gray = resize(result.plane.gray[None, None], _size(colorizer, result)).nan_to_num()
    gray, uv = gray.to(colorizer.device), chroma.uv.to(colorizer.device)
    x = network_input(colorizer.architecture, gray)
    logits = network.logits(x, self_attention=chroma.self_attention).float()
    shares, classes = logits.softmax(1).topk(min(LIKELIEST, logits.shape[1]), dim=1)
    centers = network.centers.float()[classes[0]].movedim(-1, 1)  # (32, 2, h, w)
    grays = resize(gray, (logits.shape[-2], logits.shape[-1]))
    rgb = [
        to_rgb(colorizer.architecture, colors, grays.expand(len(colors), -1, -1, -1))
        for colors in (_shown(colorizer, network, logits, uv) * saturation, centers)
    ]
    lab = rgb2lab(torch.cat(rgb).clamp(0, 1).movedim(1, -1).cpu().numpy())
    distances = deltaE_ciede2000(lab[:1], lab[1:])
    weights = (shares[0] / shares[0].sum(0)).cpu().numpy()
    errors: Floats = (weights * distances).sum(0).astype(np.float32)
    return errors


def _shown(
    colorizer: Colorizer, network: Any, logits: torch.Tensor, uv: torch.Tensor
) -> torch.Tensor:
    """The colours of a result at the classes' size, in the space of the classes."""
    if colorizer.architecture.output_space == "uv":
        return resize(uv.movedim(-1, 0)[None], (logits.shape[-2], logits.shape[-1]))
    expected: torch.Tensor = network.expected(logits).float()
    return expected


def _of_mirror(colorizer: Colorizer, result: Colorized) -> Floats:
    from skimage.color import deltaE_ciede2000, rgb2lab

    chroma, saturation = result.chroma, result.settings.saturation
    assert chroma is not None
    assert saturation is not None
    mirrored = colorizer(
        np.ascontiguousarray(result.gray[:, ::-1]),
        contrast_limits=(0, 1),
        render_factor=chroma.render_factor,
        self_attention=chroma.self_attention,
        saturation=saturation,
        edges=False,
    ).pixels[:, ::-1]
    unit = replace(result.plane, dtype=np.dtype(np.float32), limits=(0, 1), alpha=None)
    shown = compose(unit, chroma.uv, saturation)
    spread: Floats = deltaE_ciede2000(rgb2lab(shown), rgb2lab(mirrored)).astype(np.float32)
    return spread


def _size(colorizer: Colorizer, result: Colorized) -> tuple[int, int]:
    assert result.chroma is not None
    height, width = result.plane.gray.shape
    return render_size(
        height,
        width,
        result.chroma.render_factor,
        fit=colorizer.checkpoint.fit,
        multiple=colorizer.architecture.multiple,
    )
