"""Folders of numbered images as a source and as a sink."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError, OutputError, warnings_suppressed
from napari_colorize.imaging.intensity_range import IntensityRange, joined_range
from napari_colorize.io.dicom import in_series_order, starts_as_dicom
from napari_colorize.io.dicom_gray import WITHOUT_PADDING
from napari_colorize.io.file_names import (
    has_result_name,
    ignored_results,
    is_dicomdir,
    is_image,
    is_image_name,
    left_out_notes,
    natural_key,
    own_stem,
    own_suffix,
    stems_and_names,
)
from napari_colorize.io.formats import suffix_of
from napari_colorize.io.headers import read_header
from napari_colorize.io.image_record import ImageRecord, Metadata
from napari_colorize.io.images import read_image, suggest_suffix, write_image
from napari_colorize.io.text_metadata import Dropped, dropped, dropped_sentence
from napari_colorize.runtime.atomic import remove_abandoned, write_errors
from napari_colorize.video.frames import Frame, Record, ResumePoint, SequenceInfo
from napari_colorize.video.resume import FRAMES_FOLDER, ResumeState, file_state
from napari_colorize.video.runner import NoteCounter

OTHERS = "{} other images remain in {}: remove them if they belong to another sequence."


def holds_dicom(folder: Path) -> bool:
    """Whether a file of a folder is DICOM."""
    return any(
        is_image(path) and starts_as_dicom(path) for path in folder.iterdir() if path.is_file()
    )


@dataclass
class FolderSource:
    """Images of a folder as frames; see `frames.FrameSource`."""

    path: Path
    names: tuple[str, ...]  # natural order (2 before 10); DICOM: of the series
    first: ImageRecord  # the first image; all others have its size and dtype
    rate: Fraction  # images per second
    declared: IntensityRange | None = None  # of the first image, or of the pixels of all
    left_out: tuple[str, ...] = ()  # notes about files that are no frames
    _notes: NoteCounter = field(default_factory=NoteCounter, init=False)

    @classmethod
    def of(cls, path: Path, rate: Fraction) -> FolderSource:
        """Open a folder and read its first image.

        Raises
        ------
        ImageError
            If the folder contains no image, the first one cannot be read, or others differ from it.
        """
        files = [each for each in path.iterdir() if not each.is_dir()]
        found = [each for each in files if is_image(each)]
        others = (
            each.name for each in sorted(set(files).difference(found)) if not is_dicomdir(each)
        )
        left_out = left_out_notes(suffix_of(name) for name in others if not name.startswith("."))
        names_of_inputs = stems_and_names(found)
        inputs = [each for each in found if not has_result_name(each, names_of_inputs)]
        results = len(found) - len(inputs)
        if results:
            left_out += (f"{ignored_results(results)}.",)
        inputs.sort(key=lambda each: natural_key(each.name))
        names = tuple(each.name for each in in_series_order(inputs))
        if not names:
            raise ImageError(" ".join([f"There are no images in {path}.", *left_out]))
        source = cls(path, names, read_image(path / names[0]), rate)
        source._check_frames()
        declared = source.first.declared_range
        if declared is not None and declared.source == WITHOUT_PADDING:
            records = (source._read(name) for name in names)
            declared = joined_range(
                [record.declared_range for record in records if record.declared_range is not None]
            )
        return replace(source, declared=declared, left_out=left_out)

    @property
    def info(self) -> SequenceInfo:
        """Properties of the first image, for all of them."""
        return SequenceInfo(
            path=self.path,
            size=self.first.array.shape[:2],
            dtype=self.first.array.dtype,
            rgb=self.first.rgb,
            time_base=1 / self.rate,
            leading=(len(self.names),),
            total=len(self.names),
            declared_range=self.declared,
            metadata=Metadata(axes="T"),
        )

    def identity(self) -> Record:
        """Names, sizes and dates of all files."""
        digest = hashlib.sha256()
        for name, result in zip(self.names, self._results, strict=True):
            digest.update(file_state(result, (self.path / name).stat()))
        return {"folder": str(self.path.resolve()), "images": digest.hexdigest()}

    def notes(self) -> tuple[str, ...]:
        """Notes about the images."""
        return (*self.left_out, *self._notes.sentences(len(self.names)))

    def series(self, resume_point: ResumePoint, warm_up: int) -> Iterator[Iterator[Frame]]:
        """A single series in the order of the names."""
        yield self._frames(max(0, resume_point.done - warm_up))

    @cached_property
    def _results(self) -> tuple[str, ...]:
        """Names of the results: those of the images, after a number if they give another order.

        Slices of a DICOM series may have any names, and `a.pgm` and `a.png` both become `a.png`.
        """
        stems = [own_stem(self.path / name) for name in self.names]
        keys = [natural_key(f"{stem}.") for stem in stems]
        if keys == sorted(keys) and len(set(stems)) == len(stems):
            return self.names
        return tuple(f"{number:06d}-{name}" for number, name in enumerate(self.names))

    def _frames(self, first: int) -> Iterator[Frame]:
        for position in range(first, len(self.names)):
            name = self.names[position]
            record = self._read(name)
            self._notes.add(record.notes)
            yield Frame(
                image=record.array,
                position=position,
                time=position,
                duration=1,
                index=(position,),
                name=self._results[position],
                metadata=record.metadata,
            )

    def _check_frames(self) -> None:
        """Raise ImageError if frames differ, before any work is done that would be lost.

        Only frames whose header differs from that of the first one are decoded.
        """
        first = read_header(self.path / self.names[0])
        for name in self.names:
            header = read_header(self.path / name)
            if header is None or header != first or self.first.is_stack:
                self._read(name)

    def _read(self, name: str) -> ImageRecord:
        record = self.first if name == self.names[0] else read_image(self.path / name)
        if record.is_stack:
            raise ImageError(f"{name} contains several images: each frame must be a single image.")
        size, first_size = record.array.shape[:2], self.first.array.shape[:2]
        if size != first_size:
            raise ImageError(
                f"{name} has {size[1]} x {size[0]} pixels, {self.names[0]} {first_size[1]} x "
                f"{first_size[0]}: all frames must have the same size."
            )
        if (record.array.dtype, record.rgb) != (self.first.array.dtype, self.first.rgb):
            raise ImageError(
                f"{name} and {self.names[0]} differ: frames must be all gray or all in color, and "
                "have the same dtype."
            )
        return record


@dataclass
class FolderWriter:
    """Images in a folder as a sink; see `frames.FrameSink`."""

    target: Path  # the folder, which appears when all images are complete
    state: ResumeState  # progress, and the folder of finished images
    suffix: str = ".png"  # for frames without a file name
    overwrite: bool = False  # images in an existing folder may be replaced
    _dropped: list[Dropped] = field(default_factory=list, init=False)

    def write(self, frame: Frame, rgb: AnyArray) -> None:
        """Write one image."""
        metadata, record = frame.metadata or Metadata(), self.state.record
        path = self._folder / self._name(frame, rgb)
        # An image of an interrupted run may be there already, if the state was not saved after it.
        with warnings_suppressed():  # dropped metadata are reported at the end
            write_image(path, rgb, metadata, record, overwrite=True)
        self._dropped.append(dropped(path, metadata, record))
        self.state.advance(frame)  # last: the state never counts an image that is not on the disk

    def pause(self) -> None:
        """Save the number of finished images."""
        self.state.save_progress()

    def finish(self, record: Record) -> tuple[str, ...]:
        """Rename the folder to its final name, or move the images into an existing folder."""
        self.pause()  # if a move below fails, the next run has no image left to colorize
        remove_abandoned(self._folder, age=0)
        with write_errors(self.target):
            if not self.target.exists():
                self.target.parent.mkdir(parents=True, exist_ok=True)
                self._folder.replace(self.target)
                others = 0
            else:
                ours = {path.name for path in self._folder.iterdir()}
                names = {each.name for each in self.target.iterdir() if is_image_name(each.name)}
                others = len(names - ours)
                # One by one, so that other files of the target stay; a crash leaves the rest here.
                for name in sorted(ours):
                    (self._folder / name).replace(self._refuse_existing(self.target / name))
        self.state.remove()
        notes = [OTHERS.format(others, self.target)] if others else []
        return (*notes, *filter(None, [dropped_sentence(self._dropped)]))

    @property
    def _folder(self) -> Path:
        return self.state.folder / FRAMES_FOLDER

    def _refuse_existing(self, path: Path) -> Path:
        if not self.overwrite and os.path.lexists(path):
            raise OutputError(f"{path} exists. Replace it with --overwrite.")
        return path

    def _name(self, frame: Frame, rgb: AnyArray) -> str:
        has_alpha = rgb.shape[-1] == 4
        if not frame.name:
            suffix = suggest_suffix(self.suffix, rgb.dtype, has_alpha, is_stack=False)
            return f"{frame.position:06d}{suffix}"
        own = own_suffix(frame.name)
        suffix = suggest_suffix(own.lower(), rgb.dtype, has_alpha, is_stack=False)
        return frame.name.removesuffix(own) + (own if suffix == own.lower() else suffix)
