"""What becomes what: films, folders of pictures and stacks, each into each where it makes sense."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from napari_colorize.errors import ImageError, OutputError, SettingsError
from napari_colorize.io.formats import DICOM_SUFFIXES, FORMATS, OME, TIFF, suffix_of
from napari_colorize.settings import ColorizeSettings
from napari_colorize.video.decoder import VideoSource, exact
from napari_colorize.video.encoder import VideoWriter
from napari_colorize.video.encoding import CONTAINERS, Encoding, encoding_for, encoding_like_source
from napari_colorize.video.folders import FolderSource, FolderWriter
from napari_colorize.video.frames import RUN_IN, FrameSink, FrameSource, Record
from napari_colorize.video.ome_zarr import (
    OME_SUFFIX,
    SUFFIX,
    ZarrWriter,
    is_zarr,
    leading_axes,
    open_zarr,
)
from napari_colorize.video.resume import ResumeState, work_folder
from napari_colorize.video.runner import Colored, run
from napari_colorize.video.stacks import StackSource, TiffWriter, open_stack
from napari_colorize.video.ycbcr import standard_format

Kind = Literal["film", "folder", "stack", "zarr"]
STACKS = frozenset(suffix for suffix, form in FORMATS.items() if form in (TIFF, OME))
RATE = Fraction(25)  # pictures a second, where they do not say


class Streams(Protocol):
    """What is needed of a `Colorizer`."""

    def stream(
        self, images: Iterable[Any], *, rgb: bool | None = None, **settings: Any
    ) -> Iterator[Colored]:
        """Colorize images in their order."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What can be chosen beside the settings of colours.

    Parameters
    ----------
    encoder : str, optional
        Of a film; FFmpeg's name.
    quality : float, optional
        On the encoder's own scale, smaller is better.
    rate : Fraction, optional
        Pictures a second of a film that is made of pictures.
    start, end : float, optional
        Seconds of a film that are wanted.
    overwrite : bool
        Whether a result may be replaced.
    """

    encoder: str | None = None
    quality: float | None = None
    rate: Fraction | None = None
    start: float | None = None
    end: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        start, end = self.start or 0, self.end
        if start < 0 or (end is not None and end <= start):
            until = "its end" if end is None else f"{end:g} s"
            raise SettingsError(
                f"A part of a film begins at 0 s or later and ends after that, got {start:g} s to "
                f"{until}."
            )
        if self.rate is not None and self.rate <= 0:
            raise SettingsError(f"The rate must be above 0 pictures a second, got {self.rate}.")

    @property
    def span(self) -> tuple[Fraction | None, Fraction | None]:
        """Start and end, exactly as they were written."""
        start = None if self.start is None else exact(self.start)
        return start, None if self.end is None else exact(self.end)


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """A piece of work, looked at and found possible.

    Parameters
    ----------
    source : Source
        Where frames come from.
    target : Path
        The result.
    kind : str
        Of the result.
    coding : Coding, optional
        If that is a film.
    wishes : Wishes
        As given.
    """

    source: FrameSource
    target: Path
    kind: Kind
    coding: Encoding | None = None
    wishes: ExportOptions = field(default_factory=ExportOptions)

    def work(
        self,
        colorizer: Streams,
        settings: ColorizeSettings,
        identity: Record,
        **guides: Any,
    ) -> VideoJob:
        """Open the ledger and begin.

        Parameters
        ----------
        colorizer : Colorizer
            The model.
        settings : ColorizeSettings
            Of the colours.
        identity : dict
            What tells model and guides from others: work goes on only with the same.
        **guides
            For `Colorizer.stream` beside settings: guides, a second model.
        """
        run_in = RUN_IN if getattr(settings, "temporal_smoothing", 0) > 0 else 0
        facts = self.source.info
        limits = settings.contrast_limits or facts.limits
        given = {**asdict(settings), "contrast_limits": limits, **guides}
        whole = {**self.source.identity(), **identity, "settings": asdict(settings), **self._form()}
        ledger = ResumeState.open(
            self.target, whole, run_in=run_in, overwrite=self.wishes.overwrite
        )
        steps = run(
            self.source,
            self._sink(ledger, settings),
            partial(colorizer.stream, rgb=facts.rgb, **given),
            ledger,
            run_in=run_in,
            limits=limits if self._fills_range(settings) else None,
        )
        return VideoJob(steps, self.source, ledger, ledger.border.done)

    def _form(self) -> Record:
        if self.coding is None:
            return {"kind": self.kind}
        return {"kind": self.kind, **self.coding.identity}

    def _fills_range(self, settings: ColorizeSettings) -> bool:
        """Whether values between limits become those between black and white."""
        is_meant_for_eyes = settings.contrast_limits is not None or self.kind in ("film", "folder")
        return settings.fidelity == "exact" and is_meant_for_eyes

    def _sink(self, ledger: ResumeState, settings: ColorizeSettings) -> FrameSink:
        source, overwrite = self.source, self.wishes.overwrite
        facts = source.info
        if self.kind == "folder":
            return FolderWriter(self.target, ledger, overwrite=overwrite)
        if self.kind == "stack":
            return TiffWriter(self.target, ledger, facts.metadata, facts.leading, overwrite)
        if self.kind == "zarr":
            return ZarrWriter(
                self.target,
                ledger,
                facts.metadata,
                facts.leading,
                expected=facts.total,
                version=_version(source, self.target),
                overwrite=overwrite,
            )
        assert self.coding is not None
        plain = settings.gamma == 1 and settings.contrast_limits is None
        return VideoWriter(
            self.target,
            self.coding,
            ledger,
            film=source.film if isinstance(source, VideoSource) else None,
            span=self.wishes.span,
            keeps_luma=plain and facts.limits is None and settings.fidelity == "exact",
            overwrite=overwrite,
        )


@dataclass
class VideoJob:
    """Work under way: an iterator of how many frames are done.

    Parameters
    ----------
    steps : generator
        From `work.work`.
    source : Source
        Whose notes are told.
    ledger : Ledger
        What is done.
    before : int
        Frames that a former run did.
    notes : tuple of str
        What is to be said of the result; there when the iterator has ended.
    """

    steps: Generator[int, None, tuple[str, ...]]
    source: FrameSource
    ledger: ResumeState
    before: int = 0
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[int]:
        try:
            self.notes = yield from self.steps
        except Exception:
            if not self.ledger.border.done:
                self.ledger.remove()
            raise

    def close(self) -> None:
        """Stop; what is done stays."""
        self.steps.close()


def plan_video(
    given: str | os.PathLike[str], out: str | os.PathLike[str], wishes: ExportOptions
) -> VideoPlan:
    """Look at source and target, and refuse what makes no sense before anything is done.

    Parameters
    ----------
    given : path
        A film, a folder of numbered pictures, a TIFF or DICOM stack, or a zarr.
    out : path
        What to write; its suffix tells the kind, none is a folder.
    wishes : Wishes
        What else is wanted.

    Raises
    ------
    ImageError, OutputError, SettingsError
        In one sentence.
    """
    path, target = Path(given), Path(out)
    is_folder = os.fspath(out).endswith(("/", os.sep))
    kind: Kind = "folder" if is_folder else result_kind(target)
    _refuse_taken(target, kind, wishes)
    if os.path.realpath(path) in (os.path.realpath(target), os.path.realpath(work_folder(target))):
        raise OutputError(f"{target} is the input itself. Choose another name.")
    _refuse_useless(sequence_kind(path), kind, wishes)
    source = _source(path, wishes)
    axes = 1 if source.info.leading is None else len(source.info.leading)
    if kind in ("film", "folder") and axes > 1:
        raise OutputError(
            f"{path.name} has {axes} axes before height and width, which a {kind} cannot hold: "
            "choose a name that ends in .tif or .zarr."
        )
    if kind == "zarr":
        leading_axes(source.info.metadata.axes, axes, is_ome=bool(_version(source, target)))
    coding = _coding(source, target, wishes) if kind == "film" else None
    return VideoPlan(source=source, target=target, kind=kind, coding=coding, wishes=wishes)


def sequence_kind(path: Path) -> Kind:
    """What an input is.

    Raises
    ------
    ImageError
        If there is no such file.
    """
    if not path.exists():
        raise ImageError(f"There is no file or folder named {path}.")
    if path.is_dir():
        return "zarr" if is_zarr(path) else "folder"
    return "stack" if suffix_of(path) in STACKS | DICOM_SUFFIXES else "film"


def result_kind(path: Path) -> Kind:
    """What a name of a result asks for.

    Raises
    ------
    OutputError
        If it is none that we write.
    """
    suffix = suffix_of(path)
    if suffix in CONTAINERS:
        return "film"
    if suffix in STACKS:
        return "stack"
    if suffix == SUFFIX:
        return "zarr"
    if not suffix or path.is_dir():
        return "folder"
    raise OutputError(
        f"{path.name}: nothing is written as {suffix}. Choose {', '.join(CONTAINERS)} for a film, "
        ".tif, .ome.tif, .zarr or .ome.zarr for a stack, or a name without a suffix for a folder "
        "of pictures."
    )


def _refuse_taken(target: Path, kind: Kind, wishes: ExportOptions) -> None:
    if kind == "folder":
        if target.exists() and not target.is_dir():
            raise OutputError(f"{target} is a file, not a folder.")
        if target.is_dir() and any(target.iterdir()) and not wishes.overwrite:
            raise OutputError(
                f"{target} is a folder with something in it. Replace pictures of the same names "
                "with --overwrite, or choose another name."
            )
        return
    if kind == "zarr" and os.path.lexists(target) and not is_zarr(target):
        raise OutputError(f"{target} exists and is no zarr. Choose another name.")
    if kind != "zarr" and target.is_dir():
        raise OutputError(f"{target} is a folder. Give the name of a file to write.")
    if os.path.lexists(target) and not wishes.overwrite:
        raise OutputError(f"{target} exists. Replace it with --overwrite, or choose another name.")


def _refuse_useless(given: Kind, kind: Kind, wishes: ExportOptions) -> None:
    """An option that would do nothing is a mistake that someone should hear of."""
    if given != "film" and (wishes.start is not None or wishes.end is not None):
        raise SettingsError(f"--start and --end are seconds of a film, but IN is a {given}.")
    if kind != "film" and (wishes.encoder is not None or wishes.quality is not None):
        raise SettingsError(f"--codec and --quality are for films, but OUT is a {kind}.")
    if wishes.rate is not None and (given == "film" or kind != "film"):
        raise SettingsError(
            "--rate says how many pictures a second a film has that is made of pictures, but "
            f"IN is a {given} and OUT a {kind}."
        )


def _source(path: Path, wishes: ExportOptions) -> FrameSource:
    rate = wishes.rate or RATE
    match sequence_kind(path):
        case "film":
            return VideoSource.of(path, start=wishes.start, end=wishes.end)
        case "folder":
            return FolderSource.of(path, rate)
        case "zarr":
            return open_zarr(path, rate)
        case "stack":
            return open_stack(path, rate)


def _coding(source: FrameSource, target: Path, wishes: ExportOptions) -> Encoding:
    suffix = target.suffix.lower()
    if isinstance(source, VideoSource):
        return encoding_like_source(
            source.film, suffix, encoder=wishes.encoder, quality=wishes.quality
        )
    facts = source.info
    height, width = facts.size
    depth = 10 if facts.dtype == np.uint16 else 8
    return encoding_for(
        suffix,
        height=height,
        width=width,
        time_base=facts.time_base,
        rate=1 / facts.time_base,
        tones=standard_format(height, width, depth),
        encoder=wishes.encoder,
        quality=wishes.quality,
    )


def _version(source: FrameSource, target: Path) -> str | None:
    """Of the OME-Zarr that is written: the source's own, if it is one; None for a plain array."""
    own = source.version if isinstance(source, StackSource) else None
    if own is not None or target.name.lower().endswith(OME_SUFFIX):
        return own or "0.5"
    return None
