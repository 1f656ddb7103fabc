"""Whether the process that wrote something is still the one that runs under its number."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def process_mark(pid: int) -> str:
    """This boot and the process's start time, where the system tells: process numbers come again, in containers soon.

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
    """Whether a process on `host` can be asked for here."""
    return host == socket.gethostname()
