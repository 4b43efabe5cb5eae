"""How much of a network learns: layers that stand still, small additions to weights, averages.

A network is split into groups of layers from its input to its output. `freeze`, `freeze_to` and
`unfreeze_at` choose among them, `set_training` says what batch norms do meanwhile, and
`discriminative_rates` lets early groups learn more slowly. `add_lora` trains a small set's worth of
numbers instead, of which `merge_lora` makes plain weights. `Average` follows the weights, and
`Applied` lends it to the network.
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

Unfrozen = Literal["all", "later", "decoder", "head", "gradual"]

# What batch norms do whose layers stand still. "frozen": they keep their statistics as well.
# "move": the statistics follow the new pictures (the IPOL review's program leaves its frozen
# encoder in training mode). "learn": scale and shift learn too, fastai's default and so DeOldify's.
# "kept" is "frozen", and the encoder keeps its statistics even while it learns: small batches say
# less of pictures than its pretraining did.
Statistics = Literal["frozen", "move", "learn", "kept"]

FASTAI_LAST = 10  # fastai's `slice(rate)`: the last group learns ten times as fast as the others
WARM_START = 10  # an average over few steps must not hold on to the first, random weights


def modules_of(network: nn.Module) -> list[list[nn.Module]]:
    """A network's parts in groups, in the order in which a picture meets them.

    As its own `layer_groups()` says; without it `network.encoder` and the rest; without an encoder
    one group.
    """
    if callable(getattr(network, "layer_groups", None)):
        return [list(group) for group in network.layer_groups()]  # type: ignore[operator]
    children = dict(network.named_children())
    encoder = children.pop("encoder", None)
    return [[network]] if encoder is None else [[encoder], list(children.values())]


def groups_of(network: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of each group of `modules_of`, every one of the network's exactly once."""
    groups: list[list[nn.Parameter]] = []
    seen: set[int] = set()
    for modules in [*modules_of(network), [network]]:
        found = [item for module in modules for item in module.parameters()]
        unique = {id(item): item for item in found if id(item) not in seen}
        seen |= unique.keys()
        groups.append(list(unique.values()))
    loose = groups.pop()  # the network's own, in none of its parts
    groups[-1].extend(loose)
    return groups


def freeze(network: nn.Module, unfrozen: Unfrozen, *, statistics: Statistics = "frozen") -> None:
    """Let only some of a network learn.

    Parameters
    ----------
    network : nn.Module
        Whose parameters are told whether they get gradients.
    unfrozen : {"all", "later", "decoder", "head", "gradual"}
        Everything; all but the first group of layers; all but the encoder; the last group. With
        "gradual" it is everything until `unfreeze_at` chooses, so that an optimizer made now knows
        all that will learn.
    statistics : {"frozen", "move", "learn", "kept"}
        See `Statistics`; `set_training` wants the same.

    Raises
    ------
    SettingsError
        If the network has no encoder to be frozen, or there is no such choice.
    """
    if unfrozen in ("all", "gradual"):
        network.requires_grad_(True)
    elif unfrozen == "decoder":
        _freeze(network, encoder_parameters(network), statistics)
    elif unfrozen == "later":
        freeze_to(network, 1, statistics=statistics)
    elif unfrozen == "head":
        freeze_to(network, -1, statistics=statistics)
    else:
        raise SettingsError(
            f"unfrozen cannot be {unfrozen!r}. Choose one of: all, later, decoder, head, gradual."
        )


def freeze_to(network: nn.Module, index: int, *, statistics: Statistics = "frozen") -> None:
    """Let the groups from `index` on learn, as fastai's function of this name; -1 is the last."""
    still = [item for group in groups_of(network)[:index] for item in group]
    _freeze(network, still, statistics)


def unfreeze_at(network: nn.Module, share: float, *, statistics: Statistics = "frozen") -> int:
    """Gradual unfreezing: let learn what should after a share of the steps.

    The last group learns from the start, and the others join it one by one after equal times:
    ULMFiT's way (Howard and Ruder 2018). Returns the index of the first group that learns.
    """
    count = len(modules_of(network))
    index = max(0, count - 1 - int(share * count))
    freeze_to(network, index, statistics=statistics)
    return index


def encoder_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of the pretrained part.

    Raises
    ------
    SettingsError
        If the network has none.
    """
    if callable(getattr(network, "encoder_parameters", None)):
        return list(network.encoder_parameters())  # type: ignore[operator]
    return list(_encoder(network).parameters())


def set_training(network: nn.Module, statistics: Statistics = "frozen") -> None:
    """Training mode, but for what stands still; to be called after `freeze` and `add_lora`.

    With "frozen" and "kept", groups none of whose parameters learns are in evaluation mode, and so
    is every batch norm whose own parameters do not learn. With "kept" so are the encoder's, too.
    """
    network.train()
    if statistics in ("move", "learn"):
        return
    for modules, parameters in zip(modules_of(network), groups_of(network), strict=True):
        if not any(item.requires_grad for item in parameters):
            _evaluate(modules)
    _evaluate(norm for norm in _norms(network) if not _learns(norm))
    if statistics == "kept" and hasattr(network, "encoder"):
        _evaluate(_norms(_encoder(network)))


def discriminative_rates(low: float | None, high: float, groups: int) -> list[float]:
    """A rate for each group, from `low` for the first to `high` for the last, as fastai's slice.

    The steps between are equal factors. With `low` None all but the last group have a tenth of
    `high`.

    Raises
    ------
    SettingsError
        If a rate is not above 0.
    """
    if high <= 0 or (low is not None and low <= 0):
        raise SettingsError(f"Rates must be above 0, got {low} to {high}.")
    if groups == 1:
        return [high]
    if low is None:
        return [high / FASTAI_LAST] * (groups - 1) + [high]
    return [low * (high / low) ** (index / (groups - 1)) for index in range(groups)]


class LowRank(nn.Module):
    """What LoRA adds to a weight: alpha / rank times a product of two thin matrices.

    Hu et al. 2021, section 4.1. A new one adds nothing, since `up` is zero.

    Parameters
    ----------
    weight : Tensor, shape (rows, ...)
        Of a convolution or a linear layer; taken as a matrix of so many rows.
    rank : int
        Columns of `up` and rows of `down`.
    alpha : float
        Factor on the addition; divided by `rank`, so that rates need not change with it.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.down = nn.Parameter(weight.new_empty(rank, columns).normal_(std=columns**-0.5))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """A weight of any shape, and the addition."""
        return weight + self.scale * (self.up @ self.down).view_as(weight)


