"""Weights in files: safetensors both ways, and `.pth` without running what it holds.

`read_weights` goes from the outside inwards: is this a file and of which kind, what does it hold,
where in it are the weights, and are they named as today's networks expect.
"""

from __future__ import annotations

import json
import pickle
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_colorize.errors import CheckpointError, OutputError
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.zoo import safe_pickle
from napari_colorize.zoo.files import is_web_page, sha256_of

# DeOldify; IPOL and many trainers; DDColor. Else the file is the state dict itself.
_CONTAINERS = ("model", "state_dict", "params")
_HEAD = 1024  # bytes that tell what a file is


@dataclass(frozen=True)
class Weights:
    """What a checkpoint's file holds.

    Parameters
    ----------
    state : dict of str to Tensor
        On the CPU, in the dtypes of the file, named as the network's `state_dict` names them.
    metadata : dict of str to str
        What safetensors keeps beside the tensors; empty for other files.
    sha256 : str
        Fingerprint of the file.
    """

    state: dict[str, Tensor]
    metadata: dict[str, str]
    sha256: str


def read_weights(path: str | PathLike[str], *, sha256: str | None = None) -> Weights:
    """The weights in a `.safetensors` or `.pth` file; its content decides which it is.

    Nothing that a file holds is run: a pickle that asks for more than tensors is read by
    `napari_colorize.zoo.safe_pickle`, which keeps the tensors and ignores the rest. Files that
    torch 0.4.1 wrote come out as if written today, see `_with_spectral_vectors`.

    Parameters
    ----------
    path : str or path
        A file with a state dict, bare or within `model`, `state_dict` or `params`.
    sha256 : str, optional
        Fingerprint of the file, if it was verified just now and need not be computed again.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged or holds no weights.
    """
    path = Path(path)
    head, size = _look_at(path)
    metadata: dict[str, str] = {}
    if _is_safetensors(head):
        content, metadata = _read_safetensors(path)
    else:
        content = _read_pickled(path, is_zip=head.startswith(b"PK\x03\x04"))
    state = _plain_tensors(_unwrapped(content))
    _check_state(path, state, size)
    return Weights(_with_spectral_vectors(state), metadata, sha256 or sha256_of(path))


def write_weights(
    path: str | PathLike[str], state: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file: whole, or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written; an older one of that name is then still there.
    """
    path = Path(path)
    with new_file(path, overwrite=True) as part, write_errors(path):
        usual = stat.S_IMODE(part.stat().st_mode)
        try:
            save_file(_separate(state), part, dict(metadata))
            _sort_metadata(part)
        except SafetensorError as error:  # of the disk, but not in the system's words
            raise OutputError(f"{path} could not be written: {error}.") from error
        part.chmod(usual)  # safetensors lets nobody but the owner read


def _sort_metadata(path: Path) -> None:
    """Put in order what safetensors writes in a random one: the same model is the same file."""
    with path.open("rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # as it is: only the order is another
            file.seek(8)
            file.write(text.ljust(length))


def _look_at(path: Path) -> tuple[bytes, int]:
    """First bytes and size of a file that may be a checkpoint."""
    try:
        if not path.exists():
            raise CheckpointError(f"There is no file {path}: give the path of a checkpoint.")
        if not path.is_file():  # a pipe or a device would keep us waiting for ever
            raise CheckpointError(f"{path} is not a file: give the path of a checkpoint.")
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error.strerror}.") from error
    if not head:
        raise CheckpointError(f"{path} is empty: please copy or download it again.")
    if is_web_page(head):
        raise CheckpointError(f"{path} is a web page, not a checkpoint: please download it again.")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} only points to a file in Git LFS: please fetch that one.")
    return head, path.stat().st_size


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of length, then JSON; a pickle or a zip cannot have a brace there."""
    return head[8:9] == b"{"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _unreadable(path) from error


def _read_pickled(path: Path, *, is_zip: bool) -> Any:
    # One open file for all that follows: what was checked is what is read.
    with path.open("rb") as file:
        try:
            if is_zip:
                _check_archive(path, file)
            return _load_without_running(file)
        except CheckpointError:
            raise
        except Exception as error:  # a file made to harm fails in whatever way it likes
            if isinstance(error, MemoryError) or "allocate memory" in str(error):
                raise _too_large(path) from error
            raise _unreadable(path) from error


def _check_archive(path: Path, file: IO[bytes]) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if any(Path(member.filename).name == "constants.pkl" for member in members):
        raise CheckpointError(
            f"{path} is a TorchScript archive, which holds code: save the network's state_dict() "
            "with torch.save instead."
        )
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise _unreadable(path)  # torch never compresses: this wants to fill the memory
    file.seek(0)


def _load_without_running(file: IO[bytes]) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # Only this error: TorchScript and the tar form of before 2017 raise others here and must
        # not come further, for torch would run the one and unpack the other.
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=safe_pickle)


def _unwrapped(content: Any) -> Any:
    """The state dict itself, taken out of its container if it is in one."""
    if isinstance(content, dict):
        for name in _CONTAINERS:
            inner = dict.get(content, name)
            if isinstance(inner, dict):
                return inner
    return content


def _plain_tensors(content: Any) -> dict[str, Tensor]:
    """What can go into a network; anything else in the file is left behind."""
    if not isinstance(content, dict):
        return {}
    return {
        name: value.detach()
        for name, value in dict.items(content)  # a file may give the dictionary its own `items`
        if isinstance(name, str) and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and type(value) in (Tensor, torch.nn.Parameter)  # no subclass, whatever it may do
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _check_state(path: Path, state: Mapping[str, Tensor], size: int) -> None:
    if not state:
        raise CheckpointError(
            f"{path} holds no weights: a state dict of tensors by name was expected, as "
            "torch.save(network.state_dict(), path) writes it."
        )
    # A view may repeat one number a million times. Honest files share a tensor here and there.
    if sum(value.numel() * value.element_size() for value in state.values()) > 2 * size:
        raise _unreadable(path)


def _with_spectral_vectors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make a state dict of torch 0.4.1 one of today, where it holds spectral norms.

    Torch today computes W = weight_orig / (u . (weight_orig v)) from `weight_u` and `weight_v`.
    Torch 0.4.1 saved `weight_orig`, `weight_u`, no `weight_v`, but `weight`, the W that it last
    used. That W counts; it need not even be a multiple of `weight_orig`, which the optimizer moved
    after W was computed. So `weight` becomes `weight_orig`, and v = W^T u / |W^T u|^2, which makes
    u . (W v) = 1: dividing by it changes nothing, and the file loads like any other.
    """
    restored = dict(state)
    for key in state:
        name = key.removesuffix("_orig")
        if key == name or f"{name}_v" in state or not {name, f"{name}_u"} <= state.keys():
            continue
        weight, u = state[name].float(), state[f"{name}_u"].float()
        if not (weight.ndim and weight.numel() and u.shape == weight.shape[:1]):
            continue
        direction = u @ weight.reshape(len(weight), -1)
        restored[key] = restored.pop(name)
        restored[f"{name}_v"] = direction / direction.square().sum()
    return restored


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU that share no memory, as safetensors wants them."""
    separate: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, value in state.items():
        tensor = value.detach().cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        separate[name] = tensor
    return separate


def _unreadable(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged or no checkpoint: a whole .safetensors file, or one that torch.save "
        "wrote, was expected."
    )


def _too_large(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} asks for more memory than there is: it is damaged, or too large for this machine."
    )
