"""Kills, cuts, fills and poisons runs, resumes them, and compares how they end with a run that nothing happened to.

    PYTHONPATH=tests/runs python benchmarks/fault_campaign.py --out docs/reliability.md

Every life of a run is the real command in a process of its own (forked from one that has imported the libraries, so
that a life costs seconds), on a network that is small for the same reason. "Identical" means weights, optimizer,
schedule, averages, best score and checkpoint, snapshots, pictures and every logged number, bit for bit; only what a
clock or the machine's memory says may differ.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from compare_runs import assert_same_end
from tiny_runs import arguments, newest

import fmlab.cli.fit  # noqa: F401  (before the forks)
from fmlab.__main__ import main
from fmlab.launch.requeue import exit_code
from fmlab.records import RunLayout, read_status
from fmlab.records.checkpoint_files import damage, step_of

INTERVAL = 5  # steps between two checkpoints
STEPS = 60
VALIDATE = 10  # steps between two validations
# Epochs of four steps, dropout, flips, dropped labels; a validation takes as long as some ten steps.
SETTING = [
    "--data.limit=150",
    "--data.global_batch_size=32",
    "--data.flip=true",
    "--trainer.log_every_n_steps=2",
    "--model.network.dropout=0.2",
    "--model.time_sampler=Uniform",
    "--ema.decay=[0.9,0.99]",
    "--power_ema.snapshots=6",
    "--fid.num_samples=200",
    "--fid.batch_size=20",
    "--fid.steps=10",
    f"--checkpoint.every_n_steps={INTERVAL}",
]
ACCUMULATED = ("--trainer.accumulate_grad_batches=2", f"--trainer.val_check_interval={2 * VALIDATE}")  # in batches
TWO_PROCESSES = ("--trainer.devices=2", "--trainer.strategy=ddp", f"--trainer.val_check_interval={VALIDATE}")


@dataclass
class Tally:
    """What came of one kind of fault."""

    fault: str
    faults: int = 0
    outcomes: int = 0
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def row(self) -> str:
        outcome = f"{self.outcomes} of {self.outcomes + len(self.failures)} identical"
        return f"| {self.fault} | {self.faults} | {outcome} | {'; '.join([*self.notes, *self.failures])} |"


@dataclass
class Life:
    """A process that runs the command, the first of a session of its own; what it says goes to a file."""

    pid: int
    said: Path
    status: int | None = None

    def ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def wait(self, seconds: float = 900) -> int:
        wait_for(self.ended, seconds)
        assert self.status is not None
        return self.status

    def kill(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()


def wait_for(done: Callable[[], bool], seconds: float, pause: float = 0.01) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(pause)


def live(place: Path, words: list[str], fork: bool) -> Life:
    """Starts `fmlab fit` with these words."""
    place.mkdir(parents=True, exist_ok=True)
    said = place / "said.txt"
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    if not fork:  # Lightning starts the second process by repeating the command line of the first
        command = [sys.executable, "-m", "fmlab", "fit", *words]
        life = Life(subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True).pid, said)
        os.close(file)
        return life
    pid = os.fork()
    if pid:
        os.close(file)
        return Life(pid, said)
    try:
        os.setsid()
        os.dup2(file, 1)
        os.dup2(file, 2)
        code = main(["fit", *words])
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def begin(place: Path, *extra: str, setting: tuple[str, ...] = ACCUMULATED) -> Life:
    """A run from its beginning, or from where it stands if there is one at the place already."""
    if list(place.glob("digits/*/config.yaml")):
        words = ["--resume", str(newest(place).root), "--trust", *extra]
    else:
        words = arguments(place, *SETTING, *setting, *extra, steps=STEPS)
    return live(place, words, fork=setting == ACCUMULATED)


def acting(*callbacks: tuple[str, dict[str, object]]) -> str:
    """The option that adds callbacks of `tests/runs/acting.py`; every run notes its steps."""
    words = []
    for name, given in (("Trace", {}), *callbacks):
        inside = ", ".join(f"{key}: {value}" for key, value in given.items())
        words.append(f"{{class_path: acting.{name}, init_args: {{{inside}}}}}")
    return f"--trainer.callbacks=[{', '.join(words)}]"


def trained_steps(run: RunLayout) -> list[int]:
    """The steps in the order they were done, by all lives."""
    file = run.root / "trace"
    return [int(word) for word in file.read_text().split()] if file.exists() else []


@contextlib.contextmanager
def judged(tally: Tally, whole: RunLayout, place: Path) -> Iterator[None]:
    """Within, something happens to the run at a place; afterwards it must have ended like the whole one."""
    try:
        yield
        run = newest(place)
        assert read_status(run).state == "done", f"ended as {read_status(run)}"
        assert_same_end(whole, run)
        tally.outcomes += 1
    except (AssertionError, OSError, ValueError) as error:
        traceback.print_exc()
        tally.failures.append(f"{place.name}: {(str(error) or 'differs').splitlines()[0][:150]}")
    print(f"{tally.fault}: {place.name} {'failed' if tally.failures else 'well'}", flush=True)


def kills(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """30 of them, five a run: while a checkpoint is written, in a validation, or at any moment."""
    tally, moments, again = Tally("SIGKILL"), {"in a write": 0, "in a validation": 0, "at any moment": 0}, 0
    for number in range(6):
        place = folder / f"killed_{number}"
        with judged(tally, whole, place):
            for life in range(5):
                moment = list(moments)[(number + life) % 3]
                process = begin(place, acting())
                hit = wait_for_moment(process, place, moment, dice)
                process.kill()
                tally.faults += 1
                moments[moment if hit else "at any moment"] += 1
                if list(place.glob("digits/*/config.yaml")):
                    again = max(again, steps_lost(newest(place)))
            assert begin(place, acting()).wait() == 0
    tally.notes += [", ".join(f"{count} {moment}" for moment, count in moments.items())]
    tally.notes += [f"at most {again} steps done again, {INTERVAL} between checkpoints"]
    if again > INTERVAL:
        tally.failures.append("more than one interval was lost")
    return tally


def wait_for_moment(process: Life, place: Path, moment: str, dice: random.Random) -> bool:
    """Waits until the run is there, and has got somewhat further; returns whether the moment was met."""
    wait_for(lambda: process.ended() or bool(list(place.glob("digits/*/config.yaml"))), 300)
    run = newest(place)
    before = len(trained_steps(run))
    ahead = dice.randint(1, 6)
    wait_for(lambda: process.ended() or len(trained_steps(run)) >= before + ahead, 300)
    if moment == "at any moment":
        time.sleep(dice.random() * 0.5)
        return True
    look = is_writing if moment == "in a write" else is_validating
    wait_for(lambda: process.ended() or look(run), 300, pause=0.0002)
    return not process.ended()


def is_writing(run: RunLayout) -> bool:
    """Whether a checkpoint is being written at this moment."""
    return any(name.name.startswith((".last", ".best")) for name in run.checkpoints.glob(".*.tmp"))


def is_validating(run: RunLayout) -> bool:
    """Whether the latest step is one with a validation, of which no picture is there yet."""
    done = trained_steps(run)
    return bool(done) and done[-1] % VALIDATE == 0 and not list(run.samples.glob(f"step_{done[-1]:07d}*.png"))


def steps_lost(run: RunLayout) -> int:
    """How many steps will be done again."""
    done = trained_steps(run)
    whole = [step_of(file) for file in (run.last, run.previous, run.best) if file.exists() and damage(file) is None]
    return max(done[-1] - max(whole, default=0), 0) if done else 0


def signals(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """Ten of them, at chosen moments and at random ones: nothing is done twice."""
    tally = Tally("SIGUSR1, SIGTERM or Ctrl-C")
    for number in range(5):
        place = folder / f"asked_{number}"
        with judged(tally, whole, place):
            for _ in range(2):
                asked = dice.choice([signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
                process = begin(place, acting())
                wait_for_moment(process, place, dice.choice(["in a validation", "at any moment"]), dice)
                os.kill(process.pid, asked)
                assert process.wait() == exit_code(asked), f"code {process.status}"
                tally.faults += 1
                assert steps_lost(newest(place)) == 0
            assert begin(place, acting()).wait() == 0
            done = trained_steps(newest(place))
            assert done == list(range(1, STEPS + 1)), "a step was lost or repeated"
    tally.notes += ["no step done again, none left out; a validation that was stopped is made again"]
    return tally


def damages(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """Ten of them: `last.ckpt` cut or with one bit flipped, and every fourth time `previous.ckpt` too."""
    tally, used = Tally("damaged checkpoint (cut, or one bit flipped)"), {}
    origin = folder / "to_damage"
    begin(origin, acting(("Signal", {"name": "SIGUSR1", "step": 37}))).wait()
    for number in range(10):
        place = folder / f"damaged_{number}"
        shutil.copytree(origin, place)
        run = newest(place)
        with judged(tally, whole, place):
            for file in [run.last, run.previous][: 2 if number % 4 == 3 else 1]:
                content = bytearray(file.read_bytes())
                if number % 2:
                    content[dice.randrange(len(content) // 10, len(content) * 9 // 10)] ^= 1 << dice.randrange(8)
                else:
                    del content[dice.randrange(len(content)) :]
                file.write_bytes(content)
            tally.faults += 1
            noticed = damage(run.last) is not None
            process = begin(place, acting())
            assert process.wait() == 0, process.said.read_text()[-300:]
            said = [line for line in process.said.read_text().splitlines() if "is damaged" in line]
            assert bool(said) == noticed
            name = said[0].rpartition("; ")[2].split()[0] if said else "last.ckpt, whose content was whole"
            used[name] = used.get(name, 0) + 1
    tally.notes += ["went on from " + ", ".join(f"{name} ({count})" for name, count in sorted(used.items()))]
    return tally


def full_disk(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """A file system in memory fills up in the middle of a run."""
    tally, place = Tally("full disk"), folder / "full"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        tally.notes.append("not run: mounting a small file system needs root")
        return tally
    try:
        with judged(tally, whole, place):
            process = begin(place, acting(("Fill", {"step": 23, "name": str(place / "filler")})))
            code = process.wait()
            tally.faults += 1
            run = newest(place)
            (place / "filler").unlink()
            assert code == 1, f"code {code}"
            assert "the disk is full" in process.said.read_text()
            assert damage(run.last) is None
            tally.notes.append(f"stopped by a line; last.ckpt of step {step_of(run.last)} was whole")
            assert begin(place, acting()).wait() == 0
    finally:
        subprocess.run(["umount", place], check=False)
    return tally


def poisons(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """Data and a gradient that are not finite."""
    tally = Tally("NaN in the data, infinity in a gradient")
    for what in ("data", "gradient"):
        place = folder / f"poison_{what}"
        with judged(tally, whole, place):
            process = begin(place, acting(("Poison", {"step": 33, "what": what})))
            assert process.wait() == 1
            tally.faults += 1
            said = [line for line in process.said.read_text().splitlines() if line.startswith("error: ")]
            tally.notes.append(f'"{said[0].removeprefix("error: ")}"')
            assert damage(newest(place).last) is None
            assert begin(place, acting()).wait() == 0
    return tally


def dead_ranks(whole: RunLayout, folder: Path, dice: random.Random) -> Tally:
    """In a run of two processes one is killed, or stands still; the other must not wait for it."""
    tally = Tally("process of two (DDP, gloo) killed, hanging, suspended")
    both = begin(folder / "two", acting(), setting=TWO_PROCESSES)
    assert both.wait() == 0, both.said.read_text()[-500:]
    for name, rank in (("SIGKILL", 1), ("SIGKILL", 0), ("SIGSTOP", 1), ("SIGSTOP", 0)):
        place = folder / f"{name}_{rank}"
        with judged(tally, newest(folder / "two"), place):
            process = begin(place, acting(("Signal", {"name": name, "step": 23, "rank": rank})), setting=TWO_PROCESSES)
            wait_for(lambda run=place: 23 in trained_steps_of_any(run), 600)
            began = time.monotonic()
            wait_for(lambda leader=process: leader.ended() and not session(leader.pid, running=True), 100)
            seconds = time.monotonic() - began
            for pid in session(process.pid):  # a process that stands still cannot end
                os.kill(pid, signal.SIGKILL)
            tally.faults += 1
            tally.notes.append(f"{name} of process {rank}: the other ended after {seconds:.0f} s")
            assert seconds < 60
            again = begin(place, acting(), setting=TWO_PROCESSES)
            assert again.wait() == 0, again.said.read_text()[-500:]
    with judged(tally, newest(folder / "two"), folder / "suspended"):
        tally.notes.append(suspended(folder / "suspended"))
        tally.faults += 1
    return tally


def suspended(place: Path) -> str:
    """All processes of a run stand still for longer than one alone might, as a suspended job does, and go on."""
    process = begin(place, acting(), setting=TWO_PROCESSES)
    wait_for(lambda: 23 in trained_steps_of_any(place), 600)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(45)
    os.killpg(process.pid, signal.SIGCONT)
    assert process.wait() == 0, process.said.read_text()[-500:]
    return "both suspended for 45 s: they went on"


def trained_steps_of_any(place: Path) -> list[int]:
    return trained_steps(newest(place)) if list(place.glob("digits/*/config.yaml")) else []


def session(leader: int, running: bool = False) -> list[int]:
    """The processes of a session; only those that are not stopped, if asked for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in ("ZXT" if running else "ZX"):
                found.append(int(stat.parent.name))
    return found


