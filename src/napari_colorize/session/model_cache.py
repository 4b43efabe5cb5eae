"""Networks in use: downloaded, loaded, and hooked so that a prediction can be cancelled."""

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

MAX_DEVICES = 64  # of one kind; bounds the search for numbered GPUs


class LoadedModels:
    """The networks of the current request: one, or two that are blended.

    Others are released first, because memory may not hold them too. Loading is for the worker
    thread. Other threads may read `checkpoint`, `unsupported_settings`, `has_calibrated_error`,
    `takes_hints`, `devices`.
    `check_cancelled` is called before every layer and with every block of a download, and may
    raise.
    """

    def __init__(
        self,
        check_cancelled: Callable[[], None],
        on_state: Callable[[State], None],
        on_progress: Callable[[RunProgress], None],
    ) -> None:
        self._check_cancelled = check_cancelled
        self._on_state, self._on_progress = on_state, on_progress
        self._loaded: dict[tuple[Any, ...], Colorizer] = {}
        self._hooks: dict[tuple[Any, ...], list[Any]] = {}
        # What stays known of models that were released.
        self._checkpoints: dict[tuple[Any, ...], Checkpoint] = {}
        self._unsupported: dict[tuple[Any, ...], dict[str, str]] = {}
        self._calibrated: set[tuple[Any, ...]] = set()
        self.devices: tuple[str, ...] = ("auto", "cpu")  # completed when torch is imported

    @property
    def is_loaded(self) -> bool:
        """Whether a network is in memory."""
        return bool(self._loaded)

    def checkpoint(self, request: RenderRequest) -> Checkpoint | None:
        """Metadata of the request's model; None if it was never loaded."""
        return self._checkpoints.get(request.model_key)

    def unsupported_settings(self, request: RenderRequest) -> dict[str, str]:
        """Settings that the request's model ignores, each with the reason; empty until loaded."""
        return self._unsupported.get(request.model_key, {})

    def has_calibrated_error(self, request: RenderRequest) -> bool:
        """Whether the request's model knows its error from photographs; False until loaded."""
        return request.model_key in self._calibrated

    def ready(self, request: RenderRequest) -> Colorizer:
        """The request's model, loaded if necessary, like its second model."""
        second = request.second_model
        needed = [each for each in (request, second) if each is not None]
        self._release(self._loaded.keys() - {each.model_key for each in needed})
        for each in needed:
            if each.model_key not in self._loaded:
                self._on_state("getting ready")
                self._load(each)
        return self._loaded[request.model_key]

    def second(self, request: RenderRequest) -> Colorizer | None:
        """The request's second model, loaded if necessary; None if there is none."""
        self.ready(request)
        second = request.second_model
        return None if second is None else self._loaded[second.model_key]

    def takes_hints(self, request: RenderRequest) -> bool:
        """Whether a network of the request takes hints as input; False until it is loaded."""
        from napari_colorize.networks import ARCHITECTURES

        checkpoints = [
            self.checkpoint(each) for each in (request, request.second_model) if each is not None
        ]
        return any(
            ARCHITECTURES[checkpoint.architecture].takes_hints
            for checkpoint in checkpoints
            if checkpoint is not None
        )

    def release(self) -> None:
        """Free the memory of the networks, except of Colorizers that the caller holds as well."""
        self._release(set(self._loaded))

    def forget(self) -> None:
        """Release the networks and forget the metadata of all models."""
        self.release()
        self._checkpoints.clear()
        self._unsupported.clear()
        self._calibrated.clear()

    def _release(self, keys: Set[tuple[Any, ...]]) -> None:
        for key in keys:
            for hook in self._hooks.pop(key):
                hook.remove()
            del self._loaded[key]
        if keys:
            empty_device_cache()

    def _load(self, request: RenderRequest) -> None:
        from napari_colorize.analysis.expected_error import CALIBRATED, source_of  # imports torch

        colorizer, key = self._colorizer(request), request.model_key
        self._hooks[key] = self._add_cancel_hooks(colorizer)
        self._loaded[key] = colorizer
        self._checkpoints[key] = colorizer.checkpoint
        self._unsupported[key] = colorizer.unsupported
        if source_of(colorizer) == CALIBRATED:
            self._calibrated.add(key)
        self._check_cancelled()

    def _colorizer(self, request: RenderRequest) -> Colorizer:
        from napari_colorize.colorizer import Colorizer  # imports torch

        self.devices = _devices()
        if isinstance(request.model, Colorizer):
            return request.model
        self._download(request.model)
        return Colorizer.from_pretrained(
            request.model, device=request.device, precision=request.precision
        )

    def _download(self, name: str) -> None:
        from napari_colorize.zoo import Checkpoint, fetch, is_local, resolve

        checkpoint = resolve(name)
        if not isinstance(checkpoint, Checkpoint) or is_local(checkpoint):
            return
        self._on_state("downloading")
        fetch(
            checkpoint,
            progress=_DownloadProgress(checkpoint.name, self._on_progress, self._check_cancelled),
        )
        self._on_state("getting ready")

    def _add_cancel_hooks(self, colorizer: Colorizer) -> list[Any]:
        """Check for cancellation before every layer that the worker thread runs.

        Other threads may use the same network, for example through the caller's Colorizer.
        """
        worker, cancel_point = threading.get_ident(), self._check_cancelled

        # A function, not a bound method: a copy of the network for another device must not copy
        # the session that the method belongs to.
        def check_cancelled(*_: Any) -> None:
            if threading.get_ident() == worker:
                cancel_point()

        modules = colorizer.network.modules()
        return [module.register_forward_pre_hook(check_cancelled) for module in modules]


class _DownloadProgress:
    """Progress of a download as `zoo.Progress` expects it, emitted as `RunProgress`."""

    def __init__(
        self,
        name: str,
        on_progress: Callable[[RunProgress], None],
        check_cancelled: Callable[[], None],
    ) -> None:
        self._name, self._on_progress, self._check_cancelled = name, on_progress, check_cancelled
        self.reset()

    def reset(self, total: float | None = None) -> None:
        self._done, self._total, self._began = 0, int(total or 0), time.monotonic()

    def update(self, n: float | None = 1) -> None:
        self._check_cancelled()
        self._done += int(n or 0)
        left = seconds_left(self._began, self._done, self._total)
        self._on_progress(RunProgress(f"Downloading {self._name}", self._done, self._total, left))


def _devices() -> tuple[str, ...]:
    """Names of the available devices, "auto" first; several GPUs of a kind are numbered."""
    gpus: list[str] = []
    for kind in ("cuda", "mps", "xpu"):
        if _is_available(kind):
            candidates = (f"{kind}:{number}" for number in range(MAX_DEVICES))
            numbered = list(takewhile(_is_available, candidates))
            gpus += numbered if len(numbered) > 1 else [kind]
    return "auto", *gpus, "cpu"


def _is_available(device: str) -> bool:
    from napari_colorize.runtime.devices import choose_device  # imports torch

    try:
        choose_device(device)
    except SettingsError:
        return False
    return True


def empty_device_cache() -> None:
    """Return unused memory of PyTorch's allocator to the GPU."""
    from napari_colorize.runtime import memory  # imports torch

    memory.empty_device_cache()
