"""Signals that ask a run to stop: they only set a flag, which is looked at where stopping is possible."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopRequested(Exception):
    """Ends training where it can go on from later.

    Attributes:
        signal: What asked for it.
        step: The optimizer step that it goes on from.
    """

    def __init__(self, asked: signal.Signals, step: int) -> None:
        super().__init__(f"stopped by {asked.name} at step {step}")
        self.signal, self.step = asked, step


class StopSignals:
    """Within, SIGUSR1, SIGTERM and Ctrl-C only set a flag; a second Ctrl-C interrupts at once, as Python does.

    Attributes:
        received: The first such signal, or None.
    """

    WATCHED = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._interrupted = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        self._before = {one: signal.getsignal(one) for one in self.WATCHED}
        self.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            for one, handler in self._before.items():
                signal.signal(one, signal.SIG_DFL if handler is None else handler)

    def install(self) -> None:
        """Sets the handlers, also once more over those of others. Only a main thread can; elsewhere nothing changes."""
        if threading.current_thread() is threading.main_thread():
            for one in self.WATCHED:
                signal.signal(one, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Nothing but a flag and one raw write: this runs between any two instructions of the main thread.
        if number == signal.SIGINT and self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = self._interrupted or number == signal.SIGINT
        if self.received is None:
            self.received = signal.Signals(number)
            again = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            with contextlib.suppress(OSError):
                os.write(2, f"\n{self.received.name}: stops after this batch{again}\n".encode())
