"""Guiding: mask, hints and reference of a box, whether code gave them or a person."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_colorize.errors import ColorizeError
from napari_colorize.jupyter.paint import as_hints
from napari_colorize.refine.guides import NO_GUIDES, Guides

if TYPE_CHECKING:
    from napari_colorize.jupyter.choosers import ReferenceChooser
    from napari_colorize.jupyter.painting import Painting
    from napari_colorize.refine.palette_transfer import Reference
    from napari_colorize.session import ColorizeSession


class GuideInputs:
    """Tells the session what is painted and chosen, and shows what code gave.

    Attributes
    ----------
    failed : Signal(ColorizeError)
        What a person chose cannot be used.
    """

    failed = Signal(ColorizeError)

    def __init__(
        self, session: ColorizeSession, painting: Painting, references: ReferenceChooser
    ) -> None:
        self._session, self._painting, self._references = session, painting, references
        self._reference: Reference | None = None
        painting.changed.connect(lambda hints: self._tell(hints=hints))
        references.chosen.connect(self._choose)

    @property
    def guides(self) -> Guides:
        """All that guides the colours of the present source."""
        guides = self._session.guides
        # The box uses the same guides for all planes.
        return guides if isinstance(guides, Guides) else NO_GUIDES

    def give(self, guides: Guides | None) -> None:
        """Take these in the place of all, and show them."""
        guides = guides or NO_GUIDES
        self._session.guides = guides
        self._reference = guides.reference
        self._references.show_reference(guides.reference)
        self._painting.show(guides.hints)

    def give_hints(self, hints: Any) -> None:
        """Hints, or RGBA pixels; None for none."""
        self._tell(hints=as_hints(hints))
        self._painting.show(self.guides.hints)

    def give_reference(self, given: Any) -> None:
        """A `Reference`, an array in colour, or the file of a picture; None for none."""
        self._reference = as_reference(given)
        self._tell(reference=self._reference)
        self._references.show_reference(self._reference)

    def give_mask(self, mask: Any) -> None:
        """Where to colour: an array `(Y, X)`; None for everywhere."""
        self._tell(mask=mask)

    def begin(self) -> Guides:
        """Another picture comes: what it keeps is the reference."""
        self._painting.show(None)
        return Guides(reference=self._reference)

    def _tell(self, **parts: Any) -> None:
        self._session.guides = replace(self.guides, **parts)

    def _choose(self, path: Path | None) -> None:
        try:
            self.give_reference(path)
        except ColorizeError as error:
            self.failed.emit(error)


def as_reference(given: Any) -> Reference | None:
    """What a box takes as a reference."""
    from napari_colorize.refine.palette_transfer import Reference

    if given is None or isinstance(given, Reference):
        return given
    if isinstance(given, (str, os.PathLike)):
        from napari_colorize.io.images import read_image

        given = read_image(given).array
    return Reference(given)
