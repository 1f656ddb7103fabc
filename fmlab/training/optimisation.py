"""The learning-rate schedules of the published recipes, and the groups in which an optimizer sees the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from fmlab.errors import UserError

OptimizerFactory = Callable[[Iterable[Any]], Optimizer]
"""Makes the optimizer of parameters; in a configuration, an optimizer's class with all arguments but these."""

LRSchedulerFactory = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]
"""Makes the learning-rate schedule of an optimizer; in a configuration, a schedule's class likewise."""

WeightDecayOn = Literal["all", "matrices"]


class WarmupConstant(LRScheduler):
    """A linear warm-up, then the optimizer's own learning rate.

    Args:
        optimizer: The optimizer.
        warmup_steps: Optimizer steps until the full rate; step n of the warm-up uses n / warmup_steps of it.
    """

    _lengths = ("warmup_steps", "total_steps", "final")

    def __init__(self, optimizer: Optimizer, warmup_steps: int = 0) -> None:
        if warmup_steps < 0:
            raise UserError(f"warmup_steps is not negative, got {warmup_steps}", key="warmup_steps")
        self.warmup_steps = warmup_steps
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """The share of the full rate at an optimizer step, counted from 0."""
        return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands, not how long it is: a run may be prolonged."""
        return {key: value for key, value in super().state_dict().items() if key not in self._lengths}

    def get_lr(self) -> list[float | Tensor]:
        return [rate * self.factor(self.last_epoch) for rate in self.base_lrs]


class WarmupCosine(WarmupConstant):
    """A linear warm-up, then half a cosine down to `final` of the rate at `total_steps`.

    Args:
        optimizer: The optimizer.
        total_steps: The optimizer steps of the whole run, usually `${trainer.max_steps}`.
        warmup_steps: Optimizer steps until the full rate.
        final: The share of the full rate at the end, in [0, 1].
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> None:
        if total_steps < 1:
            raise UserError(
                f"a cosine needs to know its end, got {total_steps} steps",
                key="total_steps",
                hint="write total_steps: ${trainer.max_steps}, and give trainer.max_steps",
            )
        self.total_steps, self.final = total_steps, final
        super().__init__(optimizer, warmup_steps)

    def factor(self, step: int) -> float:
        if step < self.warmup_steps:
            return super().factor(step)
        falls = max(self.total_steps - self.warmup_steps, 1)  # a run may be no longer than its warm-up
        progress = min(1.0, (step - self.warmup_steps) / falls)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


def parameter_groups(network: nn.Module, weight_decay_on: WeightDecayOn = "all") -> Any:
    """What an optimizer is made from: all parameters in one flat list, or two groups, of which one is not decayed.

    Args:
        network: The network.
        weight_decay_on: `all` parameters, or `matrices`, the weights of layers that multiply; the rest are biases,
            norms and embeddings.

    Raises:
        UserError: If there is no such choice.
    """
    if weight_decay_on == "all":
        return network.parameters()
    if weight_decay_on != "matrices":
        cause = f"weight decay is on all or on matrices, not on {weight_decay_on}"
        raise UserError(cause, key="model.weight_decay_on")
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for parameter in network.parameters():
        (matrices if parameter.ndim >= 2 and id(parameter) not in tables else rest).append(parameter)
    return [{"params": matrices}, {"params": rest, "weight_decay": 0.0}]
