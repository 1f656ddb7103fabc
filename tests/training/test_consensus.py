"""Processes that are asked to stop at different moments stop at the same one, and none waits for ever."""

from __future__ import annotations

import random
import signal
import threading
import time

import pytest
from torch.distributed import HashStore

from fmlab.training import consensus
from fmlab.training.consensus import StopConsensus, StopSignals

INTERVALS = 60


class Worker(threading.Thread):
    """Works like training: steps within an interval at its own pace, then a meeting of all."""

    def __init__(self, member: StopConsensus, meeting: threading.Barrier, seed: int, ask_at: float | None) -> None:
        super().__init__(daemon=True)
        self.member, self.meeting, self.random = member, meeting, random.Random(seed)
        self.ask_at = ask_at
        self.stopped_in: int | None = None

    def run(self) -> None:
        start = time.monotonic()
        for interval in range(INTERVALS):
            for _ in range(self.random.randint(0, 3)):  # uneven, as batches of a validation are
                time.sleep(self.random.random() * 0.01)
                if self.ask_at is not None and time.monotonic() - start > self.ask_at:
                    self.member.signals.received = signal.SIGUSR1
                if self.member.may_stop_here():
                    self.stopped_in = interval
                    return
            if self.member.end_interval():
                self.stopped_in = interval
                return
            self.meeting.wait(timeout=20)


@pytest.mark.parametrize("seed", range(6))
def test_all_stop_in_one_interval(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consensus, "POLL", 0.01)
    store, count = HashStore(), 3
    meeting = threading.Barrier(count)
    members = [StopConsensus(StopSignals(), store, rank, count) for rank in range(count)]
    times = {seed % count: 0.1, (seed + 1) % count: 0.1 + 0.02 * seed}  # one or two are asked, the third is not
    workers = [Worker(member, meeting, 10 * seed + rank, times.get(rank)) for rank, member in enumerate(members)]
    for thread in [*members, *workers]:
        thread.start()
    for worker in workers:
        worker.join(timeout=30)
        assert not worker.is_alive(), "it waits for the others for ever"
    intervals = {worker.stopped_in for worker in workers}
    assert len(intervals) == 1
    assert None not in intervals
    assert all(member.signal == signal.SIGUSR1 for member in members)
    for member in members:
        member.shutdown()


def test_a_single_process_asks_nobody() -> None:
    signals, calls = StopSignals(), []
    alone = StopConsensus(signals)
    assert not alone.may_stop_here()
    assert not alone.end_interval()
    signals.received = signal.SIGTERM
    assert alone.may_stop_here()
    assert alone.end_interval()
    assert alone.signal == signal.SIGTERM
    alone.conclude(lambda: calls.append("concluded"))
    alone.shutdown(ValueError("whatever"))
    assert calls == ["concluded"]


class Faulty:
    """A store that ignores what is set, or never answers, from a moment on."""

    def __init__(self, store: HashStore) -> None:
        self.store, self.mute, self.hangs = store, threading.Event(), threading.Event()

    def set(self, key: str, value: str) -> None:
        if not self.mute.is_set():
            self.store.set(key, value)

    def check(self, keys: list[str]) -> bool:
        if self.hangs.is_set():
            threading.Event().wait()
        return self.store.check(keys)

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


def test_a_silent_process_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("POLL", 0.01), ("BEAT", 0.02), ("SILENCE", 0.3), ("GRACE", 0.2)):
        monkeypatch.setattr(consensus, name, value)
    ended, store = threading.Event(), HashStore()
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        ended.set()
        for member in (first, second):
            member.shutdown()  # the real one does not return

    monkeypatch.setattr(consensus.os, "_exit", leave)
    causes: list[str] = []
    faulty = Faulty(store)
    first = StopConsensus(StopSignals(), store, 0, 2, causes.append)
    second = StopConsensus(StopSignals(), faulty, 1, 2, causes.append)
    first.start()
    second.start()
    time.sleep(1.0)
    assert not ended.is_set(), "both are alive"
    faulty.mute.set()
    assert ended.wait(10)
    assert codes[0] == 1
    assert "process 1 gives no sign of life" in causes[0]


def test_a_store_that_does_not_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an error nor an answer: the first process hangs, or its machine is gone."""
    for name, value in (("POLL", 0.01), ("SILENCE", 0.3), ("GRACE", 0.1)):
        monkeypatch.setattr(consensus, name, value)
    faulty, ended = Faulty(HashStore()), threading.Event()
    member = StopConsensus(StopSignals(), faulty, 1, 2)

    def leave(code: int) -> None:
        member.shutdown()
        ended.set()

    monkeypatch.setattr(consensus.os, "_exit", leave)
    member.start()
    assert not ended.wait(0.6)
    faulty.hangs.set()
    assert ended.wait(10)


def test_a_suspended_process_takes_nobody_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is suspended and goes on finds old signs of life."""
    clock = 100.0
    monkeypatch.setattr(consensus.time, "monotonic", lambda: clock)
    store = HashStore()
    first = StopConsensus(StopSignals(), store, 0, 2)
    store.set("alive/1", "long ago")
    first.watch_others()
    before, clock = clock, 1100.0
    assert first.notice_suspension(before) == clock
    first.watch_others()
    assert not store.check(["dead"])
    clock += consensus.SILENCE + consensus.BEAT
    first.watch_others()
    assert store.check(["dead"])


def test_a_failing_process_says_why() -> None:
    store = HashStore()
    failing = StopConsensus(StopSignals(), store, 1, 2)
    failing.shutdown(ValueError("no such image\nand more"))
    assert store.get("dead") == b"process 1 failed: no such image"
