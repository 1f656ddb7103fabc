"""Sweeps as arrays of a real SLURM, which `tests/slurm/start.sh` starts."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from helpers.slurm_jobs import NEEDS_SLURM, cancel, queued, settle, until
from helpers.sweep_of_two import assert_expected, write_pair
from helpers.trivial import write_sweep

from fmlab.__main__ import main
from fmlab.launch.sweep.ledger import Ledger, TrialView
from fmlab.launch.sweep.sweep_file import read_sweep
from fmlab.records import RunLayout, read_metrics, read_status

pytestmark = [pytest.mark.slow, NEEDS_SLURM]

CLUSTER = ["--slurm.cpus_per_task", "1", "--slurm.time", "00:30:00"]


def submit(file: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Submits a sweep and returns the job's number."""
    capsys.readouterr()
    assert main(["sweep", str(file), "--slurm", *CLUSTER, *arguments]) == 0
    match = re.search(r"^job +(\d+)", capsys.readouterr().out, re.MULTILINE)
    assert match is not None
    return match.group(1)


def views(file: Path) -> list[TrialView]:
    return Ledger(read_sweep(file), Path("runs") / file.stem).views()


def test_the_file_that_wandb_takes_is_an_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(tmp_path, monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    file = write_pair(tmp_path)
    job = submit(file, capsys)
    file.write_text("edited: while it waits")
    try:
        until("the end", lambda: set(queued(job)) <= {"COMPLETED", "FAILED"})
        assert queued(job) == ["COMPLETED"] * 2, "a task for each trial"
        runs = [RunLayout(folder) for folder in sorted(Path("runs/pair").glob("pair-*"))]
        assert [read_status(run).state for run in runs] == ["done", "done"]
        assert_expected(runs)
        assert len({read_status(run).life for run in runs}) == 2, "each trial in a task of its own"
    finally:
        cancel(job)


def test_a_warned_task_is_requeued_and_its_trial_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGUSR1, as before the time limit: no step of the trial is lost or done twice, and each trial counts once."""
    settle(tmp_path, monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    long = ["--trainer.max_steps=400", "--trainer.val_check_interval=200", "--trainer.log_every_n_steps=2"]
    file = write_pair(tmp_path, *long)
    file.write_text(file.read_text().replace("[CondOT, VP]", "[CondOT]"))
    job = submit(file, capsys)
    try:
        until(
            "some steps", lambda: any(len(read_metrics(file)) > 3 for file in Path("runs/pair").glob("*/metrics.csv"))
        )
        subprocess.run(["scancel", "--signal=USR1", job], check=True)
        until("the end", lambda: [view.state for view in views(file)] == ["done"])
        until("the last task", lambda: set(queued(job)) <= {"COMPLETED"})
    finally:
        cancel(job)
    (run,) = [RunLayout(folder) for folder in Path("runs/pair").glob("pair-*")]
    assert read_status(run).life.endswith(":1"), "the job's second life"
    steps = [int(row["step"]) for row in read_metrics(run.metrics) if "train/loss" in row]
    assert steps == list(range(1, 400, 2))


def test_what_is_left_of_a_sweep_is_submitted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(tmp_path, monkeypatch)
    file = write_sweep(tmp_path, "method: grid\nparameters:\n  x: {values: [1, 3, 5, 7]}\n  seconds: {value: 1}")
    job = submit(file, capsys, "--at_once", "1")
    until("the first trial", lambda: any(view.ended for view in views(file)))
    cancel(job)
    until("the end of the job", lambda: set(queued(job)) <= {"COMPLETED", "CANCELLED"})
    left = sum(not view.ended for view in views(file))
    assert 0 < left < 4
    second = submit(file, capsys)
    try:
        until("the end", lambda: all(view.state == "done" for view in views(file)))
        until("the tasks' end", lambda: set(queued(second)) <= {"COMPLETED"})
        assert len(queued(second)) == left
        assert sorted(view.parameters["x"] for view in views(file)) == [1, 3, 5, 7]
        rows = [len(read_metrics(view.folder / "metrics.csv")) for view in views(file)]
        assert rows == [1] * 4, "each ran once"
    finally:
        cancel(second)
