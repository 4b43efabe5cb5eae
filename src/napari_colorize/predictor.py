"""One network on one device: settings, image planes and predicted chroma, with memory fallbacks.

`Predictor` is the part of a `Colorizer` that also serves the analysis of a network: it makes no
images, only chroma. It has no state between calls and may be used from several threads.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ColorizeNote, SettingsError, warn
from napari_colorize.fallback import InferenceConfig, fallback_messages, run_with_fallbacks
from napari_colorize.imaging.intensity_range import IntensityRange
from napari_colorize.imaging.planes import Plane, to_plane
from napari_colorize.networks import ARCHITECTURES, Architecture
from napari_colorize.pipeline import predict_and_judge, render_size
from napari_colorize.refine.chroma_field import Chroma
from napari_colorize.runtime import memory
from napari_colorize.runtime.devices import (
    Precision,
    choose_device,
    choose_dtype,
    exact_float32,
)
from napari_colorize.settings import ColorizeSettings, ContrastLimits, settings_from

if TYPE_CHECKING:
    from napari_colorize.refine.hints import Hints
    from napari_colorize.zoo import Checkpoint

Result = TypeVar("Result")

DEFAULTS = ColorizeSettings()
TRIAL = np.zeros((60, 44), np.uint8)  # sides that no network input divides
TRIAL_SETTINGS = ColorizeSettings(render_factor=2)
UNLIKE_FACTOR = 0.5  # on the chroma of images unlike photographs
FULLY_UNLIKE = 0.1  # unlikeness from which this factor applies; smaller ones damp less
NOT_A_NUMBER = 'The model returned NaN for some pixels; these stay gray. Try precision="float32".'


@dataclass(frozen=True, eq=False, repr=False)
class Predictor:
    """A loaded network that predicts the chroma of gray planes.

    Parameters
    ----------
    network : nn.Module
        Network in evaluation mode, on `device`, with weights of type `dtype`.
    checkpoint : Checkpoint
        Name, origin and recommended settings of the weights.
    device : torch.device
        Device of the network.
    dtype : torch.dtype
        float32 or bfloat16.
    """

    network: nn.Module
    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype

    def __new__(cls, network: Any = None, *_: Any, **__: Any) -> Self:
        """Refuse a name or path in place of a network, with the call that loads a model."""
        if isinstance(network, (str, os.PathLike)):
            raise TypeError(
                f"A model is loaded with {cls.__name__}.from_pretrained({os.fspath(network)!r})."
            )
        return super().__new__(cls)

    def __repr__(self) -> str:
        name = self.checkpoint.name
        return f"{type(self).__name__}({name!r}, {self.device}, {self.precision})"

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str] = "embedded",
        *,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        progress: bool = False,
    ) -> Self:
        """Load a checkpoint by its name in the catalogue, or from a .safetensors or .pth file.

        Parameters
        ----------
        name_or_path : str or path
            A name whose file is not local is downloaded first.
        device : str or torch.device
            "auto" selects a GPU if there is one; an Apple GPU only if a first prediction succeeds.
        precision : {"auto", "float32", "bfloat16"}
            "auto" selects bfloat16 where the hardware computes with it and the network permits
            it; float32 is exact.
        progress : bool
            Whether a download shows a progress bar.

        Raises
        ------
        UnknownModelError, DownloadError, CheckpointError
            If there is no such model, it cannot be downloaded, or the file is no checkpoint.
        SettingsError
            If there is no such device or precision.
        """
        from napari_colorize import zoo

        chosen_device = choose_device(device)
        choose_dtype(precision, chosen_device)  # refuses an unknown one before a download
        checkpoint, weights = zoo.load(name_or_path, progress=progress)
        if device == "auto" and chosen_device.type == "mps":
            # torch lacks some operations there, which ones depends on its version.
            try:
                loaded = cls._build(checkpoint, weights.state, chosen_device, precision)
                loaded.predict_planes([to_plane(TRIAL, device=chosen_device)], TRIAL_SETTINGS)
            except Exception as error:  # noqa: BLE001 - torch raises errors of many types
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                text = f"The model does not run on this GPU, so the CPU is used: {reason}"
                warn(text, ColorizeNote)
                chosen_device = torch.device("cpu")
            else:
                return loaded
        return cls._build(checkpoint, weights.state, chosen_device, precision)

    @classmethod
    def _build(
        cls,
        checkpoint: Checkpoint,
        state: dict[str, Tensor],
        device: torch.device,
        precision: Precision,
    ) -> Self:
        """Build the network of a checkpoint on a device."""
        from napari_colorize.networks.fuse import fuse
        from napari_colorize.networks.winograd import accelerate_convs
        from napari_colorize.zoo.weights import build

        architecture = ARCHITECTURES[checkpoint.architecture]
        dtype = choose_dtype(precision, device)
        if precision == "auto" and architecture.is_exact:
            dtype = torch.float32
        network = fuse(build(architecture, state, file=checkpoint.file)).to(device, dtype)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if device.type == "cpu" and dtype == torch.float32:
            accelerate_convs(network)
        return cls(network, checkpoint, device, dtype)

    @property
    def architecture(self) -> Architecture:
        """Input and output of the network; without self-attention if it was built without it."""
        known = ARCHITECTURES[self.checkpoint.architecture]
        has_layer = known.has_self_attention and getattr(self.network, "has_self_attention", True)
        return replace(known, has_self_attention=has_layer)

    @property
    def unsupported(self) -> dict[str, str]:
        """Settings that this network does not support, each with a sentence that gives the reason.

        Keys are field names of `ColorizeSettings`.
        """
        reasons = {}
        if not self.architecture.has_self_attention:
            reasons["self_attention"] = (
                f"{self.checkpoint.name} has no self-attention layer to switch off."
            )
        if not self.architecture.has_fidelity:
            reasons["fidelity"] = (
                "A fidelity repeats the 8-bit steps of DeOldify or the IPOL program; the network "
                f"of this model is {self.architecture.name}. Use exact, or one of their models."
            )
        return reasons

    @property
    def identity(self) -> dict[str, object]:
        """Name, weights and precision: equal for models that predict the same numbers.

        An interrupted run is only resumed with a model of the same identity.
        """
        return {
            "model": self.checkpoint.name,
            "weights": self.checkpoint.sha256,
            "precision": self.precision,
        }

    @property
    def precision(self) -> str:
        """Name of the floating-point type: float32 or bfloat16."""
        return str(self.dtype).removeprefix("torch.")

    def resolve_settings(self, settings: Mapping[str, Any]) -> ColorizeSettings:
        """Make settings from keywords, with this checkpoint's recommendations filled in.

        Raises
        ------
        SettingsError
            If a setting is unknown, out of range, or not supported by this network.
        """
        resolved = settings_from(settings)
        for name, reason in self.unsupported.items():
            if getattr(resolved, name) != getattr(DEFAULTS, name):
                raise SettingsError(reason)
        saturation = resolved.saturation
        return replace(
            resolved,
            render_factor=resolved.render_factor or self.checkpoint.render_factor,
            saturation=self.checkpoint.saturation if saturation is None else saturation,
        )

    def to_plane(
        self,
        image: Any,
        settings: ColorizeSettings,
        *,
        rgb: bool | None = None,
        pixels: AnyArray | None = None,
        declared: IntensityRange | None = None,
    ) -> Plane:
        """Read an image into a plane on this device, or on the CPU if it does not fit there.

        `image`, `rgb` and `pixels` are as in `imaging.planes.to_plane`; `declared` is used unless
        the settings have contrast limits.
        """

        def run(device: torch.device) -> Plane:
            return to_plane(
                image,
                pixels=pixels,
                limits=self.asked_range(settings, declared),
                declared=declared,
                gamma=settings.gamma,
                device=device,
                rgb=rgb,
            )

        return memory.with_cpu_fallback(run, self.device, "image")

    def asked_range(
        self, settings: ColorizeSettings, declared: IntensityRange | None = None
    ) -> ContrastLimits:
        """Contrast limits or rule: as set, else, if nothing is declared, that of the training."""
        if settings.contrast_limits is None and declared is None:
            return self.checkpoint.contrast_limits
        return settings.contrast_limits

    def predict_planes(
        self,
        planes: Sequence[Plane],
        settings: ColorizeSettings,
        hints: Sequence[Hints | None] | None = None,
    ) -> tuple[Tensor, list[bool], InferenceConfig]:
        """Predict the chroma of N planes of one size, with retries if memory is exhausted.

        The settings are resolved: the render factor is a number. `hints` are those of each plane,
        for a network that takes hints as input. Returns float32 U and V (N, h, w, 2) at network
        size on this device, whether each plane is unlike photographs, so that its chroma was
        damped, and how they were predicted.
        """
        given = [None] * len(planes) if hints is None else hints
        share_hints = all(each is given[0] for each in given)

        def run(config: InferenceConfig) -> tuple[Tensor, Tensor]:
            if share_hints:
                try:
                    return self._predict(planes, config, given[0])
                except (RuntimeError, MemoryError) as error:
                    if len(planes) == 1 or not memory.is_exhausted(error):
                        raise
                # Outside the except block: the traceback would keep the tensors alive.
                memory.empty_device_cache()
            each = zip(planes, given, strict=True)
            uv, unlikeness = zip(
                *(self._predict([plane], config, one) for plane, one in each), strict=True
            )
            return torch.cat(uv), torch.cat(unlikeness)

        (uv, unlikeness), config = self.run_with_fallbacks(run, settings)
        # The factor has no step, so that the colors of a film do not flicker.
        factor = 1 - (1 - UNLIKE_FACTOR) * (unlikeness / FULLY_UNLIKE).clamp(0, 1)
        return uv * factor.view(-1, 1, 1, 1), (unlikeness > 0).tolist(), config

    def predict_chroma(self, plane: Plane, settings: ColorizeSettings) -> Chroma:
        """Predict the chroma of one plane, with a warning for what was changed or replaced."""
        uv, _, config = self.predict_planes([plane], settings)
        self.warn_about_fallbacks(config, settings)
        uv, _ = without_nan(uv[0])
        return self.to_chroma(uv, config)

    def run_with_fallbacks(
        self, run: Callable[[InferenceConfig], Result], settings: ColorizeSettings
    ) -> tuple[Result, InferenceConfig]:
        """Call `run` as requested or as memory permits, see `fallback.run_with_fallbacks`."""
        return run_with_fallbacks(run, self.requested_config(settings), settings)

    def requested_config(self, settings: ColorizeSettings) -> InferenceConfig:
        """The configuration of resolved settings on this device."""
        assert settings.render_factor is not None
        return InferenceConfig(
            settings.render_factor, self.device, self.dtype, settings.self_attention
        )

    def warn_about_fallbacks(self, used: InferenceConfig, settings: ColorizeSettings) -> list[str]:
        """Warn about what was changed because memory was exhausted; return the sentences."""
        messages = fallback_messages(used, self.requested_config(settings))
        for message in messages:
            warn(message)
        return messages

    def network_on(self, config: InferenceConfig) -> nn.Module:
        """The network on the device of a configuration: itself, or a copy."""
        if config.device == self.device:
            return self.network
        return copy.deepcopy(self.network).to(config.device, config.dtype)

    def network_size(self, plane: Plane, render_factor: int) -> tuple[int, int]:
        """Height and width of the network input for a plane."""
        height, width = plane.gray.shape
        return render_size(
            height,
            width,
            render_factor,
            fit=self.checkpoint.fit,
            multiple=self.architecture.multiple,
        )

    def check_memory(self, pixels: int, config: InferenceConfig) -> None:
        """Raise `MemoryError` if a network input of so many pixels does not fit into memory."""
        itemsize = config.dtype.itemsize
        each = self.architecture.bytes_per_pixel * itemsize // torch.float32.itemsize
        memory.refuse_too_large(pixels, each, config.device)

    def to_chroma(self, uv: Tensor, config: InferenceConfig) -> Chroma:
        """Label predicted U and V `(h, w, 2)` with this model and the configuration."""
        return Chroma(uv, self.checkpoint.name, config.render_factor, config.self_attention)

    def _predict(
        self, planes: Sequence[Plane], config: InferenceConfig, hints: Hints | None
    ) -> tuple[Tensor, Tensor]:
        """U and V, and how unlike photographs the planes are; 0 without a classifier."""
        size = self.network_size(planes[0], config.render_factor)
        self.check_memory(len(planes) * size[0] * size[1], config)
        with exact_float32() if config.dtype == torch.float32 else nullcontext():
            uv, unlikeness = predict_and_judge(
                self.network_on(config),
                self.architecture,
                (plane.gray.to(config.device) for plane in planes),
                size,
                self_attention=config.self_attention,
                hints=hints,
            )
        if unlikeness is None:
            unlikeness = uv.new_zeros(len(uv))
        return uv.to(self.device), unlikeness.to(self.device)


def without_nan(uv: Tensor) -> tuple[Tensor, list[str]]:
    """Replace values that are not finite by 0; also return the warning about it, or nothing."""
    if bool(uv.isfinite().all()):
        return uv, []
    warn(NOT_A_NUMBER)
    return torch.nan_to_num(uv, nan=0.0, posinf=0.0, neginf=0.0), [NOT_A_NUMBER]


def announce(plane: Plane) -> list[str]:
    """Warn about how an image was read; return all notes and warnings of the plane."""
    for note in plane.notes:
        warn(note, ColorizeNote)
    for warning in plane.warnings:
        warn(warning)
    return [*plane.shared_notes, *plane.notes, *plane.warnings]
