"""A run that was killed goes on as if it had not been."""

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
from helpers.compare_runs import assert_identical, final_state
from helpers.tiny_runs import arguments, newest

from fmlab.__main__ import main
from fmlab.records import RunLayout, read_metrics, read_status

STEPS = 40
# Dropout on, labels dropped, flips, two batches a step; 1437 // 64 = 22 batches make an epoch, which 7 does not divide,
# and step 40 lies in the fourth.
OVERRIDES = [
    "--model.network.dropout=0.2",
    "--data.global_batch_size=128",
    "--data.flip=true",
    "--trainer.accumulate_grad_batches=2",
    "--checkpoint.every_n_steps=7",
    "--ema.decay=[0.9,0.99]",
    "--power_ema.snapshots=8",
]


def kill_in_the_middle(argv: list[str], folder: Path) -> RunLayout:
    """Starts the command, and kills it without warning soon after its second checkpoint."""
    process = subprocess.Popen([sys.executable, "-m", "fmlab", "fit", *argv], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            checkpoints = list(folder.glob("digits/*/checkpoints/last.ckpt"))
            if checkpoints and torch.load(checkpoints[0], weights_only=True)["global_step"] >= 14:
                break
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    return newest(folder)


def test_a_killed_run_resumes_bit_for_bit(fit: Callable[..., RunLayout], tmp_path: Path) -> None:
    whole = fit(*OVERRIDES, steps=STEPS, validate=7)
    argv = arguments(tmp_path / "killed", *OVERRIDES, steps=STEPS, validate=7)
    killed = kill_in_the_middle(argv, tmp_path / "killed")
    status = read_status(killed)
    assert status.state == "interrupted", "a dead process is not running"
    stopped_at = final_state(killed)["global_step"]
    assert 14 <= stopped_at < STEPS
    assert main(["fit", "--resume", str(killed.root)]) == 0
    assert read_status(killed).state == "done"
    first, second = final_state(whole), final_state(killed)
    assert first["global_step"] == second["global_step"] == STEPS
    assert_identical(first["state_dict"], second["state_dict"], "weights")
    assert_identical(first["optimizer_states"], second["optimizer_states"], "optimizer")
    for name in ("averages", "step"):
        averages = [state["callbacks"]["AveragedWeights"][name] for state in (first, second)]
        assert_identical(*averages, f"averaged weights {name}")
    assert_identical(*(state["callbacks"]["PowerAverages"] for state in (first, second)), "power averages")
    snapshots = [{file.name: file.read_bytes() for file in run.power_averages.iterdir()} for run in (whole, killed)]
    assert snapshots[0] == snapshots[1]
    assert len(snapshots[0]) == 8
    steps = [[int(row["step"]) for row in read_metrics(run.metrics)] for run in (whole, killed)]
    assert steps[0] == steps[1], "metrics.csv has neither a gap nor a step twice"
    losses = [[row["val/loss"] for row in read_metrics(run.metrics) if row.get("val/loss")] for run in (whole, killed)]
    assert losses[0] == losses[1]


def test_a_finished_run_can_be_prolonged_in_place(fit: Callable[..., RunLayout]) -> None:
    run = fit("--model.lr_scheduler=WarmupConstant", steps=2)
    assert main(["fit", "--resume", str(run.root), "--trainer.max_steps=6"]) == 0
    assert final_state(run)["global_step"] == 6
    assert newest(run.root.parents[1]).root == run.root, "no second folder"
    straight = fit("--model.lr_scheduler=WarmupConstant", steps=6)
    assert_identical(final_state(straight)["state_dict"], final_state(run)["state_dict"])


def test_a_schedule_follows_a_prolonged_run(fit: Callable[..., RunLayout]) -> None:
    """The cosine's length is `${trainer.max_steps}`: a longer run has a longer cosine, not a learning rate of 0."""
    run = fit("--model.lr_scheduler.warmup_steps=0", "--trainer.log_every_n_steps=1", steps=2)
    assert main(["fit", "--resume", str(run.root), "--trainer.max_steps=6"]) == 0
    rates = {int(row["step"]): float(row["train/lr"]) for row in read_metrics(run.metrics) if row.get("train/lr")}
    assert rates[3] == pytest.approx(1e-3 / 2, rel=1e-3), "half-way down at step 3 of 6"


def test_what_cannot_be_resumed_is_refused(
    fit: Callable[..., RunLayout], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["fit", "--resume", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
