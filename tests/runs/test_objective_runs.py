"""Time samplers, weights and losses named on the command line, printed, trained with and resumed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from helpers.tiny_runs import EXPERIMENTS, fit_main, newest

from fmlab.objectives import MovingLogitNormal, StepContext
from fmlab.records import RunLayout, read_metrics, read_status
from fmlab.training.generative_module import FlowMatching

TINY = [
    "--trainer.max_steps=4",
    "--trainer.val_check_interval=4",
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1",
    "--data.global_batch_size=8",
    "--data.train_size=64",
    "--data.validation_size=16",
    "--model.network.width=8",
    "--model.network.depth=1",
    "--samples.points=10",
    "--samples.steps=2",
    "--fid.num_samples=10",
    "--fid.steps=2",
    "--checkpoint.every_n_steps=1",
    "--wandb.mode=disabled",
]

BASE = {"base": {"class_path": "fmlab.objectives.LogitNormal", "init_args": {"std": 0.8}}}
CHOICES = {
    "strata, min-SNR": (
        [
            *("time_sampler=Stratified", "time_sampler.base=LogitNormal", "time_sampler.base.std=0.8"),
            *("weight=MinSNRWeight", "weight.gamma=5"),
        ],
        {"time_sampler": ("Stratified", BASE), "weight": ("MinSNRWeight", {"gamma": 5})},
    ),
    "the ends of time, pseudo-Huber": (
        ["time_sampler=UShaped", "time_sampler.steepness=3", "loss=PseudoHuber", "loss.c=0.01"],
        {"time_sampler": ("UShaped", {"steepness": 3}), "loss": ("PseudoHuber", {"c": 0.01})},
    ),
    "EDM": (
        ["prediction=EDMPreconditioning", "weight=EDMWeight", "time_sampler=LogNormalSigma", "path=VP"],
        {"weight": ("EDMWeight", {}), "time_sampler": ("LogNormalSigma", {})},
    ),
    "likelihood": (["weight=LikelihoodWeight", "prediction=noise"], {"weight": ("LikelihoodWeight", {})}),
}


def fit(folder: Path, *argv: str) -> RunLayout:
    config = str(EXPERIMENTS / "toy2d.yaml")
    assert fit_main(["--config", config, *TINY, *argv, f"--run.dir={folder}"]) == 0
    return newest(folder, "toy2d")


@pytest.mark.parametrize("name", CHOICES)
def test_objectives_are_chosen_by_configuration(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--print_config` shows the part with its arguments, and a run with it trains."""
    flags, parts = CHOICES[name]
    argv = [f"--model.{flag}" for flag in flags]
    assert fit_main(["--config", str(EXPERIMENTS / "toy2d.yaml"), *argv, "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]
    for key, (class_name, arguments) in parts.items():
        assert printed[key]["class_path"] == f"fmlab.objectives.{class_name}"
        assert printed[key].get("init_args", {}) == arguments
    run = fit(tmp_path / "runs", *argv)
    assert read_status(run).state == "done"
    losses = [float(row["train/loss"]) for row in read_metrics(run.metrics) if row.get("train/loss") not in (None, "")]
    assert len(losses) == 4
    assert all(math.isfinite(loss) for loss in losses)


def test_a_resumed_run_goes_on_where_the_moving_law_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is 0, 1/4, 1/2, 3/4 over four steps, interrupted or not, and the weights end the same bit for bit."""
    drawn: list[float] = []
    quantile: Callable[..., torch.Tensor] = MovingLogitNormal.quantile

    def spy(self: MovingLogitNormal, u: torch.Tensor, moment: StepContext) -> torch.Tensor:
        if len(u) == 8 and moment.progress < 1:  # a training batch; validation and checks draw the last law
            drawn.append(moment.progress)
        return quantile(self, u, moment)

    monkeypatch.setattr(MovingLogitNormal, "quantile", spy)
    whole = fit(tmp_path / "whole", "--model.time_sampler=MovingLogitNormal")
    assert drawn == [0.0, 0.25, 0.5, 0.75]
    drawn.clear()
    step = FlowMatching.training_step

    def breaks(self: FlowMatching, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if self.global_step == 2:
            raise RuntimeError("the power is gone")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as broken:
        broken.setattr(FlowMatching, "training_step", breaks)
        with pytest.raises(RuntimeError, match="power"):
            fit(tmp_path / "broken", "--model.time_sampler=MovingLogitNormal")
    run = newest(tmp_path / "broken", "toy2d")
    assert drawn == [0.0, 0.25]
    assert fit_main(["--resume", str(run.root)]) == 0
    assert drawn == [0.0, 0.25, 0.5, 0.75]
    first, second = (torch.load(layout.last, weights_only=True)["state_dict"] for layout in (whole, run))
    assert all(torch.equal(first[name], second[name]) for name in first)
