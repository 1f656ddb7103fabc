"""Whether a run is submitted, running, done, failed, interrupted, preempted or pruned, and whether its process runs."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from fmlab.records.atomic import atomic_write_json
from fmlab.records.bounded import read_json_object
from fmlab.records.layout import RunLayout
from fmlab.records.secrets import without_secrets

State = Literal["submitted", "running", "done", "failed", "interrupted", "preempted", "pruned", "unknown"]


@dataclass(frozen=True)
class Status:
    """What a run last wrote of itself.

    Attributes:
        state: `unknown` if it wrote nothing; `pruned` if a sweep stopped it early.
        step: The optimizer step.
        error: The line of the error that ended it.
        pid: The process that wrote it.
        host: The machine it ran on.
        process: What distinguishes that process from a later one of the same number.
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
    step = _read(layout).step if step is None else step
    error = None if error is None else without_secrets(error)
    pid = os.getpid()
    status = Status(state, step, error, pid, socket.gethostname(), process_mark(pid), time.time(), _life())
    atomic_write_json(layout.status, asdict(status))


def read_status(layout: RunLayout) -> Status:
    """The status of a run; one that says `running` although its process is gone was interrupted.

    That is known of a process on this machine, and of one of this SLURM job before it was restarted.
    """
    status = _read(layout)
    dead = is_this_machine(status.host) and not is_process_alive(status.pid, status.process)
    restarted = status.life.partition(":")[0] == _life().partition(":")[0] != "" and status.life != _life()
    return replace(status, state="interrupted") if status.state == "running" and (dead or restarted) else status


def process_mark(pid: int) -> str:
    """This boot and the process's start time, where the system tells: numbers of processes are used again.

    A process that is dead but not yet collected by its parent has none.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def is_process_alive(pid: int, mark: str) -> bool:
    """Whether the process of this machine that had the mark still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return process_mark(pid) == mark


def is_this_machine(host: str) -> bool:
    """Whether processes on `host` can be looked up here."""
    return host == socket.gethostname()


def _read(layout: RunLayout) -> Status:
    unknown = Status("unknown")
    try:
        status = Status(**read_json_object(layout.status))
    except TypeError:
        return unknown
    kinds: dict[str, Any] = {field.name: type(getattr(unknown, field.name)) for field in fields(Status)}
    kinds |= {"error": (str, type(None)), "updated": (int, float)}
    return status if all(isinstance(getattr(status, name), kind) for name, kind in kinds.items()) else unknown


def _life() -> str:
    job = os.environ.get("SLURM_JOB_ID", "")
    return job and f"{job}:{os.environ.get('SLURM_RESTART_COUNT') or 0}"
