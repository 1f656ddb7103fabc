"""What asks a run to stop, and how its processes agree where to: nothing here knows of Lightning."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import Any

from fmlab.errors import first_line

# All in seconds.
POLL = 0.25
"""Between two looks into the store."""
BEAT = 3.0
"""Between two signs of life."""
SILENCE = 30.0
"""Without a sign of life, or without the store, after which a process counts as dead."""
NAP = 10.0
"""Between two looks after which this process must have been suspended itself (SIGSTOP, a laptop)."""
GRACE = 15.0
"""That a process has to end by itself, with its own error, once another one is dead."""
CONCLUSION = 60.0
"""That the other processes wait for the end of the first one."""


# What asks to stop ----------------------------------------------------------------------------------------------------


class StopRequested(Exception):
    """Ends training where it can go on from later.

    Attributes:
        signal: What asked for it.
        step: The optimizer step from which it continues.
    """

    def __init__(self, received: signal.Signals, step: int) -> None:
        super().__init__(f"stopped by {received.name} at step {step}")
        self.signal, self.step = received, step


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
        self._before = {number: signal.getsignal(number) for number in self.WATCHED}
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def install(self) -> None:
        """Sets the handlers, also once more over those of others. Only a main thread can; elsewhere nothing changes."""
        if threading.current_thread() is threading.main_thread():
            for number in self.WATCHED:
                signal.signal(number, self._handle)

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


# Where to stop --------------------------------------------------------------------------------------------------------


class StopConsensus:
    """Lets the processes of a run agree where to stop, and notices that one of them is gone, at no cost a step.

    Each process counts intervals of its work. An interval ends where all processes meet next (an all-reduce, a
    barrier); a process may stop anywhere within one, because nobody waits for it there. When one process is asked to
    stop, its thread tells the others through the key-value store of the process group. Each answers with the interval
    it is in, all go on into the furthest of these and stop in it: nobody is left waiting in a meeting. Until then a
    step costs a look at a flag, the threads look into the store a few times a second, and no device is synchronised.

    Args:
        signals: This process's own signals.
        store: The key-value store (`set`, `get`, `check`, `multi_get`, `wait`), or None for a single process.
        rank: This process.
        world_size: The number of processes.
        on_death: Is called, in the thread, with the reason why this process is about to end because another is gone.
    """

    def __init__(
        self,
        signals: StopSignals,
        store: Any = None,
        rank: int = 0,
        world_size: int = 1,
        on_death: Callable[[str], None] = print,
    ) -> None:
        self.signals, self.store, self.rank, self.world_size, self.on_death = signals, store, rank, world_size, on_death
        self._signal: signal.Signals | None = None
        self._interval = 0
        self._lock = threading.Lock()  # the interval that a process answers with is not to end meanwhile
        self._last_interval: int | None = None
        self._proposed, self._agreed, self._left = False, threading.Event(), threading.Event()
        # When each process was last seen, when this one was last heard of, and when it last woke from a suspension.
        self._beats: dict[int, tuple[bytes, float]] = {}
        self._beaten = self._looked = self._awake = 0.0

    @property
    def signal(self) -> signal.Signals | None:
        """The signal that all processes stop for."""
        return self.signals.received if self.store is None else self._signal

    def may_stop_here(self) -> bool:
        """Whether to stop here, within an interval; waits for the others once a stop is requested."""
        if self.store is None:
            return self.signals.received is not None
        if not self._proposed:
            return False
        self._agreed.wait()
        return self._last_interval is not None and self._interval >= self._last_interval

    def end_interval(self) -> bool:
        """Whether to stop here, at the end of an interval; if not, the next one begins."""
        with self._lock:
            if not self._proposed and self.store is not None:
                self._interval += 1
                return False
        if self.may_stop_here():
            return True
        self._interval += 1
        return False

    def shutdown(self, error: BaseException | None = None) -> None:
        """Ends the watch: this process goes, because of an error or because all is done."""
        if self._left.is_set():
            return
        self._left.set()
        if self.store is not None:
            with contextlib.suppress(Exception):  # the store goes with the first process
                if error is not None:
                    self.store.set("dead", f"process {self.rank} failed: {first_line(error)}")
                self.store.set(f"alive/{self.rank}", "left")

    def conclude(self, action: Callable[[], None]) -> None:
        """Process 0 calls `action`, the others wait for it: launchers end all processes once one has ended."""
        if self.store is None:
            action()
        elif self.rank == 0:
            try:
                action()
            finally:
                self.store.set("concluded", "")
        else:
            with contextlib.suppress(Exception):  # the store goes with the first process
                self.store.wait(["concluded"], timedelta(seconds=CONCLUSION))

    # The two threads of one process of several ------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the threads."""
        self._looked = self._awake = time.monotonic()
        for work, name in ((self._watch, "fmlab-consensus"), (self._guard, "fmlab-guard")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def _watch(self) -> None:
        """Looks into the store until this process leaves."""
        before = self._looked
        while not self._left.wait(POLL):
            before = self.notice_suspension(before)
            with contextlib.suppress(Exception):  # out of reach: the guard counts the seconds
                self._look()
                self._looked = time.monotonic()

    def _guard(self) -> None:
        """Notices that the store answers no more: process 0, which holds it, is gone or hangs."""
        before = time.monotonic()
        while not self._left.wait(4 * POLL):
            before = self.notice_suspension(before)
            if before - max(self._looked, self._awake) > SILENCE:
                self._end("process 0 gives no sign of life")

    def notice_suspension(self, before: float) -> float:
        """The time now; if much more has passed than was waited for, this process was suspended, maybe all were."""
        now = time.monotonic()
        if now - before > NAP:
            self._awake = now
        return now

    def _look(self) -> None:
        if self.signals.received is not None and not self._proposed:
            self.store.set("stop", self.signals.received.name)
        if not self._proposed and self.store.check(["stop"]):
            self._signal = signal.Signals[self.store.get("stop").decode()]
            with self._lock:
                self._proposed = True
            self.store.set(f"interval/{self.rank}", str(self._interval))
        if self._proposed and not self._agreed.is_set():
            keys = [f"interval/{rank}" for rank in range(self.world_size)]
            if self.store.check(keys):
                self._last_interval = max(int(value) for value in self.store.multi_get(keys))
                self._agreed.set()
        if self.store.check(["dead"]):
            self._end(self.store.get("dead").decode(errors="replace"))
        self.watch_others()

    def watch_others(self) -> None:
        """Gives a sign of life now and then; process 0 says which process gives none."""
        now = time.monotonic()
        if now - self._beaten < BEAT:
            return
        self._beaten = now
        if not self._left.is_set():
            self.store.set(f"alive/{self.rank}", str(now))
        for rank in range(1, self.world_size) if self.rank == 0 else ():
            key = f"alive/{rank}"
            beat = self.store.get(key) if self.store.check([key]) else b""
            before, since = self._beats.get(rank, (b"", now))
            self._beats[rank] = (beat, since if beat == before else now)
            if beat != b"left" and now - max(self._beats[rank][1], self._awake) > SILENCE:
                self.store.set("dead", f"process {rank} gives no sign of life")

    def _end(self, cause: str) -> None:
        """Ends this process, should it not end by itself soon: it may wait for the dead one for ever."""
        if self._left.wait(GRACE):
            return
        self.on_death(cause)
        print(f"error: {cause}; process {self.rank} ends too", file=sys.stderr, flush=True)
        os._exit(1)
