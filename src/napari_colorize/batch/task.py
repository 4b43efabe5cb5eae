"""Processing of one image file: colors, a stack, a contact sheet of render factors, or a map."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.analysis.maps import MapKind, draw_map
from napari_colorize.array_types import AnyArray, Limits, UInt8Array
from napari_colorize.batch.contact_sheet import contact_sheet, fit
from napari_colorize.batch.guide_files import guides_identity
from napari_colorize.batch.naming import Job
from napari_colorize.errors import warnings_suppressed
from napari_colorize.io.file_names import own_suffix
from napari_colorize.io.images import (
    ImageRecord,
    Metadata,
    fill_range,
    suggest_suffix,
    write_image,
)
from napari_colorize.io.text_metadata import Dropped, dropped, dropped_sentence
from napari_colorize.provenance import with_request
from napari_colorize.settings import ColorizeSettings

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.imaging.intensity_range import IntensityRange
    from napari_colorize.refine.guides import Guides
    from napari_colorize.result import Colorized

CELL = 480  # longer side of an image on a contact sheet, in pixels

Record = dict[str, object]


@dataclass(frozen=True, eq=False)
class Extras:
    """Arguments of a Colorizer other than settings; only those that are given are passed on.

    Parameters
    ----------
    guides : Guides, optional
        Mask, hints and reference.
    blend_with : Colorizer, optional
        A second model.
    time_axis : int, optional
        Axis of a stack along which temporal smoothing acts.
    """

    guides: Guides | None = None
    blend_with: Colorizer | None = None
    time_axis: int | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `Colorizer.__call__` and `Colorizer.stream`."""
        given = {"guides": self.guides, "blend_with": self.blend_with}
        return {name: value for name, value in given.items() if value is not None}

    def identity(self, colorizer: Colorizer) -> Record:
        """JSON values that identify models and guides; a run is resumed only if they are equal."""
        identity: Record = {**colorizer.identity, "guides": guides_identity(self.guides)}
        if self.blend_with is not None:
            identity["blend_with"] = self.blend_with.identity
        return identity


NO_EXTRAS = Extras()


@dataclass(frozen=True, kw_only=True)
class Processing:
    """How each image of a batch is processed.

    Parameters
    ----------
    colorizer : Colorizer
        The model.
    settings : ColorizeSettings
        Color settings; without contrast limits, those that the file declares are used.
    sweep : tuple of int
        Render factors of a contact sheet. Empty: the image itself is colorized.
    overwrite : bool
        Whether results may replace files.
    extras : Extras
        Guides, a second model, the time axis.
    map : {"disagreement", "error", "uncolored"}, optional
        Write this map instead of the colors.
    """

    colorizer: Colorizer
    settings: ColorizeSettings
    sweep: tuple[int, ...] = ()
    overwrite: bool = False
    extras: Extras = NO_EXTRAS
    map: MapKind | None = None


@dataclass(frozen=True)
class Output:
    """A result: its path, notes for the user, and a function that writes it.

    `dropped` are the metadata that its format cannot hold; a batch reports them in one sentence.
    `finished` has the time at which the result was written.
    """

    path: Path
    notes: tuple[str, ...]
    dropped: Dropped
    write: Callable[[], None]
    finished: Future[float] = field(default_factory=Future)

    def finish(self) -> None:
        """Write the result, unless `finished` was canceled before; its errors are in `finished`."""
        if not self.finished.set_running_or_notify_cancel():
            return
        try:
            self.write()
        except BaseException as error:  # noqa: BLE001, as an Executor does
            self.finished.set_exception(error)
        else:
            self.finished.set_result(perf_counter())


Steps = Generator[None, None, Output]


