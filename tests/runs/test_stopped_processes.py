"""Two processes stop together, go on exactly, and do not outlive one another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.compare_runs import assert_same_end
from helpers.tiny_runs import ROOT, arguments, fmlab, newest
from test_resume_anywhere import MIXED, acting

from fmlab.launch.slurm.client import PREEMPTED
from fmlab.records import RunLayout, read_status

# 8 validation images a batch of a process: 45 batches, and uneven shares of generated and measured samples.
TWO = [
    *MIXED,
    "--data.global_batch_size=32",
    "--trainer.devices=2",
    "--trainer.strategy=ddp",
    "--fid.num_samples=21",
    "--floor.num_samples=60",
]


def environment() -> dict[str, str]:
    """Processes of their own find the test's callbacks."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{os.environ.get('PYTHONPATH', '')}"}


def run_two(folder: Path, *extra: str) -> tuple[subprocess.CompletedProcess[str], RunLayout]:
    argv = arguments(folder, *TWO, *extra, steps=6, validate=3)
    ended = subprocess.run(
        [sys.executable, "-m", "fmlab", "fit", *argv],
        capture_output=True, text=True, timeout=400, env=environment(), check=False,
    )  # fmt: skip
    return ended, newest(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    ended, run = run_two(tmp_path_factory.mktemp("whole"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "step", "moment"),
    [(1, 2, "batch"), (0, 3, "validation"), (1, 3, "validation"), (1, 3, "generation"), (0, 3, "generation")],
)
def test_two_processes_stop_together_and_go_on(
    whole: RunLayout, tmp_path: Path, rank: int, step: int, moment: str
) -> None:
    """Whichever of them is asked, and wherever: in a validation no process is left waiting for the other."""
    ended, run = run_two(tmp_path, acting("Signal", name="SIGUSR1", step=step, moment=moment, rank=rank))
    assert ended.returncode == PREEMPTED, ended.stdout + ended.stderr
    status = read_status(run)
    assert status.state == "preempted"
    assert step <= status.step <= step + 3, "the threads look a few times a second"
    assert torch.load(run.last, weights_only=True)["global_step"] == status.step
    again = fmlab("fit", "--resume", str(run.root), "--trainer.callbacks=null", "--trust", timeout=400)
    assert again.returncode == 0, again.stdout + again.stderr
    assert_same_end(whole, run)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_dead_process_ends_the_other_within_a_minute(tmp_path: Path, rank: int) -> None:
    argv = arguments(tmp_path, *TWO, "--checkpoint.every_n_steps=2", steps=10_000, validate=10_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "fmlab", "fit", *argv], env=environment(), stdout=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: bool(list(tmp_path.glob("digits/*/checkpoints/last.ckpt"))), 240)
        children = children_of(process.pid)
        os.kill(process.pid if rank == 0 else children[0], signal.SIGKILL)
        wait_for(lambda: process.poll() is not None and not any(alive(child) for child in children), 60)
    finally:
        for pid in [process.pid, *children_of(process.pid)]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        process.wait()
    assert process.returncode != 0
    assert read_status(newest(tmp_path)).state in ("failed", "interrupted")


def wait_for(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def children_of(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
