"""Whether a run is running, done, failed, interrupted or pruned; a dead process is found out."""

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

State = Literal["submitted", "running", "done", "failed", "interrupted", "pruned", "unknown"]


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
    """

    state: State
    step: int = 0
    error: str | None = None
    pid: int = 0
    host: str = ""
    process: str = ""
    updated: float = 0.0


def write_status(layout: RunLayout, state: State, step: int | None = None, error: str | None = None) -> None:
    """Writes the status of this process's run; the step stays what it was if none is given."""
    step = _stored(layout).step if step is None else step
    pid = os.getpid()
    status = Status(state, step, error, pid, socket.gethostname(), process_mark(pid), time.time())
    atomic_write_json(layout.status, asdict(status))


def read_status(layout: RunLayout) -> Status:
    """The status of a run; one that says `running` while its process on this machine is gone was interrupted."""
    status = _stored(layout)
    if status.state == "running" and is_this_machine(status.host) and not is_process_alive(status.pid, status.process):
        return Status(**{**asdict(status), "state": "interrupted"})
    return status


def _stored(layout: RunLayout) -> Status:
    try:
        return Status(**json.loads(layout.status.read_text()))
    except (OSError, ValueError, TypeError):
        return Status("unknown")
