"""Plan and run a conversion between videos, folders of images and stacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_colorize import provenance
from napari_colorize.errors import OutputError, SettingsError
from napari_colorize.imaging.intensity_range import IntensityRange, dtype_limits
from napari_colorize.io.file_names import is_image_name, not_found
from napari_colorize.io.formats import DICOM_SUFFIXES, FORMATS, OME, TIFF, suffix_of
from napari_colorize.io.images import read_provenance
from napari_colorize.runtime.claims import Claims
from napari_colorize.settings import ColorizeSettings, RangeRule
from napari_colorize.video.decoder import VideoSource, exact_seconds
from napari_colorize.video.encoder import VideoWriter
from napari_colorize.video.encoder_options import CONTAINERS, Encoding, encoding_for
from napari_colorize.video.folders import FolderSource, FolderWriter, holds_dicom
from napari_colorize.video.frames import WARM_UP_FRAMES, FrameSink, FrameSource, Record
from napari_colorize.video.intensity_range import sequence_range
from napari_colorize.video.ome_zarr import (
    OME_SUFFIX,
    SUFFIX,
    ZarrWriter,
    is_zarr,
    leading_axes,
    open_zarr,
    read_zarr_record,
)
from napari_colorize.video.probe import image_format, open_container
from napari_colorize.video.resume import ResumeState, work_folder
from napari_colorize.video.runner import run
from napari_colorize.video.stacks import FRAME_RATE, StackFileWriter, StackSource, open_stack

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer

Kind = Literal["video", "folder", "stack", "zarr"]
STACKS = frozenset(suffix for suffix, form in FORMATS.items() if form in (TIFF, OME))
VIDEO_SMOOTHING = 0.85  # see docs/how-to/stacks-and-video.md


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export other than color settings."""

    encoder: str | None = None  # FFmpeg's name of the video encoder
    quality: float | None = None  # on the encoder's own scale; smaller is better
    rate: Fraction | None = None  # frames per second of a video that is made of images
    # Part of the input video in seconds
    start: float | None = None
    end: float | None = None
    overwrite: bool = False  # an existing result may be replaced

    def __post_init__(self) -> None:
        start, end = self.start or 0, self.end
        if start < 0 or (end is not None and end <= start):
            until = "its end" if end is None else f"{end:g} s"
            raise SettingsError(
                f"A part of a video starts at 0 s or later and ends after its start, got {start:g} "
                f"s to {until}."
            )
        if self.rate is not None and self.rate <= 0:
            raise SettingsError(f"The rate must be above 0 frames per second, got {self.rate}.")

    @property
    def span(self) -> tuple[Fraction | None, Fraction | None]:
        """Start and end as exact fractions of a second."""
        start = None if self.start is None else exact_seconds(self.start)
        return start, None if self.end is None else exact_seconds(self.end)


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """A conversion that was checked and can be run."""

    source: FrameSource
    target: Path
    kind: Kind  # of the result
    encoding: Encoding | None = None  # how the result is encoded, if it is a video
    options: ExportOptions = field(default_factory=ExportOptions)

    def run(
        self,
        colorizer: Colorizer,
        settings: ColorizeSettings,
        identity: Record,
        *,
        trained_rule: RangeRule | None = None,
        **guides: Any,
    ) -> VideoJob:
        """Open or resume the work folder, and return the job that colorizes the frames.

        `identity` describes model and guides; an earlier run is resumed only if it is equal.
        `trained_rule` is the rule for the intensity range that the checkpoint recommends, used if
        the settings have no contrast limits and the source declares no range. `guides` are further
        arguments of `Colorizer.stream`: guides, a second model.

        Raises
        ------
        OutputError
            If another process is writing the result, or it cannot be written.
        """
        claims = Claims()
        if not claims.take(self.target):
            raise OutputError(
                f"{self.target} is being written by another process. Wait until that has ended, or "
                "choose another name."
            )
        with ExitStack() as on_error:
            on_error.callback(claims.release_all)
            job = self._job(colorizer, settings, identity, trained_rule, guides, claims)
            on_error.pop_all()
        return job

    def _job(
        self,
        colorizer: Colorizer,
        settings: ColorizeSettings,
        identity: Record,
        trained_rule: RangeRule | None,
        guides: dict[str, Any],
        claims: Claims,
    ) -> VideoJob:
        warm_up = WARM_UP_FRAMES if settings.temporal_smoothing > 0 else 0
        info = self.source.info
        recommended = trained_rule if info.declared_range is None else None
        found = sequence_range(self.source, settings.contrast_limits or recommended)
        arguments = {
            **asdict(settings),
            "contrast_limits": None,
            "declared_range": replace(found, note=None),
            **guides,
        }
        # Everything that changes a pixel or its encoding belongs to the identity: frames of two
        # different runs must not end in one result.
        state = ResumeState.open(
            self.target,
            {**self.source.identity(), **identity, "settings": asdict(settings), **self._format()},
            warm_up=warm_up,
            overwrite=self.options.overwrite,
        )
        steps = run(
            self.source,
            self._sink(state, settings, found),
            partial(colorizer.stream, rgb=info.rgb, **arguments),
            state,
            warm_up=warm_up,
            limits=found.limits if self._fills_range(settings, found) else None,
        )
        notes = (found.note,) if found.note else ()
        if found.is_window and info.dtype.kind in "iu" and self._fills_range(settings, found):
            notes = (found.stretched_note,)
        return VideoJob(steps, self.source, state, claims, state.resume_point.done, notes)

    def _format(self) -> Record:
        if self.encoding is None:
            return {"kind": self.kind}
        return {"kind": self.kind, **self.encoding.identity}

    def _fills_range(self, settings: ColorizeSettings, found: IntensityRange) -> bool:
        """Whether integers between the contrast limits are stretched to black and white.

        A video has no scale of its own, and images hold 8 or 16 bits. Otherwise values keep the
        scale of the input, unless the user or the file has chosen a window.
        """
        dtype = self.source.info.dtype
        keeps_scale = (
            self.kind in ("stack", "zarr")
            or (self.kind == "folder" and dtype == np.uint16)
            or found.limits == dtype_limits(dtype)
        )
        return settings.fidelity == "exact" and (found.is_window or not keeps_scale)

    def _sink(
        self, state: ResumeState, settings: ColorizeSettings, found: IntensityRange
    ) -> FrameSink:
        source, overwrite = self.source, self.options.overwrite
        info = source.info
        if self.kind == "folder":
            return FolderWriter(self.target, state, overwrite=overwrite)
        if self.kind == "stack":
            return StackFileWriter(self.target, state, info.metadata, info.leading, overwrite)
        if self.kind == "zarr":
            return ZarrWriter(
                self.target,
                state,
                info.metadata,
                info.leading,
                expected=info.total,
                version=_ome_zarr_version(source, self.target),
                overwrite=overwrite,
            )
        assert self.encoding is not None
        # The video's own luma can be copied, bit for bit, only if gray values are not changed.
        keeps_gray = settings.gamma == 1 and found.limits == dtype_limits(info.dtype)
        return VideoWriter(
            self.target,
            self.encoding,
            state,
            video=source.video if isinstance(source, VideoSource) else None,
            span=self.options.span,
            keeps_luma=keeps_gray and settings.fidelity == "exact",
            overwrite=overwrite,
        )


