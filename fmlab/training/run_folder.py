"""The folder of a run that trains: which one it is, and what its status says from the start to the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from fmlab.config.prepare import Prepared
from fmlab.config.schema import RunOptions
from fmlab.config.values import read_file
from fmlab.errors import RunFailure, UserError
from fmlab.records import RunLayout, new_run, read_status, trial_folder, write_status
from fmlab.records.atomic import is_full_disk

RUN_DIRECTORY = "FMLAB_RUN_DIR"
"""The environment variable that holds the run's folder, for the processes that Lightning starts from this one."""


def is_first_process() -> bool:
    """Whether this process has rank 0."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def place_run(prepared: Prepared, started_by_another: bool) -> RunLayout:
    """The folder of a new run; a process that Lightning started, or another task of the job, finds the first one's.

    A trial of a sweep goes where the sweep wants it.
    """
    if started_by_another:
        layout = RunLayout(Path(os.environ[RUN_DIRECTORY]))
        prepared.config["trainer"] = read_file(layout.config)["trainer"]
        return layout
    run, trial = RunOptions(**prepared.config["run"]), trial_folder()
    if trial is None:
        layout = new_run(run.dir, str(run.name), run_id=_job_id())
    else:
        layout = new_run(trial.parent.parent, trial.parent.name, run_id=trial.name)
    os.environ[RUN_DIRECTORY] = str(layout.root.resolve())
    if is_first_process():
        prepared.write(layout)
    return layout


def _job_id() -> str | None:
    """One name for all tasks of a job that a launcher started at once; None where this process is the only one.

    A run that W&B's agent started has W&B's id, so that the record and the page there are found from one another.
    """
    environment = os.environ
    if environment.get("WANDB_SWEEP_ID") and environment.get("WANDB_RUN_ID"):
        return environment["WANDB_RUN_ID"]
    if int(environment.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in environment:
        return f"slurm-{environment['SLURM_JOB_ID']}-{environment.get('SLURM_STEP_ID', '0')}"
    if int(environment.get("WORLD_SIZE", "1")) > 1 and environment.get("TORCHELASTIC_RUN_ID", "none") != "none":
        return f"torchrun-{environment['TORCHELASTIC_RUN_ID']}"
    return None


@contextlib.contextmanager
def recorded_status(layout: RunLayout, resumed: bool) -> Iterator[Callable[[int], None]]:
    """Within, the run's status is `running`; afterwards it is done, interrupted or failed, with the error's line.

    Gives a function that is called with the last step when the training is done.

    Raises:
        UserError: If a run that is to be resumed is still running.
        RunFailure: If the disk is full.
    """
    first = is_first_process()
    if first and resumed and read_status(layout).state == "running":
        raise UserError("is still running", key=str(layout.root), hint="stop it before you resume it")
    steps: list[int] = []
    if first:
        write_status(layout, "running", step=0)
    try:
        yield steps.append
    except (KeyboardInterrupt, SystemExit):
        if first:
            write_status(layout, "interrupted")
            print(f"\ninterrupted; continue with: fmlab fit --resume {layout.root}")
        raise
    except BaseException as error:
        if first and layout.root.is_dir():
            lines = str(error).strip().splitlines() or [""]
            with contextlib.suppress(OSError):  # on a full disk the user must hear of the error itself
                write_status(layout, "failed", error=f"{type(error).__name__}: {lines[0]}")
        if is_full_disk(error) and not isinstance(error, UserError):
            hint = f"make room, then continue with: fmlab fit --resume {layout.root}"
            raise RunFailure("the disk is full", key=str(layout.root), hint=hint) from error
        raise
    if first and steps:
        write_status(layout, "done", step=steps[0])
