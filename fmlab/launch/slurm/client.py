"""Calls of SLURM's own programs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from fmlab.errors import UserError


def submit_script(script: Path) -> str:
    """Hands a script to sbatch and returns the job's number.

    Raises:
        UserError: If sbatch is missing or refuses the script.
    """
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
