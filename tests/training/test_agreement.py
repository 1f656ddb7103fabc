"""Processes that are asked to stop at different moments stop at the same one, and none waits for ever."""

from __future__ import annotations

import random
import signal
import threading
import time

import pytest
from torch.distributed import HashStore

from fmlab.training import agreement
from fmlab.training.agreement import Together
from fmlab.training.stop_signals import StopSignals

STRETCHES = 60


class Worker(threading.Thread):
    """Works like training: points within a stretch at its own pace, then a meeting of all."""

    def __init__(self, together: Together, meeting: threading.Barrier, seed: int, ask_at: float | None) -> None:
        super().__init__(daemon=True)
        self.together, self.meeting, self.random = together, meeting, random.Random(seed)
        self.ask_at = ask_at
        self.stopped_in: int | None = None

    def run(self) -> None:
        began = time.monotonic()
        for stretch in range(STRETCHES):
            for _ in range(self.random.randint(0, 3)):  # uneven, as batches of a validation are
                time.sleep(self.random.random() * 0.01)
                if self.ask_at is not None and time.monotonic() - began > self.ask_at:
                    self.together.signals.received = signal.SIGUSR1
                if self.together.point():
                    self.stopped_in = stretch
                    return
            if self.together.close():
                self.stopped_in = stretch
                return
            self.meeting.wait(timeout=20)


@pytest.mark.parametrize("seed", range(6))
def test_all_stop_in_one_stretch(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "POLL", 0.01)
    store, count = HashStore(), 3
    meeting = threading.Barrier(count)
    members = [Together(StopSignals(), store, rank, count, print) for rank in range(count)]
    times = {seed % count: 0.1, (seed + 1) % count: 0.1 + 0.02 * seed}  # one or two are asked, the third is not
    workers = [Worker(member, meeting, 10 * seed + rank, times.get(rank)) for rank, member in enumerate(members)]
    for thread in [*members, *workers]:
        thread.start()
    for worker in workers:
        worker.join(timeout=30)
        assert not worker.is_alive(), "it waits for the others for ever"
    stretches = {worker.stopped_in for worker in workers}
    assert len(stretches) == 1
    assert None not in stretches
    assert all(member.asked == signal.SIGUSR1 for member in members)
    for member in members:
        member.leave()
        member.join(timeout=5)


def test_a_silent_process_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("POLL", 0.01), ("BEAT", 0.02), ("SILENCE", 0.3), ("GRACE", 0.2)):
        monkeypatch.setattr(agreement, name, value)
    ended, store = threading.Event(), HashStore()
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        ended.set()
        first._left.set()  # the real one does not return

    monkeypatch.setattr(agreement.os, "_exit", leave)
    causes: list[str] = []
    first, second = (Together(StopSignals(), store, rank, 2, causes.append) for rank in range(2))
    first.start()
    second.start()
    time.sleep(1.0)
    assert not ended.is_set(), "both are alive"
    second._left.set()  # it falls silent without a word
    assert ended.wait(10)
    assert codes[0] == 1
    assert "process 1 gives no sign of life" in causes[0]


def test_a_store_that_does_not_answer_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an error nor an answer: the first process hangs, or its machine is gone."""
    for name, value in (("POLL", 0.01), ("SILENCE", 0.3), ("GRACE", 0.1)):
        monkeypatch.setattr(agreement, name, value)
    store, hangs, ended = HashStore(), threading.Event(), threading.Event()

    class Hanging:
        def check(self, keys: list[str]) -> bool:
            if hangs.is_set():
                threading.Event().wait()
            return store.check(keys)

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

    member = Together(StopSignals(), Hanging(), 1, 2, print)

    def leave(code: int) -> None:
        member._left.set()
        ended.set()

    monkeypatch.setattr(agreement.os, "_exit", leave)
    member.start()
    assert not ended.wait(0.6)
    hangs.set()
    assert ended.wait(10)


def test_own_sleep_is_nobodys_death(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is suspended and goes on finds old signs of life."""
    store = HashStore()
    first = Together(StopSignals(), store, 0, 2, print)
    now = time.monotonic()
    store.set("alive/1", "long ago")
    first._beats[1] = (b"long ago", now - 1000)
    assert first._slept(now - 1000) >= now
    first._watch_others()
    assert not store.check(["dead"])
    first._awake, first._beaten = 0.0, 0.0
    first._watch_others()
    assert store.check(["dead"])


def test_a_failing_process_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    store = HashStore()
    failing = Together(StopSignals(), store, 1, 2, print)
    failing.leave(ValueError("no such image\nand more"))
    assert store.get("dead") == b"process 1 failed: no such image"
