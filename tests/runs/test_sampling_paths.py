"""Sampling a run along another path than it was trained on, by configuration, by command and from a notebook."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from helpers.tiny_runs import arguments

import fmlab
from fmlab.__main__ import main
from fmlab.paths import VP, CondOT, Cosine
from fmlab.records import RunLayout, read_metrics
from fmlab.solvers import Euler


def test_another_path_everywhere(
    fit: Callable[..., RunLayout], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The callbacks take it from the configuration and record it; the command and `Trained.sample` take it as well."""
    run = fit("--fid.path=VP", "--fid.path.beta_max=12", "--samples.path=Cosine", steps=2)
    assert any(row.get("val/fid_domain") not in (None, "") for row in read_metrics(run.metrics))
    assert list(run.samples.glob("step_*.png"))
    recorded = json.loads((run.root / "measurement.json").read_text())["setting"]
    assert recorded["path"] == "VP(beta_min=0.1, beta_max=12.0)"
    assert yaml.safe_load(run.config.read_text())["samples"]["path"]["class_path"] == "fmlab.paths.Cosine"

    argv = ["sample", str(run.root), "--solver", "Euler", "--steps", "3", "--num_samples", "4", "--labels", "0-3"]
    capsys.readouterr()
    assert main([*argv, "--path", "VP", "--path.beta_max=12", "--out", str(tmp_path / "a.npz")]) == 0
    output = capsys.readouterr().out
    assert "Euler() along VP(beta_min=0.1, beta_max=12.0), 3 steps, 3 forwards a sample" in output
    assert (run.samples / "sample_Euler3_VP_w1_seed0.png").is_file()
    assert main(argv) == 0
    assert "along" not in capsys.readouterr().out
    for bad, expected in (
        (["--path", "VQ"], "VP"),
        (["--path", "Interpolant"], "Interpolant is no GaussianPath"),
        (["--path", "VP", "--path.betamax=3"], "beta_max"),
        (["--path.beta_max=3"], "error: path.beta_max: no path takes this argument"),
        (["--device", "abacus"], "error: device: there is no device 'abacus'"),
    ):
        assert main([*argv, *bad]) == 2
        message = capsys.readouterr().err.strip()
        assert expected in message
        assert len(message.splitlines()) <= 3, message

    trained = fmlab.load(run.root, checkpoint="last")
    straight = trained.generate(labels=range(4), steps=40)
    cosine = trained.generate(labels=range(4), steps=40, path=Cosine())
    torch.testing.assert_close(cosine, straight, rtol=0, atol=0.05)
    same = trained.generate(labels=range(4), steps=5, solver=Euler(), path=CondOT())
    torch.testing.assert_close(same, trained.generate(labels=range(4), steps=5, solver=Euler()), rtol=0, atol=1e-4)
    few = trained.generate(labels=range(4), steps=3, solver=Euler(), path=VP(beta_max=12))
    assert (few - trained.generate(labels=range(4), steps=3, solver=Euler())).abs().max() > 0.05


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fid.path", "VP"),
        ("samples.path", "VP"),
        ("fid.solver", "DPMSolverPP2M"),
        ("samples.solver", "EDMChurn"),
        ("samples.grid", "LogSNRGrid"),
    ],
)
def test_a_model_on_no_gaussian_path_is_refused_before_training(
    key: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key at fault is named, as is the model's path."""
    argv = [*arguments(tmp_path), "--model.path=Interpolant", f"--{key}={value}"]
    assert main(["fit", *argv]) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert message[0].startswith(f"error: {key}: ")
    assert "Interpolant" in message[0]
    assert len(message) <= 3


@pytest.mark.parametrize("path", ["VE", "EDM", "SubVP", "LinearVP", "Sqrt"])
def test_the_paths_train_by_their_names(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each fits from a configuration, is scored and sampled; with EDM's preconditioning where x is large."""
    model = ["--model=ScoreMatching", "--model.prediction=EDMPreconditioning"] if path in ("VE", "EDM") else []
    limits = ["--trainer.max_steps=2", "--trainer.val_check_interval=2", f"--run.dir={tmp_path}"]
    small = ["--model.network.width=8", "--model.network.depth=1", "--fid.num_samples=32", "--fid.steps=3"]
    config = Path(__file__).parents[2] / "experiments" / "toy2d.yaml"
    argv = [*small, "--trainer.accelerator=cpu", "--wandb.mode=disabled", "--samples.steps=2", *limits, *model]
    assert main(["fit", "--config", str(config), f"--model.path={path}", *argv]) == 0
    assert "val/w2" in capsys.readouterr().out
