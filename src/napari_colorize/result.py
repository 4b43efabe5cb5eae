"""Result of a colorization: gray, chroma and settings, composed to an image on first use."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch

from napari_colorize.array_types import AnyArray, BoolArray, Float32Array, UInt8Array
from napari_colorize.errors import SettingsError
from napari_colorize.imaging.color import to_uint8
from napari_colorize.imaging.planes import Plane, to_input_type
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.pipeline import compose
from napari_colorize.refine.apply import refine
from napari_colorize.refine.chroma_field import Chroma, ChromaLayers
from napari_colorize.refine.damping import UNCOLORED_BELOW, uncolored
from napari_colorize.refine.guides import NO_GUIDES, Guides, check_guides
from napari_colorize.runtime import memory
from napari_colorize.settings import (
    REFINING,
    ColorizeSettings,
    SettingsDict,
    settings_from,
    with_setting_parameters,
)

if TYPE_CHECKING:
    from napari_colorize.io.image_record import Metadata

# Settings that `Colorized.with_` can change without running the network.
RECOMPOSABLE = {"saturation", "provenance", "retry_smaller", "retry_on_cpu", *REFINING}

NOTEBOOK_SIDE = 1024  # pixels of the longer side of images stored in a notebook
NOTEBOOK_WIDTH = 640  # largest width on the page, in CSS pixels
# Two images at one place, the gray one in a resizable box. CSS alone, without a script, so that it
# also works in saved and exported pages.
BEFORE_AND_AFTER = """<figure style="margin:0;width:{width}px;max-width:100%">
<div style="position:relative;container-type:inline-size">
<img alt="colorized" src="{after}" style="display:block;width:100%;max-width:none">
<div title="Drag the corner to compare" style="position:absolute;left:0;top:0;bottom:0;width:50%;\
max-width:100%;overflow:hidden;resize:horizontal;border-right:2px solid white;\
box-sizing:border-box">
<img alt="grayscale" src="{before}" style="display:block;width:100cqw;max-width:none">
<span style="position:absolute;right:0;bottom:0;padding:0 4px;font:14px/18px sans-serif;\
color:white;background:black;pointer-events:none">↔</span>
</div></div>
<figcaption>{caption}</figcaption></figure>"""
# Note of a result whose chroma was damped; see `Predictor.predict_planes`.
UNLIKE = (
    "This image is unlike the photographs that the model was trained on: its colors mean little "
    "and are damped. A higher saturation makes them vivid again."
)


@dataclass(frozen=True, eq=False, repr=False)
class Colorized:
    """One image with its predicted colors, returned by a `Colorizer`.

    No method runs a network: `with_` composes the same prediction with other settings.

    Parameters
    ----------
    plane : Plane
        Gray of the image, with its dtype, contrast limits and alpha.
    chroma : Chroma, optional
        Prediction of the network; None for a result of a fidelity.
    settings : ColorizeSettings
        Settings used: render factor and saturation are numbers.
    record : dict
        Model and settings, see `napari_colorize.provenance`.
    notes : tuple of str
        Sentences about how the image was read and what was changed.
    pixels_8bit : ndarray, optional
        Finished 8-bit image of a fidelity.
    guides : Guides
        Mask, hints and reference image.
    second_chroma : Chroma, optional
        Prediction of a second model, blended with the first.
    metadata : Metadata, optional
        Metadata of the file that was colorized (EXIF, color profile, resolution); `save` copies
        them.
    """

    plane: Plane
    chroma: Chroma | None
    settings: ColorizeSettings
    record: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pixels_8bit: AnyArray | None = None
    guides: Guides = NO_GUIDES
    second_chroma: Chroma | None = None
    metadata: Metadata | None = None

    def __repr__(self) -> str:
        is_uint8 = self.pixels_8bit is not None or self.plane.dtype.kind == "b"
        shape = (*self.plane.gray.shape, 3 if self.plane.alpha is None else 4)
        return (
            f"Colorized({shape} {'uint8' if is_uint8 else self.plane.dtype}, "
            f"{self.record.get('model', '')!r}, render_factor={self.settings.render_factor}, "
            f"saturation={self.settings.saturation:g})"
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of model and settings for the metadata of files; empty if switched off."""
        return self.record if self.settings.provenance else {}

    @property
    def is_unlike_photographs(self) -> bool:
        """Whether the model found that the image is unlike the photographs of its training."""
        return UNLIKE in self.notes

    @cached_property
    def pixels(self) -> AnyArray:
        """Colorized image as a NumPy array `(Y, X, 3)`, or `(Y, X, 4)` if the image has alpha.

        The dtype is that of the image (uint8 from 0 to 255 for bool). Integers span the contrast
        limits, floats [0, 1].
        """
        if self.pixels_8bit is not None:
            return self.pixels_8bit
        layers, saturation = self.chroma_layers, self.settings.saturation
        assert saturation is not None

        def run(device: torch.device) -> AnyArray:
            plane = replace(self.plane, gray=self.plane.gray.to(device))
            return compose(plane, layers, saturation)

        return memory.with_cpu_fallback(run, self.plane.gray.device, "image")

    @cached_property
    def chroma_layers(self) -> ChromaLayers:
        """Predicted chroma after refinement by settings and guides, before saturation.

        Raises
        ------
        SettingsError
            If the image was made with a fidelity, or if models are blended by an expected error
            that was not computed.
        """
        if self.chroma is None:
            raise SettingsError(
                f'An image made with fidelity="{self.settings.fidelity}" is finished: call the '
                "Colorizer again to change it."
            )
        chroma, second_chroma = self.chroma, self.second_chroma

        def run(device: torch.device) -> ChromaLayers:
            second = None if second_chroma is None else second_chroma.to(device)
            gray = self.plane.gray.to(device)
            return refine(gray, chroma.to(device), second, self.settings, self.guides)

        return memory.with_cpu_fallback(run, self.plane.gray.device, "image")

    def uncolored(self, below: float = UNCOLORED_BELOW, step: int = 1) -> BoolArray:
        """Mask (Y, X) of the pixels with almost no chroma, of every `step`-th pixel of both axes.

        `below` is CIELAB chroma, the distance from gray of the same lightness; 2 is just visible.
        """
        low, high = self.plane.limits if self.pixels.dtype.kind in "iu" else (0.0, 1.0)
        if self.pixels_8bit is not None or self.plane.dtype.kind == "b":
            low, high = 0.0, 255.0
        unit = (self.pixels[::step, ::step, :3].astype(np.float32) - low) / ((high - low) or 1.0)
        mask: BoolArray = uncolored(torch.from_numpy(unit), below).numpy()
        return mask

    @property
    def rgb(self) -> Any:
        """`pixels` in the library of the input: a NumPy array, a dask array or a torch tensor."""
        return to_input_type(self.pixels, self.plane)

    @property
    def gray(self) -> Float32Array:
        """Luminance of the image after contrast limits and gamma: float32 `(Y, X)` in [0, 1]."""
        gray: Float32Array = self.plane.gray.cpu().numpy()
        gray.flags.writeable = False  # on a CPU it shares the memory of the plane
        return gray

    @with_setting_parameters(RECOMPOSABLE, has_defaults=False)
    def with_(self, *, guides: Guides | None = None, **changes: Unpack[SettingsDict]) -> Colorized:
        """Compose the same prediction with other settings; no network runs.

        Parameters
        ----------
        guides : Guides, optional
            Replace the present guides; `Guides()` removes them.
        **changes
            Settings in `RECOMPOSABLE`: saturation, edges, shadows, hues, blend, reference.

        Raises
        ------
        SettingsError
            If a setting is changed that needs another run of the network.
        ImageError
            If the guides differ from the image in size.
        """
        for name in changes.keys() - RECOMPOSABLE:
            settings_from(changes)  # raises its own error for an unknown name
            raise SettingsError(
                f"{name} changes the prediction: call the Colorizer again with {name}=..."
            )
        guides = self.guides if guides is None else check_guides(guides)
        settings = replace(self.settings, **changes)
        used = None if self.chroma is None else self.chroma.temporal_smoothing
        if "temporal_smoothing" in changes and settings.temporal_smoothing not in (0, used):
            raise SettingsError(
                "Another temporal_smoothing needs the previous planes: colorize the stack again "
                "with temporal_smoothing=..., or switch it off with temporal_smoothing=0."
            )
        if guides.hints is not self.guides.hints and self._network_takes_hints:
            raise SettingsError(
                "The network of this model takes the hints as input: call the Colorizer again with "
                "guides=..."
            )
        if changes.get("saturation", 1) is None:
            raise SettingsError("saturation must be a number from 0 to 4, got None.")
        keeps_layers = guides is self.guides and all(
            getattr(settings, name) == getattr(self.settings, name) for name in REFINING
        )
        is_changed = not keeps_layers or settings.saturation != self.settings.saturation
        if self.pixels_8bit is not None and is_changed:
            raise SettingsError(
                f'An image made with fidelity="{self.settings.fidelity}" is finished: call the '
                "Colorizer again to change it."
            )
        if guides is not self.guides:
            guides.check((self.plane.gray.shape[0], self.plane.gray.shape[1]))
        changed = {name: getattr(settings, name) for name in changes}
        result = replace(
            self, settings=settings, guides=guides, record=self._record_with(changed, guides)
        )
        if keeps_layers and "chroma_layers" in vars(self):
            vars(result)["chroma_layers"] = self.chroma_layers  # refinement is slow
        return result

    @property
    def _network_takes_hints(self) -> bool:
        records = (self.record, self.record.get("blended_with", {}))
        names = [record.get("architecture") for record in records]
        return any(ARCHITECTURES[name].takes_hints for name in names if name in ARCHITECTURES)

    def _record_with(self, changes: Mapping[str, Any], guides: Guides) -> dict[str, Any]:
        record = {**self.record, "settings": {**self.record["settings"], **changes}}
        record.pop("guides", None)
        return {**record, "guides": guides.summary()} if guides else record

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the image with its provenance; the suffix of the path selects the format.

        If a file was colorized, its metadata is written as well.

        Raises
        ------
        OutputError
            If the file exists already or cannot be written, or the format does not support the
            dtype.
        """
        from napari_colorize.io.images import write_image

        write_image(
            Path(path),
            self.pixels,
            self.metadata,
            provenance=self.provenance or None,
            overwrite=overwrite,
        )
        return Path(path)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        return np.array(self.pixels, dtype=dtype, copy=copy)

    def _repr_png_(self) -> bytes:
        """PNG with 8 bits per channel, for notebooks."""
        return _encode(self._displayed(), "PNG")

    def _repr_html_(self) -> str:
        """HTML with the gray image over the colorized one, resizable for comparison."""
        colors = _thumbnail(self._displayed())
        gray = _thumbnail(to_uint8(np.nan_to_num(self.gray)))
        used, model = self.settings, self.record.get("model", "")
        caption = (
            f"{model}, render factor {used.render_factor}, saturation {used.saturation:g}. "
            "Colors are predicted, not measured."
        )
        return BEFORE_AND_AFTER.format(
            width=min(NOTEBOOK_WIDTH, colors.shape[1]),
            after=_data_url(colors),
            before=_data_url(gray),
            caption=html.escape(caption),
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Comparison as HTML, and the colorized image for front ends without HTML."""
        return {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            "image/png": _encode(_thumbnail(self._displayed()), "PNG"),
        }

    def _displayed(self) -> UInt8Array:
        if self.pixels_8bit is not None:
            return self.pixels_8bit
        return pixels_to_uint8(self.pixels, self.plane)


