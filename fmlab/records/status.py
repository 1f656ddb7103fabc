"""Whether a run is submitted, running, done, failed, interrupted, preempted or pruned; a dead process is found out."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from typing import Literal

from fmlab.records.atomic import atomic_write_json
from fmlab.records.layout import RunLayout
from fmlab.records.process import is_process_alive, is_this_machine, process_mark

State = Literal["submitted", "running", "done", "failed", "interrupted", "preempted", "pruned", "unknown"]


@dataclass(frozen=True)
class Status:
    """What a run last said of itself.

    Attributes:
        state: `unknown` if it said nothing; `pruned` if a sweep stopped it early.
        step: The optimizer step.
        error: The line of the error that ended it.
        pid: The process that wrote it.
        host: The machine it ran on.
        process: What tells that process from a later one of the same number.
        updated: When it was written, in seconds since 1970.
        life: The SLURM job and how often it had been restarted by then, `1234:0`; empty elsewhere.
    """

    state: State
    step: int = 0
    error: str | None = None
    pid: int = 0
    host: str = ""
    process: str = ""
    updated: float = 0.0
    life: str = ""


def write_status(layout: RunLayout, state: State, step: int | None = None, error: str | None = None) -> None:
    """Writes the status of this process's run; the step stays what it was if none is given."""
    step = _stored(layout).step if step is None else step
    pid = os.getpid()
    status = Status(state, step, error, pid, socket.gethostname(), process_mark(pid), time.time(), _life())
    atomic_write_json(layout.status, asdict(status))


def read_status(layout: RunLayout) -> Status:
    """The status of a run; one that says `running` although its process is gone was interrupted.

    That is known of a process on this machine, and of one of this SLURM job before it was restarted.
    """
    status = _stored(layout)
    dead = is_this_machine(status.host) and not is_process_alive(status.pid, status.process)
    restarted = status.life.partition(":")[0] == _life().partition(":")[0] != "" and status.life != _life()
    if status.state == "running" and (dead or restarted):
        return Status(**{**asdict(status), "state": "interrupted"})
    return status


def _stored(layout: RunLayout) -> Status:
    try:
        return Status(**json.loads(layout.status.read_text()))
    except (OSError, ValueError, TypeError):
        return Status("unknown")


def _life() -> str:
    job = os.environ.get("SLURM_JOB_ID", "")
    return job and f"{job}:{os.environ.get('SLURM_RESTART_COUNT') or 0}"
