"""Runs handed to SLURM: one, or an array with one for each of several seeds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fmlab.config.compose import with_hidden_values
from fmlab.config.prepare import Prepared, prepare, trust_option
from fmlab.config.schema import SEED, RunOptions
from fmlab.errors import UserError
from fmlab.inference.exported import class_paths
from fmlab.launch.slurm.client import submit_script
from fmlab.launch.slurm.script import Job, Submission, allocation_of, write_script
from fmlab.launch.slurm.snapshot import CODE, copy_code
from fmlab.records import RunLayout, new_run, write_status
from fmlab.records.atomic import PRIVATE, atomic_write_json, atomic_write_text
from fmlab.records.secrets import values_without_secrets
from fmlab.training.assemble import assemble, trainer_section


def submit_runs(argv: Sequence[str], seeds: int, submission: Submission) -> None:
    """Checks everything, writes the runs' records and the script, submits it, and prints where they are.

    Each of several runs has the seed after the one before it.
    """
    prepared = prepare(list(argv))
    allocation = allocation_of(trainer_section(prepared.config, precision=False))
    build_once(prepared)
    options = RunOptions(**prepared.config["run"])
    folder = Path(options.dir).resolve() / str(options.name)
    future_runs = [folder / f"NEW{index or ''}" for index in range(seeds)]
    # A resumed run imports parts of the user's own, wherever they lie, only if it is trusted.
    trust = trust_option(prepared.config) or _trust_for_secrets(prepared)
    arguments = f'fit --resume "$run"{trust}'
    before = choose_run(future_runs)
    job = Job(str(options.name), future_runs[0], arguments, allocation, submission, before=before, tasks=seeds)
    script = write_script(job)
    if submission.dry_run:
        print(script, end="")
        return
    layouts = [_new_run(argv, index, prepared.config[SEED]) for index in range(seeds)]
    code, before = copy_code(layouts[0].root / CODE, own_folders(prepared)), choose_run([run.root for run in layouts])
    job = replace(job, folder=layouts[0].root, code=code, before=before)
    atomic_write_text(job.script, write_script(job), PRIVATE)  # the cluster's `setup` may set a key
    try:
        number = submit_script(job.script)
    except UserError as error:
        for layout in layouts:
            write_status(layout, "failed", error=f"not submitted: {error.message}")
        raise
    for index, layout in enumerate(layouts):
        task = f"{number}_{index}" if seeds > 1 else number
        atomic_write_json(layout.root / "slurm.json", {"job": task, "script": str(job.script)})
    print(f"job        {number}" + (f", {seeds} tasks, one for each seed" if seeds > 1 else ""))
    print(f"script     {job.script}")
    for layout in layouts:
        print(f"run        {layout.root}")
    print("next       fmlab runs --watch")


def _trust_for_secrets(prepared: Prepared) -> str:
    """` --trust` where the job has to read a credential from its environment, as the record does not hold it.

    Raises:
        UserError: If the job could not know a credential, which was typed and is in no environment variable.
    """
    recorded = values_without_secrets(prepared.config)
    return "" if with_hidden_values(recorded, trust=True) == recorded else " --trust"


def build_once(prepared: Prepared) -> None:
    """Builds all objects of a run, for one process on this machine, to find mistakes before the job waits."""
    local = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
    trainer = {**trainer_section(prepared.config, precision=False), **local}
    assemble(replace(prepared, config={**prepared.config, "trainer": trainer}), "unused")


def own_folders(prepared: Prepared) -> list[Path]:
    """Lists the folders that hold the configuration's own parts, without those of installed packages."""
    modules = {path.partition(".")[0] for _, path in class_paths(prepared.config, "")} - {"fmlab"}
    folders = [Path(folder) for folder in prepared.import_folders]
    return [
        folder
        for folder in folders
        if any((folder / f"{module}.py").is_file() or (folder / module).is_dir() for module in modules)
    ]


def choose_run(runs: Sequence[Path]) -> list[str]:
    """Writes the lines of shell that set `run`: the one run, or that of the array's task."""
    quoted = [shlex.quote(str(run)) for run in runs]
    lines = [f"run={quoted[0]}"]
    if len(runs) > 1:
        lines = ["runs=(", *(f"  {run}" for run in quoted), ")", "run=${runs[$SLURM_ARRAY_TASK_ID]}"]
    return [*lines, "", "# The same command begins a new run and resumes one that was stopped."]


def _new_run(argv: Sequence[str], index: int, first_seed: int) -> RunLayout:
    """Writes the record of a run that has not begun."""
    seed = [] if index == 0 else [f"--{SEED}={first_seed + index}"]
    prepared = prepare([*argv, *seed])
    prepared.config["trainer"] = trainer_section(prepared.config, precision=False)
    options = RunOptions(**prepared.config["run"])
    layout = RunLayout(new_run(options.dir, str(options.name)).root.resolve())
    prepared.write(layout)
    write_status(layout, "submitted", step=0)
    return layout
