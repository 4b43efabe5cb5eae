"""Names of the results of a batch, decided before any image is decoded.

Names are chosen so that a repeated command finds its earlier results and continues, and so that no
result is used as an input.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product
from pathlib import Path

from napari_colorize.batch.discovery import FoundFile, Search, is_folder
from napari_colorize.batch.earlier_results import Record, compare_results, compare_times
from napari_colorize.errors import ImageError, OutputError
from napari_colorize.io.file_names import (
    COLORIZED,
    has_result_name,
    own_stem,
    own_suffix,
    stems_and_names,
)
from napari_colorize.io.formats import format_of, suffix_of, suggest_suffix, unknown_format
from napari_colorize.io.images import has_provenance, read_provenance
from napari_colorize.provenance import how_made, is_older, of_image


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image to colorize, and the name of its result.

    Parameters
    ----------
    source : Path
        The image file.
    folder : Path
        Folder of the result.
    stem : str
        Name of the result without suffix.
    other_stem : str
        The same for a result in another format than the source. It differs from `stem` if two
        inputs have the same stem (`a.png`, `a.dcm`), so that both results have unique names.
    suffix : str or None
        Format of the result; None: the source's, or one that can store the result.
    """

    source: Path
    folder: Path
    stem: str
    other_stem: str
    suffix: str | None = None

    def target(self, suggested: str) -> Path:
        """Path of the result with the suggested suffix, unless the job has a fixed one."""
        own = own_suffix(self.source)
        suffix = self.suffix or suggested
        if suffix.lower() != own.lower():
            return self.folder / (self.other_stem + suffix)
        return self.folder / (self.stem + (self.suffix or own))  # .TIF keeps its case

    @property
    def claim(self) -> Path:
        """Name by which processes claim the job; the suffix is not known before decoding."""
        return self.folder / f"{self.other_stem}.{self.source.name}"

    def result(self) -> Path | None:
        """The result of an earlier run, or None.

        A folder or a broken link at its place is none; writing reports it.
        """
        return next((path for path in self.possible_results() if _is_file(path)), None)

    def possible_results(self) -> Iterator[Path]:
        """Every path that the result may get, depending on the decoded image."""
        return map(self.target, possible_suffixes(own_suffix(self.source).lower()))


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """Jobs of a command.

    Parameters
    ----------
    jobs : tuple of Job
        Images to process.
    kept : tuple of Job
        Images whose result exists.
    results : int
        Number of inputs that are results of earlier runs and were left out.
    unread : tuple of str
        One sentence for each input that was not found and each folder that could not be listed.
    left_out : tuple of str
        One sentence about files in folders that are no images, or nothing.
    kept_notes : tuple of str
        One sentence for each way in which existing results differ from those of this run.
    kept_same : bool
        Whether all existing results were made with the settings of this run, from the images as
        they are now.
    """

    jobs: tuple[Job, ...]
    kept: tuple[Job, ...] = ()
    results: int = 0
    unread: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    kept_notes: tuple[str, ...] = ()
    kept_same: bool = False


