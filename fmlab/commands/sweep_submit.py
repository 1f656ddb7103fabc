"""`fmlab sweep FILE --slurm`: an array on the cluster, one trial a task."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fmlab.commands.submit import SCRIPT
from fmlab.commands.sweep_flags import fetch_data, variants
from fmlab.errors import UserError
from fmlab.launch.slurm.allocation import Allocation, allocation
from fmlab.launch.slurm.client import submit
from fmlab.launch.slurm.cluster import Cluster, cluster_file, read_cluster
from fmlab.launch.slurm.script import Job, script_of
from fmlab.launch.slurm.snapshot import START, snapshot
from fmlab.launch.sweep.command import expand
from fmlab.launch.sweep.ledger import HIDDEN, Ledger, wanted_trials
from fmlab.launch.sweep.sweep_file import Sweep
from fmlab.launch.sweep.worker import worker_words
from fmlab.records.atomic import atomic_write_text


@dataclass(frozen=True)
class SweepSubmission:
    """What was asked for.

    Attributes:
        typed: All words after `fmlab sweep`.
        runs_dir: Where all runs live.
        slurm: The cluster's words by name.
        cluster: The file of defaults that was named.
        trials: How many trials there are to be.
        at_once: How many tasks may run at a time; as many as the cluster lets if None.
        max_restarts: How often a task may be put back into the queue.
        dry_run: Whether only to print the script.
    """

    typed: tuple[str, ...]
    runs_dir: Path
    slurm: Mapping[str, str] = field(default_factory=dict)
    cluster: str | None = None
    trials: int | None = None
    at_once: int | None = None
    max_restarts: int = 50
    dry_run: bool = False


def submit_sweep(sweep: Sweep, asked: SweepSubmission) -> int:
    """Writes the sweep's ledger and the script of an array with a task for each trial that is left, and submits it."""
    cluster = read_cluster(cluster_file(asked.cluster), asked.slurm)
    wants = trial_allocation(sweep, cluster)
    folder = (asked.runs_dir / sweep.name).resolve()
    compare = f"fmlab compare '{asked.runs_dir / sweep.name}/*'"
    views = Ledger(sweep, folder).views() if (folder / HIDDEN / "journal.log").exists() else []
    ended = sum(view.ended for view in views)
    left = max(wanted_trials(sweep, asked.trials), len(views)) - ended
    if left < 1:
        print(f"{sweep.name}: all {ended} trials have ended; {compare}")
        return 0
    if asked.dry_run:
        print(script_of(_job(sweep, asked, folder / HIDDEN / "slurm-NEW", [], wants, cluster, left)), end="")
        return 0
    fetch_data(sweep)
    Ledger.begin(sweep, folder, asked.trials)
    home = _new_folder(folder / HIDDEN)
    code = snapshot(home / "code")
    shutil.copyfile(sweep.file, home / sweep.file.name)  # what a waiting task reads, whatever becomes of the file
    job = _job(sweep, asked, home, code, wants, cluster, left)
    atomic_write_text(job.script, script_of(job))
    number = submit(job.script)
    print(f"job        {number}, " + (f"{left} tasks, a trial each" if left > 1 else "one trial"))
    print(f"script     {job.script}")
    print(f"trials     {folder}; what they print is in {HIDDEN}/logs")
    print(f"next       fmlab runs {asked.runs_dir / sweep.name} --watch")
    print(f"then       {compare}")
    return 0


def trial_allocation(sweep: Sweep, cluster: Cluster) -> Allocation:
    """What the largest trial needs: by its trainer; an evaluation one GPU, unless it says `--device cpu`.

    A training whose `trainer.devices` are not given gets one device, a program of the user's own one GPU if the
    cluster's words name a kind.

    Raises:
        UserError: If a trial needs several machines.
    """
    if sweep.program == ["fmlab", "fit"]:
        wanted = [_of_fit(sweep, parameters) for parameters in variants(sweep)]
        if any(one.nodes > 1 for one in wanted):
            hint = "one trial has one machine; for several: fmlab submit"
            raise UserError("a trial of several machines", key=f"{sweep.file}: trainer.num_nodes", hint=hint)
        most = max(one.tasks_per_node for one in wanted)
        return Allocation(1, most, most if any(one.gpus_per_node for one in wanted) else 0)
    if sweep.program == ["fmlab", "evaluate"]:
        words = " ".join(expand(sweep.command, "", {name: "" for name in sweep.parameters}))
        return Allocation(1, 1, 0 if "--device=cpu" in words or "--device cpu" in words else 1)
    return Allocation(1, 1, 0 if cluster.gpu is None else 1)


def _of_fit(sweep: Sweep, parameters: Mapping[str, object]) -> Allocation:
    from fmlab.config.prepare import prepare  # heavy

    words = expand(sweep.command, str(sweep.content["program"]), parameters)
    trainer = dict(prepare(words[words.index("fit") + 1 :]).config.get("trainer") or {})
    if trainer.get("devices", "auto") == "auto":
        trainer["devices"] = 1
    return allocation(trainer)


def _job(
    sweep: Sweep,
    asked: SweepSubmission,
    home: Path,
    code: list[Path],
    wants: Allocation,
    cluster: Cluster,
    tasks: int,
) -> Job:
    worker = worker_words(home / sweep.file.name, asked.runs_dir.resolve(), trials=1)
    return Job(
        name=sweep.name,
        script=home / SCRIPT,
        folder=Path.cwd(),
        start=home / "code" / START,
        words=shlex.join(worker),
        code=code or [home / "code" / "fmlab"],
        allocation=replace(wants, tasks_per_node=1),  # the worker's; the trial starts its processes itself
        processes=wants.tasks_per_node,
        cluster=cluster,
        said=shlex.join(["fmlab", "sweep", *asked.typed]),
        before=["# A task takes the next trial that waits, one that was stopped before included."],
        tasks=tasks,
        at_once=asked.at_once,
        max_restarts=asked.max_restarts,
    )


def _new_folder(hidden: Path) -> Path:
    """A folder of this submission's own: tasks of an earlier one may still wait."""
    number = 0
    while True:
        home = hidden / f"slurm-{number}"
        try:
            home.mkdir()
        except FileExistsError:
            number += 1
        else:
            return home
