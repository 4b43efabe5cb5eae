"""Colorizer: a network with its checkpoint, on a device, at a precision.

A thin shell around `pipeline`: here images come in, memory runs out and is dealt with, and what
was done is written down. A Colorizer keeps nothing between calls and may be called from several
threads.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_colorize import __version__, fidelity, provenance
from napari_colorize.errors import (
    ColorizeNote,
    OutOfMemoryError,
    SettingsError,
    warn,
)
from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize.imaging.planes import (
    Array,
    Limits,
    Plane,
    spatial_axes,
    split_stack,
    stack_limits,
    to_numpy,
    to_plane,
)
from napari_colorize.imaging.resample import resize
from napari_colorize.networks import ARCHITECTURES, Architecture
from napari_colorize.pipeline import (
    PIXELS_PER_RENDER_FACTOR,
    Chroma,
    predict,
    render_size,
)
from napari_colorize.refine.guides import NO_GUIDES, Guides, PlaneGuides, check_guides, guides_at
from napari_colorize.result import Colorized, alpha_as_bytes
from napari_colorize.runtime import memory
from napari_colorize.runtime.devices import Precision, choose_device, choose_dtype
from napari_colorize.sequence_smoothing import SequenceSmoother, checked_axis
from napari_colorize.settings import REFINING, ColorizeSettings, settings_from

if TYPE_CHECKING:
    from napari_colorize.analysis.attention import AttentionMap
    from napari_colorize.refine.hints import Hints
    from napari_colorize.zoo import Checkpoint

Result = TypeVar("Result")

DEFAULTS = ColorizeSettings()
PALE = 2 / 255  # mean length of (U, V) below which a prediction is all but gray
SMALLER = 0.75  # factor on the render factor when memory runs out
BATCH_PIXELS = 2**18  # network pixels at a time: several planes when they are small
BATCH_PLANES = 16
PLANE_PIXELS = 2**22  # at full size at a time, beyond the one plane that must be
NOT_A_NUMBER = (
    'The model gave no number for some colours; these stay gray. Try precision="float32".'
)
ALMOST_GRAY = (
    "The model found almost no colour (mean chroma {:.4f}). Try another render factor, often a "
    "smaller one, or a higher saturation."
)


@dataclass(frozen=True, eq=False)
class Colorizer:
    """A network that is ready to colorize.

    Parameters
    ----------
    network : nn.Module
        Fused for inference, on `device`, its weights of type `dtype`.
    checkpoint : Checkpoint
        Its name, origin and recommended settings.
    device : torch.device
        Where it runs.
    dtype : torch.dtype
        In which it computes: float32 or bfloat16.
    """

    network: nn.Module
    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str] = "embedded",
        *,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        progress: bool = False,
    ) -> Colorizer:
        """Load a checkpoint by its name in the catalogue, or from a .safetensors or .pth file.

        Parameters
        ----------
        name_or_path : str or path
            Fetched first if it is a name whose file is not here yet.
        device : str or torch.device
            "auto" takes a GPU if there is one.
        precision : {"auto", "float32", "bfloat16"}
            "auto" takes bfloat16 where the hardware computes with it and the network bears it;
            float32 is exact.
        progress : bool
            Whether a download shows a progress bar.

        Raises
        ------
        UnknownModelError, DownloadError, CheckpointError
            If there is no such model, it cannot be fetched, or the file holds another thing.
        SettingsError
            If there is no such device or precision.
        """
        from napari_colorize import zoo
        from napari_colorize.networks.fuse import fuse
        from napari_colorize.networks.winograd import accelerate_convs
        from napari_colorize.zoo.build import build

        chosen_device = choose_device(device)
        dtype = choose_dtype(precision, chosen_device)
        checkpoint, weights = zoo.load(name_or_path, progress=progress)
        architecture = ARCHITECTURES[checkpoint.architecture]
        if precision == "auto" and architecture.is_exact:
            dtype = torch.float32
        network = fuse(build(architecture, weights.state))
        network = network.to(chosen_device, dtype)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if chosen_device.type == "cpu" and dtype == torch.float32:
            accelerate_convs(network)
        return cls(network, checkpoint, chosen_device, dtype)

    @property
    def architecture(self) -> Architecture:
        """What the network takes and gives; one that was built without attention has none."""
        known = ARCHITECTURES[self.checkpoint.architecture]
        attends = known.has_self_attention and getattr(self.network, "has_self_attention", True)
        return replace(known, has_self_attention=attends)

    @property
    def unsupported(self) -> dict[str, str]:
        """Settings that this network cannot follow, each with a sentence that says why."""
        lacking = {}
        if not self.architecture.has_self_attention:
            lacking["self_attention"] = (
                f"{self.checkpoint.name} has no self-attention to switch off."
            )
        if not self.architecture.name.startswith(("deoldify", "ipol")):
            lacking["fidelity"] = (
                "A fidelity repeats the steps around the networks of DeOldify and the IPOL review; "
                f"this model's network is {self.architecture.name}. Leave it at exact, or choose a "
                "model of theirs."
            )
        return lacking

    @property
    def identity(self) -> dict[str, object]:
        """What tells this model, and its numbers, from another: work goes on only with the same."""
        return {
            "model": self.checkpoint.name,
            "weights": self.checkpoint.sha256,
            "precision": self.precision,
        }

    @property
    def precision(self) -> str:
        """In words: float32 or bfloat16."""
        return str(self.dtype).removeprefix("torch.")

    def __call__(
        self,
        image: Any,
        *,
        rgb: bool | None = None,
        guides: Guides | None = None,
        blend_with: Colorizer | None = None,
        **settings: Any,
    ) -> Colorized:
        """Colorize one image.

        Parameters
        ----------
        image : array, shape (Y, X), (Y, X, 3) or (Y, X, 4)
            NumPy, dask or torch; any real dtype. Colours are replaced, alpha is kept.
        rgb : bool, optional
            Whether the last axis holds colours. Default: if it has 3 or 4 entries.
        guides : Guides, optional
            Mask, hints, reference picture.
        blend_with : Colorizer, optional
            A second model, whose colours are blended with this one's; see `blend`, `blend_by`.
        **settings
            See `ColorizeSettings`.

        Raises
        ------
        ImageError
            If it is not one image of real numbers, or guides are not of its size.
        SettingsError
            If a setting is unknown, out of range, or not for this network.
        OutOfMemoryError
            If nothing that the settings allow made it fit; the message names what fits.
        """
        asking = self._asking(settings, guides, blend_with)
        pixels = to_numpy(image)
        plane = self._to_plane(image, pixels, asking.chosen, rgb)
        return next(self._colored([plane], [pixels], [()], asking))

    def predict(self, image: Any, *, rgb: bool | None = None, **settings: Any) -> Chroma:
        """Only ask the network: chrominance of one image, as in `__call__`."""
        if settings.get("fidelity", "exact") != "exact":
            raise SettingsError("A fidelity makes pictures, not chrominance: call the Colorizer.")
        chroma = self(image, rgb=rgb, **settings).chroma
        assert chroma is not None
        return chroma

    def iter_planes(
        self,
        stack: Any,
        *,
        rgb: bool | None = None,
        guides: Guides | PlaneGuides | None = None,
        blend_with: Colorizer | None = None,
        time_axis: int | None = None,
        **settings: Any,
    ) -> Iterator[tuple[tuple[int, ...], Colorized]]:
        """Colorize the planes of a stack, one after another; stop by not asking for the next.

        Small planes go through the network several at a time. All planes share the contrast
        limits of the whole stack, which is read once for them if its dtype does not tell.

        Parameters
        ----------
        stack : array, shape (..., Y, X), (..., Y, X, 3) or (..., Y, X, 4)
            As in `__call__`; dask arrays are computed plane by plane.
        rgb : bool, optional
            Whether the last axis holds colours. Default: if it has 3 or 4 entries.
        guides : Guides or callable, optional
            Mask, hints, reference picture for every plane; or what tells those of the plane at an
            index, perhaps None.
        blend_with
            As in `__call__`.
        time_axis : int, optional
            Axis along which `temporal_smoothing` acts. Default: the first.
        **settings
            See `ColorizeSettings`.

        Returns
        -------
        iterator of (tuple of int, Colorized)
            The place of each plane, `stack[index]`, and its colours; last axis quickest.

        Raises
        ------
        ImageError, SettingsError, OutOfMemoryError
            As in `__call__`; what is wrong with stack or settings is told at once.
        """
        asking = self._asking(settings, guides, blend_with)
        if not hasattr(stack, "shape"):
            stack = to_numpy(stack)
        limits, note = stack_limits(stack, rgb, asking.chosen.contrast_limits)
        notes = (note,) if note else ()
        axes = spatial_axes(stack, rgb)
        steadying = SequenceSmoother(checked_axis(time_axis, len(stack.shape) - axes))
        return self._iter_planes(stack, axes == 3, limits, notes, asking, steadying)

    def _iter_planes(
        self,
        stack: Any,
        rgb: bool,
        limits: Limits,
        notes: tuple[str, ...],
        asking: Call,
        steadying: SequenceSmoother,
    ) -> Iterator[tuple[tuple[int, ...], Colorized]]:
        for batch in self._batches(stack, rgb, asking.chosen):
            parts = [stack[index] for index in batch]  # once: a slice of zarr is read at once
            pixels = [to_numpy(part) for part in parts]
            planes = [
                self._to_plane(part, some, asking.chosen, rgb, limits)
                for part, some in zip(parts, pixels, strict=True)
            ]
            planes = [replace(plane, notes=(*notes, *plane.notes)) for plane in planes]
            colored = self._colored(planes, pixels, batch, asking)
            for index, result in zip(batch, colored, strict=True):
                yield index, steadying.applied(result, index)

    def stream(
        self,
        images: Iterable[Any],
        *,
        rgb: bool | None = None,
        guides: Guides | PlaneGuides | None = None,
        blend_with: Colorizer | None = None,
        **settings: Any,
    ) -> Iterator[Colorized]:
        """Colorize images that come one after another, such as a film's: no end need be known.

        Small images go through the network several at a time, so as many are read ahead. Memory
        is bounded.

        Parameters
        ----------
        images : iterable of arrays
            All of one size and dtype, as in `__call__`. Their contrast limits should be given, or
            told by their dtype: otherwise every image has its own.
        rgb, guides, blend_with, **settings
            As in `iter_planes`; the index of an image is `(place,)`.

        Returns
        -------
        iterator of Colorized
            In the images' order; steadied along it if `temporal_smoothing` is above 0.

        Raises
        ------
        ImageError, SettingsError, OutOfMemoryError
            As in `__call__`; what is wrong with settings is told at once.
        """
        asking = self._asking(settings, guides, blend_with)
        return self._stream(iter(images), rgb, asking, SequenceSmoother(0))

    def _stream(
        self, images: Iterator[Any], rgb: bool | None, asking: Call, steadying: SequenceSmoother
    ) -> Iterator[Colorized]:
        place, length = 0, 1
        while batch := list(islice(images, length)):
            pixels = [to_numpy(image) for image in batch]
            planes = [
                self._to_plane(image, some, asking.chosen, rgb)
                for image, some in zip(batch, pixels, strict=True)
            ]
            indices = [(place + number,) for number in range(len(batch))]
            for index, result in zip(
                indices, self._colored(planes, pixels, indices, asking), strict=True
            ):
                yield steadying.applied(result, index)
            place += len(batch)
            height, width = planes[0].gray.shape
            length = _planes_at_a_time(height, width, asking.chosen)

    def _asking(
        self,
        settings: dict[str, Any],
        guides: Guides | PlaneGuides | None,
        blend_with: Colorizer | None,
    ) -> Call:
        """All that is asked of this model, and of the second one, checked."""
        chosen, given = self.resolve_settings(settings), NO_GUIDES if guides is None else guides
        if not callable(given):
            check_guides(given)
        refuse_beside_fidelity(chosen, given, blend_with is not None)
        if blend_with is None:
            return Call(chosen, given)
        usual = {name: getattr(DEFAULTS, name) for name in blend_with.unsupported}
        return Call(chosen, given, blend_with, blend_with.resolve_settings({**settings, **usual}))

    def _colored(
        self,
        planes: Sequence[Plane],
        pixels: Sequence[Array],
        indices: Sequence[tuple[int, ...]],
        asking: Call,
    ) -> Iterator[Colorized]:
        """Results of planes of one size."""
        guides = [guides_at(asking.guides, index) for index in indices]
        for plane, given in zip(planes, guides, strict=True):
            given.check((plane.gray.shape[0], plane.gray.shape[1]))
        if asking.chosen.fidelity != "exact":
            for plane, some in zip(planes, pixels, strict=True):
                yield self._with_fidelity(some, plane, asking.chosen)
            return
        first = self._answers(planes, asking.chosen, guides)
        if asking.second is None or asking.second_chosen is None:
            yield from first
            return
        others = asking.second._answers(planes, asking.second_chosen, guides)
        for one, other in zip(first, others, strict=True):
            yield self._blended(one, asking.second, other, asking.chosen)

    def _answers(
        self, planes: Sequence[Plane], chosen: ColorizeSettings, guides: Sequence[Guides]
    ) -> Iterator[Colorized]:
        """What this model says of planes of one size."""
        shown = [each.hints if self.architecture.takes_hints else None for each in guides]
        uv, used = self._predict(planes, chosen, shown)
        for place, (plane, given) in enumerate(zip(planes, guides, strict=True)):
            yield self._result(plane, uv[place], used, chosen, given)

    def _blended(
        self, one: Colorized, second: Colorizer, other: Colorized, chosen: ColorizeSettings
    ) -> Colorized:
        """Two models' answers as one result, which says so."""
        assert one.chroma is not None
        assert other.chroma is not None
        first, added = one.chroma, other.chroma
        if chosen.blend_by == "confidence":
            first = replace(first, errors=self._errors(one))
            added = replace(added, errors=second._errors(other).to(first.uv.device))
        # Each model's colours are as vivid as its checkpoint recommends.
        ratio = second.checkpoint.saturation / self.checkpoint.saturation
        added = replace(added, uv=added.uv.to(first.uv.device) * ratio)
        record = {**one.record, "blended_with": {**other.record}}
        for name in ("statement", "software", "version", "settings", "notes", "guides"):
            record["blended_with"].pop(name, None)
        record["blended_with"]["render_factor"] = other.settings.render_factor
        notes = tuple(dict.fromkeys((*one.notes, *other.notes)))
        record["notes"] = list(notes)
        return replace(one, chroma=first, second_chroma=added, record=record, notes=notes)

    def _errors(self, result: Colorized) -> Tensor:
        """CIEDE2000 that this model expects of its colours, `(h, w)`."""
        from napari_colorize.analysis.expected_error import comparable_error

        return torch.from_numpy(comparable_error(self, result)).to(self.device)

    def expected_error(self, result: Colorized) -> NDArray[np.float32]:
        """How far off the truth this model expects the colours of a result to be.

        The network is asked once more. See `insight.confidence`.

        Parameters
        ----------
        result : Colorized
            Of this Colorizer, without a fidelity.

        Returns
        -------
        ndarray, float32, shape (Y, X)
            CIEDE2000 of every pixel: 1 is just visible side by side, above 10 it is a guess.

        Raises
        ------
        SettingsError
            If the result is one of a fidelity, which keeps no chrominance.
        """
        from napari_colorize.analysis.expected_error import expected_error

        errors = torch.from_numpy(expected_error(self, result))[None, None]
        height, width = result.plane.gray.shape
        full: NDArray[np.float32] = resize(errors, (height, width))[0, 0].numpy()
        return full

    def attention_map(
        self, image: Any, point: tuple[float, float], *, rgb: bool | None = None, **settings: Any
    ) -> AttentionMap:
        """Where self-attention looks from one point of an image.

        The network is asked as far as its (last) self-attention, as if that were on and without a
        fidelity's own steps.

        Parameters
        ----------
        image, rgb, **settings
            As in `__call__`.
        point : tuple of float
            Row and column, in pixels of the image.

        Raises
        ------
        SettingsError
            If this network has no self-attention, or a setting is not for it.
        ImageError
            If it is not one image, or the point lies outside.
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
            raise SettingsError(f"{self.checkpoint.name} has no self-attention to look at.")
        chosen = self.resolve_settings({**settings, "self_attention": True})
        plane = self._to_plane(image, to_numpy(image), chosen, rgb)
        height, width = plane.gray.shape
        place = position_of(point, (height, width))

        def run(used: InferenceConfig) -> NDArray[np.float32]:
            size = self._size(plane, used)
            self._check_memory(size[0] * size[1], used)
            network, gray = self._network_on(used), plane.gray.to(used.device)
            return compute_attention(network, self.architecture, gray, size, place)

        weights, _ = self._run_with_fallbacks(run, chosen)
        return AttentionMap(weights, place, (height, width))

    def resolve_settings(self, settings: dict[str, Any]) -> ColorizeSettings:
        """Settings from keywords, with this checkpoint's recommendations filled in.

        Raises
        ------
        SettingsError
            If one is unknown, out of range, or not for this network.
        """
        chosen = settings_from(settings)
        for name, reason in self.unsupported.items():
            if getattr(chosen, name) != getattr(DEFAULTS, name):
                raise SettingsError(reason)
        return replace(
            chosen,
            render_factor=chosen.render_factor or self.checkpoint.render_factor,
            saturation=(
                self.checkpoint.saturation if chosen.saturation is None else chosen.saturation
            ),
        )

    def _to_plane(
        self,
        image: Any,
        pixels: Array,
        chosen: ColorizeSettings,
        rgb: bool | None,
        limits: Limits | None = None,
    ) -> Plane:
        def run(device: torch.device) -> Plane:
            return to_plane(
                image,
                pixels=pixels,
                limits=chosen.contrast_limits if limits is None else limits,
                gamma=chosen.gamma,
                device=device,
                rgb=rgb,
            )

        return memory.with_cpu_fallback(run, self.device, "image")

    def _batches(
        self, stack: Any, rgb: bool, chosen: ColorizeSettings
    ) -> Iterator[list[tuple[int, ...]]]:
        height, width = tuple(stack.shape[:-1] if rgb else stack.shape)[-2:]
        length = _planes_at_a_time(height, width, chosen)
        indices = split_stack(stack, rgb)
        while batch := list(islice(indices, length)):
            yield batch

    def _predict(
        self, planes: Sequence[Plane], chosen: ColorizeSettings, hints: Sequence[Hints | None]
    ) -> tuple[Tensor, InferenceConfig]:
        """U and V of planes of one size, and how they were got if memory ran out."""
        are_alike = all(each is hints[0] for each in hints)

        def run(used: InferenceConfig) -> Tensor:
            if are_alike:
                try:
                    return self._run(planes, used, hints[0])
                except (RuntimeError, MemoryError) as error:
                    if len(planes) == 1 or not memory.is_exhausted(error):
                        raise
                memory.empty_device_cache()
            each = zip(planes, hints, strict=True)
            return torch.cat([self._run([plane], used, shown) for plane, shown in each])

        return self._run_with_fallbacks(run, chosen)

    def _run(self, planes: Sequence[Plane], used: InferenceConfig, hints: Hints | None) -> Tensor:
        size = self._size(planes[0], used)
        self._check_memory(len(planes) * size[0] * size[1], used)
        uv = predict(
            self._network_on(used),
            self.architecture,
            (plane.gray.to(used.device) for plane in planes),
            size,
            self_attention=used.self_attention,
            hints=hints,
        )
        return uv.to(self.device)

    def _size(self, plane: Plane, used: InferenceConfig) -> tuple[int, int]:
        """Of what the network sees."""
        height, width = plane.gray.shape
        return render_size(
            height,
            width,
            used.render_factor,
            fit=self.checkpoint.fit,
            multiple=self.architecture.multiple,
        )

    def _check_memory(self, pixels: int, used: InferenceConfig) -> None:
        each = self.architecture.bytes_per_pixel * used.dtype.itemsize // torch.float32.itemsize
        memory.refuse_too_large(pixels, each, used.device)

    def _network_on(self, used: InferenceConfig) -> nn.Module:
        if used.device == self.device:
            return self.network
        return copy.deepcopy(self.network).to(used.device, used.dtype)

    def _run_with_fallbacks(
        self, run: Callable[[InferenceConfig], Result], chosen: ColorizeSettings
    ) -> tuple[Result, InferenceConfig]:
        """What `run` gives, as wanted or in the next best way that memory suffices for."""
        assert chosen.render_factor is not None
        wanted = InferenceConfig(
            chosen.render_factor, self.device, self.dtype, chosen.self_attention
        )
        found = memory.first_that_fits(run, self._fallbacks(wanted, chosen))
        if found is not None:
            return found
        said = f"Render factor {wanted.render_factor} does not fit into memory"
        smaller = memory.first_that_fits(run, _smaller(wanted))
        if smaller is None:
            raise OutOfMemoryError(
                f"{said}, nor does any smaller one. Close other programs, or use a smaller model."
            )
        fits = smaller[1].render_factor
        raise OutOfMemoryError(f"{said}; {fits} does: use render_factor={fits}.")

    def _fallbacks(
        self, wanted: InferenceConfig, chosen: ColorizeSettings
    ) -> Iterator[InferenceConfig]:
        """As wanted, then on the CPU, then smaller, as far as the settings allow."""
        yield wanted
        if chosen.retry_on_cpu and wanted.device.type != "cpu":
            cpu = torch.device("cpu")
            exact = wanted.dtype == torch.float32
            dtype = torch.float32 if exact else choose_dtype("auto", cpu)
            wanted = replace(wanted, device=cpu, dtype=dtype)
            yield wanted
        if chosen.retry_smaller:
            yield from _smaller(wanted)

    def _chroma(self, uv: Tensor, used: InferenceConfig) -> Chroma:
        return Chroma(uv, self.checkpoint.name, used.render_factor, used.self_attention)

    def _result(
        self,
        plane: Plane,
        uv: Tensor,
        used: InferenceConfig,
        chosen: ColorizeSettings,
        guides: Guides,
    ) -> Colorized:
        notes = [*_announce(plane), *used.warn(chosen, self.device)]
        if not bool(uv.isfinite().all()):
            notes.append(NOT_A_NUMBER)
            warn(NOT_A_NUMBER)
            uv = torch.nan_to_num(uv, nan=0.0, posinf=0.0, neginf=0.0)
        chroma = self._chroma(uv, used)
        notes += _warn_if_pale(chroma.mean())
        settings = _as_used(chosen, plane, used)
        record = self._describe(settings, notes, used)
        if guides:
            record["guides"] = guides.summary()
        return Colorized(plane, chroma, settings, record, tuple(notes), guides=guides)

    def _with_fidelity(self, image: Array, plane: Plane, chosen: ColorizeSettings) -> Colorized:
        """As DeOldify or the IPOL program would, in 8 bits all along."""
        steps = {"deoldify": fidelity.deoldify, "ipol": fidelity.ipol}[chosen.fidelity]
        pixels, note = fidelity.to_8bit_rgb(image, plane.limits, chosen.gamma)
        saturation = chosen.saturation
        assert saturation is not None

        def run(used: InferenceConfig) -> NDArray[np.uint8]:
            return steps(
                pixels,
                lambda x, self_attention: self._ask(x, self_attention, used),
                used.render_factor,
                self_attention=used.self_attention,
                saturation=saturation,
            )

        colors, used = self._run_with_fallbacks(run, chosen)
        colors = np.array(colors)  # Pillow's own memory may not be written to
        if plane.alpha is not None:
            colors = np.dstack([colors, alpha_as_bytes(plane.alpha)])
        notes = [*_announce(plane), *used.warn(chosen, self.device)]
        if note is not None:
            notes.append(note)
            warn(note, ColorizeNote)
        if saturation > 0:
            notes += _warn_if_pale(_mean_chroma(colors) / saturation)
        usual = {name: getattr(DEFAULTS, name) for name in REFINING}  # a fidelity refines nothing
        settings = replace(_as_used(chosen, plane, used), **usual)
        record = self._describe(settings, notes, used)
        return Colorized(plane, None, settings, record, tuple(notes), pixels_8bit=colors)

    def _ask(self, x: Tensor, self_attention: bool, used: InferenceConfig) -> Tensor:
        """The bare network, for a fidelity: its input and output are as the original's."""
        self._check_memory(x.shape[-2] * x.shape[-1], used)
        network = self._network_on(used)
        x = x.to(used.device).contiguous(memory_format=torch.channels_last)
        answer: Tensor = network(x, self_attention=self_attention)
        return answer

    def _describe(
        self, settings: ColorizeSettings, notes: Sequence[str], used: InferenceConfig
    ) -> dict[str, Any]:
        return provenance.describe(
            checkpoint_name=self.checkpoint.name,
            architecture=self.checkpoint.architecture,
            sha256=self.checkpoint.sha256 or "",
            settings=settings,
            notes=notes,
            device=str(used.device),
            precision=str(used.dtype).removeprefix("torch."),
            version=__version__,
        )


