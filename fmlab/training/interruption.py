"""The exact stop: a run that is asked to stop does so at the end of a batch, saved, on all processes at once.

Why Lightning's private parts are touched here. Lightning saves from hooks; but between the end of a step (done, counted
and logged) and the validation that may follow there is no hook. A state saved earlier misses the step's row in the log,
one saved later leaves open whether the validation is still to come. Lightning also agrees on SIGTERM by a broadcast
before every batch, which waits for the device, and knows no other signal. So this file puts a call before the end of a
batch in Lightning's training loop, reads and writes the loops' counters, and switches that broadcast off. Everything of
this kind stands here. Read and tried with lightning 2.6.6; `tests/runs` notices what another version changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from fmlab.training.consensus import StopConsensus, StopRequested, StopSignals


class Preemption(Callback):
    """Stops training at the end of a step, or in the middle of a validation, once a signal asks for it.

    `last.ckpt` is written, as the state at the end of the latest step, by each callback that has a `save_step`, and
    `StopRequested` leaves the trainer. What a validation had measured until then is thrown away; the resumed run begins
    with that validation. It comes after the callbacks that generate or measure in a validation.

    Args:
        signals: Where the signals arrive.
        on_death: Is called with the reason why this process ends because another one is gone.
    """

    def __init__(self, signals: StopSignals, on_death: Callable[[str], None]) -> None:
        self.signals, self.on_death = signals, on_death
        self.consensus = StopConsensus(signals)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            store = torch.distributed.PrefixStore("fmlab", torch.distributed.distributed_c10d._get_default_store())
            self.consensus = StopConsensus(self.signals, store, trainer.global_rank, trainer.world_size, self.on_death)
            self.consensus.start()
            # Lightning's way to agree on SIGTERM: a broadcast, and a wait for the device, before every batch.
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals.install()  # once more: Lightning's own handler of SIGTERM communicates from within it
        after_steps(trainer, lambda: self.stop_if_requested(trainer, before_meeting=True))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        # The last batch of a process is followed by the means over all of them.
        self.stop_if_requested(trainer, trainer.fit_loop.epoch_loop.val_loop.batch_progress.is_last_batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop_if_requested(trainer, before_meeting=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        stops = isinstance(exception, StopRequested)
        self.consensus.shutdown(None if stops else exception)
        for logger in trainer.loggers if stops else []:
            if hasattr(logger, "mark_preempting"):
                logger.mark_preempting()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.consensus.shutdown()

    def stop_if_requested(self, trainer: Trainer, before_meeting: bool = False) -> None:
        """Saves and stops here if all processes may, see the function of this name."""
        consensus = self.consensus
        if not (consensus.end_interval() if before_meeting else consensus.may_stop_here()):
            return
        for callback in cast(Any, trainer).callbacks:
            if hasattr(callback, "save_step"):
                callback.save_step(trainer)
        assert consensus.signal is not None
        raise StopRequested(consensus.signal, trainer.global_step)


def stop_if_requested(trainer: Trainer, before_meeting: bool = False) -> None:
    """To be called after each batch that a callback generates or measures: a run that is asked to stop does so here.

    Args:
        trainer: The trainer.
        before_meeting: Whether all processes communicate next, such as after the last batch.
    """
    for callback in cast(Any, trainer).callbacks:
        if isinstance(callback, Preemption):
            callback.stop_if_requested(trainer, before_meeting)


# Lightning's loops ----------------------------------------------------------------------------------------------------


class _StepEnd:
    """Stands before the end of a batch in Lightning's loop and acts when that batch ended a step."""

    def __init__(self, trainer: Trainer) -> None:
        self.loop = trainer.fit_loop.epoch_loop
        self.inner, self.step = self.loop.on_advance_end, self.loop.global_step
        self.actions: list[Callable[[], None]] = []

    def __call__(self, data_fetcher: Any) -> None:
        step = self.loop.global_step
        if step != self.step:  # not while gradients accumulate
            self.step = step
            for action in self.actions:
                action()
        self.inner(data_fetcher)


def after_steps(trainer: Trainer, action: Callable[[], None]) -> None:
    """Has `action` called after every optimizer step, before a validation; several in the order of their coming."""
    loop = trainer.fit_loop.epoch_loop
    if not isinstance(loop.on_advance_end, _StepEnd):
        loop.on_advance_end = _StepEnd(trainer)  # type: ignore[method-assign]
    loop.on_advance_end.actions.append(action)


def instead_of_training(trainer: Trainer, action: Callable[[], bool]) -> None:
    """Has `action` called when training is to begin, which it does not if `action` returns true.

    Lightning calls no hook at all where there is no step left to do.
    """
    inner = trainer.fit_loop.run
    trainer.fit_loop.run = lambda: None if action() else inner()  # type: ignore[method-assign]


def validation_is_due(trainer: Trainer) -> bool:
    """Whether a validation follows the step that has just ended."""
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def step_may_be_last(trainer: Trainer) -> bool:
    """Whether training may end here without another step: at the end of an epoch, or when it was asked to stop."""
    return bool(trainer.should_stop or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)


def loops_after_step(trainer: Trainer) -> dict[str, Any]:
    """The state of Lightning's fit loop as it is at the end of the step's last batch, whatever came after it.

    Only from within an action of `after_steps`. Lightning counts the batch as completed by then; a restart from a state
    that says so would count it once more.
    """
    state: dict[str, Any] = trainer.fit_loop.state_dict()
    batches = state["epoch_loop.batch_progress"]
    for count in (batches["total"], batches["current"]):
        count["completed"] = count["processed"] - 1
    return state


def whole_state(trainer: Trainer) -> dict[str, Any]:
    """All that a checkpoint of the run holds; every rank enters."""
    state: dict[str, Any] = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
    return state


def validate_now(trainer: Trainer) -> None:
    """Runs a validation as Lightning's loop does after a step; only before the first batch of training."""
    loop = trainer.fit_loop.epoch_loop
    trainer.validating = True
    loop.val_loop.restarting = False
    loop.val_loop.run()
    trainer.training = True


def count_next_epoch(trainer: Trainer) -> None:
    """To be called when training starts, in case it is resumed from the end of an epoch.

    Lightning then counts that epoch as whole, but takes the next one for its rest: it neither counts it as begun nor
    calls its hooks. The position in the data would be lost at the resume after this one.
    """
    loop = trainer.fit_loop
    epochs = cast(Any, loop.epoch_progress.current)
    if loop.restarted_mid_epoch and epochs.processed == epochs.started:
        loop.reset_restart_stage()
