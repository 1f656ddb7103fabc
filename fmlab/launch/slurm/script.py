"""The sbatch script of a run or a sweep: one page that can be read, edited and submitted by hand."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmlab.launch.slurm.allocation import Allocation
from fmlab.launch.slurm.cluster import Cluster
from fmlab.launch.slurm.requeue import MAX_RESTARTS, NOTICE


@dataclass(frozen=True)
class Job:
    """What a script is made of.

    Attributes:
        name: The job's name.
        script: Where the script will lie; the job's output goes beside it.
        folder: Where the command is run, so that relative paths mean what they meant when it was typed.
        start: The command, beside the copy of the code.
        words: What follows it, as the shell is to read it; may use what `before` sets.
        code: What stands first in PYTHONPATH.
        allocation: Nodes, processes and devices.
        cluster: The cluster's own words.
        said: What the user typed.
        before: Lines of shell, before the command.
        processes: How many processes a task starts by itself, which share its processors and GPUs.
        tasks: Several make an array.
        after: A job that has to end well before this one begins.
        at_once: Of an array, how many tasks may run at a time; all if None.
        max_restarts: How often it may be put back into the queue.
    """

    name: str
    script: Path
    folder: Path
    start: Path
    words: str
    code: Sequence[Path]
    allocation: Allocation
    cluster: Cluster
    said: str
    before: Sequence[str] = ()
    processes: int = 1
    tasks: int = 1
    after: str | None = None
    at_once: int | None = None
    max_restarts: int = 50

    @property
    def cpus_per_task(self) -> int:
        """Processors a task of SLURM's."""
        return self.cluster.cpus_per_task * self.processes


def script_of(job: Job) -> str:
    """The script as text."""
    lines = ["#!/bin/bash", f"# {job.said}", f"# by hand: sbatch {shlex.quote(str(job.script))}"]
    lines += [f"#SBATCH {shlex.quote(option)}" for option in options_of(job)]
    lines += ["", "set -euo pipefail", f"cd {shlex.quote(str(job.folder))}"]
    lines += [f"module load {shlex.quote(module)}" for module in job.cluster.modules]
    lines += job.cluster.setup
    code = ":".join(str(place) for place in job.code)
    lines += [
        "",
        "# The code as it was when this was submitted.",
        f"export PYTHONPATH={shlex.quote(code)}${{PYTHONPATH:+:$PYTHONPATH}}",
        f"export {MAX_RESTARTS}={job.max_restarts}",
        f"export {NOTICE}={job.cluster.signal_seconds}",
        "export MASTER_PORT=$((15000 + SLURM_JOB_ID % 40000))",
        f"export SRUN_CPUS_PER_TASK={job.cpus_per_task}  # which srun no longer takes from the job by itself",
        f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{job.cluster.cpus_per_task}}}",
        "",
        *job.before,
        "",
        "trap : TERM USR1  # this shell waits for the processes, which are told themselves and save",
        _command(job),
    ]
    return "\n".join(lines) + "\n"


def options_of(job: Job) -> list[str]:
    """The options of sbatch."""
    cluster, wants, array = job.cluster, job.allocation, job.tasks > 1
    output = job.script.parent / ("slurm-%A_%a.out" if array else "slurm-%j.out")
    found = [
        f"--job-name={job.name}",
        f"--output={output}",
        "--open-mode=append",
        f"--nodes={wants.nodes}",
        f"--ntasks-per-node={wants.tasks_per_node}",
        f"--cpus-per-task={job.cpus_per_task}",
    ]
    if wants.gpus_per_node:
        found.append(f"--gres=gpu:{cluster.gpu + ':' if cluster.gpu else ''}{wants.gpus_per_node}")
    named = ("partition", "account", "qos", "constraint", "time", "mem")
    found += [f"--{name}={value}" for name in named if (value := getattr(cluster, name)) is not None]
    found += [f"--signal=SIGUSR1@{cluster.signal_seconds}", "--requeue"]
    if array:
        found.append(f"--array=0-{job.tasks - 1}" + (f"%{job.at_once}" if job.at_once else ""))
    if job.after is not None:
        found.append(f"--dependency=afterok:{job.after}")
    return [*found, *cluster.options]


def _command(job: Job) -> str:
    inside = f"{job.cluster.container} " if job.cluster.container else ""
    python = "python" if job.cluster.container else shlex.quote(sys.executable)
    return f"srun --kill-on-bad-exit=1 {inside}{python} {shlex.quote(str(job.start))} {job.words}"
