"""Colorizer: one model on one device that colorizes images, stacks and streams of images.

A `Predictor` turns gray planes into chroma. A Colorizer reads images, joins chroma and gray to
results, blends two models, and records in the provenance what was done. It has no state between
calls and may be used from several threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from torch import Tensor

from napari_colorize import fidelity, provenance
from napari_colorize.array_types import AnyArray, Float32Array, PlaneIndex, UInt8Array
from napari_colorize.errors import ColorizeNote, SettingsError, warn
from napari_colorize.fallback import InferenceConfig
from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize.imaging.intensity_range import IntensityRange
from napari_colorize.imaging.planes import (
    Plane,
    spatial_axes,
    split_stack,
    stack_range,
    to_numpy,
)
from napari_colorize.pipeline import PIXELS_PER_RENDER_FACTOR
from napari_colorize.predictor import DEFAULTS, Predictor, announce, without_nan
from napari_colorize.refine.chroma_field import Chroma
from napari_colorize.refine.guides import NO_GUIDES, Guides, PlaneGuides, check_guides, guides_at
from napari_colorize.result import UNLIKE, Colorized, alpha_to_uint8
from napari_colorize.sequence_smoothing import SequenceSmoother, checked_axis
from napari_colorize.settings import (
    REFINING,
    ColorizeSettings,
    SettingsDict,
    with_setting_parameters,
)

if TYPE_CHECKING:
    from napari_colorize.analysis.attention import AttentionMap

UNCOLORED_MEAN = 2 / 255  # mean length of (U, V) below which a prediction is almost gray
BATCH_PIXELS = 2**18  # network pixels per run: several planes at once if they are small
BATCH_PLANES = 16
PLANE_PIXELS = 2**22  # full-size pixels per batch, unless a single plane has more
EVEN_DEVIATION = 0.02  # standard deviation of gray below which an image has almost no contrast
EVEN = (
    "The model predicted almost no color, because the image has almost no contrast. If it should "
    "have more, set other contrast limits."
)
ALMOST_GRAY = (
    "The model predicted almost no color (mean chroma {:.4f}). Try another render factor, often a "
    "smaller one, or a higher saturation."
)


@dataclass(frozen=True, eq=False)
class _Call:
    """Checked arguments of one call: settings, guides and the second model."""

    settings: ColorizeSettings  # resolved, of this model
    # Guides of all planes, or a function from the index of a plane to its guides
    guides: Guides | PlaneGuides = NO_GUIDES
    second: Colorizer | None = None  # model whose prediction is blended with the first one
    second_settings: ColorizeSettings | None = None  # resolved, of the second model


@dataclass(frozen=True, eq=False, repr=False)
class Colorizer(Predictor):
    """A loaded model that colorizes images; `from_pretrained` loads one.

    Parameters
    ----------
    network, checkpoint, device, dtype
        See `Predictor`.
    """

    @with_setting_parameters()
    def __call__(
        self,
        image: Any,
        *,
        rgb: bool | None = None,
        guides: Guides | None = None,
        blend_with: Colorizer | None = None,
        declared_range: IntensityRange | None = None,
        **settings: Unpack[SettingsDict],
    ) -> Colorized:
        """Colorize one image.

        Parameters
        ----------
        image : array, shape (Y, X), (Y, X, 3) or (Y, X, 4)
            NumPy, dask or torch; any real dtype. Colors are replaced, alpha is kept.
        rgb : bool, optional
            Whether the last axis holds colors. Default: if it has 3 or 4 entries.
        guides : Guides, optional
            Mask, hints and reference image.
        blend_with : Colorizer, optional
            A second model whose colors are blended with this one's; see `blend`, `blend_by`.
        declared_range : IntensityRange, optional
            Range that a file declares, `read_image(path).declared_range`. It is used unless
            `contrast_limits` are given.
        **settings
            Fields of `ColorizeSettings`.

        Raises
        ------
        ImageError
            If it is not one image of real numbers, or the guides differ from it in size.
        SettingsError
            If a setting is unknown, out of range, or not supported by this network.
        OutOfMemoryError
            If no permitted fallback fits into memory; the message names one that does.
        """
        call = self._make_call(settings, guides, blend_with, declared_range)
        pixels = to_numpy(image)
        plane = self.to_plane(image, call.settings, rgb=rgb, pixels=pixels, declared=declared_range)
        return next(self._colorize_batch([plane], [pixels], [()], call))

    @with_setting_parameters()
    def predict(
        self, image: Any, *, rgb: bool | None = None, **settings: Unpack[SettingsDict]
    ) -> Chroma:
        """Predict the chroma of one image without composing it; parameters as in `__call__`."""
        if settings.get("fidelity", "exact") != "exact":
            raise SettingsError("A fidelity returns images, not chroma: call the Colorizer.")
        chroma = self(image, rgb=rgb, **settings).chroma
        assert chroma is not None
        return chroma

    @with_setting_parameters()
    def iter_planes(
        self,
        stack: Any,
        *,
        rgb: bool | None = None,
        guides: Guides | PlaneGuides | None = None,
        blend_with: Colorizer | None = None,
        declared_range: IntensityRange | None = None,
        time_axis: int | None = None,
        **settings: Unpack[SettingsDict],
    ) -> Iterator[tuple[PlaneIndex, Colorized]]:
        """Colorize the planes of a stack lazily, in order of their index.

        Small planes pass through the network in batches. All planes share the intensity range of
        the whole stack, which is read once for that if the range depends on the data.

        Parameters
        ----------
        stack : array, shape (..., Y, X), (..., Y, X, 3) or (..., Y, X, 4)
            As in `__call__`; dask arrays are computed plane by plane.
        rgb : bool, optional
            Whether the last axis holds colors. Default: if it has 3 or 4 entries.
        guides : Guides or callable, optional
            Guides of all planes, or a function that returns the guides of the plane at an index,
            or None.
        blend_with, declared_range
            As in `__call__`.
        time_axis : int, optional
            Axis along which `temporal_smoothing` acts. Default: the first.
        **settings
            Fields of `ColorizeSettings`.

        Returns
        -------
        iterator of (tuple of int, Colorized)
            Index of each plane, `stack[index]`, and its result; the last axis varies fastest.

        Raises
        ------
        ImageError, SettingsError, OutOfMemoryError
            As in `__call__`. Errors of the stack and the settings are raised by this call, before
            the first plane.
        """
        call = self._make_call(settings, guides, blend_with, declared_range)
        if not hasattr(stack, "shape"):
            stack = to_numpy(stack)
        declared = declared_range or getattr(stack, "declared_range", None)
        found = stack_range(stack, rgb, self.asked_range(call.settings, declared), declared)
        axes = spatial_axes(stack, rgb)
        smoother = SequenceSmoother(checked_axis(time_axis, len(stack.shape) - axes))
        height, width = tuple(stack.shape)[-axes:][:2]
        length = _batch_length(height, width, call.settings)
        # Each plane is sliced once: slicing a zarr array reads the file.
        planes = ((index, stack[index]) for index in split_stack(stack, axes == 3))
        call = replace(call, settings=replace(call.settings, contrast_limits=None))
        return self._colorize_all(planes, axes == 3, found, call, smoother, length)

    @with_setting_parameters()
    def stream(
        self,
        images: Iterable[Any],
        *,
        rgb: bool | None = None,
        guides: Guides | PlaneGuides | None = None,
        blend_with: Colorizer | None = None,
        declared_range: IntensityRange | None = None,
        **settings: Unpack[SettingsDict],
    ) -> Iterator[Colorized]:
        """Colorize a sequence of images lazily, such as the frames of a video.

        Small images pass through the network in batches, so as many are read ahead. Memory is
        bounded; the number of images need not be known.

        Parameters
        ----------
        images : iterable of arrays
            Images of one size and dtype, as in `__call__`. Each image has its own intensity range
            if that depends on the data: give `contrast_limits` or `declared_range`.
        rgb, guides, blend_with, declared_range, **settings
            As in `iter_planes`; the index of an image is `(number,)`.

        Returns
        -------
        iterator of Colorized
            Results in the order of the images, smoothed if `temporal_smoothing` is above 0.

        Raises
        ------
        ImageError, SettingsError, OutOfMemoryError
            As in `__call__`. Errors of the settings are raised by this call, before the first
            image.
        """
        call = self._make_call(settings, guides, blend_with, declared_range)
        indexed = (((number,), image) for number, image in enumerate(images))
        # The size, and so the length of a batch, is known after one image.
        results = self._colorize_all(indexed, rgb, declared_range, call, SequenceSmoother(0))
        return (result for _, result in results)

    def _colorize_all(
        self,
        images: Iterator[tuple[PlaneIndex, Any]],
        rgb: bool | None,
        declared: IntensityRange | None,
        call: _Call,
        smoother: SequenceSmoother,
        length: int = 1,
    ) -> Iterator[tuple[PlaneIndex, Colorized]]:
        """Results of images of one size with their indices; the first batch has `length` images."""
        announced: set[str] = set()
        while batch := list(islice(images, length)):
            pixels = [to_numpy(image) for _, image in batch]
            planes = [
                self.to_plane(image, call.settings, rgb=rgb, pixels=array, declared=declared)
                for (_, image), array in zip(batch, pixels, strict=True)
            ]
            planes = [_with_new_notes(plane, announced) for plane in planes]
            indices = [index for index, _ in batch]
            results = self._colorize_batch(planes, pixels, indices, call)
            for index, result in zip(indices, results, strict=True):
                yield index, smoother.applied(result, index)
            height, width = planes[0].gray.shape
            length = _batch_length(height, width, call.settings)

    def expected_error(self, result: Colorized) -> Float32Array:
        """Estimate the color error that this model expects for a result of its own, float32 (Y, X).

        The error is CIEDE2000: a difference of 1 is just visible, above 10 the color is a guess.
        The network runs once more; see `analysis.expected_error`.

        Raises
        ------
        SettingsError
            If the result was made with a fidelity, which keeps no chroma, or is an image.
        """
        if not isinstance(result, Colorized):
            raise SettingsError(
                "The expected error is that of a result, got "
                f"{type(result).__name__}: colorize the image first, and give what is returned."
            )
        from napari_colorize.analysis.expected_error import full_size_error

        return full_size_error(self, result)

    @with_setting_parameters()
    def attention_map(
        self,
        image: Any,
        point: tuple[float, float],
        *,
        rgb: bool | None = None,
        **settings: Unpack[SettingsDict],
    ) -> AttentionMap:
        """Compute the self-attention weights of one point of an image.

        The network runs up to its last self-attention layer, with the layer switched on and
        without the steps of a fidelity.

        Parameters
        ----------
        image, rgb, **settings
            As in `__call__`.
        point : tuple of float
            Row and column, in pixels of the image.

        Raises
        ------
        SettingsError
            If this network has no self-attention, or does not support a setting.
        ImageError
            If it is not one image, or the point is outside.
        OutOfMemoryError
            As in `__call__`.
        """
        from napari_colorize.analysis.attention import (
            AttentionMap,
            attention_layers,
            compute_attention,
            position_of,
        )

        if not attention_layers(self.network):
            raise SettingsError(f"{self.checkpoint.name} has no self-attention layer to show.")
        resolved = self.resolve_settings({**settings, "self_attention": True})
        plane = self.to_plane(image, resolved, rgb=rgb)
        height, width = plane.gray.shape
        position = position_of(point, (height, width))

        def run(config: InferenceConfig) -> Float32Array:
            size = self.network_size(plane, config.render_factor)
            self.check_memory(size[0] * size[1], config)
            network, gray = self.network_on(config), plane.gray.to(config.device)
            return compute_attention(network, self.architecture, gray, size, position)

        weights, _ = self.run_with_fallbacks(run, resolved)
        return AttentionMap(weights, position, (height, width))

    def _make_call(
        self,
        settings: SettingsDict,
        guides: Guides | PlaneGuides | None,
        blend_with: Colorizer | None,
        declared_range: IntensityRange | None,
    ) -> _Call:
        """Check settings, guides and range; resolve settings for both models."""
        if not isinstance(declared_range, IntensityRange | None):
            raise SettingsError(
                f"declared_range must be that of a file, read_image(path).declared_range, not "
                f"{declared_range!r}: give limits as contrast_limits=(low, high)."
            )
        resolved, given = self.resolve_settings(settings), NO_GUIDES if guides is None else guides
        if not callable(given):
            check_guides(given)
        check_fidelity_is_alone(resolved, given, blend_with is not None)
        if blend_with is None:
            return _Call(resolved, given)
        defaults = {name: getattr(DEFAULTS, name) for name in blend_with.unsupported}
        second_settings = blend_with.resolve_settings({**settings, **defaults})
        return _Call(resolved, given, blend_with, second_settings)

    def _colorize_batch(
        self,
        planes: Sequence[Plane],
        pixels: Sequence[AnyArray],
        indices: Sequence[PlaneIndex],
        call: _Call,
    ) -> Iterator[Colorized]:
        """Results of planes of one size."""
        guides = [guides_at(call.guides, index) for index in indices]
        for plane, given in zip(planes, guides, strict=True):
            given.check((plane.gray.shape[0], plane.gray.shape[1]))
        if call.settings.fidelity != "exact":
            for plane, array in zip(planes, pixels, strict=True):
                yield self._colorize_8bit(array, plane, call.settings)
            return
        first = self._predict_results(planes, call.settings, guides)
        if call.second is None or call.second_settings is None:
            yield from first
            return
        second = call.second._predict_results(planes, call.second_settings, guides)
        for one, other in zip(first, second, strict=True):
            yield self._blend(one, call.second, other, call.settings)

    def _predict_results(
        self, planes: Sequence[Plane], settings: ColorizeSettings, guides: Sequence[Guides]
    ) -> Iterator[Colorized]:
        """Results of this model alone for planes of one size."""
        hints = [each.hints if self.architecture.takes_hints else None for each in guides]
        uv, is_unlike, config = self.predict_planes(planes, settings, hints)
        for number, (plane, given) in enumerate(zip(planes, guides, strict=True)):
            yield self._result(plane, uv[number], is_unlike[number], config, settings, given)

    def _result(
        self,
        plane: Plane,
        uv: Tensor,
        is_unlike: bool,
        config: InferenceConfig,
        settings: ColorizeSettings,
        guides: Guides,
    ) -> Colorized:
        notes = [*announce(plane), *self.warn_about_fallbacks(config, settings)]
        uv, replaced = without_nan(uv)
        chroma = self.to_chroma(uv, config)
        notes += [*replaced, *_warn_if_uncolored(chroma.mean(), plane)]
        if is_unlike:
            warn(UNLIKE, ColorizeNote)
            notes.append(UNLIKE)
        used = _settings_used(settings, plane, config)
        record = self._describe(used, plane, notes, config)
        if guides:
            record["guides"] = guides.summary()
        return Colorized(plane, chroma, used, record, tuple(notes), guides=guides)

    def _blend(
        self, one: Colorized, second: Colorizer, other: Colorized, settings: ColorizeSettings
    ) -> Colorized:
        """Join the results of two models to one, with both models in its record."""
        assert one.chroma is not None
        assert other.chroma is not None
        first, added = one.chroma, other.chroma
        if settings.blend_by == "confidence":
            first = replace(first, errors=self._comparable_error(one))
            added = replace(added, errors=second._comparable_error(other).to(first.uv.device))
        # The saturation of the result is that of the first model. The ratio gives the second one
        # the saturation that its own checkpoint recommends.
        ratio = second.checkpoint.saturation / self.checkpoint.saturation
        added = replace(added, uv=added.uv.to(first.uv.device) * ratio)
        common = (
            "statement",
            "software",
            "version",
            "settings",
            "intensity_range",
            "notes",
            "guides",
        )
        blended = {name: value for name, value in other.record.items() if name not in common}
        blended["render_factor"] = other.settings.render_factor
        notes = tuple(dict.fromkeys((*one.notes, *other.notes)))
        record = {**one.record, "blended_with": blended, "notes": list(notes)}
        return replace(one, chroma=first, second_chroma=added, record=record, notes=notes)

    def _comparable_error(self, result: Colorized) -> Tensor:
        from napari_colorize.analysis.expected_error import comparable_error

        return torch.from_numpy(comparable_error(self, result)).to(self.device)

    def _colorize_8bit(
        self, image: AnyArray, plane: Plane, settings: ColorizeSettings
    ) -> Colorized:
        """Repeat the 8-bit steps of DeOldify or the IPOL program."""
        steps = {"deoldify": fidelity.deoldify, "ipol": fidelity.ipol}[settings.fidelity]
        pixels, note = fidelity.to_8bit_rgb(image, plane.limits, settings.gamma)
        saturation = settings.saturation
        assert saturation is not None

        def run(config: InferenceConfig) -> UInt8Array:
            return steps(
                pixels,
                lambda x, self_attention: self._run_network(x, self_attention, config),
                config.render_factor,
                self_attention=config.self_attention,
                saturation=saturation,
            )

        colors, config = self.run_with_fallbacks(run, settings)
        colors = np.array(colors)  # a copy: the memory of a Pillow image is read-only
        if plane.alpha is not None:
            colors = np.dstack([colors, alpha_to_uint8(plane.alpha)])
        notes = [*announce(plane), *self.warn_about_fallbacks(config, settings)]
        if note is not None:
            notes.append(note)
            warn(note, ColorizeNote)
        if saturation > 0:
            notes += _warn_if_uncolored(_mean_chroma(colors) / saturation, plane)
        unused = {name: getattr(DEFAULTS, name) for name in REFINING}  # a fidelity refines nothing
        used = replace(_settings_used(settings, plane, config), **unused)
        record = self._describe(used, plane, notes, config)
        return Colorized(plane, None, used, record, tuple(notes), pixels_8bit=colors)

    def _run_network(self, x: Tensor, self_attention: bool, config: InferenceConfig) -> Tensor:
        """Run the network alone, with input and output as in the original program."""
        self.check_memory(x.shape[-2] * x.shape[-1], config)
        network = self.network_on(config)
        x = x.to(config.device).contiguous(memory_format=torch.channels_last)
        output: Tensor = network(x, self_attention=self_attention)
        return output

    def _describe(
        self,
        settings: ColorizeSettings,
        plane: Plane,
        notes: Sequence[str],
        config: InferenceConfig,
    ) -> dict[str, Any]:
        return provenance.describe(
            checkpoint_name=self.checkpoint.name,
            architecture=self.checkpoint.architecture,
            sha256=self.checkpoint.sha256 or "",
            settings=settings,
            intensity_range=plane.intensity_range,
            notes=notes,
            device=str(config.device),
            precision=str(config.dtype).removeprefix("torch."),
        )


def check_fidelity_is_alone(
    settings: ColorizeSettings, guides: Guides | PlaneGuides | None, has_second: bool
) -> None:
    """Raise if a fidelity is combined with guides or a second model, which it cannot use.

    Raises
    ------
    SettingsError
        If there are guides or a second model.
    """
    if settings.fidelity != "exact" and (guides or has_second):
        raise SettingsError(
            f'fidelity="{settings.fidelity}" repeats the steps of another program, which supports '
            'no guides and no second model: leave fidelity at "exact".'
        )


def _batch_length(height: int, width: int, settings: ColorizeSettings) -> int:
    """Number of planes that pass through the network together."""
    assert settings.render_factor is not None
    pixels = (PIXELS_PER_RENDER_FACTOR * settings.render_factor) ** 2
    length = min(BATCH_PLANES, BATCH_PIXELS // pixels, PLANE_PIXELS // (height * width))
    return max(1, length)


def _settings_used(
    settings: ColorizeSettings, plane: Plane, config: InferenceConfig
) -> ColorizeSettings:
    """Settings with the contrast limits and the render factor that were used."""
    limits = plane.limits if plane.limits[0] < plane.limits[1] else None
    return replace(settings, render_factor=config.render_factor, contrast_limits=limits)


def _with_new_notes(plane: Plane, announced: set[str]) -> Plane:
    """Move notes that earlier planes have announced to the shared notes."""
    new = tuple(note for note in plane.notes if note not in announced)
    shared = tuple(note for note in plane.notes if note in announced)
    announced.update(new)
    return replace(plane, notes=new, shared_notes=shared)


def _warn_if_uncolored(mean: float, plane: Plane) -> list[str]:
    """Warn if the mean chroma of a prediction is almost 0; return the sentence."""
    if mean >= UNCOLORED_MEAN:
        return []
    is_even = float(plane.gray.std(correction=0)) < EVEN_DEVIATION
    message = EVEN if is_even else ALMOST_GRAY.format(mean)
    warn(message)
    return [message]


def _mean_chroma(colors: UInt8Array) -> float:
    """Mean length of (U, V) of every fourth pixel of an 8-bit image, as `Chroma.mean`."""
    sample = torch.from_numpy(colors[::4, ::4, :3] / np.float32(255))
    return float(torch.linalg.vector_norm(rgb_to_yuv(sample)[..., 1:], dim=-1).mean())
