"""Progress for those who watch from elsewhere: plain lines in a log file, and the step in the run's status."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from fmlab.records import RunLayout, write_status
from fmlab.training.step_hooks import NoStepHooks


class LineProgress(NoStepHooks, ProgressBar):
    """Prints one line every few seconds and one after each validation; for log files.

    Args:
        seconds: The least time between two lines.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._printed = 0.0
        self._started = 0.0
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._printed = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        now = time.monotonic()
        if now - self._printed >= self.seconds:
            self._line(trainer, now)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._line(trainer, time.monotonic())

    def _line(self, trainer: Trainer, now: float) -> None:
        self._printed = now
        if not self._enabled or not trainer.is_global_zero:
            return
        metrics = trainer.progress_bar_metrics
        shown = "  ".join(f"{k} {v:.4g}" for k, v in metrics.items() if isinstance(v, (int, float)) and k != "v_num")
        of = f"/{trainer.max_steps}" if trainer.max_steps > 0 else ""
        print(f"step {trainer.global_step}{of}  {now - self._started:.0f}s  {shown}", flush=True)


class Heartbeat(NoStepHooks, Callback):
    """Writes the step into the run's status every few seconds, so that others see it live."""

    def __init__(self, layout: RunLayout, seconds: float = 10.0) -> None:
        self.layout, self.seconds, self._last = layout, seconds, 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self._last > self.seconds:
            self._last = now
            write_status(self.layout, "running", step=trainer.global_step)