def add_lora(
    network: nn.Module, rank: int = 8, alpha: float = 8.0, where: str = ""
) -> list[nn.Parameter]:
    """Let only low-rank additions to the weights learn, which start at zero.

    The addition stands before spectral and weight norm, where these are. Left out are
    weights that a pair of thin matrices would not be smaller than (of few channels), those that
    `torch.nn.utils.parametrize` changes already, and whatever is neither convolution nor linear.

    Parameters
    ----------
    network : nn.Module
        Changed in place: its state dict has other keys until `merge_lora`.
    rank : int
        Of the additions.
    alpha : float
        See `LowRank`.
    where : str
        Regular expression that a layer's name must contain; all layers by default.

    Returns
    -------
    list of nn.Parameter
        All that learns now.

    Raises
    ------
    SettingsError
        If `rank` is below 1, or no layer is left.
    """
    if rank < 1:
        raise SettingsError(f"The rank of LoRA must be 1 or more, got {rank}.")
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
    learned = []
    for module, name in chosen:
        addition = LowRank(module.get_parameter(name), rank, alpha)
        parametrize.register_parametrization(module, name, addition)
        _forget_old_files(module)
        learned += list(addition.parameters())
    return learned


def merge_lora(network: nn.Module) -> None:
    """Make the additions part of the weights; the state dict has its plain keys again.

    All of the network may learn afterwards. A network without LoRA is left as it is.
    """
    for module in network.modules():
        additions = getattr(module, "parametrizations", {})
        for name in list(additions):
            if any(isinstance(item, LowRank) for item in additions[name]):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    network.requires_grad_(True)


class EMA:
    """An exponential moving average of a network's weights; buffers are the newest.

    The decay rises with the steps, min(decay, (1 + step) / (10 + step)), so that the first,
    random weights are soon forgotten.

    Parameters
    ----------
    network : nn.Module
        Whose weights are followed; the average stays on their device.
    decay : float
        Share of the average that a step keeps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._state = {name: item.detach().clone() for name, item in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (WARM_START + step))
        learned = {name for name, _ in network.named_parameters(remove_duplicate=False)}
        for name, value in network.state_dict().items():
            average = self._state[name]
            if name in learned:
                average.lerp_(value.to(average), 1 - decay)
            else:
                average.copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights under the network's own names; not a copy."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state_dict`.

        Raises
        ------
        ValueError
            If it is of another network.
        """
        if state.keys() != self._state.keys():
            raise ValueError("These averaged weights are those of another network.")
        for name, value in state.items():
            self._state[name].copy_(value)

    def apply_to(self, network: nn.Module) -> None:
        """Put the averaged weights into a network."""
        network.load_state_dict(self._state)

    def restart(self, network: nn.Module) -> None:
        """Forget the past: the average is what the network has now."""
        self.load_state_dict(network.state_dict())


class Applied:
    """For a `with` block a network has its averaged weights and is in evaluation mode.

    Parameters
    ----------
    network : nn.Module
        Gets its own weights back, and every part its mode.
    average : Average or None
        Without one the network keeps its weights.
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


def _freeze(network: nn.Module, still: Iterable[nn.Parameter], statistics: Statistics) -> None:
    network.requires_grad_(True)
    for item in still:
        item.requires_grad_(False)
    if statistics == "learn":
        for norm in _norms(network):
            norm.requires_grad_(True)


def _encoder(network: nn.Module) -> nn.Module:
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise SettingsError(
            f"{type(network).__name__} has no encoder that could stand still; let all of it learn."
        )
    return encoder


def _norms(network: nn.Module) -> Iterator[nn.Module]:
    return (part for part in network.modules() if isinstance(part, _BatchNorm))


def _learns(norm: nn.Module) -> bool:
    """Whether a norm's parameters do; one without any follows its group."""
    parameters = list(norm.parameters())
    return not parameters or any(item.requires_grad for item in parameters)


def _evaluate(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        module.eval()


def _forget_old_files(module: nn.Module) -> None:
    """Drop spectral norm's cure for files of before 2018, which demands a key `weight_orig`.

    It is applied to every state dict that was copied into a plain dict; LoRA's key is another.
    """
    for key, hook in list(module._load_state_dict_pre_hooks.items()):
        if isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook):
            del module._load_state_dict_pre_hooks[key]


def _lora_target(module: nn.Module, rank: int) -> str | None:
    """The name of the parameter that LoRA adds to, or None if the layer is left out."""
    if parametrize.is_parametrized(module):
        return None
    if isinstance(module, WeightNormConv2d):
        name = "weight_v"
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        # Where the spectral norm's hook is, `weight` is what it computes.
        name = "weight_orig" if hasattr(module, "weight_orig") else "weight"
    else:
        return None
    rows, columns = module.get_parameter(name).flatten(1).shape
    return name if rank * (rows + columns) < rows * columns else None
