"""Reading and writing of weights: safetensors, and `.pth` without executing code from the file.

`read_weights` checks the kind of the file, reads it, extracts the state dict from its container and
converts the keys of old torch versions. `build` makes the network of a state dict.
"""

from __future__ import annotations

import json
import os
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
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_colorize.errors import CheckpointError, OutputError
from napari_colorize.networks import Architecture
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.zoo import safe_pickle
from napari_colorize.zoo.download import is_web_page, sha256_of
from napari_colorize.zoo.safetensors_header import refuse_large_header, too_many_tensors

# Keys of DeOldify; IPOL and many trainers; DDColor. Otherwise the file is the state dict itself.
_CONTAINERS = ("model", "state_dict", "params")
MAX_DIRECTORY = 2**22  # bytes of the directory of a zip archive: about 50,000 tensors
MAX_WEIGHT = 1e12  # far beyond the weights and statistics of any network
_ZIP_END = 2**16 + 128  # bytes in which the end of the directory is searched
_HEAD = 1024  # bytes read to detect the kind of a file


@dataclass(frozen=True)
class Weights:
    """Content of a checkpoint file."""

    # Tensors on the CPU in the dtypes of the file, with the keys of the network's `state_dict`
    state: dict[str, Tensor]
    metadata: dict[str, str]  # of a safetensors file; empty for other files
    sha256: str  # of the file


def read_weights(path: str | PathLike[str], *, sha256: str | None = None) -> Weights:
    """Read the weights in a `.safetensors` or `.pth` file; the kind is detected from its content.

    The state dict is at the top level or in `model`, `state_dict` or `params`. No code of a file is
    executed: a pickle is read by `napari_colorize.zoo.safe_pickle`, which keeps the tensors and
    ignores everything else. State dicts of torch 0.4.1 are converted,
    see `_with_spectral_vectors`. `sha256` is the checksum of the file, if it was verified already.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged or contains no weights.
    """
    path = Path(path)
    head, size = _read_head(path)
    metadata: dict[str, str] = {}
    if head[8:9] == b"{":  # safetensors: eight bytes of length, then a JSON object
        content, metadata = _read_safetensors(path)
    else:
        content = _read_pickled(path, is_zip=head.startswith(b"PK\x03\x04"))
    state = _plain_tensors(_state_dict_in(content))
    _check_state(path, state, size)
    return Weights(_with_spectral_vectors(state), metadata, sha256 or sha256_of(path))


def build(architecture: Architecture, state: dict[str, Tensor], *, file: str = "") -> nn.Module:
    """Build a network in evaluation mode with given weights, converted to float32.

    Raises `CheckpointError` if keys or shapes do not match the architecture; it names the file.
    """
    of_file = f" of {file}" if file else ""
    try:
        with torch.device("meta"), _SkipInitialization():
            network = architecture.build(state)
    except CheckpointError:
        raise
    # Constructors raise nearly every class of exception for keys and shapes that do not fit.
    except Exception as error:
        raise CheckpointError(
            f"The weights{of_file} do not match the network {architecture.name}: keys are missing, "
            "or have other shapes."
        ) from error
    for key, expected in network.state_dict().items():
        if key in state and expected.is_floating_point() and not state[key].is_floating_point():
            kind = str(state[key].dtype).removeprefix("torch.")
            raise CheckpointError(
                f"The weights {key}{of_file} are of type {kind}, but floating-point numbers are "
                "needed. Save the network before it is quantized."
            )
    weights = {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }
    try:
        network.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[:2][-1].strip()
        raise CheckpointError(
            f"The weights{of_file} do not match the network {architecture.name}: {first}"
        ) from error
    return network.eval().requires_grad_(False)


