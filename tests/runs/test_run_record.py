"""What a run leaves behind, and what can be done with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.tiny_runs import arguments, fit_main
from PIL import Image

import fmlab
from fmlab.__main__ import main
from fmlab.errors import UserError
from fmlab.records import RunLayout, read_metrics, read_status
from fmlab.solvers import Euler

Fit = Callable[..., RunLayout]


def test_a_run_leaves_its_record(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit("--samples.guidance_scales=[1.0,2.0]", "--checkpoint.every_n_steps=3")
    output = capsys.readouterr().out
    assert read_status(run).state == "done"
    config = yaml.safe_load(run.config.read_text())
    assert config["model"]["init_args"]["network"]["init_args"]["shape"] == [1, 8, 8]
    assert config["model"]["init_args"]["lr_scheduler"]["init_args"]["total_steps"] == 4, "overrides reach ${...}"
    assert "--trainer.max_steps=4" in run.command.read_text()
    assert "${trainer.max_steps}" in run.raw_config.read_text()
    assert {"versions", "git", "argv", "seed"} <= set(json.loads(run.meta.read_text()))
    rows = read_metrics(run.metrics)
    logged = {key for row in rows for key, value in row.items() if value not in (None, "")}
    assert {"train/loss", "train/lr", "val/loss", "val/fid_domain", "val/kid_domain"} <= logged
    assert {"perf/images_per_second", "perf/milliseconds_per_step", "train/grad_norm"} <= logged
    assert any(key.startswith("train/loss_t_bin_") for key in logged)
    names = sorted(file.name for file in run.samples.glob("*.png"))
    assert names == [f"step_000000{step}_w{scale}.png" for step in (2, 4) for scale in (1, 2)]
    picture = np.asarray(Image.open(run.samples / names[0]))
    assert picture.shape == (10 * 34 + 2, 2 * 34 + 2, 3), "ten rows of classes, two columns, eight pixels times four"
    assert run.last.is_file()
    assert run.best.is_file()
    for part in (str(run.root), "val/fid_domain", "fmlab sample", "--resume", "parameters"):
        assert part in output
    measurement = json.loads((run.root / "measurement.json").read_text())
    assert measurement["measurement"]["samples"] == 20
    assert measurement["setting"]["solver"] == "Euler()"


def test_load_gives_the_averaged_field(fit: Fit) -> None:
    run = fit()
    state = torch.load(run.last, weights_only=True)
    averages = state["callbacks"]["AveragedWeights"]["averages"]["0.999"]
    trained = fmlab.load(run.root, checkpoint="last")
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, averages[name])
    raw = fmlab.load(run.root, checkpoint="last", weights="raw")
    assert any(not torch.equal(raw.network.state_dict()[n], averages[n]) for n in averages)
    images = trained.generate(labels=range(10), guidance=2.0, steps=3)
    assert images.shape == (10, 1, 8, 8)
    again = trained.generate(labels=range(10), guidance=2.0, steps=3, batch_size=3)
    torch.testing.assert_close(images, again, rtol=0, atol=1 / 255)
    field = trained.field(torch.arange(4))
    x = torch.randn(4, 1, 8, 8)
    assert Euler().solve(field, x, torch.linspace(0, 1, 4)).shape == x.shape
    with pytest.raises(UserError, match="label"):
        trained.generate(labels=[10])


def test_sample_command(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit()
    argv = ["sample", str(run.root), "--solver", "EulerMaruyama", "--solver.diffusion=0.5", "--steps", "3"]
    assert (
        main(
            [
                *argv,
                "--labels",
                "0-4",
                "--num_samples",
                "10",
                "--guidance.scale",
                "2",
                "--out",
                str(tmp_path / "a.npz"),
            ]
        )
        == 0
    )
    output = capsys.readouterr().out
    assert "6 forwards a sample" in output
    arrays = np.load(tmp_path / "a.npz")
    assert arrays["images"].shape == (10, 8, 8, 1)
    assert arrays["images"].dtype == np.uint8
    assert arrays["labels"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert main([*argv, "--num_samples", "3", "--labels", "7", "--out", str(tmp_path / "pictures")]) == 0
    assert len(list((tmp_path / "pictures").glob("*_class7.png"))) == 3
    low = [*argv, "--labels", "0-4", "--num_samples", "10", "--guidance.scale", "2", "--precision", "bf16-mixed"]
    assert main([*low, "--out", str(tmp_path / "b.npz")]) == 0
    difference = np.abs(np.load(tmp_path / "b.npz")["images"].astype(int) - arrays["images"])
    assert difference.max() < 30, "the same images, as far as bfloat16 tells"
    for bad, expected in (
        (["--labels", "12"], "labels are 0 to 9"),
        (["--labels", "x"], "no class 'x'"),
        (["--solver", "Eular"], "Euler"),
        (["--solver.diffusoin=1"], "diffusion"),
        (["--stepz", "3"], "did you mean --steps"),
        (["--precision", "bf16"], "did you mean bf16-mixed?"),
    ):
        capsys.readouterr()
        assert main([*argv, *bad]) == 2
        message = capsys.readouterr().err.strip()
        assert expected in message
        assert len(message.splitlines()) <= 3, message


def test_validate_repeats_the_numbers(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit()
    rows = [row for row in read_metrics(run.metrics) if row.get("val/fid_domain") not in (None, "")]
    capsys.readouterr()
    assert main(["validate", str(run.root), "--checkpoint", "last"]) == 0
    lines = capsys.readouterr().out.splitlines()
    printed = dict(line.split() for line in lines if line.startswith("val/"))
    (progress,) = [line for line in lines if line.startswith("step ")]
    assert int(progress.split()[2].removesuffix("s")) < 600, "the seconds since the command began"
    for name in ("val/loss", "val/fid_domain", "val/kid_domain"):
        assert float(printed[name]) == pytest.approx(float(rows[-1][name]), rel=1e-4)


def test_a_failed_run_says_so(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"checkpoint\.monitor") as caught:
        fit("--checkpoint.monitor=val/fidd_domain")
    assert "val/fid_domain" in str(caught.value)
    (run,) = [RunLayout(path) for path in (tmp_path / "runs" / "digits").iterdir()]
    status = read_status(run)
    assert status.state == "failed"
    assert "monitor" in str(status.error)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--model.network.patch_size=3"], ["patch", "1, 2, 4, 8"]),
        (["--data=Toy2D", "--model.network=MLP", "--samples.guidance_scales=[2.0]"], ["samples.guidance_scales"]),
        (["--model.label_dropout=0", "--fid.guidance_scale=2"], ["label_dropout"]),
        (["--data.global_batch_size=7", "--trainer.accumulate_grad_batches=2"], ["global_batch_size"]),
    ],
    ids=["patch", "unlabelled", "dropout", "batch"],
)
def test_incompatible_pairs_are_named(
    argv: list[str], expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = [word for word in arguments(tmp_path) if not ("--data=Toy2D" in argv and "model.network" in word)]
    assert main(["fit", *extra, *argv]) == 2
    message = capsys.readouterr().err.strip()
    for word in expected:
        assert word in message
    assert len(message.splitlines()) <= 3, message
    begun = argv != ["--model.network.patch_size=3"]
    assert begun == bool(list((tmp_path / "digits").iterdir())), "a run that could not be built leaves no folder"


def test_print_config_is_a_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_main([*arguments(tmp_path), "--print_config"]) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "digits.yaml"
    file.write_text(printed)
    assert fit_main(["--config", str(file), "--print_config"]) == 0
    again = capsys.readouterr().out
    assert yaml.safe_load(again) == yaml.safe_load(printed)
    assert again == "".join(line for line in printed.splitlines(keepends=True) if not line.startswith("# "))
    assert not (tmp_path / "digits").exists(), "printing makes no run"


def test_wandb_never_stops_a_run(fit: Fit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Offline it writes its files; where it breaks, one warning and the run goes on."""
    import wandb

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no service")

    monkeypatch.setattr(wandb, "init", broken)
    run = fit("--wandb.mode=online", steps=2)
    assert read_status(run).state == "done"
    assert sum("W&B is off" in record.message for record in caplog.records) == 1


@pytest.mark.slow
def test_wandb_offline_writes_its_files(fit: Fit) -> None:
    run = fit("--wandb.mode=offline", steps=2)
    assert list(run.root.glob("wandb/offline-run-*/run-*.wandb"))
    assert run.id in next(iter(run.root.glob("wandb/offline-run-*"))).name
