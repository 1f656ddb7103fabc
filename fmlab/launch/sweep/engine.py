"""A sweep on this machine: as many workers as the user wants, and a table of what they do."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import time
from pathlib import Path

from fmlab.errors import UserError
from fmlab.launch.sweep.board import Board
from fmlab.launch.sweep.ledger import HIDDEN, Ledger
from fmlab.launch.sweep.worker import ENGINE, worker_command

LOOK = 0.5
"""Seconds between two looks at the trials."""
DEATHS = 5
"""So many workers may end by an error in a row without a trial coming to its end."""
KILLS = 100
"""So many may be killed, by whoever kills them."""


def run_sweep(ledger: Ledger, runs_dir: Path, workers: int) -> int:
    """Runs what is left of a sweep, and returns the exit code: 1 if every trial failed.

    Stopped at any point, even killed, the same call resumes it; Ctrl-C ends the trials that run, which wait then.
    """
    log = ledger.folder / HIDDEN / "workers.txt"
    with Board(ledger) as board, log.open("ab") as output:
        left = sum(not view.ended for view in ledger.views())
        count = min(workers, left)

        def start(index: int) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-m", "fmlab", *worker_command(ledger.sweep.file, runs_dir)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **share_machine(index, count), ENGINE: str(os.getpid())},
                start_new_session=True,
            )

        deaths = kills = 0
        crew: list[subprocess.Popen[bytes]] = []
        try:
            crew += [start(index) for index in range(count)]
            while left > 0:
                time.sleep(LOOK)
                views = ledger.views()
                board.show(views)
                before, left = left, sum(not view.ended for view in views)
                deaths, kills = (0, 0) if left < before else (deaths, kills)
                for index, worker in enumerate(crew):
                    if left > 0 and worker.poll() is not None:
                        killed = worker.returncode < 0
                        deaths, kills = deaths + (not killed), kills + killed
                        if deaths > DEATHS or kills > KILLS:
                            cause = f"its workers die: {_last_line(log)}"
                            raise UserError(cause, key=str(ledger.folder), hint=f"see {log}")
                        crew[index] = start(index)
        finally:
            for worker in crew:
                worker.terminate()
            for worker in crew:
                worker.wait()
    board.conclude()
    return 0 if {"done", "pruned"} & {view.state for view in ledger.views()} else 1


def share_machine(index: int, workers: int) -> dict[str, str]:
    """Returns the environment of one of several workers: its share of the threads, and one of the GPUs in turn.

    What the user has set stays.
    """
    if workers < 2:
        return {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, cores // workers))}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [str(number) for number in range(len(glob.glob("/dev/nvidia[0-9]*")))]
    gpus = gpus if visible is None else [gpu for gpu in visible.split(",") if gpu]
    return share | ({"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]} if len(gpus) > 1 else {})


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "they printed nothing"
