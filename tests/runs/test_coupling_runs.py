"""Every coupling trains from the command, and a run with a pool resumes bit for bit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.compare_runs import assert_identical, final_state
from helpers.tiny_runs import EXPERIMENTS, fmlab, newest

from fmlab.__main__ import main
from fmlab.config.catalog import of_kind
from fmlab.records import RunLayout, read_metrics, read_status

TINY_TOY = [
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1",
    "--data.global_batch_size=16",
    "--data.train_size=200",
    "--data.validation_size=40",
    "--model.network.width=16",
    "--model.network.depth=1",
    "--model.lr_scheduler=WarmupConstant",  # which a prolonged run shares with a longer one
    "--samples.points=10",
    "--samples.steps=2",
    "--fid.num_samples=10",
    "--fid.steps=2",
    "--wandb.mode=disabled",
]
COUPLINGS = {
    "Independent": [],
    "MinibatchOT": ["--model.coupling.batch_size=64"],
    "SinkhornOT": ["--model.coupling.regularisation=0.5", "--model.coupling.batch_size=32"],
    "ConditionalOT": ["--model.coupling.batch_size=64", "--data.labelled=true"],
}


def command_line(folder: Path, coupling: str, *extra: str, steps: int = 3) -> list[str]:
    limits = [f"--trainer.max_steps={steps}", f"--trainer.val_check_interval={steps}", f"--run.dir={folder}"]
    named = [f"--model.coupling={coupling}", *COUPLINGS[coupling]]
    return ["fit", "--config", str(EXPERIMENTS / "toy2d.yaml"), *TINY_TOY, *limits, *named, *extra]


def fit(folder: Path, coupling: str, *extra: str, steps: int = 3) -> RunLayout:
    assert main(command_line(folder, coupling, *extra, steps=steps)) == 0
    return newest(folder, "toy2d")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_every_coupling_is_here() -> None:
    assert {entry.name for entry in of_kind("couplings")} == set(COUPLINGS)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_coupling_trains_by_name_and_resumes_bit_for_bit(coupling: str, tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", coupling, steps=4)
    assert read_status(whole).state == "done"
    assert {"train/loss", "val/loss", "val/w2"} <= {key for row in read_metrics(whole.metrics) for key in row}
    part = fit(tmp_path / "part", coupling, steps=2)
    assert main(["fit", "--resume", str(part.root), "--trainer.max_steps=4", "--trainer.val_check_interval=4"]) == 0
    assert_identical(final_state(whole)["state_dict"], final_state(part)["state_dict"])


def test_a_configuration_with_an_infinite_weight_can_be_read_again(tmp_path: Path) -> None:
    run = fit(tmp_path, "ConditionalOT", "--model.coupling.condition_weight=.inf", steps=1)
    assert main(["fit", "--config", str(run.config), f"--run.dir={tmp_path / 'again'}"]) == 0
    assert_identical(final_state(run)["state_dict"], final_state(newest(tmp_path / "again", "toy2d"))["state_dict"])


def test_too_small_a_pool_is_told_with_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command_line(tmp_path, "MinibatchOT", "--model.coupling.batch_size=8")) == 2
    message = capsys.readouterr().err
    assert re.search(r"model\.coupling\.batch_size: 8 pairs are fewer than the 16 of a training batch", message)


@pytest.mark.slow
def test_two_processes_are_matched_together(tmp_path: Path) -> None:
    """Both share one matching of 64 pairs; the process with a validation batch more waits for nobody."""
    extra = ["--model.coupling.across_ranks=true", "--trainer.devices=2", "--trainer.strategy=ddp"]
    ended = fmlab(*command_line(tmp_path, "MinibatchOT", *extra, "--data.labelled=true"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert read_status(newest(tmp_path, "toy2d")).state == "done"
    assert ended.stderr.count("model.coupling=ConditionalOT") == 1, "said once, by one process"
