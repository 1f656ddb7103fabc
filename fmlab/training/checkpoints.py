"""The last state of a run, to go on from, and the best one by its metric."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from fmlab.errors import UserError, nearest
from fmlab.records import RunLayout, count_rows
from fmlab.records.atomic import make_folder
from fmlab.training.checkpoint_files import write_checkpoint
from fmlab.training.generation import datamodule
from fmlab.training.interruption import (
    after_steps,
    count_next_epoch,
    instead_of_training,
    loops_after_step,
    step_may_be_last,
    validate_now,
    validation_is_due,
    whole_state,
)


class Checkpoints(Checkpoint):
    """Writes `checkpoints/last.ckpt` regularly and at the end, and `checkpoints/best.ckpt` when the metric improves.

    Kept are these two and `previous.ckpt`, which `last.ckpt` was before; older ones are overwritten. Each is written
    beside its place, to the disk, and then renamed, so that it is whole or not there. Every one is the state at the end
    of a step: from it a run repeats itself bit for bit, whenever it was written. Where a validation was due after that
    step and had not ended, a resumed run begins with it.

    Args:
        every_n_steps: Optimizer steps between two writes of `last.ckpt`.
        monitor: The metric whose best value marks `best.ckpt`; left out, the first metric of the samples, else
            `val/loss`.
        mode: Whether less or more of the metric is better.
        enabled: Whether to write checkpoints.
    """

    state_key = "Checkpoints"

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
        # The end of the latest step whose state may be wanted later: the step, Lightning's loops, the rows of the log.
        self._step_end: tuple[int, dict[str, Any], int] = (-1, {}, 0)
        self._validation_due = False

    def state_dict(self) -> dict[str, Any]:
        best = {"best_name": self.best_name, "best_score": self.best_score, "best_step": self.best_step}
        return {**best, "validation_due": self._validation_due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_name, self.best_score = state_dict["best_name"], state_dict["best_score"]
        self.best_step, self._validation_due = state_dict["best_step"], state_dict["validation_due"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        step, loops, rows = self._step_end
        if step != trainer.global_step:
            return
        checkpoint["loops"]["fit_loop"] = loops
        # A validation that has not ended will be made again, and its row, if it is there already, written again.
        checkpoint["callbacks"][self.state_key]["rows"] = rows if self._validation_due else self._rows(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        rows = checkpoint["callbacks"].get(self.state_key, {}).get("rows", 0)
        self._step_end = (checkpoint["global_step"], copy.deepcopy(checkpoint["loops"]["fit_loop"]), rows)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        names = _names_of_metrics(trainer, pl_module)
        if names and "_t_bin_" not in str(self.monitor):
            self._check_monitor(names)  # rather now than at the first validation
        after_steps(trainer, lambda: self.on_step_end(trainer))
        instead_of_training(trainer, lambda: self._validate_at_the_end(trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        count_next_epoch(trainer)
        self._saved_step = trainer.global_step
        if self._validation_due:
            validate_now(trainer)

    def on_step_end(self, trainer: Trainer) -> None:
        """After every step; the last one is saved here too, before Lightning counts its epoch as whole."""
        step = trainer.global_step
        self._validation_due = validation_is_due(trainer)
        if self._validation_due or step == trainer.max_steps or step_may_be_last(trainer):
            self._remember(trainer)
        if step % self.every_n_steps == 0 or step == trainer.max_steps:
            self.save_step(trainer)

    def save_step(self, trainer: Trainer) -> None:
        """Writes `last.ckpt` at the end of a step, or in the validation that follows it; every rank enters."""
        if self._step_end[0] != trainer.global_step:
            self._remember(trainer)
        self._save_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save_last(trainer)

    def _save_last(self, trainer: Trainer) -> None:
        if trainer.global_step != self._saved_step:
            self._save(trainer, _layout(trainer).last, _layout(trainer).previous)
            self._saved_step = trainer.global_step

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes `best.ckpt` if the validation that ends here was the best so far."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        self._validation_due = False
        name = self.monitored(trainer)
        score = math.nan if name is None else float(trainer.callback_metrics[name])
        sign = 1 if self.mode == "min" else -1
        if math.isfinite(score) and (self.best_score is None or sign * score < sign * self.best_score):
            self.best_name, self.best_score, self.best_step = name, score, trainer.global_step
            self._save(trainer, _layout(trainer).best)
        if trainer.global_step == self._saved_step == trainer.max_steps:
            self._save(trainer, _layout(trainer).last)  # once more: a finished run need not validate again

    def monitored(self, trainer: Trainer) -> str | None:
        """The metric that decides, or None while there is none yet.

        Raises:
            UserError: If the metric asked for was not logged by the validation.
        """
        logged = trainer.callback_metrics
        if self.monitor is None:
            starts = ("val/fid", "val/w2", "val/loss")
            return next((name for start in starts for name in logged if name.startswith(start)), None)
        self._check_monitor(logged)
        return self.monitor

    def _check_monitor(self, logged: Iterable[str]) -> None:
        if self.monitor is not None and self.monitor not in logged:
            names = [name for name in logged if name.startswith("val/")]
            cause = f"no metric {self.monitor} in the validation"
            raise UserError(cause, key="checkpoint.monitor", hint=nearest(self.monitor, names))

    def _validate_at_the_end(self, trainer: Trainer) -> bool:
        """Makes up for the last validation of a run that was stopped in it, after all of its steps."""
        if not (self._validation_due and trainer.global_step >= trainer.max_steps > 0):
            return False
        self._saved_step = trainer.global_step
        validate_now(trainer)
        return True

    def _remember(self, trainer: Trainer) -> None:
        self._step_end = (trainer.global_step, loops_after_step(trainer), self._rows(trainer))

    def _rows(self, trainer: Trainer) -> int:
        return count_rows(_layout(trainer).metrics) if trainer.is_global_zero else 0

    def _save(self, trainer: Trainer, target: Path, previous: Path | None = None) -> None:
        """Every rank enters; rank zero writes."""
        state = whole_state(trainer)
        if trainer.is_global_zero:
            make_folder(target.parent)
            write_checkpoint(state, target, previous)
        trainer.strategy.barrier("checkpoint")


def _names_of_metrics(trainer: Trainer, pl_module: LightningModule) -> set[str]:
    """The names of all metrics that will be logged; empty where a part is the user's own, which does not say."""
    callbacks: list[Any] = cast(Any, trainer).callbacks
    modules = [type(part).__module__ for part in (pl_module, datamodule(trainer), *callbacks)]
    if not all(module.startswith(("fmlab.", "lightning.")) for module in modules):
        return set()
    parts = [callback for callback in callbacks if hasattr(callback, "logged_metrics")]
    logged: frozenset[str] = cast(Any, pl_module).LOGGED_METRICS
    return set(logged).union(*(part.logged_metrics(datamodule(trainer)) for part in parts))


def _layout(trainer: Trainer) -> RunLayout:
    return RunLayout(Path(trainer.default_root_dir))
