"""A worker of a sweep: takes trials and runs them, beside any number of others, on any number of machines."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

from fmlab.launch.slurm.client import refusal, requeue
from fmlab.launch.sweep.ledger import HIDDEN, Ledger
from fmlab.launch.sweep.owner import BEAT, SILENCE, SignOfLife
from fmlab.launch.sweep.sweep_file import Sweep
from fmlab.launch.sweep.trial import run_trial

ENGINE = "FMLAB_SWEEP_ENGINE"
"""The process that started a worker on its own machine, and without which it stops."""
IDLE = 1.0
"""Seconds between two looks for a trial of a worker that died."""


def worker_command(file: Path, runs_dir: Path, trials: int | None = None) -> list[str]:
    """Returns the words after `fmlab` that start one worker of a sweep that was begun; it ends after so many trials."""
    limit = [] if trials is None else [f"--trials={trials}"]
    return ["sweep", str(file), "--dir", str(runs_dir), "--worker", *limit]


def work(sweep: Sweep, folder: Path, trials: int | None = None) -> None:
    """Runs trials until none is left, or so many are done.

    A worker without a trial waits for those of others, in case one dies: to the end of the sweep or, if its number of
    trials is limited, for as long as it takes to know that a machine is gone. SIGTERM, SIGUSR1 and Ctrl-C stop the
    trial, which then waits to be resumed; after SIGUSR1 SLURM is asked to start the worker's job again.
    """
    stop = Stop()
    ledger, count = Ledger(sweep, folder), 0
    with SignOfLife(folder / HIDDEN / "workers") as owner:
        stop.watch_engine()
        patience = math.inf if trials is None else SILENCE + 2 * BEAT
        idle_since = time.monotonic()
        while not stop.is_set() and (trials is None or count < trials):
            claim = ledger.claim(owner)
            if claim is None:
                others = any(view.state == "running" for view in ledger.views())
                if not others or time.monotonic() - idle_since > patience:
                    break
                stop.wait(IDLE)
                continue
            outcome = run_trial(ledger, claim, stop)
            count += outcome.state != "waiting"
            ledger.finish(claim, owner, outcome)
            idle_since = time.monotonic()
    if stop.first_signal is not None and refusal(stop.first_signal, os.environ) is None:
        print(requeue(), flush=True)


class Stop(threading.Event):
    """Set once a signal arrives; `first_signal` is that signal.

    The handler takes no lock, which the code that it interrupts may hold: whoever waits sees it within a moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first_signal: signal.Signals | None = None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.first_signal = self.first_signal or signal.Signals(number)

    def is_set(self) -> bool:
        return self.first_signal is not None or super().is_set()

    def watch_engine(self) -> None:
        """Sets it too when the engine that started this worker is gone, for whatever reason."""
        engine = os.environ.pop(ENGINE, None)
        if engine is None:
            return

        def watch() -> None:
            while os.getppid() == int(engine):
                time.sleep(IDLE)
            self.set()

        threading.Thread(target=watch, daemon=True).start()
