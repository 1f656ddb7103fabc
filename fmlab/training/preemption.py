"""A run that is asked to stop does so at the end of a batch, saved, on all processes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from fmlab.training.agreement import Alone, Together
from fmlab.training.checkpoints import Checkpoints
from fmlab.training.step_end import after_steps
from fmlab.training.step_hooks import NoStepHooks
from fmlab.training.stop_signals import StopRequested, StopSignals


class Preemption(NoStepHooks, Callback):
    """Stops training at the end of a step, or in the middle of a validation, once a signal asks for it.

    `last.ckpt` is written, as the state at the end of the latest step, and `StopRequested` leaves the trainer. What a
    validation had measured until then is thrown away; the resumed run begins with that validation. It comes after the
    callbacks that generate or measure in a validation.

    Args:
        signals: Where the signals arrive.
        on_death: Is told why this process ends because another one is gone.
    """

    def __init__(self, signals: StopSignals, on_death: Callable[[str], None]) -> None:
        self.signals, self.on_death = signals, on_death
        self.agreement: Alone | Together = Alone(signals)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            store = torch.distributed.PrefixStore("fmlab", torch.distributed.distributed_c10d._get_default_store())
            self.agreement = Together(self.signals, store, trainer.global_rank, trainer.world_size, self.on_death)
            self.agreement.start()
            # Lightning's way to agree on SIGTERM: a broadcast, and a wait for the device, before every batch.
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals.install()  # once more: Lightning's own handler of SIGTERM communicates from within it
        after_steps(trainer, lambda: self._close(trainer))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        # The last batch of a process is followed by the means over all of them.
        if trainer.fit_loop.epoch_loop.val_loop.batch_progress.is_last_batch:
            self._close(trainer)
        else:
            self.point(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        stops = isinstance(exception, StopRequested)
        self.agreement.leave(None if stops else exception)
        for logger in trainer.loggers if stops else []:
            if hasattr(logger, "mark_preempting"):
                logger.mark_preempting()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.agreement.leave()

    def conclude(self, last_words: Callable[[], None]) -> None:
        """After the trainer was left: the first process says the run's last words, the others end after it has."""
        self.agreement.conclude(last_words)

    def point(self, trainer: Trainer) -> None:
        """Stops here if all may: between two meetings of the processes."""
        if self.agreement.point():
            self._stop(trainer)

    def _close(self, trainer: Trainer) -> None:
        if self.agreement.close():
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        for callback in cast(Any, trainer).callbacks:
            if isinstance(callback, Checkpoints):
                callback.save_step(trainer)
        assert self.agreement.asked is not None
        raise StopRequested(self.agreement.asked, trainer.global_step)


def stop_point(trainer: Trainer) -> None:
    """To be called after each batch that a callback generates or measures: a run that is asked to stop does so here."""
    for callback in cast(Any, trainer).callbacks:
        if isinstance(callback, Preemption):
            callback.point(trainer)


def before_meeting(trainer: Trainer) -> None:
    """To be called where processes communicate after such batches, before they do."""
    for callback in cast(Any, trainer).callbacks:
        if isinstance(callback, Preemption):
            callback._close(trainer)


def _nothing() -> None:
    pass
