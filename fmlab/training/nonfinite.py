"""A loss or a gradient that is not finite stops the run, and never reaches a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from fmlab.errors import RunFailure, UserError
from fmlab.records import RunLayout
from fmlab.training.checkpoint_files import step_of
from fmlab.training.module import NetworkModule


class NonFinite(Callback):
    """Stops the run where the loss is not finite, naming the step, the bin of t and the last good checkpoint.

    The losses of all steps are looked at when they are reported (`trainer.log_every_n_steps`), and with the weights
    before a checkpoint is written, so that a device is not waited for at every step. A gradient that is not finite
    spoils the weights, and with them every loss of the next step.

    To skip such steps, gradients must be looked at before every step, which waits for the device. A skipped step
    changes neither weights nor optimizer, counts as a step, and is left out of the reported losses.

    Args:
        action: Stop the run, or skip the step. Where every step between two reports was skipped, the run stops too.
        enabled: Whether to look at all.
    """

    def __init__(self, action: Literal["stop", "skip"] = "stop", enabled: bool = True) -> None:
        if action not in ("stop", "skip"):
            raise UserError(f"action is stop or skip, got {action}", key="nonfinite.action")
        self.action, self.enabled = action, enabled
        self._steps = self._skipped = 0

    def logged_metrics(self, data: object) -> set[str]:
        """The names of the metrics that it logs."""
        return {"train/skipped_steps"} if self.action == "skip" else set()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        module, step = cast(NetworkModule, pl_module), trainer.global_step + 1
        if self.action == "skip":
            self._skip(trainer, module)
        if step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        self.check_losses(trainer, module, step)
        if self.action == "skip":
            module.report({"train/skipped_steps": float(self._skipped)})
            if self._steps == self._skipped:
                self._fail(trainer, f"all {self._steps} steps up to step {step} were skipped: none was finite")
            self._steps = self._skipped = 0

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        module = cast(NetworkModule, pl_module)
        self.check_losses(trainer, module, trainer.global_step)
        if not _all_finite([parameter.detach() for parameter in module.network.parameters()]):
            self._fail(trainer, f"the weights are not finite after step {trainer.global_step}")

    def check_losses(self, trainer: Trainer, module: NetworkModule, step: int) -> None:
        """Stops the run if a loss up to `step`, since the last report, is not finite; every rank enters."""
        ages = module.loss_by_time.ages_of_nonfinite()
        if trainer.world_size > 1:
            ages = cast(Tensor, trainer.strategy.reduce(ages.to(module.device), reduce_op="max"))
        oldest = int(ages.max())  # the one wait for the device
        if oldest == 0:
            return
        step -= (oldest - 1) // trainer.accumulate_grad_batches
        *by_bin, others = ages.tolist()
        if others != oldest:
            cause = f"no loss is finite in step {step}, whatever t: the gradient of step {step - 1}, or the data"
        else:
            bins = len(by_bin)
            edges = ", ".join(f"[{bin / bins:g}, {(bin + 1) / bins:g}]" for bin in range(bins) if by_bin[bin] == oldest)
            cause = f"the loss is not finite in step {step}, for t in {edges}"
        self._fail(trainer, cause)

    def _skip(self, trainer: Trainer, module: NetworkModule) -> None:
        parameters = list(module.network.parameters())
        self._steps += 1
        if not _all_finite([p.grad for p in parameters if p.grad is not None]):
            self._skipped += 1
            for parameter in parameters:
                parameter.grad = None  # optimizers leave such parameters and their state alone
            module.loss_by_time.forget(trainer.accumulate_grad_batches)

    def _fail(self, trainer: Trainer, cause: str) -> None:
        last = RunLayout(Path(trainer.default_root_dir)).last
        good = f"last good checkpoint: {last}, step {step_of(last)}" if last.exists() else "there is no checkpoint yet"
        raise RunFailure(cause, key="train/loss", hint=f"{good}; try a lower learning rate, trainer.gradient_clip_val")


def _all_finite(tensors: list[Tensor]) -> bool:
    """Whether all numbers are finite, with one wait for the device."""
    return not tensors or bool(torch.nn.utils.get_total_norm(tensors).isfinite())