def plan_batch(
    inputs: Sequence[str],
    out: str | None = None,
    *,
    ending: str = COLORIZED,
    overwrite: bool = False,
    planned: Callable[[], Record] | None = None,
) -> BatchPlan:
    """Find the images and name their results.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders with all subfolders, and glob patterns.
    out : str, optional
        A file for a single image, otherwise a folder that mirrors the subfolders.
        Default: next to each image, as `NAME-colorized`.
    ending : str
        One of `OTHER_RESULTS` for results that are sheets or maps, such as `NAME-sweep.png`.
    overwrite : bool
        Replace existing results. Otherwise they are kept, or refused if the only input is a file.
    planned : callable, optional
        Returns the record of results of this run, with which existing results are compared. Called
        only if there are some.

    Raises
    ------
    ImageError
        If an input does not exist, or none of them contains an image.
    OutputError
        If a result cannot be written, or would replace an input.
    """
    if out is not None and not out.strip():  # an unset shell variable
        raise OutputError('The name after -o is empty: name a file or a folder ("." for this one).')
    _check_working_folder(inputs if out is None else (*inputs, out))
    search = Search(out)
    found = search.find(inputs)
    sources = _without_results(found)
    if not sources:
        raise ImageError(f"All {len(found)} images are results of earlier runs.")
    is_single = len(inputs) == 1 and sources[0].named
    jobs = _name_results(sources, out, is_single=is_single, ending=ending)
    _check_sources_stay(jobs)
    todo, kept = (jobs, []) if overwrite else _split(jobs)
    images = {path: job.source for job in kept if (path := job.result()) is not None}
    existing = list(images)
    record = planned() if planned is not None and existing else None
    if is_single and existing:
        wanted = None if record is None else of_image(record, sources[0].path)
        how = how_made(existing[0], wanted, read_provenance)
        if is_older(existing[0], sources[0].path):
            how = f"{',' if how else ' and'} is older than its image{how}"
        raise OutputError(
            f"{existing[0]} exists{how}. Replace it with --overwrite or choose a place with -o."
        )
    notes, same = ((), False) if record is None else compare_results(images, record)
    older = compare_times(images)
    _check_writable(todo)
    return BatchPlan(
        jobs=tuple(todo),
        kept=tuple(kept),
        results=len(found) - len(sources),
        unread=tuple(search.unread),
        left_out=search.left_out_notes(),
        kept_notes=(*notes, *older),
        kept_same=same and not older,
    )


def _check_working_folder(names: Sequence[str]) -> None:
    """Raise OutputError if there are relative names, but the working folder was removed."""
    try:
        if not all(map(os.path.isabs, names)):
            Path.cwd()
    except OSError as error:
        raise OutputError(
            f"The working folder cannot be used ({error.strerror}). Change to another one."
        ) from error


