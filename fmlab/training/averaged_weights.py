"""Exponentially averaged weights of the network, held beside it and never swapped into it."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.training.module import NetworkModule


class AveragedWeights(Callback):
    """Averages the network's parameters over training; validation and sampling use the first average.

    Each average is a network of its own, which validation calls in place of the trained one. Nothing is swapped, so a
    checkpoint written in the middle of a validation, or after an exception in one, is as correct as any other.
    Buffers are copied, not averaged. The averages travel in the checkpoint under this callback's name.

    Args:
        decay: The decay a step, or several; the first is the one that validation uses.
        warmup: At step n use at most (1 + n) / (10 + n), so that early averages forget the random start.
        enabled: Whether to average at all.
    """

    state_key = "AveragedWeights"

    def __init__(self, decay: float | list[float] = 0.9999, warmup: bool = True, enabled: bool = True) -> None:
        self.decays = [decay] if isinstance(decay, (int, float)) else decay
        if not self.decays or not all(0 <= value < 1 for value in self.decays):
            raise UserError(f"a decay lies in [0, 1), got {decay}", key="ema.decay")
        if len(set(self.decays)) < len(self.decays):
            raise UserError(f"the decays must differ, got {decay}", key="ema.decay")
        self.warmup, self.enabled = warmup, enabled
        self.step = 0
        self.networks: dict[str, nn.Module] = {}
        self._loaded: dict[str, Any] = {}
        self._parameters: list[list[Tensor]] = []  # listed once: walking through modules outlasts averaging

    def decay_at(self, decay: float, step: int) -> float:
        """The decay used at the `step`-th update, counted from 1."""
        return min(decay, (1 + step) / (10 + step)) if self.warmup else decay

    @torch.no_grad()
    def update(self) -> None:
        """One averaging step of every average towards the network."""
        self.step += 1
        parameters, *averages = self._parameters
        for decay, average in zip(self.decays, averages):
            torch._foreach_lerp_(average, parameters, 1 - self.decay_at(decay, self.step))

    @torch.no_grad()
    def prepare(self, pl_module: LightningModule) -> None:
        """Makes the averages where they do not exist yet, from the checkpoint if one was loaded; copies the buffers."""
        module = cast(NetworkModule, pl_module)
        if not self.networks:
            for decay in map(str, self.decays):
                self.networks[decay] = copy.deepcopy(module.network).eval().requires_grad_(False)
                if decay in self._loaded:
                    self.networks[decay].load_state_dict(self._loaded[decay])
            self._loaded = {}
        module.averaged = self.networks
        self._parameters = [list(network.parameters()) for network in (module.network, *self.networks.values())]
        for average in self.networks.values():
            for target, source in zip(average.buffers(), module.network.buffers()):
                target.copy_(source)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.prepare(pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step > self.step:  # not while gradients accumulate
            self.update()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.prepare(pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.prepare(pl_module)

    def state_dict(self) -> dict[str, Any]:
        averages = {decay: network.state_dict() for decay, network in self.networks.items()}
        return {"step": self.step, "averages": averages or self._loaded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.step, self._loaded = state_dict["step"], state_dict["averages"]
        missing = [str(decay) for decay in self.decays if str(decay) not in self._loaded]
        if missing:
            cause = f"the checkpoint holds no average of decay {', '.join(missing)}"
            raise UserError(cause, key="ema.decay", hint=f"it holds: {', '.join(self._loaded)}")