def write_weights(
    path: str | PathLike[str], state: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file atomically.

    Raises `OutputError` if the file cannot be written; an existing file is then unchanged.
    """
    path = Path(path)
    with new_file(path, overwrite=True) as part, write_errors(path):
        mode = stat.S_IMODE(part.stat().st_mode)
        try:
            save_file(_unshared(state), part, dict(metadata))
            _sort_metadata(part)
        except SafetensorError as error:  # a disk error that is no OSError
            raise OutputError(f"{path} could not be written: {error}.") from error
        part.chmod(mode)  # safetensors restricts reading to the owner


def _sort_metadata(path: Path) -> None:
    """Sort the metadata, which safetensors writes in random order: equal models, equal files."""
    with path.open("rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # always: only the order differs
            file.seek(8)
            file.write(text.ljust(length))


def _read_head(path: Path) -> tuple[bytes, int]:
    """First bytes and size of a file, with an error for files that are no checkpoints."""
    try:
        if not path.exists():
            raise CheckpointError(f"There is no file {path}. Give the path of a checkpoint.")
        if not path.is_file():  # reading a pipe or a device would block
            raise CheckpointError(f"{path} is not a file. Give the path of a checkpoint.")
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error.strerror}.") from error
    if not head:
        raise CheckpointError(f"{path} is empty. Copy or download it again.")
    if is_web_page(head):
        raise CheckpointError(f"{path} is a web page, not a checkpoint. Download it again.")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is a pointer to a file in Git LFS. Run git lfs pull.")
    return head, path.stat().st_size


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    refuse_large_header(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _unreadable(path) from error


def _read_pickled(path: Path, *, is_zip: bool) -> Any:
    # One open file for check and read, so that the file that was checked is the one that is read.
    with path.open("rb") as file:
        try:
            if is_zip:
                _check_archive(path, file)
            return _load_without_code(file, path.stat().st_size, is_zip=is_zip)
        except CheckpointError:
            raise
        except Exception as error:  # a malicious file can raise any error
            if isinstance(error, MemoryError) or "allocate memory" in str(error):
                raise _too_large(path) from error
            raise _unreadable(path) from error


def _check_archive(path: Path, file: IO[bytes]) -> None:
    if _directory_size(file) > MAX_DIRECTORY:
        raise too_many_tensors(path)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if any(Path(member.filename).name == "constants.pkl" for member in members):
        raise CheckpointError(
            f"{path} is a TorchScript archive, which contains code. Save the state_dict() of the "
            "network with torch.save instead."
        )
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise _unreadable(path)  # torch does not compress: this is a zip bomb
    file.seek(0)


def _directory_size(file: IO[bytes]) -> int:
    """Size of the directory of a zip archive in bytes, which Python would read as a whole."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _ZIP_END))
    end = file.read()
    start, wide = end.rfind(b"PK\5\6"), end.rfind(b"PK\6\6")
    if start < 0:
        return 0  # no archive, which `ZipFile` reports
    size = int.from_bytes(end[start + 12 : start + 16], "little")
    if size == 0xFFFFFFFF and wide >= 0:
        size = int.from_bytes(end[wide + 40 : wide + 48], "little")
    return size


def _load_without_code(file: IO[bytes], size: int, *, is_zip: bool) -> Any:
    # Torch's own option `weights_only` has no limits on time and memory. Without it, torch would
    # execute TorchScript, which `_check_archive` refuses, and unpack the tar format of before 2017,
    # for which it needs a file descriptor.
    opened: Any = file if is_zip else safe_pickle.BoundedFile(file, size)
    return torch.load(opened, map_location="cpu", weights_only=False, pickle_module=safe_pickle)


def _state_dict_in(content: Any) -> Any:
    """The state dict itself, extracted from its container if there is one."""
    if isinstance(content, dict):
        for name in _CONTAINERS:
            inner = dict.get(content, name)
            if isinstance(inner, dict):
                return inner
    return content


def _plain_tensors(content: Any) -> dict[str, Tensor]:
    """The plain tensors with string keys; all other objects are dropped."""
    if not isinstance(content, dict):
        return {}
    return {
        name: value.detach()
        for name, value in dict.items(
            content
        )  # a file can override the method `items` of its dictionary
        if isinstance(name, str) and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and type(value) in (Tensor, torch.nn.Parameter)  # a subclass could execute code
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _check_state(path: Path, state: Mapping[str, Tensor], size: int) -> None:
    if not state:
        raise CheckpointError(
            f"{path} contains no weights. A state dict of tensors by name was expected, as written "
            "by torch.save(network.state_dict(), path)."
        )
    # An expanded view can claim any size for one stored number. Regular files share few tensors.
    if sum(value.numel() * value.element_size() for value in state.values()) > 2 * size:
        raise _unreadable(path)


def _with_spectral_vectors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert spectral norms in a state dict of torch 0.4.1 to the keys of current versions.

    Torch computes W = weight_orig / (u . (weight_orig v)) from `weight_u` and `weight_v`. Torch
    0.4.1 saved `weight_orig`, `weight_u` and, instead of `weight_v`, `weight`: the W of the last
    forward pass. This W is the weight to use; it is not even a multiple of `weight_orig`, which the
    optimizer changed after W was computed. So `weight` becomes `weight_orig`, and
    v = W^T u / |W^T u|^2 makes u . (W v) = 1: the division has no effect.
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


def _unshared(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU that share no memory, as safetensors requires."""
    unshared: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, value in state.items():
        tensor = value.detach().cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in storages:
            tensor = tensor.clone()
        storages.add(tensor.untyped_storage().data_ptr())
        unshared[name] = tensor
    return unshared


def check_values(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raise `CheckpointError` for weights with which no network can compute colors."""
    floating = {name: each for name, each in state.items() if each.is_floating_point()}
    if not floating:
        found = {str(each.dtype).removeprefix("torch.") for each in state.values()}
        kinds = ", ".join(sorted(found))
        raise CheckpointError(
            f"The weights in {path} are of type {kinds}, but floating-point numbers are needed. "
            "Save the network before it is quantized."
        )
    for name, value in floating.items():
        largest = value.float().abs().max() if value.numel() else torch.zeros(())
        if not largest.isfinite():
            raise CheckpointError(
                f"{path} contains weights that are NaN or infinite ({name}). Use a checkpoint that "
                "was saved before the training diverged."
            )
        if largest > MAX_WEIGHT:
            raise CheckpointError(
                f"{path} contains weights as large as {largest:.0e} ({name}). It is damaged, or "
                "the training diverged."
            )
    # Scales and shifts of norms are set before the weights: only matrices count, if there are any.
    matrices = [value for value in floating.values() if value.ndim > 1]
    if not any(value.any() for value in matrices or floating.values()):
        raise CheckpointError(
            f"All weights in {path} are zero. It is damaged, or was saved before they were set."
        )


def _unreadable(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged or no checkpoint. A complete .safetensors file, or one written by "
        "torch.save, was expected."
    )


def _too_large(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} needs more memory than is available. It is damaged, or too large for this machine."
    )


class _SkipInitialization(TorchFunctionMode):
    """Skip random initialization: the weights are replaced by those of the state dict.

    Drawing random numbers on the meta device would also import torch's compiler, which takes two
    seconds.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        module = getattr(function, "__module__", "")
        if function in (Tensor.normal_, Tensor.uniform_) or module == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))
