"""Effect of the main settings on the colors: colorfulness, and the change to the defaults.

    python benchmarks/main_settings.py

Five photographs of scikit-image are colorized with each setting. Colorfulness is M3 of Hasler and
Suesstrunk 2003; the change is the mean CIEDE2000 difference from the result with default settings.
Both are means over the photographs; the last column is the largest change of a photograph.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import skimage.data
from machine import describe_machine
from napari_colorize_training.evaluation.metrics import ciede2000, colorfulness, to_gray

import napari_colorize as nc

PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "rocket")
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults (render factor 12, saturation 1)": {},
    **{f"render factor {factor}": {"render_factor": factor} for factor in (4, 8, 16, 24, 32)},
    **{f"saturation {factor:g}": {"saturation": factor} for factor in (0.5, 1.5, 2)},
    "self-attention off": {"self_attention": False},
}


def main() -> None:
    """Print a table: setting by colorfulness and change."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    options = parser.parse_args()
    warnings.simplefilter("ignore", nc.ColorizeWarning)
    colorizer = nc.Colorizer.from_pretrained(options.model, device="cpu", precision="float32")
    images = [to_gray(getattr(skimage.data, name)()) for name in PHOTOGRAPHS]
    results = {
        name: [colorizer(image, **settings).pixels for image in images]
        for name, settings in SETTINGS.items()
    }
    base = next(iter(results.values()))
    print(describe_machine(), end="\n\n")
    print("| setting | colorfulness | change | largest change of a photograph |")
    print("|---|---|---|---|")
    for name, pixels in results.items():
        colorful = np.mean([colorfulness(each) for each in pixels])
        changes = [ciede2000(one, other) for one, other in zip(base, pixels, strict=True)]
        print(f"| {name} | {colorful:.1f} | {np.mean(changes):.1f} | {max(changes):.1f} |")


if __name__ == "__main__":
    main()
