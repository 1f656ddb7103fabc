"""How processes that train in step agree where to stop, and notice that one of them is gone, at no cost a step.

Each process counts stretches of its work. A stretch ends where all must meet next (an all-reduce, a barrier), and may
be left at any of its points, because nobody waits for anybody within it. When one process is asked to stop, a thread of
each tells the others, through the key-value store that the process group was made with, which stretch it is in. All go
on into the furthest of these and leave it there: nobody is left waiting in a meeting. Until then a step costs a look at
a flag; the threads look into the store a few times a second, and no device is synchronised.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from fmlab.training.stop_signals import StopSignals

POLL = 0.25
"""Seconds between two looks into the store."""
BEAT = 3.0
"""Seconds between two signs of life."""
SILENCE = 30.0
"""Seconds without a sign of life, or without the store, after which a process counts as dead."""
NAP = 10.0
"""Seconds between two looks after which this process counts as having been suspended itself (SIGSTOP, a laptop)."""
GRACE = 15.0
"""Seconds that a process has to end by itself, with its own error, once another one is dead."""
CONCLUSION = 60.0
"""Seconds that the other processes wait for the first one's last words."""


class Alone:
    """A single process need not agree with anyone."""

    def __init__(self, signals: StopSignals) -> None:
        self.signals = signals

    @property
    def asked(self) -> signal.Signals | None:
        """What asked to stop."""
        return self.signals.received

    def point(self) -> bool:
        """Whether to stop here."""
        return self.signals.received is not None

    def close(self) -> bool:
        """Whether to stop here, at the end of a stretch."""
        return self.signals.received is not None

    def leave(self, error: BaseException | None = None) -> None:
        """Nobody waits."""

    def conclude(self, last_words: Callable[[], None]) -> None:
        """Calls `last_words`."""
        last_words()


class Together(threading.Thread):
    """One of several processes.

    Args:
        signals: This process's own.
        store: The process group's key-value store (`set`, `get`, `check`, `multi_get`).
        rank: This process.
        world_size: How many there are.
        on_death: Is told, in the thread, why this process is about to be ended because another one is gone.
    """

    def __init__(
        self, signals: StopSignals, store: Any, rank: int, world_size: int, on_death: Callable[[str], None]
    ) -> None:
        super().__init__(name="fmlab-agreement", daemon=True)
        self.signals, self.store, self.rank, self.world_size = signals, store, rank, world_size
        self.on_death = on_death
        self.asked: signal.Signals | None = None
        self._stretch = 0
        self._lock = threading.Lock()
        self._last_stretch: int | None = None
        self._agreed = threading.Event()
        self._left = threading.Event()
        self._proposed = False
        self._beats: dict[int, tuple[bytes, float]] = {}
        self._beaten = self._looked = self._awake = 0.0

    def point(self) -> bool:
        """Whether to stop here, within a stretch; waits for the others once a stop is asked for."""
        if not self._proposed:
            return False
        self._agreed.wait()
        return self._last_stretch is not None and self._stretch >= self._last_stretch

    def close(self) -> bool:
        """Whether to stop here, at the end of a stretch; if not, the next one begins."""
        with self._lock:
            if not self._proposed:
                self._stretch += 1
                return False
        if self.point():
            return True
        self._stretch += 1
        return False

    def leave(self, error: BaseException | None = None) -> None:
        """Ends the watch: this process goes, of an error or because all is done."""
        if not self._left.is_set():
            self._left.set()
            with contextlib.suppress(Exception):  # the store goes with the first process
                if error is not None:
                    cause = (str(error).strip() or type(error).__name__).splitlines()[0]
                    self.store.set("dead", f"process {self.rank} failed: {cause}")
                self.store.set(f"alive/{self.rank}", "left")

    def conclude(self, last_words: Callable[[], None]) -> None:
        """Process 0 calls `last_words`, the others wait for it: launchers end all once one has ended."""
        if self.rank == 0:
            try:
                last_words()
            finally:
                self.store.set("concluded", "")
            return
        with contextlib.suppress(Exception):  # the store goes with the first process
            self.store.wait(["concluded"], timedelta(seconds=CONCLUSION))

    def run(self) -> None:
        """Looks into the store until this process leaves."""
        self._looked = self._awake = time.monotonic()
        threading.Thread(target=self._guard, name="fmlab-guard", daemon=True).start()
        before = self._looked
        while not self._left.wait(POLL):
            before = self._slept(before)
            with contextlib.suppress(Exception):  # out of reach: the guard counts the seconds
                self._look()
                self._looked = time.monotonic()

    def _guard(self) -> None:
        """Notices that the store answers no more: process 0, which keeps it, is gone or hangs."""
        before = time.monotonic()
        while not self._left.wait(4 * POLL):
            before = self._slept(before)
            if before - max(self._looked, self._awake) > SILENCE:
                self._end("process 0 gives no sign of life")

    def _slept(self, before: float) -> float:
        """The time now; if much more has passed than was waited for, this process was suspended, maybe all were."""
        now = time.monotonic()
        if now - before > NAP:
            self._awake = now
        return now

    def _look(self) -> None:
        if self.signals.received is not None and not self._proposed:
            self.store.set("stop", self.signals.received.name)
        if not self._proposed and self.store.check(["stop"]):
            self._propose()
        if self._proposed and not self._agreed.is_set():
            keys = [f"stretch/{rank}" for rank in range(self.world_size)]
            if self.store.check(keys):
                self._last_stretch = max(int(value) for value in self.store.multi_get(keys))
                self._agreed.set()
        if self.store.check(["dead"]):
            self._end(self.store.get("dead").decode(errors="replace"))
        self._watch_others()

    def _propose(self) -> None:
        self.asked = signal.Signals[self.store.get("stop").decode()]
        with self._lock:
            self._proposed = True
            stretch = self._stretch
        self.store.set(f"stretch/{self.rank}", str(stretch))

    def _watch_others(self) -> None:
        now = time.monotonic()
        if now - self._beaten < BEAT:
            return
        self._beaten = now
        if not self._left.is_set():
            self.store.set(f"alive/{self.rank}", str(now))
        if self.rank != 0:
            return
        for rank in range(1, self.world_size):
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