@dataclass
class VideoJob:
    """A running conversion: iterate to run it; yields the number of finished frames."""

    steps: Generator[int, None, tuple[str, ...]]  # see `runner.run`
    source: FrameSource  # the input; its notes are complete when the iteration has ended
    state: ResumeState
    claims: Claims  # of the result, released at the end
    resumed_frames: int = 0  # frames that an earlier run finished
    notes: tuple[str, ...] = ()  # notes about the result; complete when the iteration has ended

    def __iter__(self) -> Iterator[int]:
        try:
            self.notes += yield from self.steps
        except Exception:
            # Nothing to resume. Ctrl-C is no `Exception`: it keeps the folder even then.
            if not self.state.resume_point.done:
                self.state.remove()
            raise
        finally:
            self.claims.release_all()

    def close(self) -> None:
        """Stop the job; finished frames are kept."""
        self.steps.close()
        self.claims.release_all()


def plan_video(
    input_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: ExportOptions,
    *,
    planned: Callable[[], Record] | None = None,
) -> VideoPlan:
    """Check input and output of a conversion before any work is done.

    The input is a video, a folder of numbered images, a TIFF or DICOM stack, or a zarr. The suffix
    of the result selects its kind; a name without suffix is a folder. `planned` returns the record
    of the result, with which the record of an existing result is compared.

    Raises
    ------
    ImageError, OutputError, SettingsError
        If the conversion is not possible.
    """
    # Checks that read no file come first, then the source is opened, then an encoder is tried.
    for name, value in (("IN", input_path), ("OUT", out)):
        if not os.fspath(value).strip():  # an unset shell variable
            raise SettingsError(f"{name} is empty: name a file or a folder.")
    path, target = Path(input_path), Path(out)
    is_folder = os.fspath(out).endswith(("/", os.sep))
    kind: Kind = "folder" if is_folder else result_kind(target)
    _refuse_existing(path, target, kind, options, planned)
    if os.path.realpath(path) in (os.path.realpath(target), os.path.realpath(work_folder(target))):
        raise OutputError(f"{target} is the input itself. Choose another name.")
    _refuse_unused_options(sequence_kind(path), kind, options)
    source = _source(path, options)
    axes = 1 if source.info.leading is None else len(source.info.leading)
    if kind in ("video", "folder") and axes > 1:
        raise OutputError(
            f"{path.name} has {axes} axes before height and width, which a {kind} cannot store: "
            "choose a name with the suffix .tif or .zarr."
        )
    if kind == "zarr":
        leading_axes(
            source.info.metadata.axes, axes, is_ome=bool(_ome_zarr_version(source, target))
        )
    encoding = _encoding(source, target, options) if kind == "video" else None
    return VideoPlan(source=source, target=target, kind=kind, encoding=encoding, options=options)


