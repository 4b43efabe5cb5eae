"""A network that learns: its optimizer, its rates, and one step of learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator


FUSED = ("cpu", "cuda")  # devices on which torch steps all weights in one pass


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn at one rate.

    Parameters
    ----------
    parameters : list of Parameter
        Those of them that are frozen are left alone.
    lr : float
        Their peak rate.
    """

    parameters: list[nn.Parameter]
    lr: float


class OptimizedModule:
    """One side of the game, generator or critic.

    Parameters
    ----------
    network : nn.Module
        On the accelerator's device.
    accelerator : Accelerator
        Knows the device and the other processes.
    """

    def __init__(self, network: nn.Module, accelerator: Accelerator) -> None:
        self.network, self._accelerator = network, accelerator
        self._optimizer: torch.optim.Optimizer | None = None
        self._peaks: list[float] = []
        self._clip = 0.0

    def begin(
        self,
        groups: Sequence[ParameterGroup],
        *,
        name: str,
        betas: tuple[float, float],
        weight_decay: float,
        clip: float = 0.0,
    ) -> None:
        """Take a new optimizer for a stage."""
        kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        learning = [
            ([item for item in group.parameters if item.requires_grad], group.lr)
            for group in groups
        ]
        learning = [(items, lr) for items, lr in learning if items]
        self._peaks, self._clip = [lr for _, lr in learning], clip
        self._optimizer = kinds[name](
            [{"params": items, "lr": lr} for items, lr in learning],
            betas=betas,
            weight_decay=weight_decay,
            fused=self._accelerator.device.type in FUSED,
        )

    def set_rates(self, factor: float, beta1: float | None = None) -> float:
        """Rates as a share of their peaks, and Adam's beta1; returns the largest rate."""
        assert self._optimizer is not None  # begin comes first
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
            if beta1 is not None:
                group["betas"] = (beta1, group["betas"][1])
        return max(self._peaks) * factor

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of a loss, averaged over all processes, if it is a number."""
        assert self._optimizer is not None  # begin comes first
        self._optimizer.zero_grad(set_to_none=True)
        self._accelerator.backward(loss)
        moved = [
            item
            for group in self._optimizer.param_groups
            for item in group["params"]
            if item.grad is not None
        ]
        self._average(moved)
        # oneDNN's bfloat16 convolutions sometimes (1 in 150; several threads, maps of 2 x 2 px)
        # give gradients that are no numbers; one step in their direction would end the run.
        finite = [item.grad.isfinite().all() for item in moved if item.grad is not None]
        if not torch.stack(finite).all():  # asked once, since a GPU has to be waited for
            return
        if self._clip:
            nn.utils.clip_grad_norm_(moved, self._clip)
        self._optimizer.step()

    def all_reduce_gradients(self) -> None:
        """Every process takes the mean of all running statistics, so that networks stay one.

        On a GPU synchronised batch norm has seen to it already.
        """
        if self._accelerator.num_processes > 1 and self._accelerator.device.type == "cpu":
            self._share([item for item in self.network.buffers() if item.is_floating_point()])

    def _average(self, parameters: list[nn.Parameter]) -> None:
        """Every process takes the mean of all gradients.

        In one piece, so that frozen layers, two players and several passes through one network
        need no wrapper that counts them.
        """
        if self._accelerator.num_processes == 1:
            return
        self._share([item.grad for item in parameters if item.grad is not None])

    @torch.no_grad()
    def _share(self, tensors: list[Tensor]) -> None:
        if not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        flat = self._accelerator.reduce(flat, reduction="mean")
        for tensor, part in zip(tensors, flat.split([x.numel() for x in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def state_dict(self) -> dict[str, Any]:
        """Weights and the optimizer's memory."""
        memory = None if self._optimizer is None else self._optimizer.state_dict()
        return {"network": self.network.state_dict(), "optimizer": memory}

    def load_network(self, state: dict[str, Any]) -> None:
        """The weights of `state_dict`."""
        self.network.load_state_dict(state["network"])

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """The optimizer's memory, into one that has begun the same stage."""
        if self._optimizer is not None and state["optimizer"] is not None:
            self._optimizer.load_state_dict(state["optimizer"])
