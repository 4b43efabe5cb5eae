"""What is done to one picture: colours for it, for each plane of a stack, or a contact sheet."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_colorize.analysis.maps import MapKind, draw_map
from napari_colorize.batch.contact_sheet import contact_sheet, fit
from napari_colorize.batch.discovery import own_suffix
from napari_colorize.batch.naming import Job
from napari_colorize.errors import OutputError
from napari_colorize.io.formats import can_hold, format_of
from napari_colorize.io.images import (
    ImageRecord,
    Metadata,
    StackWriter,
    fill_range,
    suffix_of,
    suggest_suffix,
    write_image,
)
from napari_colorize.settings import ColorizeSettings

BEHIND = 2  # pictures, or planes of a stack, that may wait to be written
CELL = 480  # pixels of a picture's longer side on a contact sheet

TIFF = (".tif", ".tiff", ".btf")

Pixels = NDArray[Any]
Settings = dict[str, Any]
Record = dict[str, object]


@dataclass(frozen=True, eq=False)
class Extras:
    """What every picture is colorized with beside settings; only what there is is handed on."""

    guides: Any = None
    blend_with: Any = None
    time_axis: int | None = None

    def of_image(self) -> dict[str, Any]:
        """Keywords for one image."""
        given = {"guides": self.guides, "blend_with": self.blend_with}
        return {name: value for name, value in given.items() if value is not None}

    def of_stack(self) -> dict[str, Any]:
        """Keywords for a stack."""
        along = {} if self.time_axis is None else {"time_axis": self.time_axis}
        return {**self.of_image(), **along}


class Colored(Protocol):
    """What a task needs of a `Colorized`."""

    @property
    def rgb(self) -> Any:
        """(Y, X, 3 or 4) in the image's dtype."""

    @property
    def gray(self) -> Any:
        """(Y, X) in [0, 1]."""

    @property
    def provenance(self) -> Record:
        """How it was made."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know."""


class Colors(Protocol):
    """What a task needs of a `Colorizer`."""

    def __call__(self, image: Any, *, rgb: bool | None = None, **settings: Any) -> Colored:
        """Colorize one image."""

    def iter_planes(
        self, stack: Any, *, rgb: bool | None = None, **settings: Any
    ) -> Iterator[tuple[tuple[int, ...], Colored]]:
        """Colorize a stack plane by plane."""


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Output:
    """A result: its path, what is to be said about it, and when it was written completely."""

    path: Path
    notes: tuple[str, ...]
    finished: Future[float]


