"""A worker of a sweep: takes trials and runs them, beside as many others as there are, on any number of machines."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from fmlab.launch.ledger import HIDDEN, Ledger
from fmlab.launch.owner import SignOfLife
from fmlab.launch.sweep_file import Sweep
from fmlab.launch.trial import run_trial

ENGINE = "FMLAB_SWEEP_ENGINE"
"""The process that started a worker on its own machine, and without which it stops."""
IDLE = 1.0
"""Seconds between two looks for a trial of a worker that died."""


def worker_command(file: Path, runs_dir: Path, trials: int | None = None) -> list[str]:
    """The command line of one worker, for a machine that shares the folder: one task of a cluster's array, say.

    Args:
        file: The sweep file, whose sweep was begun in that folder (`Ledger.begin`).
        runs_dir: Where all runs live.
        trials: How many trials it runs before it ends; as long as there are any if left out.
    """
    many = [] if trials is None else [str(trials)]
    return [sys.executable, "-m", "fmlab", "sweep", str(file), "--dir", str(runs_dir), "--worker", *many]


def work(sweep: Sweep, folder: Path, trials: int | None = None) -> int:
    """Runs trials until there are none left, or so many are done; returns how many it took.

    A worker without a limit waits for the trials of others, in case one dies. SIGTERM and Ctrl-C stop the trial, which
    then waits to be gone on with.
    """
    stop = threading.Event()
    _stop_on_signals(stop)
    ledger, taken = Ledger(sweep, folder), 0
    with SignOfLife(folder / HIDDEN / "workers") as owner:
        _stop_without_engine(stop)
        while not stop.is_set() and (trials is None or taken < trials):
            claim = ledger.claim(owner)
            if claim is None:
                if trials is not None or not any(view.state == "running" for view in ledger.views()):
                    break
                stop.wait(IDLE)
                continue
            taken += 1
            outcome = run_trial(ledger, claim, stop)
            ledger.finish(claim, owner, outcome)
    return taken


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _stop_without_engine(stop: threading.Event) -> None:
    """A worker that an engine started ends its trial when the engine is gone, however that went."""
    engine = os.environ.pop(ENGINE, None)
    if engine is None:
        return

    def watch() -> None:
        while os.getppid() == int(engine):
            time.sleep(IDLE)
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
