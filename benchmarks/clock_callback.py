"""The clock as a callback: all that is added to `fmlab fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clock import Clock, write
from lightning.pytorch import Callback, LightningModule, Trainer


class ClockCallback(Callback):
    """Measures a run and writes the measurement to a file.

    Args:
        first: The step at whose end measuring begins.
        last: The step at whose end it ends.
        file: Where the measurement goes.
    """

    def __init__(self, first: int, last: int, file: str) -> None:
        self.first, self.last, self.file = first, last, Path(file)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.clock = Clock(self.first, self.last, pl_module.device)
        self.clock.start(pl_module.network)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.clock.tick(trainer.global_step)
        if trainer.global_step == self.last:
            write(self.clock.measurement(), self.file)