Fault = Callable[[RunLayout, Path, random.Random], Tally]
CAMPAIGN: dict[str, Fault] = {
    "kills": kills,
    "signals": signals,
    "damages": damages,
    "full_disk": full_disk,
    "poisons": poisons,
    "dead_ranks": dead_ranks,
}
"""Each takes the undisturbed run, a folder of its own and a source of chance; another kind of fault is a line here."""

PAGE = """# Reliability

What was done to running `fmlab fit` commands, and how the runs ended after `fmlab fit --resume`. "Identical" means that
weights, optimizer, schedule, averages, best score and checkpoint, snapshots, pictures and every logged number are those
of a run that nothing happened to, bit for bit (CPU, float32; what a clock or the machine's memory says is left out).

Made in {minutes:.0f} minutes by `PYTHONPATH=tests/runs python benchmarks/fault_campaign.py --out docs/reliability.md`
with seed {seed}: {steps} steps, a checkpoint every {interval}, a validation every {validate}, gradients of two batches
added up.

| fault | faults | ended | how |
| --- | --- | --- | --- |
{rows}

## What it rests on

* `last.ckpt`, `previous.ckpt` (what it was before) and `best.ckpt` are written beside their place, to the disk, and
  then renamed. Each is the state at the end of a step, whenever it was written, with the number of rows that
  `metrics.csv` had by then; at a resume the file is cut back to them. A validation that was due after that step and had
  not ended is made again first.
* A checkpoint is a zip archive with a CRC-32 of each of its parts (`unzip -t last.ckpt`); they are checked before a run
  is resumed. The newest whole one of the three is used, and a line says so.
* SIGUSR1, SIGTERM and Ctrl-C set a flag. It is looked at after every step, and after every batch that a validation
  reads, generates or measures. Several processes agree through the key-value store of their process group, in a thread:
  no collective and no wait for a device is added to a step. The exit code is 75 (130 after Ctrl-C), the status
  `preempted` (`interrupted`); a second Ctrl-C ends at once and saves nothing.
* In a SLURM job with `FMLAB_MAX_RESTARTS` set, SIGUSR1 ends with `scontrol requeue $SLURM_JOB_ID` while
  `SLURM_RESTART_COUNT` is below it. After SIGTERM SLURM decides itself.
* Losses are looked at when they are reported (`trainer.log_every_n_steps`) and before a checkpoint is written, so a
  checkpoint never holds weights that are not finite. `--nonfinite.action=skip` skips such steps instead.
* Processes of one run give a sign of life every 3 seconds. One that gives none for 30, or that failed, ends the others.
"""


