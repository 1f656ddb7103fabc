"""A run of the fault campaign, its lives, the moments at which something happens to it, and how it is judged."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from helpers.compare_runs import assert_same_end
from helpers.tiny_runs import arguments, newest

import fmlab.training.fit  # noqa: F401  (before the forks)
from fmlab.__main__ import main
from fmlab.records import RunLayout, read_status
from fmlab.training.checkpoint_files import damage, step_of

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
ACCUMULATED = ("--trainer.accumulate_grad_batches=2", f"--trainer.val_check_interval={VALIDATE}")
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
    log: Path
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


def live(target: Path, argv: list[str], fork: bool) -> Life:
    """Starts `fmlab fit` with these arguments."""
    target.mkdir(parents=True, exist_ok=True)
    log = target / "said.txt"
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    if not fork:  # Lightning starts the second process by repeating the command line of the first
        command = [sys.executable, "-m", "fmlab", "fit", *argv]
        life = Life(subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True).pid, log)
        os.close(file)
        return life
    pid = os.fork()
    if pid:
        os.close(file)
        return Life(pid, log)
    try:
        os.setsid()
        os.dup2(file, 1)
        os.dup2(file, 2)
        code = main(["fit", *argv])
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def begin(target: Path, *extra: str, setting: tuple[str, ...] = ACCUMULATED) -> Life:
    """A run from its beginning, or from where it stands if there is one in the folder already."""
    if list(target.glob("digits/*/config.yaml")):
        argv = ["--resume", str(newest(target).root), "--trust", *extra]
    else:
        argv = arguments(target, *SETTING, *setting, *extra, steps=STEPS)
    return live(target, argv, fork=setting == ACCUMULATED)


def acting(*callbacks: tuple[str, dict[str, object]]) -> str:
    """The option that adds callbacks of `tests/runs/acting.py`; every run notes its steps."""
    items = []
    for name, given in (("Trace", {}), *callbacks):
        inside = ", ".join(f"{key}: {value}" for key, value in given.items())
        items.append(f"{{class_path: helpers.acting.{name}, init_args: {{{inside}}}}}")
    return f"--trainer.callbacks=[{', '.join(items)}]"


def trained_steps(run: RunLayout) -> list[int]:
    """The steps in the order they were done, by all lives."""
    file = run.root / "trace"
    return [int(word) for word in file.read_text().split()] if file.exists() else []


@contextlib.contextmanager
def judged(tally: Tally, whole: RunLayout, target: Path) -> Iterator[None]:
    """Within, something happens to the run in a folder; afterwards it must have ended like the whole one."""
    before = len(tally.failures)
    try:
        yield
        run = newest(target)
        assert read_status(run).state == "done", f"ended as {read_status(run)}"
        assert_same_end(whole, run)
        tally.outcomes += 1
    except (AssertionError, OSError, ValueError) as error:
        traceback.print_exc()
        tally.failures.append(f"{target.name}: {(str(error) or 'differs').splitlines()[0][:150]}")
    print(f"{tally.fault}: {target.name} {'well' if len(tally.failures) == before else 'failed'}", flush=True)


def wait_for_moment(process: Life, target: Path, moment: str, dice: random.Random) -> bool:
    """Waits until the run is there, and has got somewhat further; returns whether the moment was met."""
    wait_for(lambda: process.ended() or bool(list(target.glob("digits/*/config.yaml"))), 300)
    run = newest(target)
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
