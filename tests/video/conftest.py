from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_videos import tint_stream

from napari_colorize.settings import ColorizeSettings
from napari_colorize.video.plan import ExportOptions, VideoJob, plan_video

Run = Callable[..., VideoJob]


class TintModel:
    """Replaces a Colorizer and records its settings and images."""

    def __init__(self) -> None:
        self.settings_received: dict[str, Any] = {}
        self.images_received: list[Any] = []

    def stream(self, images: Iterable[Any], **settings: Any) -> Iterator[Any]:
        self.settings_received = settings
        return tint_stream(self._recorded(images))

    def _recorded(self, images: Iterable[Any]) -> Iterator[Any]:
        for image in images:
            self.images_received.append(image)
            yield image


@pytest.fixture(autouse=True)
def needs_pyav() -> None:
    pytest.importorskip("av")


@pytest.fixture
def model() -> TintModel:
    """A replacement of the model that records its arguments."""
    return TintModel()


@pytest.fixture
def run() -> Run:
    """Colorize with the replacement; `frames` simulates an interruption after that many frames."""

    def colorize(
        given: Path,
        out: Path,
        *,
        frames: int | None = None,
        settings: ColorizeSettings | None = None,
        model: TintModel | None = None,
        **options: Any,
    ) -> VideoJob:
        chosen = settings or ColorizeSettings()
        work = plan_video(given, out, ExportOptions(**options)).run(
            model or TintModel(), chosen, {"model": "tint"}
        )
        for done in work:
            if done == frames:
                work.close()
                break
        return work

    return colorize