@dataclass(frozen=True, eq=False)
class Call:
    """What is asked of a model, and of a second one beside it."""

    chosen: ColorizeSettings
    guides: Guides | PlaneGuides = NO_GUIDES
    second: Colorizer | None = None
    second_chosen: ColorizeSettings | None = None


@dataclass(frozen=True)
class InferenceConfig:
    """How a prediction was really made; other than wanted only where memory ran out."""

    render_factor: int
    device: torch.device
    dtype: torch.dtype
    self_attention: bool

    def warn(self, chosen: ColorizeSettings, device: torch.device) -> list[str]:
        """Say what was changed for want of memory."""
        said = []
        if self.device != device:
            said.append(f"Memory of {device} ran out: the CPU made this prediction.")
        if self.render_factor != chosen.render_factor:
            said.append(
                f"Memory ran out at render factor {chosen.render_factor}: "
                f"{self.render_factor} was used."
            )
        for sentence in said:
            warn(sentence)
        return said


def refuse_beside_fidelity(
    chosen: ColorizeSettings, guides: Guides | PlaneGuides | None, has_second: bool
) -> None:
    """Say it if a fidelity is asked to heed what its program knows nothing of.

    Raises
    ------
    SettingsError
        If there are guides or a second model.
    """
    if chosen.fidelity != "exact" and (guides or has_second):
        raise SettingsError(
            f'fidelity="{chosen.fidelity}" repeats another program\'s steps, which know no '
            'guides and no second model: leave fidelity at "exact".'
        )


