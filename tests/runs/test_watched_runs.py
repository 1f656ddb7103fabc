"""A run that goes wrong says where, and keeps what was good."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.compare_runs import assert_identical, assert_same_end
from helpers.tiny_runs import arguments, fmlab, newest
from test_resume_anywhere import acting

from fmlab.__main__ import main
from fmlab.errors import RunFailure
from fmlab.records import RunLayout, read_metrics, read_status

Fit = Callable[..., RunLayout]
SMALL = ["--data.limit=150", "--data.global_batch_size=30", "--trainer.accumulate_grad_batches=2", "--fid=null"]
OFTEN = [*SMALL, "--checkpoint.every_n_steps=2", "--model.time_sampler=Uniform", "--trainer.log_every_n_steps=8"]


def test_data_that_are_not_finite_are_named(fit: Fit, tmp_path: Path) -> None:
    """Step, bin and checkpoint, although the losses are looked at every eighth step only."""
    with pytest.raises(RunFailure) as caught:
        fit(*OFTEN, "--checkpoint.every_n_steps=3", acting("Poison", step=4), steps=16, validate=100)
    run = newest(tmp_path / "runs")
    message = str(caught.value)
    assert "the loss is not finite in step 5, for t in [0." in message
    assert message.count("[") == 1, "one image in one bin of t"
    assert "last.ckpt, step 3" in message
    assert torch.load(run.last, weights_only=True)["global_step"] == 3, "what came later was not saved"
    assert read_status(run).state == "failed"
    assert main(["fit", "--resume", str(run.root), "--trainer.callbacks=null", "--trust"]) == 0


def test_a_gradient_that_is_not_finite_is_named(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = arguments(tmp_path / "runs", *OFTEN, acting("Poison", step=4, what="gradient"), steps=16, validate=100)
    assert main(["fit", *argv]) == 1
    message = capsys.readouterr().err
    assert "no loss is finite in step 6, whatever t: the gradient of step 5, or the data" in message
    assert "last.ckpt, step 4" in message
    assert len(message.splitlines()) <= 3


def test_such_a_step_can_be_skipped(fit: Fit) -> None:
    run = fit(
        *SMALL, "--nonfinite.action=skip", "--checkpoint.every_n_steps=1", "--trainer.log_every_n_steps=4",
        "--trainer.callbacks=[{class_path: helpers.acting.Poison, init_args: {step: 4}},"
        " {class_path: helpers.acting.KeepEvery}]",
        steps=8, validate=100,
    )  # fmt: skip
    before, after, end = (torch.load(run.root / "kept" / f"last-{s}.ckpt", weights_only=True) for s in (4, 5, 7))
    assert_identical(before["state_dict"], after["state_dict"])
    assert_identical(*(state["optimizer_states"][0]["state"] for state in (before, after)))
    assert any(not torch.equal(after["state_dict"][n], end["state_dict"][n]) for n in end["state_dict"])
    rows = [row for row in read_metrics(run.metrics) if "train/loss" in row]
    assert [row["train/skipped_steps"] for row in rows] == [0.0, 1.0]
    assert all(torch.tensor(row["train/loss"]).isfinite() for row in rows)


def test_skipping_everything_stops(fit: Fit) -> None:
    with pytest.raises(RunFailure, match="all 4 steps up to step 4 were skipped"):
        fit(*SMALL, "--nonfinite.action=skip", "--trainer.log_every_n_steps=4", acting("Poison", step=-1), steps=8)


def test_a_damaged_checkpoint_is_passed_over(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    often = [*SMALL, "--checkpoint.every_n_steps=2", "--model.time_sampler=Uniform"]
    whole = fit(*often, steps=6, validate=100)
    with pytest.raises(AssertionError):
        fit(*often, acting("Signal", name="SIGTERM", step=4), steps=6, validate=100)
    run = newest(tmp_path / "runs")
    assert torch.load(run.previous, weights_only=True)["global_step"] == 2
    content = bytearray(run.last.read_bytes())
    content[len(content) // 2] ^= 16
    run.last.write_bytes(content)
    capsys.readouterr()
    assert main(["fit", "--resume", str(run.root), "--trainer.callbacks=null", "--trust"]) == 0
    output = capsys.readouterr().out
    assert "last.ckpt is damaged" in output
    assert "previous.ckpt is used instead" in output
    assert "(from step 2)" in output
    assert_same_end(whole, run)
    for file in run.checkpoints.iterdir():
        file.write_bytes(b"PK")
    assert main(["fit", "--resume", str(run.root), "--trainer.callbacks=null", "--trust"]) == 2
    assert "every checkpoint is damaged" in capsys.readouterr().err


def test_memory_is_logged_and_utilisation_where_the_peak_is_known(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from fmlab.networks import MLP, describe
    from fmlab.training import FlowMatching, progress

    run = fit(*SMALL, steps=2, validate=100)
    (row,) = [row for row in read_metrics(run.metrics) if "perf/memory_gib" in row]
    assert 0.05 < row["perf/memory_gib"] < 50
    assert "perf/model_flops_utilisation" not in row, "nobody knows the peak of this processor"
    assert progress.peak_flops(torch.device("cpu"), "32-true") is None
    monkeypatch.setattr(progress, "peak_flops", lambda device, precision: 1e12)
    trainer, network = SimpleNamespace(precision="32-true", datamodule=SimpleNamespace(shape=(2,))), MLP((2,))
    assert progress.work_of_sample(trainer, FlowMatching(network)) == 3 * describe(network).flops / 1e12


@pytest.mark.slow
def test_no_credential_is_written(fit: Fit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither from the environment nor from the command line, in no file of the run; W&B's own included."""
    key = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setenv("WANDB_API_KEY", key)
    argv = ["--wandb.mode=offline", "--run.tags=[${oc.env:WANDB_API_KEY}]", f"--wandb.group=api_key={key[::-1]}"]
    ended = fmlab("fit", *arguments(tmp_path, *SMALL, *argv, steps=2, validate=100), timeout=900)
    assert ended.returncode == 0, ended.stderr
    run = newest(tmp_path)
    files = [file for file in run.root.rglob("*") if file.is_file()]
    assert any(file.suffix == ".wandb" for file in files)
    for secret in (key, key[::-1]):
        assert secret not in ended.stdout + ended.stderr
        assert not [file for file in files if secret.encode() in file.read_bytes()]


def test_slurm_is_asked_to_requeue(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for `scontrol` notes what it is asked; the status and the checkpoint are there by then."""
    asked = tmp_path / "asked"
    tool = tmp_path / "bin" / "scontrol"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >> {asked}\ncat {tmp_path}/runs/digits/*/status.json >> {asked}\n')
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    argv = arguments(tmp_path / "runs", *SMALL, acting("Signal", name="SIGUSR1", step=1), steps=4, validate=100)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    for most, expected in (("2", False), ("3", True)):
        monkeypatch.setenv("FMLAB_MAX_RESTARTS", most)
        assert main(["fit", *argv]) == 75
        assert asked.exists() == expected
    assert asked.read_text().startswith("requeue 4711\n")
    assert '"state": "preempted"' in asked.read_text()
