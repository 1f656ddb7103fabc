"""What Lightning has no word for: the moment after a step, and a state of its loops that repeats from there.

Between the end of a step (done, counted, logged) and the validation that may follow there is no hook. A state that
Lightning saves earlier misses the step's row in the log; one that it saves later leaves open whether the validation is
still to come. Read and tried with lightning 2.6.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from lightning.pytorch import Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher


class _StepEnd:
    """Stands before the end of a batch in Lightning's loop and acts when that batch ended a step."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.loop = trainer, trainer.fit_loop.epoch_loop
        self.inner = self.loop.on_advance_end
        self.actions: list[Callable[[], None]] = []
        self.step = self.loop.global_step

    def __call__(self, data_fetcher: _DataFetcher) -> None:
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

    def run() -> None:
        if not action():
            inner()

    trainer.fit_loop.run = run  # type: ignore[method-assign]


def validation_is_due(trainer: Trainer) -> bool:
    """Whether a validation follows the step that has just ended."""
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def may_be_last(trainer: Trainer) -> bool:
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
    calls its hooks. The place in the data would be lost at the resume after this one.
    """
    loop = trainer.fit_loop
    epochs = cast(Any, loop.epoch_progress.current)
    if loop.restarted_mid_epoch and epochs.processed == epochs.started:
        loop.reset_restart_stage()
