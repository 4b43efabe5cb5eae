"""What a network has learned so far: figures and a sheet, on pictures that it never trains on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from napari_colorize.imaging.color import rgb_to_yuv, yuv_to_rgb
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize_training.data.batch import TrainingBatch
from napari_colorize_training.loop.objective import GeneratorWrapper

PREVIEWS = 6  # pictures on a sheet
COLOR_WEIGHT = 0.1  # of too much or too little colour in the measure


@dataclass(frozen=True)
class ValidationFigures:
    """How near to the truth, beside gray.

    Parameters
    ----------
    uv, uv_gray : float
        Root mean square error of U and V.
    ciede2000, ciede2000_gray : float
        Mean colour difference.
    colorfulness : float
        Mean chroma as a share of the truth's.
    """

    uv: float
    uv_gray: float
    ciede2000: float
    ciede2000_gray: float
    colorfulness: float

    @property
    def measure(self) -> float:
        """What decides between checkpoints; less is better, gray has more than 1.

        CIEDE2000 as a share of gray's, and a tenth of the ratio by which colourfulness is off:
        distances to one truth alone would choose the grayest.
        """
        off = abs(math.log(max(self.colorfulness, 1e-3)))
        return self.ciede2000 / self.ciede2000_gray + COLOR_WEIGHT * off

    def as_row(self) -> dict[str, float]:
        """For the log."""
        return {
            "validation_uv": self.uv,
            "validation_uv_gray": self.uv_gray,
            "validation_ciede2000": self.ciede2000,
            "validation_ciede2000_gray": self.ciede2000_gray,
            "validation_colorfulness": self.colorfulness,
            "validation_measure": self.measure,
        }


@torch.no_grad()
def predict(painter: GeneratorWrapper, gray: Tensor, seen: Tensor | None = None) -> Tensor:
    """Gray `(N, 1, H, W)` in colour at its own size, RGB `(N, 3, H, W)` in [0, 1].

    The network may be shown another gray than the one that its colours are put on.
    """
    seen = gray if seen is None else seen
    small = painter.rgb(painter(seen), seen).clamp(0, 1)
    uv = rgb_to_yuv(small.movedim(1, -1))[..., 1:].movedim(-1, 1)
    uv = F.interpolate(uv, gray.shape[-2:], mode="bilinear")
    return yuv_to_rgb(torch.cat([gray, uv], 1).movedim(1, -1)).movedim(-1, 1).clamp(0, 1)


@torch.no_grad()
def measure(painter: GeneratorWrapper, batches: Sequence[TrainingBatch]) -> ValidationFigures:
    """Figures over batches; colours are compared on clean gray, whatever the network sees."""
    rows = [
        row
        for pictures in batches
        for row in _rows(
            pictures.rgb, pictures.clean, predict(painter, pictures.clean, pictures.gray)
        )
    ]
    uv, uv_gray, error, error_gray, chroma, chroma_gray = np.array(rows).mean(0).tolist()
    return ValidationFigures(
        uv=math.sqrt(uv),
        uv_gray=math.sqrt(uv_gray),
        ciede2000=error,
        ciede2000_gray=error_gray,
        colorfulness=chroma / max(chroma_gray, 1e-6),
    )


def _rows(rgb: Tensor, gray: Tensor, painted: Tensor) -> list[tuple[float, ...]]:
    shown = gray.expand(-1, 3, -1, -1)
    return [
        _row(*(_last(part) for part in parts)) for parts in zip(rgb, painted, shown, strict=True)
    ]


def _row(
    truth: NDArray[np.float32], painted: NDArray[np.float32], shown: NDArray[np.float32]
) -> tuple[float, ...]:
    uv, uv_painted = (_uv(part) for part in (truth, painted))
    lab, lab_painted, lab_shown = (rgb2lab(part) for part in (truth, painted, shown))
    return (
        float(np.square(uv - uv_painted).mean()),
        float(np.square(uv).mean()),
        float(deltaE_ciede2000(lab, lab_painted).mean()),
        float(deltaE_ciede2000(lab, lab_shown).mean()),
        float(np.hypot(lab_painted[..., 1], lab_painted[..., 2]).mean()),
        float(np.hypot(lab[..., 1], lab[..., 2]).mean()),
    )


def _uv(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    uv: NDArray[np.float32] = rgb_to_yuv(torch.from_numpy(rgb))[..., 1:].numpy()
    return uv


def _last(x: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = x.movedim(0, -1).float().cpu().contiguous().numpy()
    return array


def save_preview(path: Path, painter: GeneratorWrapper, pictures: TrainingBatch) -> None:
    """A sheet of the gray that is seen, prediction and truth, atomically."""
    from napari_colorize_training.evaluation.report import preview_sheet

    painted = predict(painter, pictures.clean[:PREVIEWS], pictures.gray[:PREVIEWS])
    rows = [
        (_pixels(shown)[..., 0], _pixels(colored), _pixels(truth))
        for shown, colored, truth in zip(pictures.gray, painted, pictures.rgb, strict=False)
    ]
    with new_file(path, overwrite=True) as part, write_errors(path):
        preview_sheet(rows).save(part, format="PNG")


def _pixels(x: Tensor) -> NDArray[np.uint8]:
    return np.rint(_last(x) * 255).astype(np.uint8)
