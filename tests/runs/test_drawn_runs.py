"""A run's own field is drawn beside the exact one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import arguments, newest

import fmlab
from fmlab.__main__ import main
from fmlab.commands.draw import read_scene
from fmlab.commands.draw_options import FieldOptions
from fmlab.config.options import parse_options
from fmlab.figures import field_panels
from fmlab.records import RunLayout

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


def trained(folder: Path, experiment: str, *extra: str) -> str:
    """The folder of a tiny run on points."""
    argv = [word for word in arguments(folder, *TOY, *extra, experiment=experiment) if "heads" not in word]
    assert main(["fit", *(word for word in argv if "samples.columns" not in word)]) == 0
    return str(newest(folder, experiment).root)


def test_the_learned_row_is_the_runs_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path, "toy2d", "--data.name=8gaussians", "--data.labelled=true")
    scene = read_scene(parse_options(FieldOptions, [run, "--label=1"], "draw field"), "field")
    (panel,) = field_panels(scene, ["learned"], torch.tensor([0.4], dtype=torch.float64))["learned"]
    assert panel.arrows is not None
    x = panel.arrows.points.float()
    own = fmlab.load(run).field(torch.ones(len(x), dtype=torch.int64))(x, torch.tensor(0.4)).velocity
    torch.testing.assert_close(panel.arrows.vectors.float(), own)
    assert list(scene.fields()) == ["conditional", "marginal", "learned"]
    for name, argv in {"flow": ["--steps=2", "--times=1"], "trajectories": ["--steps=8", "--num_samples=5"]}.items():
        assert main(["draw", name, run, *argv, f"--out={tmp_path}/{name}.png"]) == 0
        assert (tmp_path / f"{name}.png").is_file()
    capsys.readouterr()
    assert main(["draw", "field", run, "--label=8", f"--out={tmp_path}/no.png"]) == 2
    assert "EightGaussians has no class 8" in capsys.readouterr().err


def test_a_run_between_two_laws_has_no_score_to_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its trajectories are those of the ODE; an SDE cannot be asked for."""
    monkeypatch.setattr("fmlab.figures.scene.PAIRS", 400)
    run = trained(tmp_path, "circles_to_checkerboard")
    argv = ["draw", "trajectories", run, "--steps=8", "--num_samples=5", f"--out={tmp_path}/a.png"]
    assert main(argv) == 0
    assert "from Circles to Checkerboard" in capsys.readouterr().out
    assert main([*argv, "--diffusion=0.5"]) == 2
    assert "the score is not known" in capsys.readouterr().err
    assert main(["draw", "field", run, "--label=0", f"--out={tmp_path}/a.png"]) == 2
    assert "trained without labels" in capsys.readouterr().err


def test_a_run_on_images_shows_its_path_alone(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(fit().root)
    assert main(["draw", "path", run, "--num_samples=1", f"--out={tmp_path}/a.png"]) == 0
    capsys.readouterr()
    assert main(["draw", "field", run]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: draw field: Digits has images, and field is drawn of points on the plane",
        "  of images fmlab draw path shows the path",
    ]
