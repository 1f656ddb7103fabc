"""`fmlab diagnose` on tiny runs: what it prints and writes, whose sampler it takes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_runs import arguments, newest
from PIL import Image

from fmlab.__main__ import main
from fmlab.commands.diagnose import DiagnoseOptions
from fmlab.config.options import parse_options
from fmlab.diagnosis.subject import change_sampling, read_run_sampler
from fmlab.errors import UserError
from fmlab.figures import neighbours_picture
from fmlab.paths import VP
from fmlab.records import RunLayout
from fmlab.solvers import AB2, CosineGrid, Euler, EulerMaruyama, Heun, RhoGrid, UniformGrid

Fit = Callable[..., RunLayout]
TOY = [
    "--model.network.width=16",
    "--model.network.depth=1",
    "--data.train_size=300",
    "--data.validation_size=300",
    "--data.global_batch_size=50",
    "--samples.points=20",
    "--fid.num_samples=20",
]


def test_a_run_of_images(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    steady = ["--model.lr_scheduler=WarmupConstant", "--model.lr_scheduler.warmup_steps=0"]
    run = fit("--model.path=VP", "--fid.solver=Heun", "--data.limit=300", "--trainer.log_every_n_steps=1", *steady)
    capsys.readouterr()
    argv = ["diagnose", str(run.root), "--num_samples", "40", "--guidance.scale", "1.5", "--checkpoint", "last"]
    assert main(argv) == 0
    output = capsys.readouterr().out
    assert "step 4, averaged weights; Heun(), 2 steps of UniformGrid(), guidance scale 1.5" in output
    assert "The exact field is that of all 300 training images." in output
    assert "val/fid_domain between 40 samples and 40 real images" in output
    assert "guidance scale 1 " in output
    assert "not known" not in output
    folder = run.root / "diagnosis"
    name = "Heun2_w1.5_step4"
    assert {file.name for file in folder.iterdir()} == {f"{name}.json", f"{name}.png", f"{name}_neighbours.png"}
    record = json.loads((folder / f"{name}.json").read_text())
    assert record["unknown"] == {}
    assert record["setting"]["solver"] == "Heun()"
    assert record["setting"]["path"].startswith("VP(")
    assert record["setting"]["checkpoint"] == {"which": "last", "step": 4, "weights": "averaged"}
    assert record["solver"]["own"]["nfe"] == 6  # three evaluations, guided
    assert record["distance"]["metric"] == "val/fid_domain"
    assert record["distance"]["other_guidance_scale"] == 1.0
    assert record["memorisation"]["held_out_examples"] == 360
    assert record["model"]["fell_in_last_quarter"] is not None
    assert " ".join(record["verdict"].split()) in " ".join(output.split())
    picture = np.asarray(Image.open(folder / f"{name}.png"))
    assert picture.shape[0] > 800
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100


def toy(folder: Path, *extra: str) -> RunLayout:
    argv = [word for word in arguments(folder, *TOY, *extra, experiment="toy2d") if "heads" not in word]
    assert main(["fit", *argv]) == 0
    return newest(folder, "toy2d")


def test_a_run_of_points_with_another_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = toy(tmp_path, "--model.source=EightGaussians")
    capsys.readouterr()
    assert main(["diagnose", str(run.root), "--num_samples", "50", "--weights", "raw"]) == 0
    output = capsys.readouterr().out
    assert "not known: the exact field is not known: the source is not Gaussian noise" in output
    assert "val/w2 between 50 samples and 50 real points" in output
    record = json.loads((run.root / "diagnosis" / "Heun2_w1_step4_raw.json").read_text())
    assert record["unknown"].keys() == {"model"}
    assert (run.root / "diagnosis" / "Heun2_w1_step4_raw.png").is_file()


def test_bad_input_is_refused_in_three_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = toy(tmp_path)
    bad = {
        ("nowhere",): "there is no such run",
        (str(run.root), "--checkpoint", "first"): "no checkpoint 'first'",
        (str(run.root), "--solver", "Heum"): "did you mean Heun",
        (str(run.root), "--steps", "0"): "at least 1",
        (str(run.root), "--num_samples", "1"): "at least 2",
        (str(run.root), "--guidance.scale", "2"): "a model without labels",
        (str(run.root), "--path.beta_max=3"): "no path takes this argument",
        (str(run.root), "--device", "abacus"): "no device 'abacus'",
        (str(run.root), "--grid", "ListGrid", "--grid.times=[0.3,0.6]"): "3 steps, not 2",
        (): "RUN is missing",
    }
    cut = run.root / "checkpoints" / "cut.ckpt"
    cut.write_bytes(run.last.read_bytes()[:5000])
    bad[(str(run.root), "--checkpoint", str(cut))] = "cannot be read"
    for argv, what in bad.items():
        capsys.readouterr()
        assert main(["diagnose", *argv]) == 2, argv
        output = capsys.readouterr().err.strip()
        assert what in output
        assert len(output.splitlines()) <= 3
    for file in run.checkpoints.glob("*.ckpt"):
        file.unlink()
    assert main(["diagnose", str(run.root)]) == 2
    assert "this run has not saved a checkpoint yet" in capsys.readouterr().err


def test_its_help_needs_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "--help"]) == 0
    assert "where the error of a run comes from" in capsys.readouterr().out


# The run's own sampler ------------------------------------------------------------------------------------------------


def test_the_runs_own_sampler_is_what_its_configuration_says(tmp_path: Path) -> None:
    run = RunLayout(tmp_path)

    def sampler(text: str, *argv: str) -> tuple:
        run.config.write_text(text)
        options = parse_options(DiagnoseOptions, ["digits", *argv], "diagnose")
        own = read_run_sampler(run)
        sampling = change_sampling(own, options.solver, options.grid, options.path, options.steps)
        return sampling.solver, sampling.steps, sampling.grid, sampling.path, own.guidance_scale

    solver, steps, grid, path, scale = sampler("fid: {}\nsamples: {steps: 7}\n")
    assert (type(solver), steps, type(grid), path, scale) == (Euler, 20, UniformGrid, None, 1.0)
    solver, steps, _, _, scale = sampler("fid: null\nsamples: {guidance_scales: [3, 1]}\n")
    assert (type(solver), steps, scale) == (Heun, 10, 3.0)
    noisy = "fid: {solver: {class_path: EulerMaruyama, init_args: {diffusion: 0.5}}, guidance_scale: 2, steps: 9,"
    noisy += " grid: {class_path: RhoGrid, init_args: {rho: 3}}, path: VP}\n"
    solver, steps, grid, path, scale = sampler(noisy)
    assert isinstance(solver, EulerMaruyama)
    assert isinstance(grid, RhoGrid)
    assert repr(solver.diffusion) == "ConstantDiffusion(scale=0.5)"
    assert (grid.rho, type(path), steps, scale) == (3, VP, 9, 2.0)
    # An option replaces a part; an argument alone changes the run's own.
    assert type(sampler(noisy, "--solver=AB2")[0]) is AB2
    changes = ["--grid.rho=5", "--grid.sigma_max=9", "--solver=Euler", "--steps=3"]
    solver, steps, grid, _, scale = sampler(noisy, *changes)
    assert isinstance(grid, RhoGrid)
    assert (type(solver), grid.rho, grid.sigma_max, steps, scale) == (Euler, 5, 9, 3, 2.0)
    assert type(sampler("{}\n", "--grid=CosineGrid")[2]) is CosineGrid
    with pytest.raises(UserError, match=r"config\.yaml:2"):
        sampler("fid: [\n")


# The picture of neighbours --------------------------------------------------------------------------------------------


def test_samples_stand_over_their_neighbours() -> None:
    dark, light = (torch.full((3, 1, 8, 8), level, dtype=torch.uint8) for level in (60, 200))
    picture = neighbours_picture(dark, light, torch.tensor([1.0, 2.0, 3.0]))
    grey = picture.astype(int).max(2) - picture.astype(int).min(2) == 0
    rows = [np.nonzero(((picture[..., 0] == level) & grey).sum(1) > 50)[0] for level in (60, 200)]
    assert len(rows[0]) > 30
    assert rows[0].max() < rows[1].min(), "the samples are above"
    colours = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    colours[:, 0] = 250
    picture = neighbours_picture(colours, colours, torch.zeros(2))
    assert ((picture[..., 0] > 240) & (picture[..., 1] < 10)).sum() > 2000
