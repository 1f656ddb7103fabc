"""Where a run that is asked to stop does so."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from fmlab.training.consensus import StopRequested, StopSignals
from fmlab.training.interruption import Preemption


@pytest.mark.parametrize("is_last_batch", [False, True])
def test_a_signal_stops_a_validation_after_the_batch_under_way(is_last_batch: bool) -> None:
    """Not at its end only: all that a validation does after the signal is thrown away."""
    progress = SimpleNamespace(batch_progress=SimpleNamespace(is_last_batch=is_last_batch))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(val_loop=progress))
    trainer = SimpleNamespace(callbacks=[], global_step=3, fit_loop=loop)
    signals = StopSignals()
    preemption = Preemption(signals, on_death=lambda cause: None)
    preemption.on_validation_batch_end(trainer, None, None, None, 0)  # nothing asks yet
    signals.received = signal.SIGTERM
    with pytest.raises(StopRequested):
        preemption.on_validation_batch_end(trainer, None, None, None, 0)
