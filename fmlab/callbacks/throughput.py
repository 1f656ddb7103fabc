"""How fast training goes, and in how much memory."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from fmlab.modules import unpack


class Throughput(Callback):
    """Logs images a second over all devices and milliseconds an optimizer step, without the time spent in validation.

    Beside them the most memory so far, in GiB: of the first process, and of its GPU what torch has allocated there.

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
        steps = trainer.global_step - self._step
        if trainer.global_step % trainer.log_every_n_steps or steps < 1:  # type: ignore[attr-defined]
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        elapsed = time.perf_counter() - self._since
        pl_module.log_dict(
            {
                "perf/images_per_second": self._samples * trainer.world_size / elapsed,
                "perf/milliseconds_per_step": 1000 * elapsed / steps,
                **memory(pl_module.device),
            }
        )
        self._restart(trainer)


def memory(device: torch.device) -> dict[str, float]:
    """The most memory so far, in GiB: `perf/memory_gib` of this process, `perf/gpu_memory_gib` of its GPU."""
    found = {}
    if sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        found["perf/memory_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    if device.type == "cuda":
        found["perf/gpu_memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return found
