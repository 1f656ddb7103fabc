"""The sbatch script of a run or a sweep: one page that can be read, edited and submitted by hand."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmlab.errors import UserError
from fmlab.launch.slurm.client import MAX_RESTARTS, NOTICE
from fmlab.launch.slurm.cluster import Cluster
from fmlab.launch.slurm.snapshot import CODE, START


@dataclass(frozen=True)
class Allocation:
    """Nodes, tasks and GPUs, 0 for a run on processors; processes that a task starts itself share what it has."""

    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    processes_per_task: int = 1


def allocation_of(trainer: Mapping[str, Any]) -> Allocation:
    """Computes what the trainer section of a configuration needs, with one task for each device.

    Raises:
        UserError: If devices are not a number, or the accelerator is one that SLURM does not give out as GPUs.
    """
    accelerator, devices = str(trainer.get("accelerator", "auto")), trainer.get("devices", "auto")
    if isinstance(devices, (list, tuple)) and devices and accelerator != "cpu":
        devices = len(devices)
    if isinstance(devices, str) and devices.isdigit():
        devices = int(devices)
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        cause = f"SLURM must know the number of devices before the job starts, and {devices!r} does not say it"
        raise UserError(cause, key="trainer.devices", hint="give a number: --trainer.devices=8")
    if accelerator not in ("auto", "gpu", "cuda", "cpu"):
        raise UserError(f"SLURM has no {accelerator} to give out", key="trainer.accelerator", hint="gpu or cpu")
    return Allocation(int(trainer.get("num_nodes", 1)), devices, 0 if accelerator == "cpu" else devices)


@dataclass(frozen=True)
class Submission:
    """How the user wants something submitted by the whole command line `typed`; see the options of `fmlab submit`."""

    typed: str = ""
    cluster: Cluster = field(default_factory=Cluster)
    at_once: int | None = None
    after: int | None = None
    max_restarts: int = 50
    dry_run: bool = False


@dataclass(frozen=True)
class Job:
    """What a script is written from.

    Attributes:
        folder: Where the script, the copy of the code and the job's output lie.
        arguments: What follows `fmlab`, as the shell is to read it; may use what `before` sets.
        code: What stands first in PYTHONPATH.
        before: Lines of shell before the command.
        tasks: Several are an array.
        start_folder: Where the command runs, so that relative paths mean what they meant when it was typed.
    """

    name: str
    folder: Path
    arguments: str
    allocation: Allocation
    submission: Submission
    code: Sequence[Path] = ()
    before: Sequence[str] = ()
    tasks: int = 1
    start_folder: Path = field(default_factory=Path.cwd)

    @property
    def script(self) -> Path:
        """Where the script lies."""
        return self.folder / "submit.sbatch"

    @property
    def cpus_per_task(self) -> int:
        """Processors of each of SLURM's tasks."""
        return self.submission.cluster.cpus_per_task * self.allocation.processes_per_task


def write_script(job: Job) -> str:
    """Returns the script as text."""
    cluster = job.submission.cluster
    code = ":".join(str(folder) for folder in job.code or [job.folder / CODE / "fmlab"])
    python = "python" if cluster.container else shlex.quote(sys.executable)
    start = " ".join(filter(None, ["srun --kill-on-bad-exit=1", cluster.container, python]))
    lines = [
        "#!/bin/bash",
        *(_comment(text) for text in (job.submission.typed, f"by hand: sbatch {_quote(job.script)}")),
        *(f"#SBATCH {shlex.quote(option)}" for option in sbatch_options(job)),
        "",
        "set -euo pipefail",
        f"cd {_quote(job.start_folder)}",
        *(f"module load {shlex.quote(module)}" for module in cluster.modules),
        *cluster.setup,
        "",
        "# The code as it was when this was submitted.",
        f"export PYTHONPATH={shlex.quote(code)}${{PYTHONPATH:+:$PYTHONPATH}}",
        f"export {MAX_RESTARTS}={job.submission.max_restarts}",
        f"export {NOTICE}={cluster.signal_seconds}",
        "export MASTER_PORT=$((15000 + SLURM_JOB_ID % 40000))",
        f"export SRUN_CPUS_PER_TASK={job.cpus_per_task}  # which srun no longer takes from the job by itself",
        f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{cluster.cpus_per_task}}}",
        "",
        *job.before,
        "",
        "trap : TERM USR1  # SLURM signals the processes too; they save and stop, and this shell waits for them",
        f"{start} {_quote(job.folder / CODE / START)} {job.arguments}",
    ]
    return "\n".join(lines) + "\n"


def sbatch_options(job: Job) -> list[str]:
    """Lists the options of sbatch."""
    cluster, allocation = job.submission.cluster, job.allocation
    folder = str(job.folder).replace("%", "%%")  # sbatch replaces %j and others
    options = [
        f"--job-name={job.name}",
        f"--output={folder}/{'slurm-%A_%a.out' if job.tasks > 1 else 'slurm-%j.out'}",
        "--open-mode=append",
        f"--nodes={allocation.nodes}",
        f"--ntasks-per-node={allocation.tasks_per_node}",
        f"--cpus-per-task={job.cpus_per_task}",
    ]
    if allocation.gpus_per_node:
        options.append(f"--gres=gpu:{cluster.gpu + ':' if cluster.gpu else ''}{allocation.gpus_per_node}")
    names = ("partition", "account", "qos", "constraint", "time", "mem")
    options += [f"--{name}={value}" for name in names if (value := getattr(cluster, name)) is not None]
    options += [f"--signal=SIGUSR1@{cluster.signal_seconds}", "--requeue"]
    if job.tasks > 1:
        limit = f"%{job.submission.at_once}" if job.submission.at_once else ""
        options.append(f"--array=0-{job.tasks - 1}{limit}")
    if job.submission.after is not None:
        options.append(f"--dependency=afterok:{job.submission.after}")
    for option in options:
        if not option.isprintable():
            name, _, value = option.partition("=")
            cause = f"a line break or control character in {value!r}, which sbatch cannot read"
            raise UserError(cause, key=name, hint="rename the run or the folder")
    return [*options, *cluster.options]


def _comment(text: str) -> str:
    """Writes a comment on one line, whatever the text holds."""
    return "# " + "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
