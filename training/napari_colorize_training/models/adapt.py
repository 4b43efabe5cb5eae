"""Partial training of a network: frozen layers, layer-wise learning rates, LoRA, and EMA.

A network is split into groups of layers from input to output. `freeze`, `freeze_to` and
`unfreeze_at` select the groups that are trained, `set_training` sets the mode of batch norms, and
`discriminative_rates` gives early groups smaller learning rates. `add_lora` trains low-rank
additions in place of the weights, and `merge_lora` adds them to the weights. `EMA` is a moving
average of the weights, and `EvaluationWeights` puts it into the network temporarily.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNormLoadStateDictPreHook

from napari_colorize.errors import SettingsError
from napari_colorize.networks.layers import WeightNormConv2d

Trainable = Literal["all", "except_first", "decoder", "head", "gradual"]

# Batch norms of layers that are not trained. "frozen": statistics, scale and shift are constant.
# "update": the running statistics follow the new images (the IPOL review's program leaves its
# frozen encoder in training mode). "train": scale and shift are trained, too; fastai's default and
# therefore DeOldify's. "frozen_encoder": as "frozen", and the encoder's statistics are constant
# even while its weights are trained, because small batches estimate them worse than pretraining.
BatchNormMode = Literal["frozen", "update", "train", "frozen_encoder"]

FASTAI_LAST = 10  # fastai's `slice(rate)`: the last group's rate is ten times that of the others
EMA_WARMUP = 10  # steps: an average over few steps must not keep the first, random weights
RUNNING_STATISTICS = ("running_mean", "running_var")  # ends of the keys of batch norm


def layer_groups(network: nn.Module) -> list[list[nn.Module]]:
    """Return the parts of a network in groups, from input to output.

    These are the network's own `layer_groups()` if it has the method, else `network.encoder` and
    the rest, else one group.
    """
    if callable(getattr(network, "layer_groups", None)):
        return [list(group) for group in network.layer_groups()]  # type: ignore[operator]
    children = dict(network.named_children())
    encoder = children.pop("encoder", None)
    return [[network]] if encoder is None else [[encoder], list(children.values())]


def parameter_groups(network: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters of each group of `layer_groups`; each parameter occurs exactly once."""
    groups: list[list[nn.Parameter]] = []
    known: set[int] = set()
    for modules in [*layer_groups(network), [network]]:
        found = [item for module in modules for item in module.parameters()]
        unique = {id(item): item for item in found if id(item) not in known}
        known |= unique.keys()
        groups.append(list(unique.values()))
    ungrouped = groups.pop()  # parameters of the network itself, which are in none of its parts
    groups[-1].extend(ungrouped)
    return groups


def freeze(
    network: nn.Module, trainable: Trainable, *, batch_norm: BatchNormMode = "frozen"
) -> None:
    """Select the layers that are trained, by `requires_grad` of their parameters.

    Parameters
    ----------
    network : nn.Module
        Changed in place.
    trainable : {"all", "except_first", "decoder", "head", "gradual"}
        All layers; all but the first group; all but the encoder; the last group. "gradual" is
        "all" until `unfreeze_at` is called, so that an optimizer made now has all parameters.
    batch_norm : {"frozen", "update", "train", "frozen_encoder"}
        See `BatchNormMode`; pass the same value to `set_training`.

    Raises
    ------
    SettingsError
        If the network has no encoder that could be frozen, or `trainable` is unknown.
    """
    if trainable in ("all", "gradual"):
        network.requires_grad_(True)
    elif trainable == "decoder":
        _freeze(network, encoder_parameters(network), batch_norm)
    elif trainable == "except_first":
        freeze_to(network, 1, batch_norm=batch_norm)
    elif trainable == "head":
        freeze_to(network, -1, batch_norm=batch_norm)
    else:
        raise SettingsError(
            f"trainable cannot be {trainable!r}. Choose one of: all, except_first, decoder, head, "
            "gradual."
        )


def freeze_to(network: nn.Module, index: int, *, batch_norm: BatchNormMode = "frozen") -> None:
    """Freeze the groups before `index`, as fastai's function of this name; -1 is the last group."""
    frozen = [item for group in parameter_groups(network)[:index] for item in group]
    _freeze(network, frozen, batch_norm)


def unfreeze_at(network: nn.Module, share: float, *, batch_norm: BatchNormMode = "frozen") -> int:
    """Freeze and unfreeze groups gradually; returns the index of the first trained group.

    The last group is trained from the start, and the others follow one by one after equal shares
    of the steps (ULMFiT, Howard and Ruder 2018). `share` is the share of steps done, 0 to 1.
    """
    count = len(layer_groups(network))
    index = max(0, count - 1 - int(share * count))
    freeze_to(network, index, batch_norm=batch_norm)
    return index


