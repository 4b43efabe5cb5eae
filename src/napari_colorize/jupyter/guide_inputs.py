"""Mask, hints and reference of a box, given by code or by the user."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_colorize.errors import ColorizeError
from napari_colorize.jupyter.hint_pixels import as_hints
from napari_colorize.refine.guides import NO_GUIDES, Guides

if TYPE_CHECKING:
    from napari_colorize.jupyter.choosers import ReferenceChooser
    from napari_colorize.jupyter.paint_panel import PaintPanel
    from napari_colorize.refine.palette_transfer import Reference
    from napari_colorize.session.presenter import Presenter


class GuideInputs:
    """Passes painted hints and the chosen reference to the session, and displays given guides."""

    failed = Signal(ColorizeError)  # the chosen reference cannot be used

    def __init__(
        self, presenter: Presenter, painting: PaintPanel, references: ReferenceChooser
    ) -> None:
        self._presenter, self._painting, self._references = presenter, painting, references
        self._reference: Reference | None = None
        painting.changed.connect(lambda hints: self._update(hints=hints))
        references.chosen.connect(self._on_reference)

    @property
    def guides(self) -> Guides:
        """Guides of the current source."""
        guides = self._presenter.session.guides
        # A session also accepts a function of the plane; a box uses the same guides for all planes.
        return guides if isinstance(guides, Guides) else NO_GUIDES

    def set_guides(self, guides: Guides | None) -> None:
        """Replace mask, hints and reference, and display them."""
        guides = guides or NO_GUIDES
        self._presenter.update(guides=guides)
        self._reference = guides.reference
        self._references.show_reference(guides.reference)
        self._painting.show(guides.hints)

    def set_hints(self, hints: Any) -> None:
        """Set hints: `Hints`, RGBA pixels `(Y, X, 4)`, or None."""
        self._update(hints=as_hints(hints))
        self._painting.show(self.guides.hints)

    def set_reference(self, source: Any) -> None:
        """Set the reference: a `Reference`, an RGB array, an image file, or None."""
        self._reference = as_reference(source)
        self._update(reference=self._reference)
        self._references.show_reference(self._reference)

    def set_mask(self, mask: Any) -> None:
        """Set the mask, an array `(Y, X)`; None colorizes all pixels."""
        self._update(mask=mask)

    def reset_for_new_source(self) -> Guides:
        """Guides of another source: the reference is kept, mask and hints are not."""
        self._painting.show(None)
        return Guides(reference=self._reference)

    def _update(self, **parts: Any) -> None:
        self._presenter.update(guides=replace(self.guides, **parts))

    def _on_reference(self, path: Path | None) -> None:
        try:
            self.set_reference(path)
        except ColorizeError as error:
            self.failed.emit(error)


def as_reference(source: Any) -> Reference | None:
    """Convert a `Reference`, an RGB array or an image file to a `Reference`; None stays None."""
    from napari_colorize.refine.palette_transfer import Reference

    if source is None or isinstance(source, Reference):
        return source
    if isinstance(source, (str, os.PathLike)):
        from napari_colorize.io.images import read_image

        source = read_image(source).array
    return Reference(source)
