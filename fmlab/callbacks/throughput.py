"""How fast training goes."""

from __future__ import annotations

import time
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from fmlab.callbacks.step_hooks import NoStepHooks
from fmlab.modules import NetworkModule, unpack


class Throughput(NoStepHooks, Callback):
    """Logs images a second over all devices and milliseconds an optimizer step, without the time spent in validation.

    Args:
        enabled: Whether to log it.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._samples = 0
        self._step = 0
        self._since = 0.0

    def _restart(self, trainer: Trainer) -> None:
        self._samples, self._step, self._since = 0, trainer.global_step, time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restart(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restart(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._samples += len(unpack(batch).data)
        step = trainer.global_step
        if step % trainer.log_every_n_steps or step <= self._step:  # type: ignore[attr-defined]
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        elapsed = time.perf_counter() - self._since
        cast(NetworkModule, pl_module).report(
            {
                "perf/images_per_second": self._samples * trainer.world_size / elapsed,
                "perf/milliseconds_per_step": 1000 * elapsed / (step - self._step),
            }
        )
        self._restart(trainer)
