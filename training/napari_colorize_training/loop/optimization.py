"""A network with its optimizer: learning rates, one optimization step, gradient averaging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator

FUSED = ("cpu", "cuda")  # devices on which torch updates all weights in one kernel


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with a common learning rate."""

    parameters: list[nn.Parameter]  # frozen ones among them are not optimized
    lr: float  # peak learning rate


class OptimizedModule:
    """A generator or critic on the accelerator's device, with its optimizer."""

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
        decay_biases: bool = True,
        clip: float = 0.0,
    ) -> None:
        """Make a new optimizer, for the parameters of the groups that require gradients.

        With `decay_biases` False parameters with one dimension have no weight decay. `clip` is the
        largest norm of the gradient; 0 for no limit.
        """
        kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        trained: list[dict[str, Any]] = []
        for group in groups:
            items = [item for item in group.parameters if item.requires_grad]
            biases = [] if decay_biases else [item for item in items if item.ndim <= 1]
            matrices = items if decay_biases else [item for item in items if item.ndim > 1]
            trained += [
                {"params": part, "lr": group.lr, "weight_decay": decay}
                for part, decay in ((matrices, weight_decay), (biases, 0.0))
                if part
            ]
        self._peaks, self._clip = [part["lr"] for part in trained], clip
        self._optimizer = kinds[name](
            trained,
            betas=betas,
            fused=self._accelerator.device.type in FUSED,
        )

    def set_rates(self, factor: float, beta1: float | None = None) -> float:
        """Set learning rates as a share of their peaks, and beta1; returns the largest rate."""
        assert self._optimizer is not None  # begin comes first
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
            if beta1 is not None:
                group["betas"] = (beta1, group["betas"][1])
        return max(self._peaks) * factor

    def step(self, loss: Tensor) -> None:
        """Update the weights with the gradient of a loss, averaged over all processes.

        Nothing is updated if the gradient is not finite.
        """
        assert self._optimizer is not None  # begin comes first
        self._optimizer.zero_grad(set_to_none=True)
        self._accelerator.backward(loss)
        updated = [
            item
            for group in self._optimizer.param_groups
            for item in group["params"]
            if item.grad is not None
        ]
        self._all_reduce_gradients(updated)
        # oneDNN's bfloat16 convolutions sometimes (1 in 150; several threads, maps of 2 x 2 px)
        # return gradients with NaN; one update with them would end the run.
        finite = [item.grad.isfinite().all() for item in updated if item.grad is not None]
        if not torch.stack(finite).all():  # one comparison, because it synchronizes with a GPU
            return
        if self._clip:
            nn.utils.clip_grad_norm_(updated, self._clip)
        self._optimizer.step()

    def all_reduce_buffers(self) -> None:
        """Average the running statistics over all processes, so that their networks stay equal.

        On a GPU synchronized batch norm has done so already.
        """
        if self._accelerator.num_processes > 1 and self._accelerator.device.type == "cpu":
            self._all_reduce([item for item in self.network.buffers() if item.is_floating_point()])

    def _all_reduce_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Average the gradients over all processes.

        `DistributedDataParallel` is not used: it expects every parameter in every backward pass,
        which fails with frozen layers, two networks and several passes through one network.
        """
        if self._accelerator.num_processes == 1:
            return
        self._all_reduce([item.grad for item in parameters if item.grad is not None])

    @torch.no_grad()
    def _all_reduce(self, tensors: list[Tensor]) -> None:
        if not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        flat = self._accelerator.reduce(flat, reduction="mean")
        for tensor, part in zip(tensors, flat.split([x.numel() for x in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def state_dict(self) -> dict[str, Any]:
        """Return the weights and the optimizer's state."""
        optimizer = None if self._optimizer is None else self._optimizer.state_dict()
        return {"network": self.network.state_dict(), "optimizer": optimizer}

    def load_network(self, state: dict[str, Any]) -> None:
        """Restore the weights from `state_dict`."""
        self.network.load_state_dict(state["network"])

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Restore the optimizer's state from `state_dict`, after `begin` of the same stage."""
        if self._optimizer is not None and state["optimizer"] is not None:
            self._optimizer.load_state_dict(state["optimizer"])
