"""The network in use: fetched, loaded, and made to look up between its layers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Set
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from napari_colorize.errors import SettingsError
from napari_colorize.session.events import RunProgress, State, seconds_left

if TYPE_CHECKING:
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.session.request import RenderRequest
    from napari_colorize.zoo import Checkpoint

MOST = 64  # GPUs of a kind that are looked for


class LoadedModels:
    """The networks in use: one, or two that are blended; others may not fit. For the worker only.

    Parameters
    ----------
    pause : callable
        Called before every layer, and with every piece of a download; it may raise to end them.
    tell_state, tell_progress : callable
        Where to say what is being done.
    """

    def __init__(
        self,
        pause: Callable[[], None],
        tell_state: Callable[[State], None],
        tell_progress: Callable[[RunProgress], None],
    ) -> None:
        self._pause, self._tell_state, self._tell_progress = pause, tell_state, tell_progress
        self._loaded: dict[tuple[Any, ...], Colorizer] = {}
        self._hooks: dict[tuple[Any, ...], list[Any]] = {}
        self._checkpoints: dict[tuple[Any, ...], Checkpoint] = {}
        self._lacks: dict[tuple[Any, ...], dict[str, str]] = {}
        self.devices: tuple[str, ...] = ("auto", "cpu")  # until torch can be asked

    @property
    def is_loaded(self) -> bool:
        """Whether a network takes up memory."""
        return bool(self._loaded)

    def checkpoint(self, request: RenderRequest) -> Checkpoint | None:
        """The passport of the wish's network, if it was loaded before."""
        return self._checkpoints.get(request.model_key)

    def unsupported_settings(self, request: RenderRequest) -> dict[str, str]:
        """Settings that the wish's network cannot follow, and why; empty before it was loaded."""
        return self._lacks.get(request.model_key, {})

    def ready(self, request: RenderRequest) -> Colorizer:
        """The wish's network, loaded if it is not the one in use."""
        second = request.second_model
        wanted = [each for each in (request, second) if each is not None]
        self._release(self._loaded.keys() - {each.model_key for each in wanted})
        for each in wanted:
            if each.model_key not in self._loaded:
                self._tell_state("getting ready")
                self.load(each)
        return self._loaded[request.model_key]

    def second(self, request: RenderRequest) -> Colorizer | None:
        """The wish's second network, loaded if it is not in use."""
        self.ready(request)
        return (
            None if request.second_model is None else self._loaded[request.second_model.model_key]
        )

    def takes_hints(self, request: RenderRequest) -> bool:
        """Whether one of the wish's networks is shown hints, as far as it was loaded before."""
        from napari_colorize.networks import ARCHITECTURES

        known = [
            self.checkpoint(each) for each in (request, request.second_model) if each is not None
        ]
        return any(
            ARCHITECTURES[checkpoint.architecture].takes_hints
            for checkpoint in known
            if checkpoint is not None
        )

    def release(self) -> None:
        """Free the networks' memory, unless someone else has the Colorizers too."""
        self._release(set(self._loaded))

    def _release(self, networks: Set[tuple[Any, ...]]) -> None:
        for network in networks:
            for hook in self._hooks.pop(network):
                hook.remove()
            del self._loaded[network]
        if networks:
            empty_device_cache()

    def load(self, request: RenderRequest) -> None:
        """Load the model of a request and add the hooks that check for cancellation."""
        colorizer = self._load(request)
        self._hooks[request.model_key] = self._add_cancel_hooks(colorizer)
        self._loaded[request.model_key] = colorizer
        self._checkpoints[request.model_key] = colorizer.checkpoint
        self._lacks[request.model_key] = colorizer.unsupported
        self._pause()

    def forget(self) -> None:
        """Let go of the network and of all Colorizers that were ever used."""
        self.release()
        self._checkpoints.clear()
        self._lacks.clear()

    def _load(self, request: RenderRequest) -> Colorizer:
        from napari_colorize.colorizer import Colorizer  # torch

        self.devices = _devices()
        if isinstance(request.model, Colorizer):
            return request.model
        self._fetch(request.model)
        return Colorizer.from_pretrained(
            request.model, device=request.device, precision=request.precision
        )

    def _fetch(self, name: str) -> None:
        from napari_colorize.zoo import Checkpoint, fetch, is_local, resolve

        checkpoint = resolve(name)
        if not isinstance(checkpoint, Checkpoint) or is_local(checkpoint):
            return
        self._tell_state("downloading")
        fetch(checkpoint, progress=_Bar(checkpoint.name, self._tell_progress, self._pause))
        self._tell_state("getting ready")

    def _add_cancel_hooks(self, colorizer: Colorizer) -> list[Any]:
        """Pause before every layer that this thread runs; others may use the network too."""
        worker, pause = threading.get_ident(), self._pause

        # A function, not a method: a copy of the network (for another device) copies no session.
        def check_cancelled(*_: Any) -> None:
            if threading.get_ident() == worker:
                pause()

        modules = colorizer.network.modules()
        return [module.register_forward_pre_hook(check_cancelled) for module in modules]


class _Bar:
    """What a download tells its bytes to; see `zoo.Progress`."""

    def __init__(
        self, name: str, tell: Callable[[RunProgress], None], pause: Callable[[], None]
    ) -> None:
        self._name, self._tell, self._pause = name, tell, pause
        self.reset()

    def reset(self, total: float | None = None) -> None:
        self._done, self._total, self._began = 0, int(total or 0), time.monotonic()

    def update(self, n: float | None = 1) -> None:
        self._pause()
        self._done += int(n or 0)
        left = seconds_left(self._began, self._done, self._total)
        self._tell(RunProgress(f"Fetching {self._name}", self._done, self._total, left))


def _devices() -> tuple[str, ...]:
    """Names of the devices that are here, "auto" first; several GPUs of a kind are numbered."""
    gpus: list[str] = []
    for kind in ("cuda", "mps", "xpu"):
        if _is_here(kind):
            numbered = list(takewhile(_is_here, (f"{kind}:{number}" for number in range(MOST))))
            gpus += numbered if len(numbered) > 1 else [kind]
    return "auto", *gpus, "cpu"


def _is_here(device: str) -> bool:
    from napari_colorize.runtime.devices import choose_device  # torch

    try:
        choose_device(device)
    except SettingsError:
        return False
    return True


def empty_device_cache() -> None:
    """Return to a GPU what is no longer used of its memory."""
    from napari_colorize.runtime import memory  # torch

    memory.empty_device_cache()
