"""What is done to the runs of the fault campaign on this machine: each kind of fault, and what came of it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from fault_lives import (
    INTERVAL,
    STEPS,
    TWO_PROCESSES,
    Tally,
    acting,
    begin,
    judged,
    steps_lost,
    trained_steps,
    wait_for,
    wait_for_moment,
)
from helpers.tiny_runs import newest

from fmlab.launch.slurm.client import exit_code
from fmlab.records import RunLayout
from fmlab.training.checkpoint_files import damage, step_of


def kills(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """30 of them, five a run: while a checkpoint is written, in a validation, or at any moment."""
    tally, moments, again = Tally("SIGKILL"), {"in a write": 0, "in a validation": 0, "at any moment": 0}, 0
    for number in range(6):
        target = folder / f"killed_{number}"
        with judged(tally, whole, target):
            for life in range(5):
                moment = list(moments)[(number + life) % 3]
                process = begin(target, acting())
                hit = wait_for_moment(process, target, moment, dice)
                process.kill()
                tally.faults += 1
                moments[moment if hit else "at any moment"] += 1
                if list(target.glob("digits/*/config.yaml")):
                    again = max(again, steps_lost(newest(target)))
            assert begin(target, acting()).wait() == 0
    tally.notes += [", ".join(f"{count} {moment}" for moment, count in moments.items())]
    tally.notes += [f"at most {again} steps done again, {INTERVAL} between checkpoints"]
    if again > INTERVAL:
        tally.failures.append("more than one interval was lost")
    return tally


def signals(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """Ten of them, at chosen moments and at random ones: nothing is done twice."""
    tally = Tally("SIGUSR1, SIGTERM or Ctrl-C")
    for number in range(5):
        target = folder / f"asked_{number}"
        with judged(tally, whole, target):
            for _ in range(2):
                asked = dice.choice([signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
                process = begin(target, acting())
                wait_for_moment(process, target, dice.choice(["in a validation", "at any moment"]), dice)
                os.kill(process.pid, asked)
                assert process.wait() == exit_code(asked), f"code {process.status}"
                tally.faults += 1
                assert steps_lost(newest(target)) == 0
            assert begin(target, acting()).wait() == 0
            done = trained_steps(newest(target))
            assert done == list(range(1, STEPS + 1)), "a step was lost or repeated"
    tally.notes += ["no step done again, none left out; a validation that was stopped is made again"]
    return tally


def damages(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """Ten of them: `last.ckpt` cut or with one bit flipped, and every fourth time `previous.ckpt` too."""
    tally, used = Tally("damaged checkpoint (cut, or one bit flipped)"), {}
    origin = folder / "to_damage"
    begin(origin, acting(("Signal", {"name": "SIGUSR1", "step": 37}))).wait()
    for number in range(10):
        target = folder / f"damaged_{number}"
        shutil.copytree(origin, target)
        run = newest(target)
        with judged(tally, whole, target):
            for file in [run.last, run.previous][: 2 if number % 4 == 3 else 1]:
                content = bytearray(file.read_bytes())
                if number % 2:
                    content[dice.randrange(len(content) // 10, len(content) * 9 // 10)] ^= 1 << dice.randrange(8)
                else:
                    del content[dice.randrange(len(content)) :]
                file.write_bytes(content)
            tally.faults += 1
            noticed = damage(run.last) is not None
            process = begin(target, acting())
            assert process.wait() == 0, process.log.read_text()[-300:]
            messages = [line for line in process.log.read_text().splitlines() if "is damaged" in line]
            assert bool(messages) == noticed
            name = messages[0].rpartition("; ")[2].split()[0] if messages else "last.ckpt, whose content was whole"
            used[name] = used.get(name, 0) + 1
    tally.notes += ["continued from " + ", ".join(f"{name} ({count})" for name, count in sorted(used.items()))]
    return tally


def full_disk(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """A file system in memory fills up in the middle of a run."""
    tally, target = Tally("full disk"), folder / "full"
    target.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", target], capture_output=True, check=False
    )
    if mounted.returncode:
        tally.notes.append("not run: mounting a small file system needs root")
        return tally
    try:
        with judged(tally, whole, target):
            process = begin(target, acting(("Fill", {"step": 23, "name": str(target / "filler")})))
            code = process.wait()
            tally.faults += 1
            run = newest(target)
            (target / "filler").unlink()
            assert code == 1, f"code {code}"
            assert "the disk is full" in process.log.read_text()
            assert damage(run.last) is None
            tally.notes.append(f"stopped by a line; last.ckpt of step {step_of(run.last)} was whole")
            assert begin(target, acting()).wait() == 0
    finally:
        subprocess.run(["umount", target], check=False)
    return tally


def poisons(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """Data and a gradient that are not finite."""
    tally = Tally("NaN in the data, infinity in a gradient")
    for what in ("data", "gradient"):
        target = folder / f"poison_{what}"
        with judged(tally, whole, target):
            process = begin(target, acting(("Poison", {"step": 33, "what": what})))
            assert process.wait() == 1
            tally.faults += 1
            messages = [line for line in process.log.read_text().splitlines() if line.startswith("error: ")]
            tally.notes.append(f'"{messages[0].removeprefix("error: ")}"')
            assert damage(newest(target).last) is None
            assert begin(target, acting()).wait() == 0
    return tally


def dead_ranks(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """In a run of two processes one is killed, or stands still; the other must not wait for it."""
    tally = Tally("process of two (DDP, gloo) killed, hanging, suspended")
    both = begin(folder / "two", acting(), setting=TWO_PROCESSES)
    assert both.wait() == 0, both.log.read_text()[-500:]
    for name, rank in (("SIGKILL", 1), ("SIGKILL", 0), ("SIGSTOP", 1), ("SIGSTOP", 0)):
        target = folder / f"{name}_{rank}"
        with judged(tally, newest(folder / "two"), target):
            process = begin(target, acting(("Signal", {"name": name, "step": 23, "rank": rank})), setting=TWO_PROCESSES)
            wait_for(lambda run=target: 23 in trained_steps_of_any(run), 600)
            began = time.monotonic()
            wait_for(lambda leader=process: not session(leader.pid, running=True), 100)
            seconds = time.monotonic() - began
            for pid in session(process.pid):  # a process that stands still cannot end
                os.kill(pid, signal.SIGKILL)
            tally.faults += 1
            tally.notes.append(f"{name} of process {rank}: the other ended after {seconds:.0f} s")
            assert seconds < 60
            again = begin(target, acting(), setting=TWO_PROCESSES)
            assert again.wait() == 0, again.log.read_text()[-500:]
    with judged(tally, newest(folder / "two"), folder / "suspended"):
        tally.notes.append(suspended(folder / "suspended"))
        tally.faults += 1
    return tally


def suspended(target: Path) -> str:
    """All processes of a run stand still for longer than one alone might, as a suspended job does, and go on."""
    process = begin(target, acting(), setting=TWO_PROCESSES)
    wait_for(lambda: 23 in trained_steps_of_any(target), 600)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(45)
    os.killpg(process.pid, signal.SIGCONT)
    assert process.wait() == 0, process.log.read_text()[-500:]
    return "both suspended for 45 s: they continued"


def trained_steps_of_any(target: Path) -> list[int]:
    return trained_steps(newest(target)) if list(target.glob("digits/*/config.yaml")) else []


def session(leader: int, running: bool = False) -> list[int]:
    """The processes of a session; only those that are not stopped, if asked for."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in ("ZXT" if running else "ZX"):
                pids.append(int(stat.parent.name))
    return pids
