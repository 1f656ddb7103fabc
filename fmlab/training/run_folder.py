"""The folder of a run that trains: which one it is, and what its status says from the start to the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from fmlab.config.prepare import Prepared
from fmlab.config.schema import RunOptions
from fmlab.config.values import read_file
from fmlab.errors import RunFailure, UserError
from fmlab.records import (
    RunLayout,
    State,
    Status,
    atomic_write_bytes,
    keep_rows,
    new_run,
    read_status,
    trial_folder,
    write_status,
)
from fmlab.records.atomic import is_full_disk, refuse_links
from fmlab.records.starts import write_start

RUN_DIRECTORY = "FMLAB_RUN_DIR"
"""The environment variable that holds the run's folder, for the processes that Lightning starts from this one."""

_WORKERS_END = 10.0
"""Seconds after which the processes that load data have noticed that the one they work for was killed; until then they
hold its lock."""


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
def only_process(layout: RunLayout, before: Status | None) -> Iterator[None]:
    """Within, this process alone trains the run. The system frees the lock when the process ends, however it ends.

    Args:
        layout: The run's folder.
        before: The status that the run to be resumed had when its record was read; None for a new run.

    Raises:
        UserError: If another process trains the run, or has begun to since its record was read.
    """
    if not is_first_process():
        yield
        return
    running = UserError("is still running", key=str(layout.root), hint="stop it before you resume it")
    if before is not None and read_status(layout).state == "running":
        raise running
    refuse_links(layout.lock)
    if layout.lock.is_symlink():
        raise UserError("is a link", key=str(layout.lock), hint="remove the link")
    lock = FileLock(layout.lock)
    try:
        lock.acquire(timeout=_WORKERS_END)
    except Timeout:
        raise running from None
    try:
        if before is not None and read_status(layout) != before:
            raise UserError("was resumed by another process just now", key=str(layout.root), hint="look at fmlab runs")
        yield
    finally:
        lock.release()


class RecordedStart(Callback):
    """Records the start of a run when its training begins, and cuts the log back to the checkpoint that it begins from.

    Until then a run that is resumed is as it was: a mistake that is found before leaves no trace.

    Args:
        layout: The run's folder.
        prepared: The configuration of this start.
        rows: How many rows of the log the checkpoint has.
        obsolete: Files that this start has no use for, such as damaged checkpoints.
    """

    def __init__(self, layout: RunLayout, prepared: Prepared, rows: int, obsolete: Sequence[Path]) -> None:
        self.layout, self.prepared, self.rows, self.obsolete = layout, prepared, rows, obsolete
        files = [layout.config, layout.raw_config, layout.meta, layout.measurement]
        self._before = {file: file.read_bytes() if file.is_file() else None for file in files}
        self._start: Path | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        layout = self.layout
        if self._start is not None or not trainer.is_global_zero:
            return
        if layout.metrics.is_file():
            self._before[layout.metrics] = layout.metrics.read_bytes()
        self._start = write_start(layout, trainer.global_step, self.prepared.typed, self.prepared.config)
        self.prepared.write_config(layout)
        keep_rows(layout.metrics, self.rows)
        for file in self.obsolete:
            file.unlink(missing_ok=True)

    on_validation_start = on_train_start  # a run that lacks its last validation alone has no start of training

    def take_back(self) -> None:
        """Makes the record what it was before this start."""
        before = {**({} if self._start is None else {self._start: None}), **self._before}
        for file, content in before.items():
            with contextlib.suppress(OSError):  # on a full disk the user must hear of the error itself
                if content is None:
                    file.unlink(missing_ok=True)
                elif not file.is_file() or file.read_bytes() != content:
                    atomic_write_bytes(file, content)


@dataclass
class Course:
    """How far a start of a run has come.

    Attributes:
        trained: Whether it has trained a step.
        done: The last step, once the training is done.
    """

    trained: bool = False
    done: int | None = None


@contextlib.contextmanager
def recorded_status(layout: RunLayout, resumed_from: int | None) -> Iterator[Course]:
    """Within, the run's status is `running`; afterwards it is done, interrupted or failed, with the error's line.

    A run that was resumed, and ended before it trained a step, has the status that it had before.

    Args:
        layout: The run's folder.
        resumed_from: The step from which a run is resumed; None for one that begins, submitted ones among them.

    Raises:
        RunFailure: If the disk is full.
    """
    course = Course()
    if not is_first_process():
        yield course
        return
    before = layout.status.read_bytes() if resumed_from is not None and layout.status.is_file() else None
    write_status(layout, "running", step=resumed_from or 0)

    def record_end(state: State, error: str | None = None) -> None:
        with contextlib.suppress(OSError):  # on a full disk the user must hear of the error itself
            if before is not None and not course.trained:
                atomic_write_bytes(layout.status, before)
            elif layout.root.is_dir():
                write_status(layout, state, error=error)

    try:
        yield course
    except (KeyboardInterrupt, SystemExit):
        record_end("interrupted")
        print(f"\ninterrupted; {how_to_continue(layout)}")
        raise
    except BaseException as error:
        lines = str(error).strip().splitlines() or [""]
        record_end("failed", f"{type(error).__name__}: {lines[0]}")
        if is_full_disk(error) and not isinstance(error, UserError):
            hint = f"make room, then {how_to_continue(layout)}"
            raise RunFailure("the disk is full", key=str(layout.root), hint=hint) from error
        raise
    if course.done is not None:
        write_status(layout, "done", step=course.done)


def how_to_continue(layout: RunLayout, trust: str = "") -> str:
    """The command that continues a run, or begins it again where nothing was saved, for advice to the user."""
    if layout.has_checkpoint:
        return f"continue with: fmlab fit --resume {layout.root}{trust}"
    return f"nothing was saved, begin again with: fmlab fit --config {layout.config}"
