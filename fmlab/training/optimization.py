"""The learning-rate schedules of the published recipes, and clipping."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fmlab.errors import UserError


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


def clip_fused_too(module: LightningModule, optimizer: Optimizer, value: float | None, algorithm: str | None) -> None:
    """Clips gradients as Lightning does, and for fused optimizers too, which it refuses even without a loss scaler."""
    scaled = getattr(module.trainer.precision_plugin, "scaler", None) is not None
    by_value = algorithm is not None and algorithm != "norm"
    if not optimizer.defaults.get("fused") or scaled or by_value or not value:
        module.clip_gradients(optimizer, value, algorithm)
    else:
        # The optimizer's own list, because walking through the network takes as long as clipping.
        clip_norm([p for group in optimizer.param_groups for p in group["params"]], value)


def clip_norm(parameters: list[Tensor], value: float) -> None:
    """Scales gradients to a norm of at most `value`, as `torch.nn.utils.clip_grad_norm_` does.

    That multiplies by 1 where nothing is to be clipped, half of its time on a processor. There a look at the norm
    spares it; a GPU would have to be waited for.
    """
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    within = norm.device.type == "cpu" and bool(norm + 1e-6 <= value)  # torch divides by norm + 1e-6; NaN is not within
    if not within:
        clip_grads_with_norm_(parameters, value, norm)


def release_gradients(optimizer: Optimizer) -> None:
    """Sets gradients to None, as `optimizer.zero_grad()` does; an optimizer with a way of its own goes that way.

    torch's asks of every gradient whether it is there, which makes a Python object of each, and takes twice as long.
    """
    if type(optimizer).zero_grad is not Optimizer.zero_grad:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
