"""Asking SLURM to start the job of a stopped run once more."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping

MAX_RESTARTS = "FMLAB_MAX_RESTARTS"
"""How many times a job may be started again. Whoever sets it promises that the job's script resumes the run."""

NOTICE = "FMLAB_NOTICE"
"""Seconds between SLURM's warning and the time limit, as far as the job's script knows."""

PREEMPTED = 75
"""Exit code of a run that stopped because it was asked to, saved, and can go on (EX_TEMPFAIL of sysexits.h)."""
INTERRUPTED = 130
"""Exit code of a run that Ctrl-C stopped, saved or not."""


def exit_code(asked: signal.Signals) -> int:
    """What a process exits with when this signal stopped its run."""
    return INTERRUPTED if asked == signal.SIGINT else PREEMPTED


def refusal(asked: signal.Signals, environment: Mapping[str, str]) -> str | None:
    """Why SLURM is not asked to start the job again; None if it is to be asked.

    SIGUSR1 is the warning before the time limit, as in `#SBATCH --signal=SIGUSR1@90`. After a SIGTERM SLURM itself
    decides: it requeues a job that it preempted, and a cancelled one is not wanted any more.
    """
    if "SLURM_JOB_ID" not in environment:
        return "this is no SLURM job"
    if asked != signal.SIGUSR1:
        return f"{asked.name} leaves it to SLURM"
    if MAX_RESTARTS not in environment:
        return f"{MAX_RESTARTS} is not set"
    done, most = int(environment.get("SLURM_RESTART_COUNT") or 0), int(environment[MAX_RESTARTS])
    return f"it was restarted {done} times already, {MAX_RESTARTS} is {most}" if done >= most else None


def requeue(environment: Mapping[str, str] = os.environ) -> str:
    """Asks SLURM to requeue this job, which may end this process at once; says in a line what came of it."""
    job = environment["SLURM_JOB_ID"]
    done, most = int(environment.get("SLURM_RESTART_COUNT") or 0), environment[MAX_RESTARTS]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        cause = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
        return f"SLURM did not requeue job {job}: {''.join(cause)}"
    return f"SLURM requeues job {job}, restart {done + 1} of at most {most}"
