from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_videos import tinted

from napari_colorize.settings import ColorizeSettings
from napari_colorize.video.plan import ExportOptions, VideoJob, plan_video

Run = Callable[..., VideoJob]


class Tints:
    """A stand-in for a Colorizer, which tells what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.shown: list[Any] = []

    def stream(self, images: Iterable[Any], **settings: Any) -> Iterator[Any]:
        self.asked = settings
        return tinted(self._seen(images))

    def _seen(self, images: Iterable[Any]) -> Iterator[Any]:
        for image in images:
            self.shown.append(image)
            yield image


@pytest.fixture(autouse=True)
def needs_pyav() -> None:
    pytest.importorskip("av")


@pytest.fixture
def tints() -> Tints:
    """A stand-in whose questions can be looked at."""
    return Tints()


@pytest.fixture
def run() -> Run:
    """Colorize with a stand-in; `frames` stops after so many, as an interruption would."""

    def colorize(
        given: Path,
        out: Path,
        *,
        frames: int | None = None,
        settings: ColorizeSettings | None = None,
        model: Tints | None = None,
        **wishes: Any,
    ) -> VideoJob:
        chosen = settings or ColorizeSettings()
        work = plan_video(given, out, ExportOptions(**wishes)).work(
            model or Tints(), chosen, {"model": "tint"}
        )
        for done in work:
            if done == frames:
                work.close()
                break
        return work

    return colorize
