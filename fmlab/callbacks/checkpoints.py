"""The last state of a run, to go on from, and the best one by its metric."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from fmlab.callbacks.step_hooks import NoStepHooks
from fmlab.errors import UserError, nearest


class Checkpoints(NoStepHooks, Checkpoint):
    """Writes `checkpoints/last.ckpt` regularly and at the end, and `checkpoints/best.ckpt` when the metric improves.

    Both are written beside their place and renamed, so that they are whole or not there (Lightning's own temporary
    file may lie on another file system). Nothing is written from the middle of a step: after a kill or an exception
    `last.ckpt` is a state that repeats bit for bit.

    Args:
        every_n_steps: Optimizer steps between two writes of `last.ckpt`.
        monitor: The metric whose best value marks `best.ckpt`; left out, the first metric of the samples, else
            `val/loss`.
        mode: Whether less or more of the metric is better.
        enabled: Whether to write checkpoints.
    """

    def __init__(
        self, every_n_steps: int = 1000, monitor: str | None = None, mode: str = "min", enabled: bool = True
    ) -> None:
        if mode not in ("min", "max"):
            raise UserError(f"mode is min or max, got {mode}", key="checkpoint.mode")
        if every_n_steps < 1:
            raise UserError(f"at least 1, got {every_n_steps}", key="checkpoint.every_n_steps")
        self.every_n_steps, self.monitor, self.mode, self.enabled = every_n_steps, monitor, mode, enabled
        self.best_name: str | None = None
        self.best_score: float | None = None
        self.best_step = 0
        self._saved_step = -1

    @property
    def state_key(self) -> str:
        return "Checkpoints"

    def state_dict(self) -> dict[str, Any]:
        return {"best_name": self.best_name, "best_score": self.best_score, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_name = state_dict["best_name"]
        self.best_score, self.best_step = state_dict["best_score"], state_dict["best_step"]

    def directory(self, trainer: Trainer) -> Path:
        """Where the checkpoints lie."""
        return Path(trainer.default_root_dir) / "checkpoints"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_step = trainer.global_step
        if trainer.is_global_zero:
            for torn in self.directory(trainer).glob("*.part"):
                torn.unlink()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        # The last step too is saved here: at the end of training Lightning counts a broken-off epoch as a whole one,
        # and a run prolonged from there would skip the rest of its data.
        step = trainer.global_step
        due = step % self.every_n_steps == 0 or step == trainer.max_steps
        if due and step != self._saved_step:
            self._save(trainer, "last.ckpt")
            self._saved_step = step

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        name = self.monitored(trainer)
        if name is None:
            return
        score = float(trainer.callback_metrics[name])
        sign = 1 if self.mode == "min" else -1
        if math.isfinite(score) and (self.best_score is None or sign * score < sign * self.best_score):
            self.best_name, self.best_score, self.best_step = name, score, trainer.global_step
            self._save(trainer, "best.ckpt")

    def monitored(self, trainer: Trainer) -> str | None:
        """The metric that decides, or None while there is none yet.

        Raises:
            UserError: If the metric asked for was not logged by the validation.
        """
        logged = trainer.callback_metrics
        if self.monitor is None:
            starts = ("val/fid", "val/w2", "val/loss")
            preferred = [name for start in starts for name in logged if name.startswith(start)]
            return preferred[0] if preferred else None
        if self.monitor not in logged:
            names = [name for name in logged if name.startswith("val/")]
            cause = f"no metric {self.monitor} in the validation"
            raise UserError(cause, key="checkpoint.monitor", hint=nearest(self.monitor, names))
        return self.monitor

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step != self._saved_step:
            self._save(trainer, "last.ckpt")

    def _save(self, trainer: Trainer, name: str) -> None:
        """Every rank enters; rank zero writes beside the target and renames."""
        target = self.directory(trainer) / name
        part = target.with_suffix(".part")
        trainer.save_checkpoint(part, weights_only=False)
        if trainer.is_global_zero:
            os.replace(part, target)
        trainer.strategy.barrier("checkpoint")
