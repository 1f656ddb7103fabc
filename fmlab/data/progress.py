"""What the data need to know of Lightning's own counts to resume exactly (read and tried with lightning 2.6.6)."""

from __future__ import annotations

from lightning.pytorch import Trainer


def finished_batches(trainer: Trainer) -> int:
    """How many batches of the current epoch have been trained on.

    Lightning counts a batch as processed after its step and before the hooks in which checkpoints are saved. A batch
    that an exception ended is not counted.
    """
    return trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]


def forget_finished_epoch(trainer: Trainer) -> None:
    """Zeroes the count of batches when no epoch is under way; called when a run starts or resumes.

    A checkpoint saved between two epochs (by a hook at an epoch's end or start, or after a SIGTERM in an epoch's last
    batch) still counts the batches of the epoch that ended. With `max_steps`, Lightning would take them for batches of
    the next epoch, give it one batch more and end it.
    """
    epochs, batches = trainer.fit_loop.epoch_progress, trainer.fit_loop.epoch_loop.batch_progress
    if epochs.current.started == epochs.current.processed:  # type: ignore[attr-defined]
        for count in (epochs.current, epochs.total):
            count.ready = count.started = count.completed = count.processed  # type: ignore[attr-defined]
        batches.reset_on_run()
