"""Two real processes (gloo) share an evaluation: the number and the images are those of one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from fmlab.__main__ import main
from fmlab.evaluation import Journal
from fmlab.records import RunLayout

# 92 images in batches of 24 are two batches a process, the last one shorter; Dopri5 takes its own steps for each image.
# The covariance of fewer than the features' 72 dimensions would be singular, and its root magnify the rounding of sums.
WORDS = ["--num_samples", "92", "--batch_size", "24", "--solver", "Euler,Dopri5", "--solver.rtol=1e-2", "--steps", "3"]


def command_line(run: RunLayout, name: str, keep: Path) -> list[str]:
    return ["evaluate", str(run.root), *WORDS, "--out", name, "--keep", str(keep), "--device", "cpu"]


def assert_same(run: RunLayout, folder: Path, one: str, two: str) -> None:
    """Images bit for bit, and numbers to rounding, by the same setting."""
    first, second = (Journal(run.root / "evaluations" / name).rows() for name in (one, two))
    assert list(first) == list(second)
    assert len(first) == 3
    for key in first:
        assert second[key].values == pytest.approx(first[key].values, rel=1e-9)
        assert second[key].setting == first[key].setting
    pairs = [(file, folder / file.name.replace(one, two)) for file in sorted(folder.glob(f"{one}_*.npz"))]
    assert len(pairs) == 2
    for archive, other in pairs:
        for name, array in np.load(archive).items():
            assert np.array_equal(np.load(other)[name], array), name


def task(rank: int, folder: str, port: int, command: list[str]) -> None:
    """One of two tasks of a SLURM job; what it prints goes to a file."""
    job = {"SLURM_JOB_ID": str(port - 15_000), "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "127.0.0.1"}
    os.environ.update(job, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank))
    torch.set_num_threads(1)  # a forked process must not enter OpenMP's parallel regions
    with open(f"{folder}/said{rank}", "w") as file, contextlib.redirect_stdout(file):
        assert main(command) == 0


def test_two_tasks_of_a_slurm_job_equal_one_process(run: RunLayout, tmp_path: Path) -> None:
    assert main(command_line(run, "one", tmp_path / "one.npz")) == 0
    # A fork has everything imported already, which takes seconds.
    method = "fork" if sys.platform == "linux" else "spawn"
    shared = (str(tmp_path), 15_000 + os.getpid() % 10_000, command_line(run, "two", tmp_path / "two.npz"))
    mp.start_processes(task, args=shared, nprocs=2, start_method=method)
    outputs = [(tmp_path / f"said{rank}").read_text() for rank in range(2)]
    assert "against Digits train" in outputs[0]
    assert outputs[1] == "", "the first process alone prints"
    assert_same(run, tmp_path, "one", "two")


@pytest.mark.slow
def test_torchrun_equals_one_process(run: RunLayout, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m", "fmlab"]
    command = [*launcher, *command_line(run, "two", tmp_path / "two.npz")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("real against real: 92 against") == 1
    assert main(command_line(run, "one", tmp_path / "one.npz")) == 0
    assert_same(run, tmp_path, "one", "two")


@pytest.mark.slow
def test_a_killed_evaluation_goes_on(run: RunLayout) -> None:
    """With statistics half way saved at every batch, it is stopped at some batch and the command repeated."""
    code = "import fmlab.__main__ as m, fmlab.evaluation.evaluation as e; e.SAVE_SECONDS = 0.0; exit(m.main())"
    sampled = "--num_samples 600 --solver RK4 --steps 8 --batch_size 12 --device cpu --out"
    command = ["evaluate", str(run.root), *sampled.split()]
    program = [sys.executable, "-c", code, *command, "parts"]
    task = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = run.root / "evaluations" / "parts"
    until = time.monotonic() + 120
    while not list(folder.glob("partial/*.pt")) and time.monotonic() < until and task.poll() is None:
        time.sleep(0.02)
    task.kill()
    task.wait(60)
    assert len(Journal(folder).rows()) == 1, "the row of real data alone"
    assert list(folder.glob("partial/*.pt"))
    assert main([*command, "parts"]) == 0
    assert main([*command, "whole"]) == 0
    whole, parts = (Journal(run.root / "evaluations" / name).rows() for name in ("whole", "parts"))
    assert list(whole) == list(parts)
    for key in whole:
        assert parts[key].values == pytest.approx(whole[key].values, rel=1e-12)