def encoder_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of the pretrained encoder.

    Raises
    ------
    SettingsError
        If the network has none.
    """
    if callable(getattr(network, "encoder_parameters", None)):
        return list(network.encoder_parameters())  # type: ignore[operator]
    return list(_encoder(network).parameters())


def set_training(network: nn.Module, batch_norm: BatchNormMode = "frozen") -> None:
    """Set training mode, except for frozen parts; call it after `freeze` and `add_lora`.

    With "frozen" and "frozen_encoder", groups without a trained parameter are in evaluation mode,
    and so is every batch norm without one. With "frozen_encoder" all batch norms of the encoder
    are, too.
    """
    network.train()
    if batch_norm in ("update", "train"):
        return
    for modules, parameters in zip(layer_groups(network), parameter_groups(network), strict=True):
        if not any(item.requires_grad for item in parameters):
            _set_eval(modules)
    _set_eval(norm for norm in _batch_norms(network) if not _is_trained(norm))
    if batch_norm == "frozen_encoder" and hasattr(network, "encoder"):
        _set_eval(_batch_norms(_encoder(network)))


def discriminative_rates(low: float | None, high: float, groups: int) -> list[float]:
    """Return a learning rate for each group, from `low` for the first to `high` for the last.

    Ratios between neighboring groups are equal, as in fastai's slice. With `low` None all but the
    last group have a tenth of `high`.

    Raises
    ------
    SettingsError
        If a rate is not above 0.
    """
    if high <= 0 or (low is not None and low <= 0):
        raise SettingsError(f"Learning rates must be above 0, got {low} to {high}.")
    if groups == 1:
        return [high]
    if low is None:
        return [high / FASTAI_LAST] * (groups - 1) + [high]
    return [low * (high / low) ** (index / (groups - 1)) for index in range(groups)]


class LowRank(nn.Module):
    """Low-rank addition to a weight: alpha / rank times the product of two thin matrices.

    Hu et al. 2021, section 4.1. The weight is flattened to a matrix (rows, ...). `rank` is the
    number of columns of `up` and of rows of `down`. The factor `alpha` is divided by it, so that
    learning rates are independent of it. The initial addition is zero, because `up` is zero.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.down = nn.Parameter(weight.new_empty(rank, columns).normal_(std=columns**-0.5))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight plus the addition."""
        return weight + self.scale * (self.up @ self.down).view_as(weight)


def add_lora(
    network: nn.Module, rank: int = 8, alpha: float = 8.0, where: str = ""
) -> list[nn.Parameter]:
    """Freeze all weights and add trainable low-rank matrices to them, initially zero.

    The addition is applied before spectral and weight norm. Layers are left out if the two matrices
    would not be smaller than the weight (few channels), if `torch.nn.utils.parametrize` already
    changes the weight, or if they are neither convolutional nor linear. `where` is a regular
    expression searched in the names of layers. The network is changed in place: its state dict has
    other keys until `merge_lora`. Returns all trainable parameters.

    Raises
    ------
    SettingsError
        If `rank` is below 1, or no layer is suitable.
    """
    if rank < 1:
        raise SettingsError(f"The rank of LoRA must be at least 1, got {rank}.")
    chosen = [
        (module, name)
        for path, module in network.named_modules()
        if re.search(where, path) and (name := _lora_target(module, rank)) is not None
    ]
    if not chosen:
        raise SettingsError(
            f"No layer of {type(network).__name__} whose name contains {where!r} is large enough "
            f"for LoRA of rank {rank}; choose a smaller rank or another name."
        )
    network.requires_grad_(False)
    trained = []
    for module, name in chosen:
        addition = LowRank(module.get_parameter(name), rank, alpha)
        parametrize.register_parametrization(module, name, addition)
        _remove_spectral_norm_hook(module)
        trained += list(addition.parameters())
    return trained


def merge_lora(network: nn.Module) -> None:
    """Add the low-rank matrices to the weights and remove them; restores the state dict's keys.

    All parameters are trainable afterwards. A network without LoRA is not changed.
    """
    for module in network.modules():
        additions = getattr(module, "parametrizations", {})
        for name in list(additions):
            if any(isinstance(item, LowRank) for item in additions[name]):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    network.requires_grad_(True)


class EMA:
    """Exponential moving average of a network's weights and of its running statistics.

    The statistics of batch norm belong to the weights with which they were measured, so they are
    averaged too: with those of the last steps, averaged weights can be worse than the last ones.
    Other buffers are copied (the vectors of spectral norm must have length 1).

    The decay rises with the steps, min(decay, (1 + step) / (10 + step)), so that the random initial
    weights have no influence after a few steps.

    `torch.optim.swa_utils.AveragedModel` is not used. It deep-copies the network, which fails for
    networks with spectral norm hooks after their first forward pass; its first update copies the
    weights instead of averaging them; its decay is constant; and saved runs have other keys.

    Parameters
    ----------
    network : nn.Module
        Network whose weights are averaged; the average is stored on its device.
    decay : float
        Share of the average that is kept in each step.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._state = {name: item.detach().clone() for name, item in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Update the average with the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (EMA_WARMUP + step))
        averaged = {name for name, _ in network.named_parameters(remove_duplicate=False)}
        for name, value in network.state_dict().items():
            average = self._state[name]
            if name in averaged or name.endswith(RUNNING_STATISTICS):
                average.lerp_(value.to(average), 1 - decay)
            else:
                average.copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged weights under the network's own names, without copying them."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the average from `state_dict`.

        Raises
        ------
        ValueError
            If it belongs to another network.
        """
        if state.keys() != self._state.keys():
            raise ValueError("The averaged weights belong to another network: their names differ.")
        for name, value in state.items():
            self._state[name].copy_(value)

    def apply_to(self, network: nn.Module) -> None:
        """Copy the averaged weights into a network."""
        network.load_state_dict(self._state)

    def restart(self, network: nn.Module) -> None:
        """Replace the average by the network's present weights."""
        self.load_state_dict(network.state_dict())


