"""Folders of numbered pictures, in and out."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from napari_colorize.batch.discovery import is_picture, own_suffix
from napari_colorize.errors import ImageError, OutputError
from napari_colorize.io.image_record import ImageRecord, Metadata
from napari_colorize.io.images import read_image, suggest_suffix, write_image
from napari_colorize.runtime.atomic import remove_abandoned, write_errors
from napari_colorize.video.frames import Frame, Pixels, Record, ResumePoint, SequenceInfo
from napari_colorize.video.intensity_range import limits_of
from napari_colorize.video.resume import ResumeState

PICTURES = "pictures"
OTHERS = "{} other pictures are left in {}: remove them if they were of another film."

Limits = tuple[float, float] | None


@dataclass
class FolderSource:
    """Pictures of a folder as frames; see `frame.Source`.

    Parameters
    ----------
    path : Path
        The folder.
    names : tuple of str
        Of its pictures, 2 before 10.
    first : Picture
        Which speaks for all: size and dtype are the same.
    rate : Fraction
        Pictures a second.
    """

    path: Path
    names: tuple[str, ...]
    first: ImageRecord
    rate: Fraction
    _limits: Limits = field(default=None, init=False)
    _notes: dict[str, None] = field(default_factory=dict, init=False)

    @classmethod
    def of(cls, path: Path, rate: Fraction) -> FolderSource:
        """Look at a folder and its first picture.

        Raises
        ------
        ImageError
            If there is no picture in it, or the first one cannot be read.
        """
        found = (each.name for each in path.iterdir() if is_picture(each.name))
        names = tuple(sorted(found, key=natural))
        if not names:
            raise ImageError(f"There are no pictures in {path}.")
        source = cls(path, names, read_image(path / names[0]), rate)
        arrays = (source._picture(name).array for name in names)
        source._limits = source.first.contrast_limits or limits_of(source.first.array.dtype, arrays)
        return source

    @property
    def info(self) -> SequenceInfo:
        """As the first picture is."""
        return SequenceInfo(
            path=self.path,
            size=self.first.array.shape[:2],
            dtype=self.first.array.dtype,
            rgb=self.first.rgb,
            time_base=1 / self.rate,
            leading=(len(self.names),),
            total=len(self.names),
            limits=self._limits,
            metadata=Metadata(axes="T"),
        )

    def identity(self) -> Record:
        """Names, sizes and dates of all pictures."""
        digest = hashlib.sha256()
        for name in self.names:
            status = (self.path / name).stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return {"folder": str(self.path.resolve()), "pictures": digest.hexdigest()}

    def notes(self) -> tuple[str, ...]:
        """What was said of its pictures."""
        return tuple(self._notes)

    def series(self, border: ResumePoint, run_in: int) -> Iterator[Iterator[Frame]]:
        """One: all pictures follow each other."""
        yield self._frames(max(0, border.done - run_in))

    def _frames(self, first: int) -> Iterator[Frame]:
        for place in range(first, len(self.names)):
            name = self.names[place]
            picture = self._picture(name)
            self._notes.update(dict.fromkeys(picture.notes))
            yield Frame(
                image=picture.array,
                place=place,
                time=place,
                duration=1,
                index=(place,),
                name=name,
                metadata=picture.metadata,
            )

    def _picture(self, name: str) -> ImageRecord:
        picture = self.first if name == self.names[0] else read_image(self.path / name)
        if picture.is_stack:
            raise ImageError(f"{name} holds several pictures: a folder of frames has one in each.")
        if (picture.array.dtype, picture.rgb) != (self.first.array.dtype, self.first.rgb):
            raise ImageError(
                f"{name} is not of the same kind as {self.names[0]}: frames are all gray or all in "
                "colour, and of one number type."
            )
        return picture


@dataclass
class FolderWriter:
    """Pictures of a folder as a sink; see `frame.Sink`.

    Parameters
    ----------
    target : Path
        The folder, which appears when all are done.
    ledger : Ledger
        Where they are until then.
    suffix : str
        Of pictures that have no name of their own.
    overwrite : bool
        Whether pictures of a folder that is there already may be replaced.
    """

    target: Path
    ledger: ResumeState
    suffix: str = ".png"
    overwrite: bool = False

    def write(self, frame: Frame, rgb: Pixels) -> None:
        """Write one picture."""
        metadata, record = frame.metadata or Metadata(), self.ledger.record
        path = self._folder / self._name(frame, rgb)
        write_image(path, rgb, metadata, record, overwrite=True)
        self.ledger.reach(frame)

    def pause(self) -> None:
        """Say in the ledger how many are there."""
        self.ledger.mark_reached()

    def finish(self, record: Record) -> tuple[str, ...]:
        """Give the folder its name, or bring the pictures into it."""
        self.pause()
        remove_abandoned(self._folder, age=0)
        with write_errors(self.target):
            if not self.target.exists():
                self.target.parent.mkdir(parents=True, exist_ok=True)
                self._folder.replace(self.target)
                others = 0
            else:
                ours = {picture.name for picture in self._folder.iterdir()}
                names = {each.name for each in self.target.iterdir() if is_picture(each.name)}
                others = len(names - ours)
                for name in sorted(ours):
                    (self._folder / name).replace(self._free(self.target / name))
        self.ledger.remove()
        return (OTHERS.format(others, self.target),) if others else ()

    @property
    def _folder(self) -> Path:
        return self.ledger.folder / PICTURES

    def _free(self, path: Path) -> Path:
        if not self.overwrite and os.path.lexists(path):
            raise OutputError(f"{path} exists. Replace it with --overwrite.")
        return path

    def _name(self, frame: Frame, rgb: Pixels) -> str:
        has_alpha = rgb.shape[-1] == 4
        if not frame.name:
            suffix = suggest_suffix(self.suffix, rgb.dtype, has_alpha, is_stack=False)
            return f"{frame.place:06d}{suffix}"
        own = own_suffix(frame.name)
        suffix = suggest_suffix(own.lower(), rgb.dtype, has_alpha, is_stack=False)
        return frame.name.removesuffix(own) + (own if suffix == own.lower() else suffix)


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """A key that sorts numbers in names by their value: 2 comes before 10."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdigit() else (1, part.lower()) for part in parts)
