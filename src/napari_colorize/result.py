"""Colorized, what a call returns: gray, chrominance and settings; a picture on demand."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_colorize.errors import SettingsError
from napari_colorize.imaging.color import to_uint8
from napari_colorize.imaging.planes import Array, Plane, to_input_type
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.pipeline import Chroma, compose
from napari_colorize.refine.apply import refine
from napari_colorize.refine.chroma_field import ChromaLayers
from napari_colorize.refine.damping import UNCOLORED_BELOW, uncolored
from napari_colorize.refine.guides import NO_GUIDES, Guides, check_guides
from napari_colorize.runtime import memory
from napari_colorize.settings import REFINING, ColorizeSettings, settings_from

# Settings that change nothing about what the network saw. The first change nothing about the tint
# either.
SCALED = {"saturation", "provenance", "retry_smaller", "retry_on_cpu"}
COMPOSED = SCALED | set(REFINING)

SHOWN = 1024  # pixels of the longer side of what a notebook shows, and keeps in its file
WIDEST = 640  # of them on the page
# Both pictures at one place, the gray one in a box whose lower right corner can be drawn to either
# side: no script, so that it also works in pages that were saved.
BEFORE_AND_AFTER = """<figure style="margin:0;width:{width}px;max-width:100%">
<div style="position:relative;container-type:inline-size">
<img alt="in colour" src="{after}" style="display:block;width:100%;max-width:none">
<div title="Draw the corner" style="position:absolute;left:0;top:0;bottom:0;width:50%;\
max-width:100%;overflow:hidden;resize:horizontal;border-right:2px solid white;\
box-sizing:border-box">
<img alt="in gray" src="{before}" style="display:block;width:100cqw;max-width:none">
<span style="position:absolute;right:0;bottom:0;padding:0 4px;font:14px/18px sans-serif;\
color:white;background:black;pointer-events:none">↔</span>
</div></div>
<figcaption>{caption}</figcaption></figure>"""


@dataclass(frozen=True, eq=False)
class Colorized:
    """One image with its predicted colours.

    Made by a `Colorizer`. Nothing here runs a network: `with_` recombines what is there.

    Parameters
    ----------
    plane : Plane
        The image's gray and how it came.
    chroma : Chroma, optional
        What the network said; None with a fidelity, which bypasses it.
    settings : ColorizeSettings
        As used: render factor and saturation are numbers.
    record : dict
        What was done, by which model; see `provenance`.
    notes : tuple of str
        What a user should know about this result.
    fixed : ndarray, optional
        The finished 8-bit picture of a fidelity.
    guides : Guides
        Mask, hints and reference that were given.
    other : Chroma, optional
        What a second model said, to be blended with the first.
    """

    plane: Plane = field(repr=False)
    chroma: Chroma | None = field(repr=False)
    settings: ColorizeSettings
    record: dict[str, Any] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    pixels_8bit: Array | None = field(default=None, repr=False)
    guides: Guides = field(default=NO_GUIDES, repr=False)
    second_chroma: Chroma | None = field(default=None, repr=False)

    @property
    def provenance(self) -> dict[str, Any]:
        """The record that travels with the picture; empty if the settings say so."""
        return self.record if self.settings.provenance else {}

    @cached_property
    def pixels(self) -> Array:
        """The picture as a NumPy array, `(Y, X, 3)`, or `(Y, X, 4)` if the image had alpha.

        dtype is the image's (bool comes out as uint8 from 0 to 255). Integers span the contrast
        limits, floats [0, 1].
        """
        if self.pixels_8bit is not None:
            return self.pixels_8bit
        tint, saturation = self.chroma_layers, self.settings.saturation
        assert saturation is not None

        def run(device: torch.device) -> Array:
            plane = replace(self.plane, gray=self.plane.gray.to(device))
            return compose(plane, tint, saturation)

        # Where gray is, or on the CPU if its device has no memory left.
        return memory.with_cpu_fallback(run, self.plane.gray.device, "picture")

    @cached_property
    def chroma_layers(self) -> ChromaLayers:
        """What the settings and guides make of the predicted colours; saturation is none of it.

        Raises
        ------
        SettingsError
            If the picture is one of a fidelity, or blended by a confidence that was not asked for.
        """
        if self.chroma is None:
            raise SettingsError(
                f'A picture of fidelity="{self.settings.fidelity}" is finished: '
                "call the Colorizer again."
            )
        chroma, other = self.chroma, self.second_chroma

        def run(device: torch.device) -> ChromaLayers:
            second = None if other is None else other.to(device)
            gray = self.plane.gray.to(device)
            return refine(gray, chroma.to(device), second, self.settings, self.guides)

        return memory.with_cpu_fallback(run, self.plane.gray.device, "picture")

    def uncolored(self, below: float = UNCOLORED_BELOW) -> NDArray[np.bool_]:
        """Where the picture got next to no colour: often hands, walls, what no model knows.

        Parameters
        ----------
        below : float
            CIELAB chroma, the distance from gray of the same lightness: 2 is just visible.

        Returns
        -------
        ndarray of bool, shape (Y, X)
        """
        low, high = self.plane.limits if self.pixels.dtype.kind in "iu" else (0.0, 1.0)
        if self.pixels_8bit is not None or self.plane.dtype.kind == "b":
            low, high = 0.0, 255.0
        unit = (self.pixels[..., :3].astype(np.float32) - low) / ((high - low) or 1.0)
        pale: NDArray[np.bool_] = uncolored(torch.from_numpy(unit), below).numpy()
        return pale

    @property
    def rgb(self) -> Any:
        """`pixels` as what the image was: a NumPy array, a dask array or a torch tensor."""
        return to_input_type(self.pixels, self.plane)

    @property
    def gray(self) -> NDArray[np.float32]:
        """What the network was shown, at full size: float32 `(Y, X)` luminance in [0, 1]."""
        gray: NDArray[np.float32] = self.plane.gray.cpu().numpy()
        gray.flags.writeable = False  # pictures are composed from it
        return gray

    def with_(self, *, guides: Guides | None = None, **changes: Any) -> Colorized:
        """The same prediction, composed otherwise; no network runs.

        Parameters
        ----------
        guides : Guides, optional
            In the place of those that were given. `Guides()` takes them away.
        **changes
            Saturation, edges, shadows, hues, blend, reference: see `ColorizeSettings`.

        Raises
        ------
        SettingsError
            If a setting is changed that the network would have to be asked again for.
        ImageError
            If the guides are for a picture of another size.
        """
        for name in changes.keys() - COMPOSED:
            settings_from(changes)  # an unknown name is told as such
            raise SettingsError(
                f"{name} changes what the network sees: call the Colorizer again with {name}=..."
            )
        guides = self.guides if guides is None else check_guides(guides)
        settings = replace(self.settings, **changes)
        held = None if self.chroma is None else self.chroma.temporal_smoothing
        if "temporal_smoothing" in changes and settings.temporal_smoothing not in (0, held):
            raise SettingsError(
                "Another temporal_smoothing needs the previous planes: colorize the stack again "
                "with temporal_smoothing=..., or take it away with temporal_smoothing=0."
            )
        if guides.hints is not self.guides.hints and self._is_shown_hints:
            raise SettingsError(
                "This model is shown the hints: call the Colorizer again with guides=..."
            )
        if changes.get("saturation", 1) is None:
            raise SettingsError("saturation must be a number from 0 to 4, got None.")
        is_tinted_alike = guides is self.guides and all(
            getattr(settings, name) == getattr(self.settings, name) for name in REFINING
        )
        is_new = not is_tinted_alike or settings.saturation != self.settings.saturation
        if self.pixels_8bit is not None and is_new:
            raise SettingsError(
                f'A picture of fidelity="{self.settings.fidelity}" is finished: '
                "call the Colorizer again."
            )
        if guides is not self.guides:
            guides.check((self.plane.gray.shape[0], self.plane.gray.shape[1]))
        changed = {name: getattr(settings, name) for name in changes}
        result = replace(
            self, settings=settings, guides=guides, record=self._record_with(changed, guides)
        )
        if is_tinted_alike and "chroma_layers" in vars(self):
            vars(result)["chroma_layers"] = self.chroma_layers  # what takes long is made once
        return result

    @property
    def _is_shown_hints(self) -> bool:
        known = (self.record, self.record.get("blended_with", {}))
        names = [record.get("architecture") for record in known]
        return any(ARCHITECTURES[name].takes_hints for name in names if name in ARCHITECTURES)

    def _record_with(self, changes: Mapping[str, Any], guides: Guides) -> dict[str, Any]:
        record = {**self.record, "settings": {**self.record["settings"], **changes}}
        record.pop("guides", None)
        return {**record, "guides": guides.summary()} if guides else record

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the picture, its provenance inside; the suffix says the format.

        Raises
        ------
        OutputError
            If it cannot be written there, is there already, or the format cannot hold the dtype.
        """
        from napari_colorize.io.images import write_image

        write_image(
            Path(path), self.pixels, provenance=self.provenance or None, overwrite=overwrite
        )
        return Path(path)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.pixels, dtype=dtype, copy=copy)

    def _repr_png_(self) -> bytes:
        """The picture as PNG, 8 bits a channel, for notebooks."""
        return _encoded(self._seen(), "PNG")

    def _repr_html_(self) -> str:
        """Before and after, one over the other; what can be drawn is the gray one's corner."""
        seen = _small(self._seen())
        gray = _small(to_uint8(np.nan_to_num(self.gray)))
        used, model = self.settings, self.record.get("model", "")
        caption = (
            f"{model}, render factor {used.render_factor}, saturation {used.saturation:g}. "
            "Colours are predicted, not measured."
        )
        return BEFORE_AND_AFTER.format(
            width=min(WIDEST, seen.shape[1]),
            after=_address(seen),
            before=_address(gray),
            caption=html.escape(caption),
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Before and after; for what shows no HTML, the picture."""
        return {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            "image/png": _encoded(_small(self._seen()), "PNG"),
        }

    def _seen(self) -> NDArray[np.uint8]:
        return self.pixels if self.pixels_8bit is not None else as_bytes(self.pixels, self.plane)


def as_bytes(pixels: Array, plane: Plane) -> NDArray[np.uint8]:
    """Pixels as uint8 for showing: black and white at the limits, what is not finite black."""
    if pixels.dtype == np.uint8 and (plane.dtype.kind == "b" or plane.limits == (0, 255)):
        return pixels
    low, high = plane.limits if pixels.dtype.kind in "iu" else (0.0, 1.0)
    colors = pixels[..., :3].astype(np.float64)
    unit = np.nan_to_num((colors - low) / ((high - low) or 1.0), nan=0.0)
    shown = to_uint8(unit.clip(0, 1))
    if plane.alpha is None:
        return shown
    return np.dstack([shown, alpha_as_bytes(plane.alpha)])


def alpha_as_bytes(alpha: Array) -> NDArray[np.uint8]:
    """Opacity of any real dtype as uint8, full where the dtype is full (1 for floats)."""
    full = 1.0 if alpha.dtype.kind in "fb" else float(np.iinfo(alpha.dtype).max)
    unit = np.nan_to_num(alpha.astype(np.float64) / full, nan=0.0)
    return to_uint8(unit.clip(0, 1))


def _small(shown: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrunk to what a notebook shows."""
    from PIL import Image

    picture = Image.fromarray(shown)
    picture.thumbnail((SHOWN, SHOWN))
    return np.asarray(picture)


def _encoded(shown: NDArray[np.uint8], kind: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, kind, quality=92)
    return buffer.getvalue()


def _address(shown: NDArray[np.uint8]) -> str:
    """The picture itself, as an address within a page."""
    kind = "PNG" if shown.shape[2:] == (4,) else "JPEG"
    encoded = base64.b64encode(_encoded(shown, kind)).decode()
    return f"data:image/{kind.lower()};base64,{encoded}"
