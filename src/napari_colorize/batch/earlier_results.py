"""Compare results of earlier runs with what a run would make, by their provenance records."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_colorize import provenance
from napari_colorize.batch.guide_files import guides_identity
from napari_colorize.io.images import read_provenance
from napari_colorize.provenance import SAME, is_older, made_with, of_image

if TYPE_CHECKING:
    from napari_colorize.model_spec import ModelSpec
    from napari_colorize.refine.guides import Guides
    from napari_colorize.settings import ColorizeSettings

Record = dict[str, Any]
MAX_COMPARED = 2000  # results of a batch, because each is opened
MAX_SENTENCES = 4
REMEDY = "use --overwrite or another folder."


def planned_record(
    models: Sequence[ModelSpec],
    settings: ColorizeSettings,
    guides: Guides | None = None,
    sweep: Sequence[int] = (),
) -> Record:
    """The record that results of a run would have, without those parts that depend on the image.

    Parameters
    ----------
    models : sequence of ModelSpec
        The model and, for a blend, the second model.
    settings, guides, sweep
        As in `Processing`.
    """
    first, *others = models
    resolved = first.resolve_settings(asdict(settings))
    record = provenance.describe(
        checkpoint_name=first.checkpoint.name,
        architecture=first.checkpoint.architecture,
        sha256=first.checkpoint.sha256,
        settings=resolved,
    )
    if sweep:
        record["settings"] = {**asdict(resolved), "render_factor": list(sweep)}
    if others:
        second = others[0].checkpoint
        record["blended_with"] = {"model": second.name, "weights_sha256": second.sha256}
    if guides:
        record["guides"] = guides.summary()
    return provenance.with_request(record, settings.contrast_limits, guides_identity(guides))


def compare_results(results: Mapping[Path, Path], planned: Record) -> tuple[tuple[str, ...], bool]:
    """Compare existing results of a batch with the planned ones.

    Parameters
    ----------
    results : mapping
        Existing results, and the image of each. Of more than `MAX_COMPARED`, evenly spaced ones
        are compared.
    planned : dict
        From `planned_record`.

    Returns
    -------
    tuple of str
        One sentence for each way in which results differ: how many, where, and what to do.
    bool
        Whether all were made with the planned settings.
    """
    step = max(1, -(-len(results) // MAX_COMPARED))
    found = {
        path: made_with(path, of_image(planned, image), read_provenance)
        for path, image in islice(results.items(), 0, None, step)
    }
    counts = Counter(how for how in found.values() if how not in (None, SAME))
    sentences = []
    for how, count in counts.most_common(MAX_SENTENCES):
        those = _results_in([path for path, other in found.items() if other == how])
        sentences.append(f"{those} {'was' if count == 1 else 'were'} made with {how}; {REMEDY}")
    if others := counts.total() - sum(count for _, count in counts.most_common(MAX_SENTENCES)):
        sentences.append(f"{others} other results were made with still other settings.")
    if sentences and len(found) < len(results):
        sentences.append(f"Only {len(found)} of {len(results)} existing results were compared.")
    return tuple(sentences), set(found.values()) == {SAME}


def compare_times(results: Mapping[Path, Path]) -> tuple[str, ...]:
    """Find results that were written before their image was changed.

    Parameters
    ----------
    results : mapping
        Existing results, and the image of each.

    Returns
    -------
    tuple of str
        One sentence: how many, where, and what to do. Empty if there are none.
    """
    older = [result for result, image in results.items() if is_older(result, image)]
    if not older:
        return ()
    is_one = len(older) == 1
    comparison = "is older than its image" if is_one else "are older than their images"
    return (f"{_results_in(older)} {comparison}; {REMEDY}",)


def _results_in(paths: Sequence[Path]) -> str:
    """Number of results and the folder that contains all of them."""
    folder = os.path.commonpath([path.parent for path in paths])
    return f"{len(paths)} result{'s' * (len(paths) > 1)} in {Path(folder)}{os.sep}"