def default_temporal_smoothing(path: Path) -> float:
    """Temporal smoothing of an input if the user has chosen none.

    Videos and folders of frames are smoothed. A stack is not, because its first axis may be depth
    or channel, and because napari, Jupyter and Python do not smooth it either. The commands `image`
    and `video` both use this rule, so they give equal results for the same stack. A folder of DICOM
    files is a stack of slices.

    Raises
    ------
    ImageError
        If the file or folder does not exist.
    """
    kind = sequence_kind(path)
    if kind == "video" or (kind == "folder" and not holds_dicom(path)):
        return VIDEO_SMOOTHING
    return ColorizeSettings().temporal_smoothing


def sequence_kind(path: Path) -> Kind:
    """Kind of an input.

    Raises
    ------
    ImageError
        If the file or folder does not exist.
    """
    if not path.exists():
        raise not_found(path)
    if path.is_dir():
        return "zarr" if is_zarr(path) else "folder"
    return "stack" if suffix_of(path) in STACKS | DICOM_SUFFIXES else "video"


def result_kind(path: Path) -> Kind:
    """Kind of a result, from the suffix of its name.

    Raises
    ------
    OutputError
        If the suffix is not supported.
    """
    suffix = suffix_of(path)
    if suffix in CONTAINERS:
        return "video"
    if suffix in STACKS:
        return "stack"
    if suffix == SUFFIX:
        return "zarr"
    if not suffix or path.is_dir():
        return "folder"
    raise OutputError(
        f"{path.name}: {suffix} files cannot be written. Choose {', '.join(CONTAINERS)} for a "
        "video, .tif, .ome.tif, .zarr or .ome.zarr for a stack, or a name without a suffix for a "
        "folder of images."
    )


