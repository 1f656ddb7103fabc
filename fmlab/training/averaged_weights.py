"""Exponentially averaged weights of the network, held beside it and never swapped into it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
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

    def __init__(self, decay: float | list[float] = 0.9999, warmup: bool = True, enabled: bool = True) -> None:
        self.decays: Sequence[float] = [decay] if isinstance(decay, (int, float)) else decay
        if not self.decays or not all(0 <= value < 1 for value in self.decays):
            raise UserError(f"a decay lies in [0, 1), got {decay}", key="ema.decay")
        if len(set(self.decays)) < len(self.decays):
            raise UserError(f"the decays must differ, got {decay}", key="ema.decay")
        self.warmup, self.enabled = warmup, enabled
        self.step = 0
        self.networks: dict[str, nn.Module] = {}
        self._loaded: dict[str, Any] = {}
        self._listed: tuple[nn.Module, list[list[Tensor]]] | None = None

    @property
    def state_key(self) -> str:
        return "AveragedWeights"

    def decay_at(self, decay: float, step: int) -> float:
        """The decay used at the `step`-th update, counted from 1."""
        return min(decay, (1 + step) / (10 + step)) if self.warmup else decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """One averaging step of every average towards `network`."""
        self.step += 1
        parameters, *averages = self._parameters(network)
        for decay, average in zip(self.decays, averages):
            torch._foreach_lerp_(average, parameters, 1 - self.decay_at(decay, self.step))

    def _parameters(self, network: nn.Module) -> list[list[Tensor]]:
        """The parameters of `network` and of every average, listed once: walking through modules outlasts averaging."""
        if self._listed is None or self._listed[0] is not network:
            networks = [network, *self.networks.values()]
            self._listed = (network, [list(each.parameters()) for each in networks])
        return self._listed[1]

    def prepare(self, pl_module: LightningModule) -> None:
        """Makes the averages where they do not exist yet, from the checkpoint if one was loaded."""
        module = cast(NetworkModule, pl_module)
        if not self.networks:
            for decay in self.decays:
                average = copy.deepcopy(module.network).eval().requires_grad_(False)
                if str(decay) in self._loaded:
                    average.load_state_dict(self._loaded[str(decay)])
                self.networks[str(decay)] = average
            self._loaded = {}
        module.averaged, self._listed = self.networks, None

    @torch.no_grad()
    def copy_buffers(self, pl_module: LightningModule) -> None:
        """Gives every average the network's buffers as they are."""
        for average in self.networks.values():
            for target, source in zip(average.buffers(), cast(NetworkModule, pl_module).network.buffers()):
                target.copy_(source)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.prepare(pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step > self.step:  # not while gradients accumulate
            self.update(cast(NetworkModule, pl_module).network)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.prepare(pl_module)
        self.copy_buffers(pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.copy_buffers(pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "averages": {name: network.state_dict() for name, network in self.networks.items()} or self._loaded,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.step, self._loaded = state_dict["step"], state_dict["averages"]
        missing = [str(decay) for decay in self.decays if str(decay) not in self._loaded]
        if missing:
            raise UserError(
                f"the checkpoint holds no average of decay {', '.join(missing)}",
                key="ema.decay",
                hint=f"it holds: {', '.join(self._loaded)}",
            )
