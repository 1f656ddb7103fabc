"""Whether the process that works on a trial still runs: here by its number, elsewhere by a file that it touches."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from fmlab.records import is_process_alive, is_this_machine, process_mark

BEAT = 10.0
"""Seconds between two touches of the file."""
SILENCE = 180.0
"""Seconds without one after which a process on another machine counts as gone."""
GRACE = 30.0
"""Seconds that a process has to end after it was asked to."""


@dataclass(frozen=True)
class Owner:
    """A process of a host, identified so that others can find out whether it runs.

    The mark distinguishes it from a later process of its number; the sign is a file it may touch as a sign of life.
    """

    host: str
    pid: int
    mark: str
    sign: str = ""

    @classmethod
    def of(cls, pid: int, sign: str = "") -> Owner:
        """Identifies the process of this machine with that number."""
        return cls(socket.gethostname(), pid, process_mark(pid), sign)

    def is_gone(self, observer: Owner) -> bool:
        """Whether the process no longer runs, as far as the observer can see."""
        if is_this_machine(self.host):
            return not is_process_alive(self.pid, self.mark)
        try:
            # Both times are the file server's: clocks of machines differ.
            return os.stat(observer.sign).st_mtime - os.stat(self.sign).st_mtime > SILENCE
        except OSError:
            return not os.path.exists(self.sign)

    def end(self, grace: float = GRACE) -> None:
        """Ends the process and its group, if it runs on this machine: first it is asked to, then killed."""
        if not is_this_machine(self.host) or not self.mark or not is_process_alive(self.pid, self.mark):
            return
        try:
            os.kill(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + grace
            while is_process_alive(self.pid, self.mark) and time.monotonic() < deadline:
                time.sleep(0.02)
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class SignOfLife:
    """Touches a file in a folder every few seconds, as long as it is entered."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._over = threading.Event()

    def __enter__(self) -> Owner:
        self.file.touch()
        threading.Thread(target=self._beat, daemon=True).start()
        return Owner.of(os.getpid(), str(self.file.resolve()))

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.file.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            if self.file.exists():
                self.file.touch()