def _refuse_existing(
    path: Path,
    target: Path,
    kind: Kind,
    options: ExportOptions,
    planned: Callable[[], Record] | None,
) -> None:
    """Raise OutputError if the target exists and may not be replaced; it says how it was made."""
    if kind == "folder":
        if target.exists() and not target.is_dir():
            raise OutputError(f"{target} is a file, not a folder.")
        if target.is_dir() and any(target.iterdir()) and not options.overwrite:
            raise OutputError(
                f"{target} is a folder that is not empty{_how_made(path, target, kind, planned)}. "
                "Replace images with the same names with --overwrite, or choose another name."
            )
        return
    if kind == "zarr" and os.path.lexists(target) and not is_zarr(target):
        raise OutputError(f"{target} exists and is no zarr. Choose another name.")
    if kind != "zarr" and target.is_dir():
        raise OutputError(f"{target} is a folder. Give the name of a file to write.")
    if os.path.lexists(target) and not options.overwrite:
        raise OutputError(
            f"{target} exists{_how_made(path, target, kind, planned)}. Replace it with "
            "--overwrite, or choose another name."
        )


def _how_made(path: Path, target: Path, kind: Kind, planned: Callable[[], Record] | None) -> str:
    record = None if planned is None else planned()
    how = provenance.how_made(target, record, partial(read_sequence_record, kind=kind))
    # The times of folders say nothing about the files in them.
    if path.is_file() and target.is_file() and provenance.is_older(target, path):
        return f"{',' if how else ' and'} is older than its input{how}"
    return how


def read_sequence_record(path: Path, *, kind: Kind) -> Record | None:
    """Read the provenance record of a video, a folder of images, a stack or a zarr, if any."""
    if kind == "video":
        with open_container(path) as container:
            texts = container.metadata.values()
            return next(filter(None, map(provenance.from_text, texts)), None)
    if kind == "zarr":
        return read_zarr_record(path)
    if kind == "stack":
        return read_provenance(path)
    images = sorted(each for each in path.iterdir() if is_image_name(each.name))
    return next(filter(None, map(read_provenance, images[:1])), None)


def _refuse_unused_options(input_kind: Kind, kind: Kind, options: ExportOptions) -> None:
    """Raise SettingsError for options that would have no effect."""
    if input_kind != "video" and (options.start is not None or options.end is not None):
        raise SettingsError(
            f"--start and --end select a part of a video, but IN is a {input_kind}."
        )
    if kind != "video" and (options.encoder is not None or options.quality is not None):
        raise SettingsError(f"--codec and --quality apply to videos, but OUT is a {kind}.")
    if options.rate is not None and (input_kind == "video" or kind != "video"):
        raise SettingsError(
            "--rate sets the frame rate of a video that is made of images, but IN is a "
            f"{input_kind} and OUT a {kind}."
        )


def _source(path: Path, options: ExportOptions) -> FrameSource:
    rate = options.rate or FRAME_RATE
    match sequence_kind(path):
        case "video":
            return VideoSource.of(path, start=options.start, end=options.end)
        case "folder":
            return FolderSource.of(path, rate)
        case "zarr":
            return open_zarr(path, rate)
        case "stack":
            return open_stack(path, rate)


def _encoding(source: FrameSource, target: Path, options: ExportOptions) -> Encoding:
    info = source.info
    form = (
        source.video
        if isinstance(source, VideoSource)
        else image_format(info.size, 1 / info.time_base, 10 if info.dtype == np.uint16 else 8)
    )
    suffix = target.suffix.lower()
    return encoding_for(form, suffix, encoder=options.encoder, quality=options.quality)


def _ome_zarr_version(source: FrameSource, target: Path) -> str | None:
    """OME-Zarr version of the result: the source's own or 0.5; None for a plain zarr array."""
    own = source.version if isinstance(source, StackSource) else None
    if own is not None or target.name.lower().endswith(OME_SUFFIX):
        return own or "0.5"
    return None