class EvaluationWeights:
    """Context in which a network has its averaged weights, if any, and is in evaluation mode.

    Its own weights, and the modes of all its parts, are restored at the end.
    """

    def __init__(self, network: nn.Module, average: EMA | None) -> None:
        self._network, self._average = network, average
        self._own: dict[str, Tensor] = {}
        self._modes: list[tuple[nn.Module, bool]] = []

    def __enter__(self) -> nn.Module:
        self._modes = [(part, part.training) for part in self._network.modules()]
        self._network.eval()
        if self._average is not None:
            state = self._network.state_dict()
            self._own = {name: item.detach().clone() for name, item in state.items()}
            self._average.apply_to(self._network)
        return self._network

    def __exit__(self, *exception: object) -> None:
        if self._average is not None:
            self._network.load_state_dict(self._own)
            self._own = {}
        for part, mode in self._modes:
            part.training = mode


def _freeze(network: nn.Module, frozen: Iterable[nn.Parameter], batch_norm: BatchNormMode) -> None:
    network.requires_grad_(True)
    for item in frozen:
        item.requires_grad_(False)
    if batch_norm == "train":
        for norm in _batch_norms(network):
            norm.requires_grad_(True)


def _encoder(network: nn.Module) -> nn.Module:
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise SettingsError(
            f"{type(network).__name__} has no encoder that could be frozen; set trainable to all."
        )
    return encoder


def _batch_norms(network: nn.Module) -> Iterator[nn.Module]:
    return (part for part in network.modules() if isinstance(part, _BatchNorm))


def _is_trained(norm: nn.Module) -> bool:
    """Whether a norm has trained parameters, or has none at all and follows its group."""
    parameters = list(norm.parameters())
    return not parameters or any(item.requires_grad for item in parameters)


def _set_eval(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        module.eval()


def _remove_spectral_norm_hook(module: nn.Module) -> None:
    """Remove spectral norm's hook for files from before 2018, which requires `weight_orig`.

    torch runs it on every state dict that was copied into a plain dict; LoRA renames that key.
    """
    for key, hook in list(module._load_state_dict_pre_hooks.items()):
        if isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook):
            del module._load_state_dict_pre_hooks[key]


def _lora_target(module: nn.Module, rank: int) -> str | None:
    """Return the name of the parameter that LoRA adds to, or None if the layer is left out."""
    if parametrize.is_parametrized(module):
        return None
    if isinstance(module, WeightNormConv2d):
        name = "weight_v"
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        # The hook of spectral norm computes `weight` from `weight_orig`.
        name = "weight_orig" if hasattr(module, "weight_orig") else "weight"
    else:
        return None
    rows, columns = module.get_parameter(name).flatten(1).shape
    return name if rank * (rows + columns) < rows * columns else None