@dataclass(frozen=True)
class Task:
    """One decoded image with the processing to apply.

    Parameters
    ----------
    processing : Processing
        What to do.
    job : Job
        Names of the image and its result.
    image : ImageRecord
        The decoded image or stack.
    """

    processing: Processing
    job: Job
    image: ImageRecord

    @property
    def steps(self) -> int:
        """Number of steps of `run`: images of a sheet, planes of a stack, or 1."""
        if self.processing.sweep:
            return len(self.processing.sweep)
        return 1 if self.processing.map else math.prod(self._leading)

    def run(self) -> Steps:
        """Process the image; yields after each step and returns the `Output`."""
        if self.processing.sweep:
            return self._contact_sheet()
        if self.processing.map is not None:
            return self._draw_map(self.processing.map)
        return self._stack() if self.image.is_stack else self._single()

    def _single(self) -> Steps:
        colorized = self._colorize(self.image.array, declared_range=self._range)
        rgb = self._pixels(colorized)
        yield
        notes = (*self.image.notes, *colorized.notes)
        if self._fills_range:
            others = (note for note in notes if note != self._range.note)
            notes = (*others, self._range.stretched_note)
        record = self._described(colorized.provenance)
        return self._output(rgb, self.image.metadata, record, notes)

    def _stack(self) -> Steps:
        """Colorize a stack with the sequence engine of `video`, which can resume it."""
        from napari_colorize.video.plan import ExportOptions, VideoPlan
        from napari_colorize.video.stacks import StackSource, refuse_stack

        colorizer, extras = self.processing.colorizer, self.processing.extras
        # With the range that was found, so that a large stack is not read for it again.
        image = replace(self.image, declared_range=self._range)
        source = StackSource.of(self.job.source, image, time_axis=extras.time_axis)
        has_alpha = self.image.array.shape[-1] == 4 and self.image.rgb
        target = self._target(self._stack_dtype, has_alpha=has_alpha)
        shape, axes = self.image.array.shape, len(self._leading)
        refuse_stack(target, shape, self._stack_dtype, has_alpha=has_alpha, axes=axes)
        plan = VideoPlan(
            source=source,
            target=target,
            kind="stack",
            options=ExportOptions(overwrite=self.processing.overwrite),
        )
        sequence = plan.run(
            colorizer,
            self.processing.settings,
            extras.identity(colorizer),
            trained_rule=colorizer.checkpoint.contrast_limits,
            **extras.arguments,
        )
        with closing(sequence):
            for _ in range(sequence.resumed_frames):
                yield
            for _ in sequence:
                yield
        notes = dict.fromkeys((*sequence.state.notes, *source.notes(), *sequence.notes))
        lost = dropped(target, self.image.metadata, sequence.state.record)
        notes.pop(dropped_sentence([lost], of=target.name), None)
        output = Output(target, tuple(notes), lost, write=lambda: None)
        output.finish()  # the sequence has written the file
        return output

    def _contact_sheet(self) -> Steps:
        """A contact sheet of the image, or of a stack's middle plane."""
        image, notes = self._middle_plane("sheet")
        image = as_uint8(image, self._range.limits)
        notes.update(dict.fromkeys([self._range.note] if self._range.note else []))
        tiles: list[UInt8Array] = []
        for factor in self.processing.sweep:
            colorized = self._colorize(image, render_factor=factor)
            if not tiles:
                tiles.append(fit(as_uint8(np.asarray(colorized.gray), (0, 1)), CELL))
            tiles.append(fit(np.asarray(colorized.rgb), CELL))
            notes.update(dict.fromkeys(colorized.notes))
            yield
        labels = ["gray", *(f"render factor {factor}" for factor in self.processing.sweep)]
        sheet = contact_sheet(tiles, labels, cell=CELL)
        return self._output(
            sheet,
            Metadata(icc=self.image.metadata.icc),
            self._described(
                _sweep_record(colorized.provenance, self.processing.sweep, self._range)
            ),
            tuple(notes),
        )

    def _draw_map(self, kind: MapKind) -> Steps:
        """A map of the image, or of a stack's middle plane."""
        image, notes = self._middle_plane("map")
        drawn = draw_map(
            kind,
            self.processing.colorizer,
            image,
            rgb=self.image.rgb,
            extras={**self.processing.extras.arguments, "declared_range": self._range},
            settings=self._settings,
        )
        yield
        notes.update(dict.fromkeys(drawn.notes))
        record = self._described(drawn.provenance)
        return self._output(drawn.pixels, Metadata(), record, tuple(notes))

    def _colorize(self, image: AnyArray, **changes: Any) -> Colorized:
        arguments = {**self.processing.extras.arguments, **self._settings, **changes}
        return self.processing.colorizer(image, rgb=self.image.rgb, **arguments)

    def _described(self, record: Record) -> Record:
        """A provenance record with what a later run needs to compare its own request with."""
        requested = self.processing.settings.contrast_limits
        guides = guides_identity(self.processing.extras.guides)
        return with_request(record, requested, guides, self.job.source)

    def _middle_plane(self, result: str) -> tuple[AnyArray, dict[str, None]]:
        notes = dict.fromkeys(self.image.notes)
        if not self.image.is_stack:
            return self.image.array, notes
        index = tuple(length // 2 for length in self._leading)
        notes[f"The {result} shows plane {', '.join(map(str, index))} of the stack."] = None
        return self.image.array[index], notes

    def _output(
        self, rgb: AnyArray, metadata: Metadata, provenance: Record, notes: tuple[str, ...]
    ) -> Output:
        """A result that is not yet written."""
        target = self._target(rgb.dtype, has_alpha=rgb.shape[-1] == 4)

        def write() -> None:
            with warnings_suppressed():  # dropped metadata are reported by the batch
                write_image(target, rgb, metadata, provenance, overwrite=self.processing.overwrite)

        return Output(target, notes, dropped(target, metadata, provenance), write)

    def _target(self, dtype: np.dtype[Any], *, has_alpha: bool) -> Path:
        suffix = own_suffix(self.job.source).lower()
        return self.job.target(suggest_suffix(suffix, dtype, has_alpha, self.image.is_stack))

    def _pixels(self, colorized: Colorized) -> AnyArray:
        """Colors as a file should store them.

        Integers lie between the contrast limits. Limits that the user or the file has chosen are
        stretched to the full range, because other programs do not know them.
        """
        rgb = np.asarray(colorized.rgb)
        if not self._fills_range:
            return rgb
        colors = fill_range(rgb[..., :3], self._range.limits)
        alpha = fill_range(rgb[..., 3:], (0, np.iinfo(rgb.dtype).max))
        return np.concatenate([colors, alpha], axis=-1) if alpha.size else colors

    @property
    def _stack_dtype(self) -> np.dtype[Any]:
        """Type of a colorized stack, which decides about its format before the first plane."""
        dtype = self.image.array.dtype
        if dtype.kind == "b":
            return np.dtype(np.uint8)
        if self._fills_range:
            return np.dtype(np.uint8 if dtype == np.uint8 else np.uint16)
        return dtype

    @property
    def _fills_range(self) -> bool:
        is_exact = self.processing.settings.fidelity == "exact"
        return self._range.is_window and self.image.array.dtype.kind in "iu" and is_exact

    @cached_property
    def _range(self) -> IntensityRange:
        """Intensity range of the image, or of the whole stack."""
        from napari_colorize.imaging.planes import stack_range  # imports torch

        image, processing = self.image, self.processing
        asked = processing.colorizer.asked_range(processing.settings, image.declared_range)
        return stack_range(image.array, image.rgb, asked, image.declared_range)

    @property
    def _settings(self) -> dict[str, Any]:
        """Settings without contrast limits, which `_range` replaces."""
        return asdict(replace(self.processing.settings, contrast_limits=None))

    @property
    def _leading(self) -> tuple[int, ...]:
        """Lengths of the axes before Y and X; empty for a single image."""
        return self.image.array.shape[: -3 if self.image.rgb else -2]


def as_uint8(image: AnyArray, limits: Limits) -> UInt8Array:
    """Any image as uint8 for a contact sheet, without alpha."""
    channels = image[..., :3] if image.ndim == 3 else image
    if channels.dtype == np.uint8 and limits == (0, 255):
        return channels
    low, high = limits
    with np.errstate(invalid="ignore", over="ignore"):
        unit = (channels.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.rint(np.clip(np.nan_to_num(unit), 0, 1) * 255).astype(np.uint8)


def _sweep_record(
    provenance: Record, sweep: tuple[int, ...], intensity_range: IntensityRange
) -> Record:
    """Provenance of a contact sheet: that of one image, with all render factors."""
    settings = provenance.get("settings")
    if not isinstance(settings, dict):
        return provenance
    return {
        **provenance,
        "settings": {**settings, "render_factor": list(sweep)},
        "intensity_range": intensity_range.record,
    }
