"""Which picture becomes which file, decided before anything is decoded.

Names are given so that the same command, repeated, finds what it has written and goes on from
there, and so that no result is taken for a picture to colorize.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

from napari_colorize.batch.discovery import FoundFile, Search, is_folder, own_suffix
from napari_colorize.errors import ImageError, OutputError
from napari_colorize.io.formats import format_of, suggest_suffix

COLORIZED = "-colorized"
SWEEP = "-sweep"
DISAGREEMENT, ERROR, UNCOLORED = "-disagreement", "-error", "-uncolored"
# What is made of a picture other than the picture: in words that pictures may have in their names.
OTHERS = (SWEEP, DISAGREEMENT, ERROR, UNCOLORED)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture to colorize, and the name of its result.

    Parameters
    ----------
    source : Path
        The picture.
    folder : Path
        Where its result goes.
    stem : str
        Name of the result without suffix.
    other_stem : str
        The same for a result in another format than its source. It differs from `stem` where
        two inputs have the same name (`a.png`, `a.dcm`), so that both find a place.
    suffix : str or None
        Format of the result; None: the source's, or what can hold the result.
    """

    source: Path
    folder: Path
    stem: str
    other_stem: str
    suffix: str | None = None

    def target(self, suggested: str) -> Path:
        """Path of the result, of the suggested suffix unless one is fixed."""
        own = own_suffix(self.source)
        suffix = self.suffix or suggested
        if suffix.lower() != own.lower():
            return self.folder / (self.other_stem + suffix)
        return self.folder / (self.stem + (self.suffix or own))  # .TIF stays .TIF

    def result(self) -> Path | None:
        """The result of an earlier run, if there is one."""
        return next((path for path in self.possible_results() if os.path.lexists(path)), None)

    def possible_results(self) -> Iterator[Path]:
        """Every path that the result may get; which one, only the decoded picture can tell."""
        return map(self.target, possible_suffixes(own_suffix(self.source).lower()))


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What a command is going to do.

    Parameters
    ----------
    jobs : tuple of Job
        Pictures to colorize.
    kept : tuple of Job
        Pictures whose result is there already.
    results : int
        Results of earlier runs that were among the inputs.
    unread : tuple of str
        Sentences on folders that could not be listed.
    """

    jobs: tuple[Job, ...]
    kept: tuple[Job, ...] = ()
    results: int = 0
    unread: tuple[str, ...] = ()


def plan_batch(
    inputs: Sequence[str],
    out: str | None = None,
    *,
    ending: str = COLORIZED,
    overwrite: bool = False,
) -> BatchPlan:
    """Find the pictures and name their results.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders with all that is in them, and globs.
    out : str, optional
        A file for a single picture, else a folder, in which sub-folders are mirrored.
        Default: next to each picture, as `NAME-colorized`.
    ending : str
        One of `OTHERS` for results that are sheets or maps, such as `NAME-sweep.png`.
    overwrite : bool
        Make results again that are there. Otherwise they are kept, or refused if the one and
        only input is a file.

    Raises
    ------
    ImageError
        If an input is missing or there is no picture in any of them.
    OutputError
        If a result cannot go where it should, or would replace a picture.
    """
    search = Search(out)
    found = search.find(inputs)
    sources = _without_results(found)
    if not sources:
        raise ImageError(f"All {len(found)} pictures are results of earlier runs.")
    single = len(inputs) == 1 and sources[0].named
    jobs = _name_results(sources, out, single=single, ending=ending)
    _check_sources_stay(jobs)
    todo, kept = (jobs, []) if overwrite else _split(jobs)
    if single and not todo:
        raise OutputError(
            f"{jobs[0].result()} exists. Replace it with --overwrite or choose a place with -o."
        )
    _check_writable(todo)
    return BatchPlan(
        jobs=tuple(todo),
        kept=tuple(kept),
        results=len(found) - len(sources),
        unread=tuple(search.unread),
    )


def _split(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Those without a result and those with one, by one look at each folder of results."""
    there = {folder: _names_in(folder) for folder in {job.folder for job in jobs}}
    todo: list[Job] = []
    kept: list[Job] = []
    for job in jobs:
        names = (target.name for target in job.possible_results())
        (todo if there[job.folder].isdisjoint(names) else kept).append(job)
    return todo, kept


def _names_in(folder: Path) -> frozenset[str]:
    """Names of what lies in a folder, links that lead nowhere included; none if it is missing."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return frozenset()


def own_stem(path: Path) -> str:
    """A picture's name without its suffix."""
    return path.name.removesuffix(own_suffix(path))