def _split(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Jobs without and with a result; every result folder is listed only once."""
    existing = {folder: _names_in(folder) for folder in {job.folder for job in jobs}}
    todo: list[Job] = []
    kept: list[Job] = []
    for job in jobs:
        names = existing[job.folder]
        is_done = any(path.name in names and _is_file(path) for path in job.possible_results())
        (kept if is_done else todo).append(job)
    return todo, kept


def _names_in(folder: Path) -> frozenset[str]:
    """Names in a folder, including broken links; empty if it does not exist."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return frozenset()


def _is_file(path: Path) -> bool:
    """Like `Path.is_file`, which raises for names that are too long and for closed folders."""
    return os.path.isfile(path)  # noqa: PTH113


@cache
def possible_suffixes(suffix: str) -> tuple[str, ...]:
    """Every format that a result may get, depending on the decoded image."""
    kinds = product(("uint8", "uint16", "float32"), (False, True), (False, True))
    return tuple(dict.fromkeys(suggest_suffix(suffix, *kind) for kind in kinds))


def _without_results(found: Sequence[FoundFile]) -> list[FoundFile]:
    """Inputs that are not results of earlier runs.

    Besides names of results, a file with a record in a subfolder that mirrors other inputs is a
    result: an earlier output folder.
    """
    names = stems_and_names(source.path for source in found)
    folders = {source.path.parent for source in found}

    @cache
    def mirrored(folder: Path) -> list[Path]:
        """Folders that this one may have the results of: its path without some parts in a row."""
        parts = folder.parts
        pairs = combinations(range(len(parts) + 1), 2)
        others = (Path(*parts[:start], *parts[end:]) for start, end in pairs)
        return [other for other in others if other in folders]

    def is_in_output_folder(path: Path) -> bool:
        mirrors = any((folder, own_stem(path)) in names for folder in mirrored(path.parent))
        return mirrors and has_provenance(path)  # reads the file

    def is_result(source: FoundFile) -> bool:
        if has_result_name(source.path, names, named=source.named):
            return True
        return not source.named and is_in_output_folder(source.path)

    return [source for source in found if not is_result(source)]


def _name_results(
    sources: Sequence[FoundFile], out: str | None, *, is_single: bool, ending: str
) -> list[Job]:
    if is_single and out is not None and is_file_name(out):
        return [_job_for_file(sources[0], Path(out))]
    if out is not None:
        _check_is_folder(out, len(sources))
        if is_single and not out.endswith(("/", os.sep)) and not is_folder(out) and suffix_of(out):
            raise OutputError(f"{unknown_format(Path(out))} A folder exists or ends in {os.sep}.")
    suffix = None if ending == COLORIZED else ".png"
    if ending == COLORIZED and out is not None:
        ending = ""
    jobs = [
        Job(
            source=source.path,
            folder=source.path.parent if out is None else out / source.output_path.parent,
            stem=own_stem(source.path) + ending,
            other_stem=own_stem(source.path) + ending,
            suffix=suffix,
        )
        for source in sources
    ]
    return _make_distinct(jobs, ending)


def is_file_name(out: str) -> bool:
    """Whether `-o` is the name of an image file, not of a folder."""
    return bool(own_suffix(Path(out))) and not out.endswith(("/", os.sep)) and not is_folder(out)


def _job_for_file(source: FoundFile, file: Path) -> Job:
    format_of(file)  # raises for unsupported suffixes
    stem = own_stem(file)
    return Job(
        source=source.path,
        folder=file.parent,
        stem=stem,
        other_stem=stem,
        suffix=own_suffix(file),
    )


def _make_distinct(jobs: Sequence[Job], ending: str) -> list[Job]:
    """Use full names for equal stems: `a.dcm` beside `a.png` becomes `a.dcm.tif`."""
    names = Counter((job.folder, job.stem) for job in jobs)
    distinct = []
    for job in jobs:
        other = job.other_stem
        if names[job.folder, job.stem] > 1:
            other = job.source.name + ending
            while (job.folder, other) in names:  # a.dcm, a.png and a.dcm.tif
                other += "_"
        distinct.append(replace(job, other_stem=other))
    targets: dict[Path, Path] = {}
    for job in distinct:
        first = targets.setdefault(job.target(own_suffix(job.source)), job.source)
        if first != job.source:
            raise OutputError(
                f"{first} and {job.source} would both become {job.target(own_suffix(job.source))}. "
                "Name the folder that contains both, or process them one after the other."
            )
    return distinct


def _check_is_folder(out: str, images: int) -> None:
    if os.path.lexists(out) and not is_folder(out):
        raise OutputError(f"{out} is a file; give -o a folder for the results.")
    if images > 1 and is_file_name(out):
        raise OutputError(f"{out} names one file, but there are {images} images: give -o a folder.")


def _check_sources_stay(jobs: Sequence[Job]) -> None:
    """Raise OutputError if a result would replace an input, even with overwrite."""
    real = cache(os.path.realpath)  # resolves each folder only once

    def identity(path: Path) -> str:
        folder, name = os.path.split(path)
        # Not `Path.is_symlink`, which raises for names that are too long.
        is_link = os.path.islink(path)  # noqa: PTH114
        return os.path.realpath(path) if is_link else str(Path(real(folder), name))

    sources = {identity(job.source) for job in jobs}
    for job in jobs:
        target = job.target(own_suffix(job.source))
        if identity(target) in sources:
            raise OutputError(
                f"{target} is an input and would be replaced by its result. Choose another folder "
                "with -o, or omit -o to write NAME-colorized next to each image."
            )


def _check_writable(jobs: Sequence[Job]) -> None:
    """Raise OutputError if no result can be written; otherwise the images of others fail."""
    unwritable: dict[Path, OutputError] = {}
    folders = dict.fromkeys(job.folder for job in jobs)
    for folder in folders:
        nearest = next((up for up in (folder, *folder.parents) if os.path.lexists(up)), folder)
        try:
            # Tested by writing, because permission bits are unreliable on Windows and networks.
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            unwritable[folder] = OutputError(
                f"{nearest} is not writable ({error.strerror}). Choose another folder with -o."
            )
    if unwritable and len(unwritable) == len(folders):
        raise next(iter(unwritable.values()))
