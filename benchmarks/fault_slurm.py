"""What SLURM does to the runs of the fault campaign: it warns them before their limit, and requeues them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from fault_lives import ACCUMULATED, SETTING, STEPS, Tally, acting, is_validating, judged, trained_steps, wait_for
from helpers import slurm_jobs
from helpers.tiny_runs import arguments, newest

from fmlab.records import RunLayout, read_status

CLUSTER = ["--trainer.devices=1", "--slurm.cpus_per_task", "1", "--slurm.time", "01:00:00"]


def preemptions(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """Ten of them, two a job: SIGUSR1 as before the time limit, or SLURM's own requeue, which sends SIGTERM."""
    tally = Tally("preempted and requeued by SLURM")
    if not slurm_jobs.answers():
        tally.notes.append("not run: no SLURM answers here")
        return tally
    ways = {"SIGUSR1 before the limit": 0, "scontrol requeue": 0}
    for number in range(5):
        target = folder / f"preempted_{number}"
        with judged(tally, whole, target):
            run, job = submit(target)
            try:
                for life in range(2):
                    wait_for_steps(run, life, dice)
                    way = list(ways)[(number + life) % 2]
                    command = (
                        ["scancel", "--signal=USR1", job] if way.startswith("SIG") else ["scontrol", "requeue", job]
                    )
                    subprocess.run(command, check=True, capture_output=True)
                    ways[way] += 1
                    tally.faults += 1
                wait_for(lambda run=run: read_status(run).state == "done", 600, pause=0.2)
            finally:
                slurm_jobs.cancel(job)
            assert read_status(run).life.endswith(":2"), f"its lives: {read_status(run).life}"
            assert trained_steps(run) == list(range(1, STEPS + 1)), "a step was lost or repeated"
    tally.notes += [", ".join(f"{count} by {way}" for way, count in ways.items())]
    tally.notes += ["no step done again, none left out"]
    return tally


def submit(target: Path) -> tuple[RunLayout, str]:
    """The run that was submitted, and its job."""
    argv = arguments(target, *SETTING, *ACCUMULATED, acting(), steps=STEPS)
    done = subprocess.run(
        [sys.executable, "-m", "fmlab", "submit", *argv, *CLUSTER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    run = newest(target)
    return run, str(json.loads((run.root / "slurm.json").read_text())["job"])


def wait_for_steps(run: RunLayout, life: int, dice: random.Random) -> None:
    """Waits until the run has done some steps of that life, or until a validation of it."""
    wait_for(lambda: read_status(run).life.endswith(f":{life}"), 600, pause=0.1)
    before, ahead = len(trained_steps(run)), dice.randint(3, 12)
    wait_for(lambda: len(trained_steps(run)) >= before + ahead, 300)
    if dice.random() < 0.5:
        wait_for(lambda: is_validating(run) or read_status(run).state == "done", 300, pause=0.001)