def _planes_at_a_time(height: int, width: int, chosen: ColorizeSettings) -> int:
    """How many planes go through the network together."""
    assert chosen.render_factor is not None
    pixels = (PIXELS_PER_RENDER_FACTOR * chosen.render_factor) ** 2
    length = min(BATCH_PLANES, BATCH_PIXELS // pixels, PLANE_PIXELS // (height * width))
    return max(1, length)


def _as_used(chosen: ColorizeSettings, plane: Plane, used: InferenceConfig) -> ColorizeSettings:
    """The settings with what was left open or changed on the way."""
    limits = plane.limits if plane.limits[0] < plane.limits[1] else None
    return replace(chosen, render_factor=used.render_factor, contrast_limits=limits)


def _smaller(used: InferenceConfig) -> Iterator[InferenceConfig]:
    render_factor = used.render_factor
    while render_factor > 1:
        render_factor = max(1, int(render_factor * SMALLER))
        yield replace(used, render_factor=render_factor)


def _announce(plane: Plane) -> list[str]:
    for note in plane.notes:
        warn(note, ColorizeNote)
    for warning in plane.warnings:
        warn(warning)
    return [*plane.notes, *plane.warnings]


def _warn_if_pale(mean: float) -> list[str]:
    """Say it where a network found next to nothing: gray is not passed off as a result."""
    if mean >= PALE:
        return []
    said = ALMOST_GRAY.format(mean)
    warn(said)
    return [said]


def _mean_chroma(colors: NDArray[np.uint8]) -> float:
    """Mean length of (U, V) of an 8-bit picture, as `Chroma.mean` has it."""
    some = torch.from_numpy(colors[::4, ::4, :3] / np.float32(255))
    return float(torch.linalg.vector_norm(rgb_to_yuv(some)[..., 1:], dim=-1).mean())