def run_campaign() -> None:
    """The command."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, help="where the page goes; printed if left out")
    options.add_argument("--only", nargs="*", choices=list(CAMPAIGN), default=list(CAMPAIGN), help="some of the faults")
    options.add_argument("--seed", type=int, default=0, help="of the random moments (0)")
    chosen = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fmlab_faults_") as name:
        folder = Path(name)
        undisturbed = begin(folder / "whole", acting())
        assert undisturbed.wait() == 0, undisturbed.said.read_text()
        whole = newest(folder / "whole")
        tallies = []
        for fault in chosen.only:
            place = folder / fault
            place.mkdir()
            tallies.append(CAMPAIGN[fault](whole, place, random.Random(f"{chosen.seed} {fault}")))
            print(tallies[-1].row(), flush=True)
    minutes = (time.monotonic() - began) / 60
    rows = "\n".join(tally.row() for tally in tallies)
    numbers = {"seed": chosen.seed, "minutes": minutes, "steps": STEPS, "interval": INTERVAL, "validate": VALIDATE}
    page = PAGE.format(rows=rows, **numbers)
    if chosen.out:
        chosen.out.write_text(page)
    else:
        print(page)
    sys.exit(1 if any(tally.failures for tally in tallies) else 0)


if __name__ == "__main__":
    run_campaign()
