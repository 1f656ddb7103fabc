"""Sweeps whose trials are real runs: stopped and gone on with, pruned, and evaluations of a finished run."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.tiny_runs import EXPERIMENTS, TINY, fmlab

from fmlab.launch.sweep.ledger import HIDDEN, Ledger, TrialView
from fmlab.launch.sweep.sweep_file import read_sweep
from fmlab.records import RunLayout, read_metrics, read_status

pytestmark = pytest.mark.slow


def write(folder: Path, text: str, *flags: str, verb: str = "fit") -> Path:
    """A sweep file over tiny runs on the digits, or over evaluations."""
    config = ["--config", str(EXPERIMENTS / "digits.yaml"), *TINY] if verb == "fit" else []
    argv = ["${env}", "fmlab", verb, *config, *flags, "${args}"]
    file = folder / "tiny.yaml"
    file.write_text(f"program: fmlab\n{text}\ncommand: {json.dumps(argv)}\n")
    return file


def views(file: Path) -> list[TrialView]:
    return Ledger(read_sweep(file), file.parent / "runs" / "tiny").views()


def listen_to_interrupts() -> None:
    """What is started in a shell's background inherits that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], bool], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_stopped_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    text = "method: grid\nmetric: {name: val/loss, goal: minimize}\nparameters:\n  model.path: {values: [VP]}"
    often = ["--checkpoint.every_n_steps=5", "--trainer.log_every_n_steps=1", "--floor.enabled=false"]
    file = write(tmp_path, text, *often, "--trainer.max_steps=600", "--trainer.val_check_interval=600")
    command = [sys.executable, "-m", "fmlab", "sweep", str(file)]
    engine = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path, preexec_fn=listen_to_interrupts)
    wait_for(lambda: any(len(read_metrics(file)) > 12 for file in tmp_path.glob("runs/tiny/*/metrics.csv")))
    engine.send_signal(signal.SIGINT)
    assert engine.wait(600) == 130
    (view,) = views(file)
    assert view.state == "waiting"
    run = RunLayout(view.folder)
    stopped = read_status(run)
    assert stopped.state == "preempted"
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (view,) = views(file)
    assert (view.state, view.folder) == ("done", run.root)
    log = (run.root.parent / HIDDEN / "logs" / f"{run.id}.txt").read_text()
    resumed = re.search(r"\(from step (\d+)\)", log)
    assert resumed is not None
    assert int(resumed.group(1)) >= 5
    losses = [int(row["step"]) for row in read_metrics(run.metrics) if "train/loss" in row]
    assert losses == list(range(600)), "neither a gap nor a step twice"


def test_a_bad_run_is_stopped_and_says_so(tmp_path: Path) -> None:
    text = (
        "method: grid\nmetric: {name: val/loss, goal: minimize}\nparameters:\n"
        "  model.optimizer.lr: {values: [1.0e-3, 10.0]}\n"
        "early_terminate: {type: hyperband, min_iter: 1, eta: 2}"
    )
    file = write(tmp_path, text, "--trainer.max_steps=400", "--trainer.val_check_interval=40", "--fid.enabled=false")
    ended = fmlab("sweep", str(file), cwd=tmp_path, timeout=1500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    good, bad = views(file)
    assert (good.state, bad.state) == ("done", "pruned")
    assert [read_status(RunLayout(view.folder)).state for view in (good, bad)] == ["done", "pruned"]
    counts = [sum("val/loss" in row for row in read_metrics(view.folder / "metrics.csv")) for view in (good, bad)]
    assert counts[0] == 10
    assert counts[1] < 10, "the training itself was stopped"


def test_a_finished_run_is_evaluated_in_every_way(tmp_path: Path) -> None:
    limits = ["--trainer.max_steps=2", "--trainer.val_check_interval=2", "--fid.enabled=false", "--floor=null"]
    argv = ["fit", "--config", str(EXPERIMENTS / "digits.yaml"), *TINY, *limits]
    trained = fmlab(*argv, cwd=tmp_path, timeout=1500)
    assert trained.returncode == 0, trained.stderr
    text = (
        "method: grid\nmetric: {name: evaluate/fid_domain, goal: minimize}\nparameters:\n"
        "  run: {value: digits}\n  solver: {values: [Euler, Heun]}\n  steps: {value: 2}"
    )
    file = write(tmp_path, text, "--num_samples=40", verb="evaluate")
    ended = fmlab("sweep", str(file), "--workers", "2", cwd=tmp_path, timeout=1500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    trials = views(file)
    assert [(view.state, view.parameters["solver"]) for view in trials] == [("done", "Euler"), ("done", "Heun")]
    rows = [read_metrics(view.folder / "metrics.csv")[-1] for view in trials]
    assert [row["evaluate/nfe"] for row in rows] == [2, 3], "the last step of Heun's method is one of Euler's"
    assert [row["evaluate/fid_domain"] for row in rows] == [view.value for view in trials]
    measured = [json.loads((view.folder / "measurement.json").read_text()) for view in trials]
    assert measured[0]["measurement"] == measured[1]["measurement"]
    assert [record["settings"][0]["solver"] for record in measured] == ["Euler()", "Heun()"]