Steps = Generator[None, None, Output]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A decoded picture and what is wanted of it.

    Parameters
    ----------
    job : Job
        Its names.
    picture : Picture
        Its pixels.
    colorizer : Colorizer
        The network.
    settings : ColorizeSettings
        As chosen; if they have no limits, the picture's own (a DICOM window) are taken.
    sweep : tuple of int
        Render factors of a contact sheet. Empty: the picture itself is colorized.
    overwrite : bool
        Whether the result may replace a file.
    writer : Executor
        One thread that writes, in order.
    beside : Beside
        Guides, a second model, the axis of time.
    map : {"disagreement", "error", "uncolored"}, optional
        What is drawn instead of the colours.
    """

    job: Job
    picture: ImageRecord
    colorizer: Colors
    settings: ColorizeSettings
    sweep: tuple[int, ...]
    overwrite: bool
    writer: Executor
    extras: Extras = NO_EXTRAS
    map: MapKind | None = None

    @property
    def steps(self) -> int:
        """How often `run` stops on its way."""
        return len(self.sweep) or (1 if self.map else math.prod(self._leading))

    def run(self) -> Steps:
        """Do it; stops after each step and returns what was `Made`."""
        if self.sweep:
            return self._compare()
        if self.map is not None:
            return self._draw_map(self.map)
        return self._stack() if self.picture.is_stack else self._single()

    def _single(self) -> Steps:
        colored = self.colorizer(
            self.picture.array, rgb=self.picture.rgb, **self.extras.of_image(), **self._settings()
        )
        rgb = self._pixels(colored)
        yield
        notes = (*self.picture.notes, *colored.notes)
        return self._hand_over(rgb, self.picture.metadata, colored.provenance, notes)

    def _stack(self) -> Steps:
        """Planes go to the file one by one; an animation (`.webp`) is written as a whole."""
        planes = self.colorizer.iter_planes(
            self.picture.array, rgb=self.picture.rgb, **self.extras.of_stack(), **self._settings()
        )
        first = next(colored for _, colored in planes)
        notes = dict.fromkeys((*self.picture.notes, *first.notes))

        def pages() -> Iterator[Pixels]:
            yield page
            for _, colored in planes:
                notes.update(dict.fromkeys(colored.notes))
                yield self._pixels(colored)

        page = self._pixels(first)
        target = self._target(page)
        if suffix_of(target).endswith(TIFF):
            yield from self._stream(target, pages(), page, first.provenance)
            return Output(target, tuple(notes), self.writer.submit(perf_counter))
        _refuse_stack(target, page, len(self._leading))
        frames = []
        for frame in pages():
            frames.append(frame)
            yield
        stack = np.stack(frames).reshape(*self._leading, *frames[0].shape)
        return self._hand_over(stack, self.picture.metadata, first.provenance, tuple(notes))

    def _stream(
        self, target: Path, pages: Iterator[Pixels], like: Pixels, provenance: Record
    ) -> Iterator[None]:
        """Write page after page, a few behind the network."""
        with StackWriter(
            target,
            shape=(*self._leading, *like.shape),
            dtype=like.dtype,
            metadata=self.picture.metadata,
            provenance=provenance,
            overwrite=self.overwrite,
        ) as file:
            writing: deque[Future[None]] = deque()
            try:
                for page in pages:
                    writing.append(self.writer.submit(file.write, page))
                    yield
                    while len(writing) > BEHIND:
                        writing.popleft().result()
                while writing:
                    writing.popleft().result()
            finally:
                wait(writing)  # the file must not be closed under a page on its way

    def _compare(self) -> Steps:
        """A contact sheet of the picture, or of a stack's middle plane."""
        image, notes = self._middle("sheet")
        settings = self._settings()
        image = as_bytes(image, settings["contrast_limits"])
        pictures: list[NDArray[np.uint8]] = []
        for factor in self.sweep:
            now = {**settings, "contrast_limits": None, "render_factor": factor}
            colored = self.colorizer(image, rgb=self.picture.rgb, **self.extras.of_image(), **now)
            if not pictures:
                pictures.append(fit(as_bytes(np.asarray(colored.gray), (0, 1)), CELL))
            pictures.append(fit(np.asarray(colored.rgb), CELL))
            notes.update(dict.fromkeys(colored.notes))
            yield
        labels = ["gray", *(f"render factor {factor}" for factor in self.sweep)]
        sheet = contact_sheet(pictures, labels, cell=CELL)
        return self._hand_over(
            sheet,
            Metadata(icc=self.picture.metadata.icc),
            _of_several(colored.provenance, self.sweep),
            tuple(notes),
        )

    def _draw_map(self, kind: MapKind) -> Steps:
        """A map of the picture, or of a stack's middle plane."""
        image, notes = self._middle("map")
        drawn = draw_map(
            kind,
            self.colorizer,
            image,
            rgb=self.picture.rgb,
            extras=self.extras.of_image(),
            settings=self._settings(),
        )
        yield
        notes.update(dict.fromkeys(drawn.notes))
        return self._hand_over(drawn.pixels, Metadata(), drawn.provenance, tuple(notes))

    def _middle(self, what: str) -> tuple[Pixels, dict[str, None]]:
        notes = dict.fromkeys(self.picture.notes)
        if not self.picture.is_stack:
            return self.picture.array, notes
        index = tuple(length // 2 for length in self._leading)
        notes[f"The {what} shows plane {', '.join(map(str, index))} of the stack."] = None
        return self.picture.array[index], notes

    def _hand_over(
        self,
        rgb: Pixels,
        metadata: Metadata,
        provenance: Record,
        notes: tuple[str, ...],
    ) -> Output:
        """Let the writer write a result as soon as it can."""
        target = self._target(rgb)

        def write() -> float:
            write_image(target, rgb, metadata, provenance, overwrite=self.overwrite)
            return perf_counter()

        return Output(target, notes, self.writer.submit(write))

    def _target(self, rgb: Pixels) -> Path:
        suffix = suggest_suffix(
            own_suffix(self.job.source).lower(),
            rgb.dtype,
            rgb.shape[-1] == 4,
            self.picture.is_stack,
        )
        return self.job.target(suffix)

    def _pixels(self, colored: Colored) -> Pixels:
        """The colours as a file should hold them.

        Whole numbers lie between the contrast limits; explicit ones are spread to what other
        programs take for black and white.
        """
        rgb = np.asarray(colored.rgb)
        limits = self._settings()["contrast_limits"]
        is_whole = self.picture.array.dtype.kind in "iu" and self.settings.fidelity == "exact"
        if limits is None or not is_whole:
            return rgb
        colors = fill_range(rgb[..., :3], limits)
        alpha = fill_range(rgb[..., 3:], (0, np.iinfo(rgb.dtype).max))
        return np.concatenate([colors, alpha], axis=-1) if alpha.size else colors

    def _settings(self) -> Settings:
        chosen = asdict(self.settings)
        if chosen["contrast_limits"] is None:
            chosen["contrast_limits"] = self.picture.contrast_limits
        return chosen

    @property
    def _leading(self) -> tuple[int, ...]:
        """Lengths of the axes before Y and X; none for a single picture."""
        return self.picture.array.shape[: -3 if self.picture.rgb else -2]


def as_bytes(image: Pixels, limits: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Any image as 8-bit for a contact sheet, without alpha."""
    from napari_colorize.imaging.planes import default_limits  # torch is here by now

    channels = image[..., :3] if image.ndim == 3 else image
    if channels.dtype == np.uint8 and limits is None:
        return channels
    low, high = limits or default_limits(channels)[0]
    with np.errstate(invalid="ignore", over="ignore"):
        unit = (channels.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.rint(np.clip(np.nan_to_num(unit), 0, 1) * 255).astype(np.uint8)


def _refuse_stack(target: Path, page: Pixels, axes: int) -> None:
    """Say that a format cannot hold a stack before all of its planes are colorized."""
    into = format_of(target)
    if not can_hold(into, page.dtype, has_alpha=page.shape[-1] == 4, is_stack=True, axes=axes):
        raise OutputError(
            f"{target.name}: {into.name} cannot hold this stack of {page.dtype}. Choose .tif."
        )


def _of_several(provenance: Record, sweep: tuple[int, ...]) -> Record:
    """The record of a contact sheet: as of one picture, but with all render factors."""
    settings = provenance.get("settings")
    if not isinstance(settings, dict):
        return provenance
    return {**provenance, "settings": {**settings, "render_factor": list(sweep)}}