@cache
def possible_suffixes(suffix: str) -> tuple[str, ...]:
    """Every format that a result may get; which one, only the decoded picture can tell."""
    kinds = product(("uint8", "uint16", "float32"), (False, True), (False, True))
    return tuple(dict.fromkeys(suggest_suffix(suffix, *kind) for kind in kinds))


def _without_results(found: Sequence[FoundFile]) -> list[FoundFile]:
    """Leave out what earlier runs wrote next to the pictures.

    Found in a folder, `NAME-colorized` is a result. A file that the user names, and `NAME-sweep`
    and the like (words that pictures have in their names), is one only if NAME is among the inputs.
    """
    names = {(source.path.parent, own_stem(source.path)) for source in found}
    names |= {(source.path.parent, source.path.name) for source in found}

    def is_result(source: FoundFile) -> bool:
        stem = own_stem(source.path)
        return (stem.endswith(COLORIZED) and not source.named) or any(
            stem.endswith(ending) and (source.path.parent, stem.removesuffix(ending)) in names
            for ending in (COLORIZED, *OTHERS)
        )

    return [source for source in found if not is_result(source)]


def _name_results(
    sources: Sequence[FoundFile], out: str | None, *, single: bool, ending: str
) -> list[Job]:
    if single and out is not None and is_file_name(out):
        return [_in_file(sources[0], Path(out))]
    if out is not None:
        _check_is_folder(out, len(sources))
    suffix = None if ending == COLORIZED else ".png"
    if ending == COLORIZED and out is not None:
        ending = ""
    jobs = [
        Job(
            source=source.path,
            folder=source.path.parent if out is None else out / source.place.parent,
            stem=own_stem(source.path) + ending,
            other_stem=own_stem(source.path) + ending,
            suffix=suffix,
        )
        for source in sources
    ]
    return _told_apart(jobs, ending)


def is_file_name(out: str) -> bool:
    """Whether `-o` names a picture, not a folder."""
    return bool(own_suffix(Path(out))) and not out.endswith(("/", os.sep)) and not is_folder(out)


def _in_file(source: FoundFile, file: Path) -> Job:
    format_of(file)  # refuses what cannot be written
    stem = own_stem(file)
    return Job(
        source=source.path,
        folder=file.parent,
        stem=stem,
        other_stem=stem,
        suffix=own_suffix(file),
    )


def _told_apart(jobs: Sequence[Job], ending: str) -> list[Job]:
    """Give pictures of one name the whole of it: `a.dcm` beside `a.png` becomes `a.dcm.tif`."""
    names = Counter((job.folder, job.stem) for job in jobs)
    apart = [
        replace(job, other_stem=job.source.name + ending)
        if names[job.folder, job.stem] > 1
        else job
        for job in jobs
    ]
    places: dict[Path, Path] = {}
    for job in apart:
        other = places.setdefault(job.target(own_suffix(job.source)), job.source)
        if other != job.source:
            raise OutputError(
                f"{other} and {job.source} would both become {job.target(own_suffix(job.source))}. "
                "Name the folder that holds both, or colorize them one after the other."
            )
    return apart


def _check_is_folder(out: str, pictures: int) -> None:
    if os.path.lexists(out) and not is_folder(out):
        raise OutputError(f"{out} is a file; give -o a folder for the results.")
    if pictures > 1 and is_file_name(out):
        raise OutputError(
            f"{out} names one file, but there are {pictures} pictures: give -o a folder."
        )


def _check_sources_stay(jobs: Sequence[Job]) -> None:
    """No result may take the place of a picture that is to be colorized, even with overwrite."""
    real = cache(os.path.realpath)  # of folders: the disk is asked once for each

    def identity(path: Path) -> str:
        folder, name = os.path.split(path)
        return os.path.realpath(path) if path.is_symlink() else str(Path(real(folder), name))

    sources = {identity(job.source) for job in jobs}
    for job in jobs:
        target = job.target(own_suffix(job.source))
        if identity(target) in sources:
            raise OutputError(
                f"{target} is an input and would be replaced by its result. Choose another place "
                "with -o, or leave -o away to write NAME-colorized next to each picture."
            )


def _check_writable(jobs: Sequence[Job]) -> None:
    for folder in dict.fromkeys(job.folder for job in jobs):
        nearest = next((up for up in (folder, *folder.parents) if os.path.lexists(up)), folder)
        try:
            # Asked by doing: permissions tell little on Windows and on network drives.
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            raise OutputError(
                f"{nearest} cannot be written to ({error.strerror}). Choose another place with -o."
            ) from None
