"""Two processes on one machine do what one process does on the joined batch (fact F36)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import arguments, fmlab, newest

from fmlab.records import RunLayout, read_metrics, read_status

# 48 images a step: 24 a process, so that 360 validation images are 15 batches and rank 0 has one more than rank 1;
# 21 samples are 11 on one rank and 10 on the other. Plain gradient descent shows the gradient as it is.
COMMON = [
    "--data.global_batch_size=48",
    "--fid.num_samples=21",
    "--floor.num_samples=60",
    "--floor.batch_size=9",
    "--model.optimizer=SGD",
    "--model.optimizer.lr=0.1",
    "--model.network.dropout=0.1",
    "--trainer.log_every_n_steps=1",
]


def test_two_processes_equal_two_accumulated_batches(
    fit: Callable[..., RunLayout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fit(*COMMON, "--trainer.accumulate_grad_batches=2", steps=3, validate=3)
    argv = arguments(tmp_path / "two", *COMMON, "--trainer.devices=2", "--trainer.strategy=ddp", steps=3, validate=3)
    ended = fmlab("fit", *argv)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(list((tmp_path / "two" / "digits").iterdir())) == 1, "one run, whatever the number of processes"
    two = newest(tmp_path / "two")
    assert read_status(two).state == "done"
    weights = [torch.load(run.last, weights_only=True) for run in (one, two)]
    assert weights[0]["global_step"] == weights[1]["global_step"] == 3
    for name, value in weights[0]["state_dict"].items():
        torch.testing.assert_close(weights[1]["state_dict"][name], value, rtol=1e-4, atol=1e-6, msg=name)
    rows = [read_metrics(run.metrics) for run in (one, two)]
    for key, tolerance in (
        ("train/loss", 1e-5),
        ("train/excess", 1e-5),
        ("train/floor", 1e-9),
        ("val/fid_domain", 1e-3),
        ("val/kid_domain", 1e-3),
    ):
        values = [[float(row[key]) for row in table if row.get(key) not in (None, "")] for table in rows]
        assert values[0], key
        assert values[1] == pytest.approx(values[0], rel=tolerance), key