def pixels_to_uint8(pixels: AnyArray, plane: Plane) -> UInt8Array:
    """Convert pixels of a result to uint8 for display.

    The contrast limits become 0 and 255; values that are not finite become 0.
    """
    if pixels.dtype == np.uint8 and (plane.dtype.kind == "b" or plane.limits == (0, 255)):
        return pixels
    low, high = plane.limits if pixels.dtype.kind in "iu" else (0.0, 1.0)
    colors = pixels[..., :3].astype(np.float64)
    unit = np.nan_to_num((colors - low) / ((high - low) or 1.0), nan=0.0)
    rgb = to_uint8(unit.clip(0, 1))
    if plane.alpha is None:
        return rgb
    return np.dstack([rgb, alpha_to_uint8(plane.alpha)])


def alpha_to_uint8(alpha: AnyArray) -> UInt8Array:
    """Convert opacity of any real dtype to uint8; the largest value (1 for floats) becomes 255."""
    full = 1.0 if alpha.dtype.kind in "fb" else float(np.iinfo(alpha.dtype).max)
    unit = np.nan_to_num(alpha.astype(np.float64) / full, nan=0.0)
    return to_uint8(unit.clip(0, 1))


def _thumbnail(pixels: UInt8Array) -> UInt8Array:
    """Reduce an image to at most `NOTEBOOK_SIDE` pixels a side."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((NOTEBOOK_SIDE, NOTEBOOK_SIDE))
    return np.asarray(image)


def _encode(pixels: UInt8Array, kind: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=92)
    return buffer.getvalue()


def _data_url(pixels: UInt8Array) -> str:
    """Encode an image as a data URL, which needs no file beside the page."""
    kind = "PNG" if pixels.shape[2:] == (4,) else "JPEG"
    encoded = base64.b64encode(_encode(pixels, kind)).decode()
    return f"data:image/{kind.lower()};base64,{encoded}"
