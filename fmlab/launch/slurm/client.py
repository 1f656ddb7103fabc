"""SLURM's own commands."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from fmlab.errors import UserError


def submit(script: Path) -> str:
    """Hands a script to sbatch and returns the job's number.

    Raises:
        UserError: If there is no sbatch here, or it refuses.
    """
    if shutil.which("sbatch") is None:
        hint = f"on the cluster: sbatch {script}"
        raise UserError("there is no sbatch on this machine; the script is written", key="submit", hint=hint)
    done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)
    job = done.stdout.strip().partition(";")[0]
    if done.returncode or not re.fullmatch(r"\d+", job):
        cause = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise UserError(f"sbatch refuses: {cause}", key="submit", hint=f"the script is {script}")
    return job


def queue(jobs: Iterable[str]) -> dict[str, str]:
    """What the queue says of these jobs, by their numbers (`17`, of an array's task `17_3`).

    Those it forgot are absent. Empty where there is no SLURM or it does not answer.
    """
    wanted = sorted({job.partition("_")[0] for job in jobs})
    if not wanted or shutil.which("squeue") is None:
        return {}
    words = ["squeue", "--noheader", "--array", "--format=%i %T %r", "--states=all", f"--jobs={','.join(wanted)}"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = (line.split(maxsplit=2) for line in done.stdout.splitlines())
    return {words[0]: words[1].lower() for words in lines if len(words) >= 2}
