"""A sweep handed to others: to SLURM as an array with a task for each trial that is left, or to Weights & Biases."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from fmlab.errors import UserError
from fmlab.launch.slurm.client import submit_script
from fmlab.launch.slurm.cluster import Cluster
from fmlab.launch.slurm.script import Allocation, Job, Submission, allocation_of, write_script
from fmlab.launch.slurm.snapshot import CODE, copy_code
from fmlab.launch.sweep.check import arguments_of, fetch_data, vary_parameters
from fmlab.launch.sweep.command import expand
from fmlab.launch.sweep.ledger import HIDDEN, Ledger
from fmlab.launch.sweep.sweep_file import Sweep
from fmlab.launch.sweep.worker import worker_command
from fmlab.records.atomic import PRIVATE, atomic_write_bytes, atomic_write_text


def submit_sweep(sweep: Sweep, runs_dir: Path, trials: int | None, submission: Submission) -> None:
    """Writes the sweep's ledger and the script, submits it, and prints where they are."""
    allocation = allocate_trial(sweep, submission.cluster)
    folder = (runs_dir / sweep.name).resolve()
    compare = f"fmlab compare '{runs_dir / sweep.name}/*'"
    views = Ledger(sweep, folder).views() if (folder / HIDDEN / "journal.log").exists() else []
    ended = sum(view.ended for view in views)
    left = max(sweep.count_trials(trials), len(views)) - ended
    if left < 1:
        print(f"{sweep.name}: all {ended} trials have ended; {compare}")
        return
    submissions = (folder / HIDDEN / f"slurm-{number}" for number in itertools.count())
    home = next(path for path in submissions if not path.exists())  # tasks of an earlier one may still wait
    worker = worker_command(home / sweep.file.name, runs_dir.resolve(), trials=1)
    note = "# A task takes the next trial that waits, one that was stopped before included."
    job = Job(sweep.name, home, shlex.join(worker), allocation, submission, before=[note], tasks=left)
    script = write_script(job)
    if submission.dry_run:
        print(script, end="")
        return
    fetch_data(sweep)
    Ledger.begin(sweep, folder, trials)
    home.mkdir(mode=0o700)
    # What a waiting task reads, whatever becomes of the file: exact, and so for its owner alone.
    atomic_write_bytes(home / sweep.file.name, sweep.file.read_bytes(), PRIVATE)
    atomic_write_text(job.script, write_script(replace(job, code=copy_code(home / CODE))), PRIVATE)
    number = submit_script(job.script)
    print(f"job        {number}, " + (f"{left} tasks, one trial each" if left > 1 else "one trial"))
    print(f"script     {job.script}")
    print(f"trials     {folder}; what they print is in {HIDDEN}/logs")
    print(f"next       fmlab runs {runs_dir / sweep.name} --watch")
    print(f"then       {compare}")


def allocate_trial(sweep: Sweep, cluster: Cluster) -> Allocation:
    """Computes what the largest trial needs: of a training by its trainer, of an evaluation one GPU or a processor.

    A training that names no `trainer.devices` gets one device, a program of the user's own one GPU if the cluster's
    settings name a kind of GPU.
    """
    if sweep.head == ["fmlab", "fit"]:
        from fmlab.config.prepare import prepare  # heavy

        configs = [prepare(arguments_of(sweep, parameters)).config for parameters in vary_parameters(sweep)]
        trainers = [{"devices": "auto", **(config.get("trainer") or {})} for config in configs]
        needs = [allocation_of(one | ({"devices": 1} if one["devices"] == "auto" else {})) for one in trainers]
        if any(need.nodes > 1 for need in needs):
            hint = "a trial runs on one machine; for several: fmlab submit"
            raise UserError("a trial of several machines", key=f"{sweep.file}: trainer.num_nodes", hint=hint)
        devices = max(need.tasks_per_node for need in needs)
        gpus = devices if any(need.gpus_per_node for need in needs) else 0
        return Allocation(gpus_per_node=gpus, processes_per_task=devices)  # the trial starts its processes itself
    if sweep.head == ["fmlab", "evaluate"]:
        text = " ".join(expand(sweep.command, "", dict.fromkeys(sweep.parameters, "")))
        return Allocation(gpus_per_node=0 if "--device=cpu" in text or "--device cpu" in text else 1)
    return Allocation(gpus_per_node=0 if cluster.gpu is None else 1)


def register_sweep(sweep: Sweep) -> None:
    """Registers the file by `wandb sweep`, and prints the command for agents."""
    command = [sys.executable, "-m", "wandb", "sweep", str(sweep.file)]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    lines = [line.removeprefix("wandb: ").strip() for line in result.stderr.splitlines() if line.strip()]
    agent = re.search(r"wandb agent \S+", result.stderr)
    if result.returncode != 0 or agent is None:
        hint = "wandb login, or leave --wandb out: the sweep then runs here, offline"
        raise UserError(f"W&B: {lines[-1] if lines else 'no answer'}", key=str(sweep.file), hint=hint)
    for line in lines:
        if line.startswith("View sweep at"):
            print(line)
    print(f"agents     {agent.group()}")
