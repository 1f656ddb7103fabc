"""`fmlab submit`: a run, or one for each of several seeds, handed to SLURM."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmlab.commands.submit_options import Submission
from fmlab.config.prepare import Prepared, located_errors, prepare
from fmlab.config.run_options import RunOptions
from fmlab.config.run_record import write_run_record
from fmlab.config.schema import SEED
from fmlab.config.trust import foreign_names
from fmlab.errors import UserError
from fmlab.inference.exported import class_paths
from fmlab.launch.slurm.allocation import allocation
from fmlab.launch.slurm.client import submit
from fmlab.launch.slurm.cluster import Cluster, cluster_file, read_cluster
from fmlab.launch.slurm.script import Job, script_of
from fmlab.launch.slurm.snapshot import START, snapshot
from fmlab.records import RunLayout, new_run, write_status
from fmlab.records.atomic import atomic_write_json, atomic_write_text
from fmlab.training.builder import Builder, trainer_section
from fmlab.training.quiet import silence_lightning

SCRIPT = "submit.sbatch"


def submit_run(asked: Submission) -> int:
    """Checks everything, writes the runs' records and the script, and submits it."""
    silence_lightning()
    cluster = read_cluster(cluster_file(asked.cluster), asked.slurm)
    prepared = prepare(list(asked.fit))
    wants = allocation(trainer_section(prepared.config, precision=False))
    check_objects(prepared)
    said = shlex.join(["fmlab", "submit", *asked.typed])
    if asked.dry_run:
        place = Path(RunOptions(**prepared.config["run"]).dir).resolve() / str(prepared.config["run"]["name"])
        runs = [place / f"NEW{index or ''}" for index in range(asked.seeds)]
        print(script_of(_job(asked, prepared, runs, place / "NEW" / "code", cluster, wants, said)), end="")
        return 0
    layouts = [_new_run(asked, index, prepared.config[SEED]) for index in range(asked.seeds)]
    home = layouts[0].root
    code = snapshot(home / "code", own_folders(prepared))
    job = _job(asked, prepared, [layout.root for layout in layouts], code, cluster, wants, said)
    atomic_write_text(job.script, script_of(job))
    try:
        number = submit(job.script)
    except UserError as error:
        for layout in layouts:
            write_status(layout, "failed", error=f"not submitted: {error.message}")
        raise
    for index, layout in enumerate(layouts):
        task = f"{number}_{index}" if len(layouts) > 1 else number
        atomic_write_json(layout.root / "slurm.json", {"job": task, "script": str(job.script)})
    print(f"job        {number}" + (f", {len(layouts)} tasks, a seed each" if len(layouts) > 1 else ""))
    print(f"script     {job.script}")
    for layout in layouts:
        print(f"run        {layout.root}")
    print("next       fmlab runs --watch")
    return 0


def check_objects(prepared: Prepared) -> None:
    """Makes everything a run is made of, for one process on this machine, so that a mistake is found before the queue.

    Raises:
        UserError: At the first part that does not go with the others.
    """
    here = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
    config = copy.deepcopy(prepared.config)  # objects take the place of what describes them
    config["trainer"] = {**trainer_section(config, precision=False), **here}
    with located_errors(config):
        Builder(config, "unused")


def own_folders(prepared: Prepared) -> list[str]:
    """The folders in which the configuration's own parts lie, if it has any that are no installed package's."""
    modules = {path.partition(".")[0] for _, path in class_paths(prepared.config, "")} - {"fmlab"}
    folders = [Path(folder) for folder in prepared.import_folders]
    return [str(place) for place in folders if any(_holds(place, name) for name in modules)]


def _holds(folder: Path, module: str) -> bool:
    return (folder / f"{module}.py").is_file() or (folder / module).is_dir()


def _job(
    asked: Submission,
    prepared: Prepared,
    runs: Sequence[Path],
    code: Path | Sequence[Path],
    cluster: Cluster,
    wants: Any,
    said: str,
) -> Job:
    places = [code] if isinstance(code, Path) else code
    return Job(
        name=str(prepared.config["run"]["name"]),
        script=runs[0] / SCRIPT,
        folder=Path.cwd(),
        start=runs[0] / "code" / START,
        # A resumed run imports parts of the user's own, wherever they lie, only if it is trusted.
        words='fit --resume "$run"' + (" --trust" if any(foreign_names(prepared.config)) else ""),
        code=places,
        allocation=wants,
        cluster=cluster,
        said=said,
        before=[*run_lines(runs), "", "# A new run begins, and one that was stopped goes on: the same command."],
        tasks=len(runs),
        after=asked.after,
        at_once=asked.at_once,
        max_restarts=asked.max_restarts,
    )


def run_lines(runs: Sequence[Path]) -> list[str]:
    """The lines of shell that set `run`: the one run, or the array task's."""
    if len(runs) == 1:
        return [f"run={shlex.quote(str(runs[0]))}"]
    return ["runs=(", *(f"  {shlex.quote(str(run))}" for run in runs), ")", "run=${runs[$SLURM_ARRAY_TASK_ID]}"]


def _new_run(asked: Submission, index: int, first_seed: int) -> RunLayout:
    """The record of a run that has not begun; each further one has the next seed."""
    seed = [] if index == 0 else [f"--{SEED}={first_seed + index}"]
    prepared = prepare([*asked.fit, *seed])
    prepared.config["trainer"] = trainer_section(prepared.config, precision=False)
    run = RunOptions(**prepared.config["run"])
    assert run.name is not None
    layout = RunLayout(new_run(run.dir, run.name).root.resolve())
    write_run_record(layout, prepared)
    write_status(layout, "submitted", step=0)
    return layout
