"""Calls of SLURM's own programs: submit a script, read the queue, start the job of a stopped run once more."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from fmlab.errors import UserError


def submit_script(script: Path) -> str:
    """Hands a script to sbatch and returns the job's number."""
    if shutil.which("sbatch") is None:
        hint = f"the script is written; on the cluster: sbatch {script}"
        raise UserError("this machine has no sbatch", key="submit", hint=hint)
    result = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)
    job = result.stdout.strip().partition(";")[0]
    if result.returncode or not re.fullmatch(r"\d+", job):
        cause = (result.stderr.strip() or result.stdout.strip() or f"exit code {result.returncode}").splitlines()[-1]
        raise UserError(f"sbatch refuses the script: {cause}", key="submit", hint=f"the script is {script}")
    return job


def read_queue(jobs: Iterable[str]) -> dict[str, str]:
    """Returns the queue's state of each job, by the job's number (`17`, and `17_3` for a task of an array).

    Jobs that the queue has forgotten are absent. The result is empty where SLURM is missing or does not answer.
    """
    numbers = sorted({job.partition("_")[0] for job in jobs})
    if not numbers or shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--noheader", "--array", "--format=%i %T", "--states=all", f"--jobs={','.join(numbers)}"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [line.split() for line in result.stdout.splitlines()]
    return {row[0]: row[1].lower() for row in rows if len(row) == 2}


MAX_RESTARTS = "FMLAB_MAX_RESTARTS"
"""How many times a job may be started again. Whoever sets it promises that the job's script resumes the run."""

NOTICE = "FMLAB_NOTICE"
"""Seconds between SLURM's warning and the time limit, as the job's script states them."""

PREEMPTED = 75
"""Exit code of a run that stopped because it was asked to, saved, and can be resumed (EX_TEMPFAIL of sysexits.h)."""
INTERRUPTED = 130
"""Exit code of a run that Ctrl-C stopped, saved or not."""


def exit_code(stop_signal: signal.Signals) -> int:
    """Returns what a process exits with when this signal stopped its run."""
    return INTERRUPTED if stop_signal == signal.SIGINT else PREEMPTED


def refusal(stop_signal: signal.Signals, environment: Mapping[str, str]) -> str | None:
    """Says why SLURM is not asked to start the job again; None if it is to be asked.

    SIGUSR1 is the warning before the time limit, as in `#SBATCH --signal=SIGUSR1@90`. After a SIGTERM SLURM decides by
    itself: it requeues a job that it preempted, and nobody wants a cancelled one any more.
    """
    if "SLURM_JOB_ID" not in environment:
        return "this is no SLURM job"
    if stop_signal != signal.SIGUSR1:
        return f"after {stop_signal.name} SLURM decides by itself"
    if MAX_RESTARTS not in environment:
        return f"{MAX_RESTARTS} is not set"
    restarts, limit = int(environment.get("SLURM_RESTART_COUNT") or 0), int(environment[MAX_RESTARTS])
    return f"it was restarted {restarts} times already, {MAX_RESTARTS} is {limit}" if restarts >= limit else None


def requeue(environment: Mapping[str, str] = os.environ) -> str:
    """Asks SLURM to requeue this job, which may end this process at once; returns a line that says what happened."""
    job = environment["SLURM_JOB_ID"]
    restarts, limit = int(environment.get("SLURM_RESTART_COUNT") or 0), environment[MAX_RESTARTS]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        cause = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
        return f"SLURM did not requeue job {job}: {''.join(cause)}"
    return f"SLURM requeues job {job}, restart {restarts + 1} of at most {limit}"
